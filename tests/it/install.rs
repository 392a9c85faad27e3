//! The plugin is put onto a node, and kept right.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cluster::Cluster;
use crate::support::run::{Outcome, Run};

/// How long a change may take to be seen; the program looks every 100 ms here.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

/// A node's folders, and a pod's volume with its token.
struct Node {
    dir: TempDir,
}

impl Node {
    fn new() -> Node {
        let dir = TempDir::new().unwrap();
        let node = Node { dir };
        for folder in ["bin", "net.d", "account"] {
            fs::create_dir(node.path(folder)).unwrap();
        }
        node.set_token("first", "the authority");
        node
    }

    fn path(&self, part: &str) -> PathBuf {
        self.dir.path().join(part)
    }

    /// Replaces the volume's content as the kubelet does: a new folder, and a rename of the link.
    fn set_token(&self, token: &str, authority: &str) {
        let account = self.path("account");
        let data = format!(
            "..{}",
            token.len() + fs::read_dir(&account).unwrap().count()
        );
        fs::create_dir(account.join(&data)).unwrap();
        fs::write(account.join(&data).join("token"), token).unwrap();
        fs::write(account.join(&data).join("ca.crt"), authority).unwrap();
        symlink(&data, account.join("..data_tmp")).unwrap();
        fs::rename(account.join("..data_tmp"), account.join("..data")).unwrap();
        for name in ["token", "ca.crt"] {
            let _ = symlink(format!("..data/{name}"), account.join(name));
        }
    }

    fn install(&self, args: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whereabouts-install"));
        let folder = self.path("net.d/whereabouts.d");
        command
            .env_clear()
            .env("KUBERNETES_SERVICE_HOST", "10.96.0.1")
            .env("NODE_NAME", "node-a")
            .arg("--source")
            .arg(env!("CARGO_BIN_EXE_whereabouts"))
            .arg("--cni-bin-dir")
            .arg(self.path("bin"))
            .arg("--cni-conf-dir")
            .arg(&folder)
            .arg("--kubeconfig-path")
            .arg(folder.join("whereabouts.kubeconfig"))
            .arg("--service-account-dir")
            .arg(self.path("account"))
            .arg("--interval=100ms")
            .args(args);
        Run::of(command, String::new())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path("net.d/whereabouts.d").join(name)
    }

    /// The token in the kubeconfig, which is whole whenever anybody looks.
    fn token(&self) -> String {
        let text = fs::read(self.file("whereabouts.kubeconfig")).unwrap();
        let kubeconfig: Value = serde_json::from_slice(&text).unwrap();
        let token = kubeconfig["users"][0]["user"]["token"].as_str();
        token.unwrap().to_owned()
    }

    /// All files below the folders, with what they hold.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = ["bin", "net.d", "net.d/whereabouts.d"]
            .iter()
            .filter_map(|folder| fs::read_dir(self.path(folder)).ok())
            .flatten()
            .map(|file| file.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        files
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < SEEN_WITHIN, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn stamp(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[tokio::test]
async fn everything_is_put_in_place_and_left_alone_when_it_is_right() {
    let node = Node::new();
    node.install(&["--check"]).output().await.expect(1);
    node.install(&["--once"]).output().await.expect(0);
    let files = node.files();
    let names = ["nodename", "whereabouts.conf", "whereabouts.kubeconfig"];
    let expected: Vec<PathBuf> = std::iter::once(node.path("bin/whereabouts"))
        .chain(names.map(|name| node.file(name)))
        .collect();
    assert_eq!(files, expected);
    assert_eq!(mode(&files[0]), 0o755);
    assert_eq!(mode(&node.file("whereabouts.kubeconfig")), 0o600);
    assert_eq!(
        fs::read_to_string(node.file("nodename")).unwrap(),
        "node-a\n"
    );
    assert_eq!(node.token(), "first");
    node.install(&["--check"]).output().await.expect(0);
    let stamps: Vec<_> = files.iter().map(|path| stamp(path)).collect();
    node.install(&["--once"]).output().await.expect(0);
    assert_eq!(
        stamps,
        files.iter().map(|path| stamp(path)).collect::<Vec<_>>()
    );
    for damaged in &files {
        fs::write(damaged, "damaged").unwrap();
        let said = node.install(&["--check"]).output().await.expect(1).stderr;
        assert!(said.contains(&damaged.display().to_string()), "{said}");
        node.install(&["--once"]).output().await.expect(0);
        node.install(&["--check"]).output().await.expect(0);
    }
    // Readable by all would be a leak.
    fs::set_permissions(&files[3], fs::Permissions::from_mode(0o644)).unwrap();
    node.install(&["--check"]).output().await.expect(1);
}

#[tokio::test]
async fn a_new_token_is_handed_on_and_what_is_removed_comes_back() {
    let node = Node::new();
    let running = node.install(&[]).spawn();
    let is_installed = || node.path("bin/whereabouts").exists();
    until("installed", is_installed).await;
    for turn in 0..20 {
        let token = format!("token-{turn}");
        node.set_token(&token, "the authority");
        // Whoever reads meanwhile sees the old one or the new one.
        until("the new token", || node.token() == token).await;
    }
    fs::remove_file(node.path("bin/whereabouts")).unwrap();
    fs::remove_file(node.file("nodename")).unwrap();
    until("back", || is_installed() && node.file("nodename").exists()).await;
    // Without a token for a moment, the old one stays.
    fs::rename(node.path("account/..data"), node.path("account/away")).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(node.token(), "token-19");
    running.signal("TERM");
    let ended = running.wait().await.expect(0);
    assert!(ended.stderr.contains("trying again"), "{ended:#?}");
    assert!(!ended.stderr.contains("token-19"), "{ended:#?}");
    assert_eq!(node.files().len(), 4);
}

#[tokio::test]
async fn of_two_installers_the_one_started_last_writes_until_it_ends() {
    let node = Node::new();
    let other = Node::new();
    other.set_token("second", "the authority");
    let account = format!("--service-account-dir={}", other.path("account").display());
    let old = node.install(&[]).spawn();
    until("the old one's", || {
        node.file("whereabouts.conf").exists() && node.token() == "first"
    })
    .await;
    let new = node.install(&[&account]).spawn();
    until("the new one's", || node.token() == "second").await;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(node.token(), "second");
    }
    node.install(&["--check"]).output().await.expect(0);
    // Neither of the two is killed by the probe of the other; what is missing still shows.
    new.signal("KILL");
    new.wait().await;
    until("the old one's again", || node.token() == "first").await;
    let new = node.install(&[&account]).spawn();
    until("the new one's again", || node.token() == "second").await;
    old.signal("TERM");
    old.wait().await.expect(0);
    new.signal("TERM");
    new.wait().await.expect(0);
    assert_eq!(node.token(), "second");
}

#[tokio::test]
async fn a_program_that_is_being_called_is_replaced_without_anybody_noticing() {
    let node = Node::new();
    node.install(&["--once"]).output().await.expect(0);
    let program = node.path("bin/whereabouts");
    let other = node.path("other");
    // Another build of it: the same program with something behind its end.
    let mut content = fs::read(&program).unwrap();
    content.push(0);
    fs::write(&other, &content).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let is_over = || stop.load(std::sync::atomic::Ordering::Relaxed);
    let calls = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| call_until(&program, is_over)))
            .collect();
        for turn in 0..10 {
            let source = if turn % 2 == 0 {
                other.as_path()
            } else {
                Path::new(env!("CARGO_BIN_EXE_whereabouts"))
            };
            let mut command = Command::new(env!("CARGO_BIN_EXE_whereabouts-install"));
            command.args([
                "--once",
                "--node-name=node-a",
                "--api-server=https://192.0.2.1",
            ]);
            command.arg("--source").arg(source);
            command.arg("--cni-bin-dir").arg(node.path("bin"));
            command
                .arg("--cni-conf-dir")
                .arg(node.path("net.d/whereabouts.d"));
            command
                .arg("--service-account-dir")
                .arg(node.path("account"));
            assert!(command.env_clear().output().unwrap().status.success());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum::<u32>()
    });
    assert!(calls > 10, "{calls}");
}

fn call_until(program: &Path, is_over: impl Fn() -> bool) -> u32 {
    let mut calls = 0;
    while !is_over() {
        let mut command = Command::new(program);
        command.env_clear().env("CNI_COMMAND", "VERSION");
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("supportedVersions"), "{output:?}");
        calls += 1;
    }
    calls
}

#[tokio::test]
async fn what_is_wrong_is_said_and_nothing_is_changed() {
    let node = Node::new();
    let refused = async |run: Run, code, part: &str| {
        let run = run.output().await.expect(code);
        assert!(run.stderr.contains(part), "{part}: {run:#?}");
        assert_eq!(node.files(), Vec::<PathBuf>::new(), "{part}");
    };
    refused(node.install(&["--nonsense"]), 2, "--nonsense").await;
    refused(node.install(&["--interval=1ms"]), 2, "--interval").await;
    refused(
        node.install(&["--once"]).env("NODE_NAME", ""),
        2,
        "--node-name",
    )
    .await;
    refused(
        node.install(&["--once"])
            .env_remove("KUBERNETES_SERVICE_HOST"),
        1,
        "--api-server",
    )
    .await;
    refused(node.install(&["--source=/nonexistent"]), 1, "/nonexistent").await;
    refused(
        node.install(&["--cni-bin-dir=/nonexistent"]),
        1,
        "--cni-bin-dir",
    )
    .await;
    refused(
        node.install(&["--cni-conf-dir=/nonexistent/a"]),
        1,
        "--cni-conf-dir",
    )
    .await;
    // Even root cannot write there.
    refused(
        node.install(&["--cni-bin-dir=/proc/sys"]),
        1,
        "--cni-bin-dir",
    )
    .await;
    refused(
        node.install(&["--cni-conf-dir=/proc/sys"]),
        1,
        "--cni-conf-dir",
    )
    .await;
    refused(
        node.install(&["--service-account-dir=/nonexistent"]),
        1,
        "/nonexistent/token",
    )
    .await;
    node.set_token(" \n", "the authority");
    refused(node.install(&[]), 1, "token is empty").await;
    node.set_token("token", "");
    refused(node.install(&[]), 1, "ca.crt is empty").await;
}

#[tokio::test]
async fn an_unfinished_file_of_before_goes_and_everything_else_stays() {
    let node = Node::new();
    let old = node.path("bin/.whereabouts-install-old");
    fs::write(&old, "half").unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_hours(1);
    fs::File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    for kept in [
        "bin/.whereabouts-install-new",
        "bin/bridge",
        "net.d/00-multus.conf",
    ] {
        fs::write(node.path(kept), "kept").unwrap();
    }
    node.install(&["--once"]).output().await.expect(0);
    assert!(!old.exists());
    assert_eq!(node.files().len(), 4 + 3);
}

async fn call(node: &Node, verb: &str, container: &str) -> Outcome {
    let flat = node.file("whereabouts.conf");
    let network = json!({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "ipam": {
        "type": "whereabouts", "range": "10.0.0.0/24", "configuration_path": flat}});
    let mut command = Command::new(node.path("bin/whereabouts"));
    command
        .env_clear()
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", container)
        .env("CNI_IFNAME", "net1")
        .env("CNI_NETNS", "/var/run/netns/none")
        .env("CNI_PATH", "/opt/cni/bin")
        .env(
            "CNI_ARGS",
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u",
        );
    Run::of(command, network.to_string()).output().await
}

#[tokio::test]
async fn an_address_is_recorded_with_what_was_installed_also_after_a_new_token() {
    let cluster = Cluster::lock().await;
    let rights = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "installed"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "installed", "namespace": "kube-system"}]});
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let bound =
        crate::support::objects::send(cluster.client(), http::Method::POST, path, Some(&rights));
    bound.await.unwrap();
    let node = Node::new();
    let server = format!("--api-server={}", cluster.url());
    let authority = fs::read_to_string(cluster.ca_file()).unwrap();
    for container in ["c1", "c2"] {
        let token = cluster
            .service_account_token("kube-system", "installed")
            .await;
        node.set_token(&token, &authority);
        node.install(&["--once", &server]).output().await.expect(0);
        assert_eq!(node.token(), token);
        let added = call(&node, "ADD", container).await.expect(0);
        assert!(added.stdout.contains("10.0.0.1/24"), "{added:#?}");
        let entries =
            crate::support::objects::entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
        assert_eq!(entries["1"]["owner"]["nodename"], "node-a", "{entries:?}");
        call(&node, "DEL", container).await.expect(0);
    }
}
