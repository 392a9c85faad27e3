//! Files that are generated from the code are those that the code generates.
//!
//! `make generate` writes them anew.

use std::path::Path;

/// Compares a file with what it should be, or writes it.
fn check(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{path} is not what the code generates: run `make generate`"
    );
}

#[test]
fn generated_custom_resource_definitions_are_up_to_date() {
    for definition in whereabouts::api::definitions() {
        let yaml = serde_yaml::to_string(&definition).unwrap();
        let path = format!("manifests/crds/{}.yaml", definition.metadata.name.unwrap());
        let text = format!("# Generated from src/api by `make generate`.\n{yaml}");
        check(&path, &text);
        // The chart brings its own: Helm reads nothing outside of its folder.
        check(
            &path.replace("manifests/", "manifests/helm/whereabouts/"),
            &text,
        );
    }
}

/// The rights stand once, in the manifests; the chart's are made of them.
#[test]
fn generated_rights_of_the_chart_are_those_of_the_manifests() {
    for (manifest, template, condition) in [
        ("manifests/daemonset.yaml", "node-rbac.yaml", ""),
        (
            "cronjob.yaml",
            "reconciler-rbac.yaml",
            "{{- if .Values.reconciler.enabled }}\n",
        ),
        (
            "manifests/ip-reconciler-etcd.yaml",
            "etcd-reconciler-rbac.yaml",
            "{{- if .Values.etcdReconciler.enabled }}\n",
        ),
    ] {
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
        let text = std::fs::read_to_string(text).unwrap();
        // What stands before the first object is about the whole file.
        let objects = &text[text.find("apiVersion:").unwrap()..];
        let is_right = |object: &&str| {
            let kinds = ["CronJob", "DaemonSet"];
            !kinds
                .iter()
                .any(|kind| object.contains(&format!("\nkind: {kind}\n")))
        };
        let rights: Vec<&str> = objects.split("\n---\n").filter(is_right).collect();
        let rights = rights.join("\n---\n");
        assert!(rights.contains("kind: ServiceAccount"), "{manifest}");
        let rights = rights.replace(
            "namespace: kube-system",
            "namespace: {{ .Values.namespace }}",
        );
        let end = if condition.is_empty() {
            ""
        } else {
            "{{- end }}\n"
        };
        check(
            &format!("manifests/helm/whereabouts/templates/{template}"),
            &format!("# Generated from {manifest} by `make generate`.\n{condition}{rights}\n{end}"),
        );
    }
}

#[test]
fn generated_rules_for_the_prometheus_operator_are_up_to_date() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/monitoring/rules.yaml");
    let rules = std::fs::read_to_string(rules).unwrap();
    let spec: serde_json::Value = serde_yaml::from_str(&rules).unwrap();
    let rule = serde_json::json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "ip-reconciler",
            "namespace": "kube-system",
            "labels": {"app.kubernetes.io/name": "ip-reconciler"},
        },
        "spec": spec,
    });
    let yaml = serde_yaml::to_string(&rule).unwrap();
    check(
        "manifests/monitoring/prometheusrule.yaml",
        &format!("# Generated from rules.yaml by `make generate`.\n{yaml}"),
    );
}
