//! The Helm chart: the same as the manifests, unless values say otherwise.

use std::fs;
use std::path::Path;
use std::process::Command;

use http::Method;
use tempfile::TempDir;

use super::{built, objects, project, succeed};
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pool, send};

const CRONJOB: &str = "/apis/batch/v1/namespaces/kube-system/cronjobs/ip-reconciler";
const DAEMONSET: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/whereabouts-node";

/// Helm, with a home of its own.
struct Helm(TempDir);

impl Helm {
    fn new() -> Helm {
        Helm(TempDir::new().unwrap())
    }

    /// A command on the chart, such as `template`, with what comes before the chart's folder.
    fn on_chart(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.arg(project("manifests/helm/whereabouts"));
        command
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built("helm/helm", "helm"));
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(name, self.0.path());
        }
        command.env("KUBECONFIG", "/nonexistent").args(arguments);
        command
    }
}

/// The same on a cluster.
fn at<'a>(cluster: &Cluster, command: &'a mut Command) -> &'a mut Command {
    command.env("KUBECONFIG", cluster.kubeconfig())
}

#[test]
fn the_chart_has_no_faults() {
    succeed(&mut Helm::new().on_chart(&["lint", "--strict"]));
}

#[tokio::test]
async fn the_chart_installs_what_the_manifests_do() {
    let cluster = Cluster::lock().await;
    compare(&cluster, &project("."), &[]);
    // The line of the reconciler for etcd stands there as a comment.
    let copy = TempDir::new().unwrap();
    let [from, to] = [project("."), copy.path().to_owned()];
    for part in ["manifests", "cronjob.yaml"] {
        succeed(Command::new("cp").arg("-r").arg(from.join(part)).arg(&to));
    }
    let text = fs::read_to_string(from.join("kustomization.yaml")).unwrap();
    let line = "# - manifests/ip-reconciler-etcd.yaml";
    assert!(text.contains(line), "{text}");
    let text = text.replace(line, &line[2..]);
    fs::write(to.join("kustomization.yaml"), text).unwrap();
    compare(&cluster, &to, &["--set", "etcdReconciler.enabled=true"]);
}

/// Of a folder's manifests and of the chart with these values.
fn compare(cluster: &Cluster, folder: &Path, values: &[&str]) {
    let template = [&["template", "--include-crds", "whereabouts"], values].concat();
    let chart = succeed(&mut Helm::new().on_chart(&template));
    let manifests = cluster.kubectl(&["kustomize", &folder.display().to_string()]);
    let (chart, mut manifests) = (objects(&chart), objects(&manifests));
    for (id, found) in chart {
        let expected = manifests.remove(&id);
        assert_eq!(
            Some(&found),
            expected.as_ref(),
            "{id:?} of the chart and of the manifests"
        );
    }
    assert!(
        manifests.is_empty(),
        "not in the chart: {:?}",
        manifests.keys()
    );
}

/// `make generate` writes it anew, after what it is made of.
#[test]
fn golden_output_of_the_chart_with_every_value_set() {
    let values = project("tests/helm/values.yaml");
    let values = values.to_str().unwrap();
    let found =
        succeed(&mut Helm::new().on_chart(&["template", "whereabouts", "--values", values]));
    let file = project("tests/helm/golden.yaml");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&file, &found).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap();
    assert!(
        found == expected,
        "look at it and run `make generate`:\n{found}"
    );
}

#[test]
fn every_value_is_set_in_the_golden_test_and_described_in_the_schema() {
    let read = |path: &str| -> serde_json::Value {
        serde_yaml::from_str(&fs::read_to_string(project(path)).unwrap()).unwrap()
    };
    let values = read("manifests/helm/whereabouts/values.yaml");
    let schema = read("manifests/helm/whereabouts/values.schema.json");
    let set = read("tests/helm/values.yaml");
    for (name, value) in values.as_object().unwrap() {
        let described = &schema["properties"][name];
        assert!(described.is_object() && !set[name].is_null(), "{name}");
        let members = value.as_object().into_iter().flatten();
        for (member, default) in members {
            assert!(
                described["properties"][member].is_object(),
                "{name}.{member}"
            );
            // Switched off, the CronJob would not be in the golden output at all.
            let is_set = &set[name][member] != default && !set[name][member].is_null();
            assert!(is_set || member == "enabled", "{name}.{member}");
        }
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    let helm = Helm::new();
    for (value, message) in [
        (
            "reconciler.enabled=perhaps",
            "at '/reconciler/enabled': got string, want boolean",
        ),
        (
            "image=whereabouts:latest",
            "at '/image': got string, want object",
        ),
        (
            "node.tolerations.key=x",
            "at '/node/tolerations': got object, want array",
        ),
        (
            "node.tolerashuns=x",
            "additional properties 'tolerashuns' not allowed",
        ),
        (
            "node.cniBinDir=opt/cni/bin",
            "at '/node/cniBinDir': 'opt/cni/bin' does not match",
        ),
        (
            "reconciler.grace=5",
            "at '/reconciler/grace': got number, want string",
        ),
        (
            "reconciler.grace=soon",
            "at '/reconciler/grace': 'soon' does not match",
        ),
        (
            "reconciler.metricsPush=gateway",
            "at '/reconciler/metricsPush': 'gateway' does not match",
        ),
        (
            "etcdReconciler.secretName=",
            "at '/etcdReconciler/secretName': minLength: got 0, want 1",
        ),
        (
            "etcdReconciler.schedule=x",
            "additional properties 'schedule' not allowed",
        ),
        ("namespace=", "at '/namespace': minLength: got 0, want 1"),
    ] {
        let output = helm
            .on_chart(&["template", "--set", value, "whereabouts"])
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && errors.contains(message),
            "{value}: {errors}"
        );
        assert!(output.stdout.is_empty(), "{value}");
    }
}

#[tokio::test]
async fn a_release_comes_changes_and_goes_and_the_records_stay() {
    let cluster = Cluster::lock().await;
    let helm = Helm::new();
    let there = async |path: &str| {
        send(cluster.client(), Method::GET, path, None)
            .await
            .is_ok()
    };
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/web", "net1", "c")
        .create(cluster.client())
        .await;

    // From plain manifests to a release: Helm takes over what is there.
    let root = project(".").display().to_string();
    cluster.kubectl(&["apply", "-k", &root]);
    let install = [
        "install",
        "-n",
        "tenant-a",
        "--take-ownership",
        "--force-conflicts",
        "whereabouts",
    ];
    let notes = succeed(at(&cluster, &mut helm.on_chart(&install)));
    assert!(
        notes.contains("kubectl rollout status -n kube-system daemonset/whereabouts-node"),
        "{notes}"
    );
    assert!(there(CRONJOB).await && there(DAEMONSET).await);

    let upgrade = [
        "upgrade",
        "-n",
        "tenant-a",
        "--set",
        "reconciler.enabled=false",
        "whereabouts",
    ];
    let notes = succeed(at(&cluster, &mut helm.on_chart(&upgrade)));
    assert!(notes.contains("The reconciler is switched off"), "{notes}");
    assert!(!there(CRONJOB).await && there(DAEMONSET).await);
    let changed = send(cluster.client(), Method::GET, DAEMONSET, None)
        .await
        .unwrap();
    assert_eq!(
        changed["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "Helm"
    );

    let uninstall = ["uninstall", "-n", "tenant-a", "whereabouts"];
    succeed(at(&cluster, &mut helm.command(&uninstall)));
    assert!(!there(DAEMONSET).await);
    let left = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
    assert_eq!(left.len(), 1);
    // And for the first time on a cluster that had nothing.
    succeed(at(
        &cluster,
        &mut helm.on_chart(&["install", "-n", "tenant-a", "whereabouts"]),
    ));
    assert!(there(CRONJOB).await && there(DAEMONSET).await);
    succeed(at(&cluster, &mut helm.command(&uninstall)));
}

#[test]
fn its_version_is_that_of_the_programs() {
    let chart = fs::read_to_string(project("manifests/helm/whereabouts/Chart.yaml")).unwrap();
    for key in ["version", "appVersion"] {
        let line = format!("\n{key}: {}\n", env!("CARGO_PKG_VERSION"));
        assert!(chart.contains(&line), "{line}");
    }
    assert!(Path::new(&project("manifests/helm/whereabouts/crds")).is_dir());
}
