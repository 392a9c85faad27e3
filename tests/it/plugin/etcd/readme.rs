//! The README's section on etcd, as it is written.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::control_plane::binaries;
use crate::support::run::Run;

/// The commands of the README's section, as a script.
fn readme() -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let text = text.unwrap();
    let (_, section) = text.split_once("## Without Kubernetes").unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[tokio::test]
async fn what_the_readme_says_works_without_kubernetes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let link = |target: PathBuf, name: &str| {
        std::os::unix::fs::symlink(target, bin.join(name)).unwrap();
    };
    link(env!("CARGO_BIN_EXE_whereabouts").into(), "whereabouts");
    for name in ["cnitool", "bridge"] {
        link(root.join("target/cni").join(name), name);
    }
    link(binaries().unwrap().join("etcd"), "etcd");
    let block = readme();
    assert!(block.contains("/opt/cni/bin") && block.contains("/var/lib/etcd &"));
    let block = block
        .replace("/opt/cni/bin", &bin.display().to_string())
        .replace(
            "/var/lib/etcd",
            &dir.path().join("data").display().to_string(),
        );
    let script = format!(
        "set -eu; mount -t tmpfs tmpfs /run; mkdir /run/netns; ip link set lo up; PATH={}:$PATH\n{block}",
        bin.display()
    );
    let mut command = Command::new("unshare");
    // Whatever it starts ends with it, and all that it makes is gone then.
    let flags = [
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "sh",
        "-c",
    ];
    command.args(flags).arg(&script).current_dir(root);
    let done = Run::of(command, String::new()).output().await;
    let done = done.expect(0);
    for address in ["10.0.0.1/24", "10.0.0.2/24", "inet 10.0.0.1/24"] {
        assert!(done.stdout.contains(address), "{done:#?}");
    }
}
