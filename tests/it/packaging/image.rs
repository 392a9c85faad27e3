//! The image that `make image` builds.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{built, project, succeed};
use crate::support::run::{Run, Running};

/// A registry that is not there by then has failed to start.
const SERVES_WITHIN: Duration = Duration::from_secs(30);

fn archive() -> PathBuf {
    built("image/whereabouts.tar", "image")
}

fn crane() -> Command {
    Command::new(built("crane/crane", "crane"))
}

fn unpack(archive: &Path) -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xpf").arg(archive).arg("-C").arg(folder.path());
    succeed(&mut tar);
    folder
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The image's files as a container sees them, and its configuration.
pub(super) fn image() -> (TempDir, Value) {
    let layout = unpack(&archive());
    let manifest = read(&layout.path().join("manifest.json"));
    let blob = |path: &Value| layout.path().join(path.as_str().unwrap());
    let config = read(&blob(&manifest[0]["Config"]));
    assert_eq!(manifest[0]["Layers"].as_array().unwrap().len(), 1);
    (unpack(&blob(&manifest[0]["Layers"][0])), config)
}

/// What follows an instruction of the Dockerfile, for each time that it stands there.
fn instructions(name: &str) -> Vec<String> {
    let dockerfile = fs::read_to_string(project("Dockerfile")).unwrap();
    let name = format!("{name} ");
    let found = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix(&name));
    found.map(ToOwned::to_owned).collect()
}

#[test]
fn the_image_holds_the_programs_and_nothing_else() {
    let programs = fs::read_dir(project("src/bin")).unwrap();
    let programs: BTreeSet<String> = programs
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    let (root, _) = image();
    let files = fs::read_dir(root.path()).unwrap().map(Result::unwrap);
    let mut found = BTreeSet::new();
    for file in files {
        let status = file.metadata().unwrap();
        assert_eq!((status.uid(), status.gid()), (0, 0), "{file:?}");
        assert_eq!(status.permissions().mode(), 0o100_555, "{file:?}");
        found.insert(file.file_name().into_string().unwrap());
    }
    assert_eq!(found, programs);
}

#[test]
fn its_programs_need_no_other_file_and_no_privilege() {
    let (root, config) = image();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let user = config["config"]["User"].as_str().unwrap();
    for file in fs::read_dir(root.path()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let mut chroot = Command::new("chroot");
        chroot.arg(format!("--userspec={user}")).arg(root.path());
        chroot.arg(format!("/{name}")).arg("--version");
        let output = chroot.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(output.status.success(), "{name}: {said}");
        assert!(said.contains(env!("CARGO_PKG_VERSION")), "{name}: {said}");
    }
}

#[test]
fn its_programs_say_nothing_of_the_machine_that_built_them() {
    let home = std::env::var("HOME").unwrap();
    let cargo = std::env::var("CARGO_HOME").unwrap_or(format!("{home}/.cargo"));
    let sysroot = succeed(Command::new("rustc").args(["--print", "sysroot"]));
    let (root, _) = image();
    for file in fs::read_dir(root.path()).unwrap() {
        let file = file.unwrap();
        let text = fs::read(file.path()).unwrap();
        let text = String::from_utf8_lossy(&text);
        // What stands there instead: the search does find paths.
        assert!(text.contains("/cargo/registry/"), "{file:?}");
        for path in [env!("CARGO_MANIFEST_DIR"), &cargo, sysroot.trim_end()] {
            let path = format!("{path}/");
            let at = text.find(&path);
            assert!(at.is_none(), "{file:?} has {path} at {at:?}");
        }
    }
}

#[test]
fn it_is_what_the_dockerfile_says() {
    let version = env!("CARGO_PKG_VERSION");
    let (_, config) = image();
    assert_eq!(config["architecture"], architecture());
    let created = config["created"].as_str().unwrap();
    let config = &config["config"];
    assert_eq!(instructions("USER"), [config["User"].as_str().unwrap()]);
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(
        instructions("ENTRYPOINT"),
        [config["Entrypoint"].to_string()]
    );
    assert_eq!(config["Entrypoint"], json!(["/ip-reconciler"]));

    let labels = config["Labels"].as_object().unwrap();
    let revision = labels["org.opencontainers.image.revision"]
        .as_str()
        .unwrap();
    assert!(!revision.is_empty());
    let filled = |line: String| {
        let line = line
            .replace("${VERSION}", version)
            .replace("${CREATED}", created);
        line.replace("${REVISION}", revision)
    };
    let expected: BTreeSet<String> = instructions("LABEL").into_iter().map(filled).collect();
    let found = labels.iter().map(|(key, value)| format!("{key}={value}"));
    assert_eq!(found.collect::<BTreeSet<String>>(), expected);
    assert_eq!(labels["org.opencontainers.image.version"], version);
    assert_eq!(labels.len(), 6);

    // The list of the programs is that of the Makefile in both.
    let arguments = instructions("ARG");
    assert!(
        arguments.contains(&format!("VERSION={version}")),
        "{arguments:?}"
    );
    assert_eq!(instructions("RUN"), ["make image-root"]);
    assert_eq!(
        instructions("COPY")[1..],
        ["--from=build /src/target/image/root/ /"]
    );
    let rust = concat!("rust:", env!("CARGO_PKG_RUST_VERSION"), "-");
    let stages = instructions("FROM");
    assert!(stages[0].contains(rust), "{stages:?}");
    assert_eq!(stages[1..], ["scratch"]);
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Packs a folder under a name, as `make image` does.
fn pack(folder: &Path, name: &str, archive: &Path) -> Command {
    let mut pack = Command::new(project("build/image.sh"));
    pack.arg(folder).arg(name).arg(architecture()).arg(archive);
    pack
}

#[test]
fn the_same_programs_give_the_same_image() {
    let (root, config) = image();
    let layout = unpack(&archive());
    let manifest = read(&layout.path().join("manifest.json"));
    let folder = TempDir::new().unwrap();
    let again = folder.path().join("again.tar");
    let name = manifest[0]["RepoTags"][0].as_str().unwrap();
    let mut pack = pack(root.path(), name, &again);
    let created = config["created"].as_str().unwrap();
    let seconds = succeed(Command::new("date").args(["-u", "+%s", "-d", created]));
    let revision = &config["config"]["Labels"]["org.opencontainers.image.revision"];
    pack.env("REVISION", revision.as_str().unwrap())
        .env("SOURCE_DATE_EPOCH", seconds.trim())
        .env("TZ", "Asia/Kathmandu")
        .env("LC_ALL", "tr_TR.UTF-8");
    // Other times and another order than when it was built.
    for file in fs::read_dir(root.path()).unwrap() {
        let path = file.unwrap().path();
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o555)).unwrap();
    }
    succeed(&mut pack);
    assert!(fs::read(&again).unwrap() == fs::read(archive()).unwrap());
}

#[test]
fn runtimes_are_told_the_name_in_full() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("program"), "").unwrap();
    let packed = folder.path().join("packed.tar");
    for (name, full) in [
        ("whereabouts:0.1.0", "docker.io/library/whereabouts:0.1.0"),
        ("me/whereabouts:1", "docker.io/me/whereabouts:1"),
        ("quay.io/me/whereabouts:1", "quay.io/me/whereabouts:1"),
        (
            "localhost:5000/whereabouts:1",
            "localhost:5000/whereabouts:1",
        ),
    ] {
        succeed(&mut pack(&root, name, &packed));
        let layout = unpack(&packed);
        let index = read(&layout.path().join("index.json"));
        let annotations = &index["manifests"][0]["annotations"];
        assert_eq!(annotations["io.containerd.image.name"], full);
    }
    let output = pack(&root, "localhost:5000/whereabouts", &packed).output();
    let output = output.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("names no tag: give NAME:TAG"), "{errors}");
    assert_eq!(output.status.code(), Some(2));
}

/// A registry on this machine, for as long as the value lives, and its address.
fn registry(folder: &Path) -> (Running, String) {
    let log = folder.join("log");
    let mut serve = Command::new("sh");
    let command = "exec \"$0\" registry serve --address 127.0.0.1:0 2>\"$1\"";
    serve
        .arg("-c")
        .arg(command)
        .arg(built("crane/crane", "crane"))
        .arg(&log);
    let running = Run::of(serve, String::new()).spawn();
    let started = Instant::now();
    while started.elapsed() < SERVES_WITHIN {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if let Some(port) = text.split("serving on port ").nth(1)
            && let Some((port, _)) = port.split_once('\n')
        {
            return (running, format!("127.0.0.1:{port}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!(
        "no registry: {}",
        fs::read_to_string(&log).unwrap_or_default()
    );
}

#[test]
fn registries_take_it_as_an_archive_and_as_a_layout() {
    let archive = archive();
    succeed(crane().args(["validate", "--tarball"]).arg(&archive));
    let layout = unpack(&archive);
    fs::remove_file(layout.path().join("manifest.json")).unwrap();
    let index = read(&layout.path().join("index.json"));
    let folder = TempDir::new().unwrap();
    let (_registry, address) = registry(folder.path());
    for (name, from) in [("archive", archive.as_path()), ("layout", layout.path())] {
        let name = format!("{address}/{name}:test");
        succeed(crane().arg("push").arg(from).arg(&name));
        succeed(crane().args(["validate", "--remote", &name]));
        let config: Value =
            serde_json::from_str(&succeed(crane().args(["config", &name]))).unwrap();
        assert_eq!(config, image().1);
    }
    let digest = succeed(crane().args(["digest", &format!("{address}/layout:test")]));
    assert_eq!(index["manifests"][0]["digest"], digest.trim_end());
}
