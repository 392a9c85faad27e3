//! PURE: objects as the API server, and others, write them.

use super::*;

#[test]
fn odd_pools_are_kept_with_their_problem() {
    let read = |spec: &str| {
        let json = format!(
            r#"{{"metadata":{{"name":"p","namespace":"n","managedFields":[{{}}]}},"spec":{spec}}}"#
        );
        pool(json.as_bytes()).unwrap()
    };
    for spec in [
        "null",
        "5",
        "{}",
        r#"{"range":5}"#,
        r#"{"range":"x","allocations":{}}"#,
        r#"{"range":"10.0.0.0/24","allocations":[]}"#,
    ] {
        assert!(read(spec).pool.range.is_err(), "{spec}");
    }
    let odd = read(
        r#"{"range":"10.0.0.0/24","more":1,"allocations":{"x":{"id":"c","podref":"a/b"},
            "1":5,"2":{"podref":7},"3":{"id":"c","podref":"a/b","more":{"x":[]}}}}"#,
    );
    let readable = odd.entries.iter().filter(|entry| entry.address.is_ok());
    assert_eq!(readable.map(|entry| &*entry.key).collect::<Vec<_>>(), ["3"]);
}

#[test]
fn a_uid_counts_only_for_the_container_it_was_written_for() {
    let uid = |raw: &str| entry_owner(raw).unwrap().2.map(Cow::into_owned);
    let own = r#"{"id":"c1","podref":"a/b","owner":{"id":"c1","poduid":"u1"}}"#;
    assert_eq!(uid(own).as_deref(), Some("u1"));
    // The Go program took the entry over and rewrote the id alone.
    assert_eq!(uid(&own.replacen("c1", "c2", 1)), None);
    assert_eq!(uid(r#"{"id":"c1","podref":"a/b","owner":"x"}"#), None);
}

#[test]
fn an_object_without_a_name_is_an_error() {
    for json in ["{}", r#"{"metadata":{}}"#, "[]", ""] {
        assert!(pool(json.as_bytes()).is_err() && reservation(json.as_bytes()).is_err());
        assert!(pod(json.as_bytes()).is_err());
    }
    assert!(
        pod(br#"{"metadata":{"name":"p","uid":"u"}}"#).is_err(),
        "no namespace"
    );
}
