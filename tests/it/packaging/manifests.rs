//! `kubectl apply -k .` on a real API server.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::image::image;
use super::{objects, project, succeed};
use crate::support::cluster::Cluster;
use crate::support::control_plane::Options;

const IMAGE: &str = concat!("whereabouts:", env!("CARGO_PKG_VERSION"));

fn root() -> String {
    project(".").display().to_string()
}

#[tokio::test]
async fn one_command_installs_everything_and_may_be_repeated() {
    // Of its own: what it deletes in the end are the custom resources.
    let cluster = Cluster::separate(&Options::default()).await;
    let crds = project("manifests/crds").display().to_string();
    cluster.kubectl(&["delete", "-f", &crds]);
    let root = root();
    let lines = |text: String| text.lines().map(ToOwned::to_owned).collect::<Vec<String>>();

    let installed = lines(cluster.kubectl(&["apply", "-k", &root]));
    assert_eq!(
        installed.len(),
        objects(&cluster.kubectl(&["kustomize", &root])).len()
    );
    assert!(
        installed.iter().all(|line| line.ends_with(" created")),
        "{installed:#?}"
    );
    let again = lines(cluster.kubectl(&["apply", "-k", &root]));
    assert!(
        again.iter().all(|line| line.ends_with(" unchanged")),
        "{again:#?}"
    );
    assert_eq!(cluster.kubectl(&["diff", "-k", &root]), "");
    cluster.kubectl(&[
        "wait",
        "--for=condition=Established",
        "-f",
        &crds,
        "--timeout=30s",
    ]);

    // The programs alone, without the records.
    let [cronjob, daemonset] = ["cronjob.yaml", "manifests/daemonset.yaml"]
        .map(|file| project(file).display().to_string());
    cluster.kubectl(&["delete", "-f", &cronjob, "-f", &daemonset]);
    let left = cluster.kubectl(&["get", "-k", &root, "-o", "name", "--ignore-not-found"]);
    let left = lines(left);
    assert_eq!(left.len(), 3, "{left:#?}");
    assert!(
        left.iter()
            .all(|name| name.starts_with("customresourcedefinition")),
        "{left:#?}"
    );

    cluster.kubectl(&["apply", "-k", &root]);
    cluster.kubectl(&["delete", "-k", &root]);
    assert_eq!(
        cluster.kubectl(&["get", "-k", &root, "--ignore-not-found"]),
        ""
    );
}

/// Both are installed while nodes move from one to the other.
#[test]
fn objects_of_the_go_program_are_left_alone() {
    let theirs = [
        ("ServiceAccount", "whereabouts"),
        ("ClusterRole", "whereabouts-cni"),
        ("ClusterRoleBinding", "whereabouts"),
        ("DaemonSet", "whereabouts"),
        ("ConfigMap", "whereabouts-config"),
        ("Deployment", "whereabouts-reconciler"),
        ("Deployment", "whereabouts-controller"),
    ];
    for file in ["manifests/daemonset.yaml", "cronjob.yaml"] {
        let ours = objects(&fs::read_to_string(project(file)).unwrap());
        for (kind, name) in theirs {
            let id = (kind.to_owned(), name.to_owned());
            assert!(!ours.contains_key(&id), "{kind} {name} in {file}");
        }
    }
}

#[tokio::test]
async fn the_image_is_named_in_one_place() {
    let cluster = Cluster::lock().await;
    // Outside of the project, as users keep theirs; kustomize takes only relative paths.
    let folder = TempDir::new().unwrap();
    let own = folder.path().canonicalize().unwrap();
    let up: PathBuf = own.iter().skip(1).map(|_| "..").collect();
    let up = up.join(
        project(".")
            .canonicalize()
            .unwrap()
            .strip_prefix("/")
            .unwrap(),
    );
    let overlay = json!({"resources": [up], "images": [{"name": "whereabouts",
        "newName": "registry.example.com/whereabouts", "newTag": "9.9.9"}]});
    fs::write(
        folder.path().join("kustomization.yaml"),
        overlay.to_string(),
    )
    .unwrap();
    let images = |folder: &str| {
        let rendered = objects(&cluster.kubectl(&["kustomize", folder]));
        let image = |kind: &str, name: &str, pod: &str| {
            let object = &rendered[&(kind.to_owned(), name.to_owned())];
            object.pointer(pod).unwrap()["containers"][0]["image"].clone()
        };
        [
            image("DaemonSet", "whereabouts-node", "/spec/template/spec"),
            image(
                "CronJob",
                "ip-reconciler",
                "/spec/jobTemplate/spec/template/spec",
            ),
        ]
    };
    assert_eq!(images(&root()), [IMAGE, IMAGE]);
    let other = "registry.example.com/whereabouts:9.9.9";
    assert_eq!(images(&folder.path().display().to_string()), [other, other]);
}

/// A variable of the `DaemonSet`, with what the kubelet would put in.
fn variable(of: &Value) -> (&str, &str) {
    let value = match of.pointer("/valueFrom/fieldRef/fieldPath") {
        None => of["value"].as_str().unwrap(),
        Some(path) if path == "spec.nodeName" => "node-a",
        Some(path) => {
            assert_eq!(path, "metadata.namespace");
            "kube-system"
        }
    };
    (of["name"].as_str().unwrap(), value)
}

/// What the image and the manifest say of each other: paths, variables and the probes' command.
#[test]
fn the_image_installs_the_plugin_as_the_manifest_says() {
    let manifest = fs::read_to_string(project("manifests/daemonset.yaml")).unwrap();
    let objects = objects(&manifest);
    let spec = &objects[&("DaemonSet".to_owned(), "whereabouts-node".to_owned())]["spec"];
    let container = &spec["template"]["spec"]["containers"][0];
    let (root, _) = image();
    let inside = |path: &str| root.path().join(path.trim_start_matches('/'));
    for mount in container["volumeMounts"].as_array().unwrap() {
        fs::create_dir_all(inside(mount["mountPath"].as_str().unwrap())).unwrap();
    }
    let account = inside("/var/run/secrets/kubernetes.io/serviceaccount");
    fs::create_dir_all(&account).unwrap();
    fs::write(account.join("token"), "a token").unwrap();
    fs::write(account.join("ca.crt"), "an authority").unwrap();

    let run = |command: &Value, more: &[&str]| {
        let words = command.as_array().unwrap().iter();
        let mut chroot = Command::new("chroot");
        chroot.env_clear().arg(root.path());
        chroot
            .args(words.map(|word| word.as_str().unwrap()))
            .args(more);
        chroot.env("PATH", std::env::var_os("PATH").unwrap());
        chroot.env("KUBERNETES_SERVICE_HOST", "10.96.0.1");
        chroot.envs(container["env"].as_array().unwrap().iter().map(variable));
        chroot
    };
    let probe = &container["readinessProbe"]["exec"]["command"];
    assert!(!run(probe, &[]).output().unwrap().status.success());
    succeed(&mut run(&container["command"], &["--once"]));
    succeed(&mut run(probe, &[]));

    let program = |path: &str| fs::read(inside(path)).unwrap();
    assert!(program("/host/opt/cni/bin/whereabouts") == program("/whereabouts"));
    let written = inside("/host/etc/cni/net.d/whereabouts.d");
    let flat = fs::read_to_string(written.join("whereabouts.conf")).unwrap();
    let flat: Value = serde_json::from_str(&flat).unwrap();
    let path = "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig";
    assert_eq!(flat["kubernetes"]["kubeconfig"], path);
    let kubeconfig = fs::read_to_string(inside("/host").join(&path[1..])).unwrap();
    assert!(kubeconfig.contains("a token"), "{kubeconfig}");
    let node = fs::read_to_string(written.join("nodename")).unwrap();
    assert_eq!(node.trim_end(), "node-a");
}

#[test]
fn the_installer_has_what_it_needs_and_no_more() {
    let manifest = fs::read_to_string(project("manifests/daemonset.yaml")).unwrap();
    let objects = objects(&manifest);
    let spec = &objects[&("DaemonSet".to_owned(), "whereabouts-node".to_owned())]["spec"];
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];
    let check = json!({"command": ["/whereabouts-install", "--check"]});
    for (found, expected) in [
        (&container["image"], json!(IMAGE)),
        (
            &container["securityContext"],
            json!({"allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}),
        ),
        (
            &pod["securityContext"]["seccompProfile"]["type"],
            json!("RuntimeDefault"),
        ),
        (&pod["tolerations"], json!([{"operator": "Exists"}])),
        (&pod["priorityClassName"], json!("system-node-critical")),
        (&container["readinessProbe"]["exec"], check.clone()),
        (&container["livenessProbe"]["exec"], check),
        // A token ends with its pod: the next one has to be there before.
        (
            &spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
            json!(0),
        ),
    ] {
        assert_eq!(*found, expected);
    }
    for absent in ["hostNetwork", "hostPID", "hostIPC"] {
        assert_eq!(pod[absent], Value::Null, "{absent}");
    }
    let folders = pod["volumes"].as_array().unwrap().iter();
    let folders: Vec<&Value> = folders
        .filter_map(|volume| volume.get("hostPath"))
        .collect();
    assert_eq!(folders.len(), 2);
    assert!(
        folders.iter().all(|folder| folder["type"] == "Directory"),
        "{folders:#?}"
    );
    assert!(container["resources"]["limits"]["memory"].is_string());
    assert!(container["resources"]["requests"]["cpu"].is_string());
}
