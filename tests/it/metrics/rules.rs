//! The alert rules and the dashboard, against promtool and against what the program emits.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::fill;
use crate::support::cluster::Cluster;
use crate::support::prometheus::{Scrape, promtool};
use crate::support::run::reconciler;

const RULES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/manifests/monitoring/rules.yaml"
);
const RULE_TESTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/monitoring/rules.test.yaml"
);
const DASHBOARD: &str = include_str!("../../../manifests/monitoring/dashboard.json");
const DOCUMENTATION: &str = include_str!("../../../docs/reconciler.md");

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn alerts() -> Vec<Value> {
    let rules = yaml(RULES);
    rules["groups"][0]["rules"].as_array().unwrap().clone()
}

/// All values of a member, at whatever depth.
fn members<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            for (member, value) in object {
                if member == name {
                    found.extend(value.as_str());
                }
                members(value, name, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| members(item, name, found)),
        _ => {}
    }
}

/// The names of metrics in a text.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c))
        .filter(|word| word.starts_with("whereabouts_reconciler_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn promtool_accepts_the_rules_and_each_alert_passes_its_tests() {
    let check = promtool(&["check", "rules", "--lint=all", "--lint-fatal", RULES], "").await;
    check.expect(0);
    promtool(&["test", "rules", RULE_TESTS], "").await.expect(0);
    // Each alert fires in a test, and is silent in one.
    let tests = yaml(RULE_TESTS);
    let cases: Vec<&Value> = tests["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap())
        .collect();
    for alert in alerts() {
        let fires = |expected: bool| {
            cases.iter().any(|case| {
                let is_silent = case["exp_alerts"].as_array().unwrap().is_empty();
                case["alertname"] == alert["alert"] && is_silent != expected
            })
        };
        assert!(fires(true) && fires(false), "{}", alert["alert"]);
    }
}

#[tokio::test]
async fn promtool_accepts_the_queries_of_the_dashboard() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queries = Vec::new();
    members(&dashboard, "expr", &mut queries);
    assert!(queries.len() > 10);
    let rule =
        |(at, query): (usize, &&str)| json!({"record": format!("query:{at}"), "expr": query});
    let rules: Vec<Value> = queries.iter().enumerate().map(rule).collect();
    let rules = json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queries.yaml");
    fs::write(&path, rules).unwrap();
    let path = path.to_str().unwrap();
    promtool(&["check", "rules", path], "").await.expect(0);
}

#[tokio::test]
async fn what_rules_and_dashboard_ask_for_is_what_the_program_emits_and_documents() {
    let cluster = Cluster::lock().await;
    fill(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ip-reconciler.prom");
    reconciler(cluster.kubeconfig())
        .args(["--metrics-file", path.to_str().unwrap()])
        .output()
        .await
        .expect(0);
    let emitted: BTreeSet<String> = Scrape::read(&fs::read_to_string(Path::new(&path)).unwrap())
        .names()
        .collect();
    let mut wanted = names_in(DASHBOARD);
    for alert in alerts() {
        wanted.extend(names_in(alert["expr"].as_str().unwrap()));
    }
    let unknown: Vec<_> = wanted.difference(&emitted).collect();
    assert!(unknown.is_empty(), "nobody emits {unknown:?}");
    assert_eq!(names_in(DOCUMENTATION), emitted);
}
