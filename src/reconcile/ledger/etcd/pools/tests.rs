use proptest::prelude::*;

use super::*;

fn record(podref: &str, range: &str) -> String {
    format!(
        r#"{{"container":"c1","ifname":"net1","podref":"{podref}","poduid":"u1","node":"n1",
            "range":"{range}","network":"lan"}}"#
    )
}

fn key(text: &str) -> String {
    format!("/whereabouts/v1/{text}")
}

fn filed(keys: &[(&str, &str)]) -> Vec<PoolObject> {
    let mut filing = Filing::default();
    for (name, value) in keys {
        filing.see(&key(name), value.as_bytes());
    }
    let mut all = filing.finish(7);
    all.sort_by(|a, b| a.pool.id.cmp(&b.pool.id));
    all
}

fn names(objects: &[PoolObject]) -> Vec<String> {
    let name = |object: &PoolObject| format!("{} {}", object.pool.id, object.pool.range_text);
    objects.iter().map(name).collect()
}

const FIRST: &str = "networks/-/00000000000000000000ffff0a000001";

#[test]
fn a_network_and_a_range_are_a_pool() {
    let (wide, narrow) = (record("a/b", "10.0.0.0/16"), record("a/c", "10.0.0.0/24"));
    let six = record("a/d", "fd00::/64");
    let all = filed(&[
        (FIRST, &wide),
        ("networks/-/00000000000000000000ffff0a000002", &narrow),
        ("networks/blue/00000000000000000000ffff0a000001", &wide),
        (
            "ranges/blue/fd00---64/fd000000000000000000000000000005",
            &six,
        ),
        (
            "containers/c1/net1/networks/-/00000000000000000000ffff0a000001",
            "",
        ),
    ]);
    assert_eq!(
        names(&all),
        [
            "networks/10.0.0.0-16 10.0.0.0/16",
            "networks/10.0.0.0-24 10.0.0.0/24",
            "networks/blue-10.0.0.0-16 10.0.0.0/16",
            "ranges/blue-fd00---64 fd00::/64",
        ]
    );
    assert!(
        all.iter()
            .all(|it| *it.pool.resource_version == *"7" && it.entries.len() == 1)
    );
    let entry = &all[3].entries[0];
    assert_eq!(
        (&*entry.key, entry.address.as_ref().ok()),
        ("5", "fd00::5".parse().ok().as_ref())
    );
    let Owner {
        pod,
        interface,
        node,
    } = &entry.owner;
    assert_eq!(entry.uid, Some("u1".into()));
    assert_eq!(pod, &PodRef::parse("a/d"));
    let said = [interface, node].map(|text| text.as_deref().unwrap_or_default());
    assert_eq!(said, ["net1", "n1"]);
}

#[test]
fn a_pod_without_a_namespace_is_nobody_of_this_cluster() {
    for podref in ["/web", "web", "", "a/b/c", "A/b", "/"] {
        let all = filed(&[(FIRST, &record(podref, "10.0.0.0/24"))]);
        assert_eq!(all[0].entries[0].owner.pod, None, "{podref}");
    }
}

#[test]
fn what_cannot_be_read_has_no_address_wherever_it_is_filed() {
    let good = record("a/b", "10.0.0.0/24");
    for (name, value) in [
        ("networks/-/00000000000000000000ffff0a000002", "nonsense"),
        (
            "networks/-/00000000000000000000ffff0a000002",
            r#"{"container":"c1"}"#,
        ),
        (
            "networks/-/00000000000000000000ffff0a000002",
            &record("a/b", "10.1.0.0/24"),
        ),
        (
            "networks/-/00000000000000000000ffff0a000002",
            &record("a/b", "10"),
        ),
        ("networks/-/00000000000000000000ffff0b000002", "nonsense"),
        ("networks/red/00000000000000000000ffff0a000002", "nonsense"),
        (
            "ranges/-/10.0.0.0-24/00000000000000000000ffff0a000002",
            "nonsense",
        ),
        (
            "ranges/-/10.0.0.0-25/00000000000000000000ffff0a000002",
            &good,
        ),
        ("networks/-/10.0.0.2", &good),
    ] {
        let all = filed(&[(FIRST, &good), (name, value)]);
        let entries: Vec<&Entry> = all.iter().flat_map(|it| &it.entries).collect();
        assert_eq!(entries.len(), 2, "{name}");
        let unread = entries.iter().filter(|it| it.address.is_err());
        assert_eq!(unread.count(), 1, "{name}");
    }
}

#[test]
fn annotations_are_those_of_their_pool_and_keep_it_there() {
    let mark = r#"{"2026-11-18T10:26:40Z":"1:0a1b2c"}"#;
    let all = filed(&[
        (FIRST, &record("a/b", "10.0.0.0/24")),
        ("annotations/networks/-/10.0.0.0-24/first-seen", mark),
        (
            "annotations/networks/-/10.0.0.0-24/use-history",
            "2026-11-18T10:26:40Z=7",
        ),
        ("annotations/ranges/blue/fd00---64/reconcile", "false"),
        ("annotations/ranges/blue/nonsense/reconcile", "false"),
    ]);
    assert_eq!(names(&all)[1], "ranges/blue-fd00---64 fd00::/64");
    let pools: Vec<&Pool> = all.iter().map(|it| &it.pool).collect();
    assert!(pools[0].first_seen.get("1").is_some() && pools[0].samples.len() == 1);
    assert!(!pools[0].protected && pools[1].protected && all.len() == 2);
    let place = Place::of_pool(pools[1]).unwrap();
    assert_eq!(
        place.annotation(RECONCILE_KEY),
        key("annotations/ranges/blue/fd00---64/reconcile")
    );
}

#[test]
fn two_pools_of_one_name_are_told_apart_and_one_is_left_alone() {
    let all = filed(&[
        (
            "networks/a/fd000001000000000000000000000005",
            &record("a/b", "fd00:1::/64"),
        ),
        (
            "networks/a-fd00/00010000000000000000000000000005",
            &record("a/c", "1::/64"),
        ),
    ]);
    assert_eq!(names(&all)[0], "networks/a-fd00-1---64 fd00:1::/64");
    assert!(all[1].pool.range.is_err() && all[1].entries[0].address.is_err());
    // All that can have this name are looked at again for it: that of the unnamed network as well.
    assert_eq!(Place::readings(&all[0].pool.id).len(), 3);
}

#[test]
fn pools_of_kubernetes_are_nowhere() {
    let id = ObjectId {
        namespace: "kube-system".into(),
        name: "10.0.0.0-24".into(),
    };
    assert!(Place::of_pool(&Pool::new(id.clone(), "10.0.0.0/24", false)).is_none());
    assert!(Place::readings(&id).is_empty());
}

proptest! {
    #[test]
    fn no_key_and_no_value_makes_it_panic(key: String, value: Vec<u8>, revision: i64) {
        let mut filing = Filing::default();
        for key in [key.clone(), format!("{}{key}", ADDRESSES[0]), format!("{}{key}", ADDRESSES[1])] {
            filing.see(&key, &value);
        }
        let _ = filing.finish(revision);
    }

    #[test]
    fn a_pool_leads_back_to_its_keys(
        network in "[a-z0-9.-]{0,12}",
        address: IpAddr,
        length in 8u8..=30,
        unique_in_range: bool,
    ) {
        let address = address.to_canonical();
        let range: IpRange = format!("{address}/{length}").parse().unwrap();
        let range = range.masked();
        prop_assume!(range.contains(address));
        let in_range = unique_in_range.then(|| range.name());
        let key = Key { network, range: in_range, address };
        let mut filing = Filing::default();
        filing.see(&key.text(), record("a/b", &range.to_string()).as_bytes());
        let all = filing.finish(1);
        let place = Place::of_pool(&all[0].pool).unwrap();
        prop_assert_eq!(place.address(&all[0].entries[0].key), Some(address));
        prop_assert_eq!(&place.key(address), &key);
        prop_assert!(Place::readings(&all[0].pool.id).contains(&place));
        let (first, end) = place.span();
        prop_assert!(first <= key.text() && key.text() < end);
    }
}
