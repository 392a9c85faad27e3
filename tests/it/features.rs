//! A build without the feature `etcd` is an easy one, and says what it cannot do.

use std::process::Command;

/// The packages that a build takes, those of build scripts as well.
fn packages(arguments: &[&str]) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["tree", "--locked", "--offline", "--prefix=none"]);
    cargo.args(["--edges=normal,build", "--format={p}"]);
    let output = cargo.args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    text.lines().map(name).collect()
}

#[test]
fn without_the_feature_nothing_needs_protoc() {
    let of_etcd = ["etcd-client", "tonic", "prost-build", "tonic-prost-build"];
    let (default, etcd) = (packages(&[]), packages(&["--features=etcd"]));
    assert!(default.iter().any(|it| it == "kube"), "{default:?}");
    for name in of_etcd {
        assert!(!default.iter().any(|it| it == name), "{name}");
        assert!(etcd.iter().any(|it| it == name), "{name}");
    }
}

/// `make test` runs it a second time, with such programs.
#[cfg(not(feature = "etcd"))]
#[tokio::test]
async fn without_the_feature_both_programs_say_so() {
    use std::path::Path;

    use serde_json::json;

    use crate::plugin::call::{Network, call};
    use crate::support::run::reconciler;

    let said = "built without etcd";
    let ipam = json!({"datastore": "etcd", "etcd_host": "127.0.0.1:1", "range": "10.0.0.0/24"});
    let network = Network::at(Path::new("/none"), ipam);
    for command in ["ADD", "DEL", "CHECK", "STATUS"] {
        let network = network.previous(&json!({"ips": []}));
        let refused = call(command, &network).pod("default", "a").run().await;
        assert!(refused.expect(1).stdout.contains(said), "{command}");
    }
    let run = reconciler(Path::new("/none")).args(["--datastore", "etcd"]);
    let refused = run.args(["--etcd-host", "a:1"]).output().await.expect(2);
    assert!(refused.stderr.contains(said), "{refused:#?}");
}
