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
        check(
            &path,
            &format!("# Generated from src/api by `make generate`.\n{yaml}"),
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
