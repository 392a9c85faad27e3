//! PURE: what is a dump, and what is none.

use super::*;

fn snapshot(texts: &[&str]) -> Result<Snapshot, String> {
    let texts: Vec<_> = texts
        .iter()
        .map(|text| ("dump".into(), (*text).to_owned()))
        .collect();
    parse_dumps(&texts, None).map_err(|error| error.to_string())
}

const POOL: &str = "apiVersion: whereabouts.cni.cncf.io/v1alpha1\nkind: IPPool\n\
    metadata: {name: p, namespace: n}\n\
    spec: {range: 10.0.0.0/24, allocations: {5: {id: c, podref: a/b}, \"6\": {id: c, podref: a/c}}}\n";
const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: a, uid: u}\n";

#[test]
fn documents_lists_and_json_say_the_same() {
    let json = |yaml: &str| parse_documents(yaml).unwrap().remove(0).value;
    let list =
        serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [json(POOL), json(POD)]});
    let as_json = list.to_string();
    let two_json = format!("{}\n{}", json(POOL), json(POD));
    let documents = format!("---\n{POOL}---\n{POD}---\n");
    for texts in [&[POOL, POD][..], &[&documents], &[&as_json], &[&two_json]] {
        let snapshot = snapshot(texts).unwrap();
        assert_eq!(snapshot.records.entries.len(), 2);
        assert_eq!(snapshot.pods.total(), 1);
    }
}

#[test]
fn an_empty_list_of_pods_is_a_statement_and_a_missing_one_is_not() {
    let empty = "apiVersion: v1\nkind: PodList\nitems: []\n";
    assert_eq!(snapshot(&[POOL, empty]).unwrap().pods.total(), 0);
    assert!(snapshot(&[POOL]).unwrap_err().contains("no Pods"));
    assert!(snapshot(&[POD]).unwrap_err().contains("no IPPools"));
}

#[test]
fn what_is_no_complete_dump_is_refused() {
    for (text, reason) in [
        ("{\"kind\": \"List\", \"items\": [", "not complete JSON"),
        ("a: [\n", "not YAML"),
        ("kind: Pod", "line break"),
        ("just text\n", "no kind"),
        ("apiVersion: v1\nitems:\n- kind: Pod\n", "no kind"),
        ("apiVersion: v1\nkind: PodList\n", "without items"),
        ("apiVersion: apps/v1\nkind: Deployment\n", "Deployment"),
        (
            "kind: PodList\napiVersion: v1\nmetadata: {continue: x}\nitems: []\n",
            "one page",
        ),
        ("kind: NodeList\napiVersion: v2\nitems: []\n", "of no use"),
    ] {
        let error = snapshot(&[text]).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
    assert!(snapshot(&[POOL, POOL, POD]).unwrap_err().contains("twice"));
}
