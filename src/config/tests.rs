//! Each setting, and each way to get it wrong.

use serde_json::{Value, json};

use super::*;

/// Loads `ipam` as the call's configuration, with a kubeconfig and without a flat file.
fn load(mut ipam: Value) -> Result<IpamConfig, String> {
    ipam["type"] = json!("whereabouts");
    if ipam.get("kubernetes").is_none() {
        ipam["kubernetes"] = json!({"kubeconfig": "/k"});
    }
    with(
        &json!({"name": "n", "cniVersion": "1.0.0", "ipam": ipam}),
        "",
        &|_| Ok(None),
    )
}

fn with(network: &Value, args: &str, files: ReadFile<'_>) -> Result<IpamConfig, String> {
    let loaded = IpamConfig::load(network.to_string().as_bytes(), args, Version::V1_0_0, files);
    loaded
        .map(|(config, _)| config)
        .map_err(|error| error.to_string())
}

fn windows(config: &IpamConfig) -> Vec<String> {
    let window = |range: &RangeConfig| {
        let (first, last) = range.window.as_ref().unwrap().ends();
        format!("{} {first}-{last}", range.range)
    };
    config.ranges.iter().map(window).collect()
}

#[test]
fn ranges_are_read_in_every_form_and_in_order() {
    for (ipam, expected) in [
        (
            json!({"range": "10.0.0.0/24"}),
            &["10.0.0.0/24 10.0.0.1-10.0.0.254"][..],
        ),
        (
            json!({"Range": "010.0.0.7/024"}),
            &["10.0.0.0/24 10.0.0.1-10.0.0.254"],
        ),
        (
            json!({"range": "10.0.0.10-10.0.0.20/24"}),
            &["10.0.0.0/24 10.0.0.10-10.0.0.20"],
        ),
        (
            json!({"range": "10.0.0.10-10.0.0.20/24", "range_start": "10.0.0.1"}),
            &["10.0.0.0/24 10.0.0.10-10.0.0.20"],
        ),
        (
            json!({"range": "10.0.0.0/24", "range_start": "10.0.0.9", "range_end": "10.0.0.11"}),
            &["10.0.0.0/24 10.0.0.9-10.0.0.11"],
        ),
        (
            json!({"ipRanges": [{"range": "fd00::/64"}, {"range": "10.1.0.0/30"}], "range": "10.0.0.0/24"}),
            &[
                "10.0.0.0/24 10.0.0.1-10.0.0.254",
                "fd00::/64 fd00::1-fd00::7fff:ffff:ffff:ffff",
                "10.1.0.0/30 10.1.0.1-10.1.0.2",
            ],
        ),
        (
            json!({"range": "::ffff:10.0.0.0/120"}),
            &["10.0.0.0/24 10.0.0.1-10.0.0.254"],
        ),
        (json!({"range": null, "exclude": ["nonsense"]}), &[]),
    ] {
        assert_eq!(windows(&load(ipam.clone()).unwrap()), expected, "{ipam}");
    }
}

#[test]
fn what_go_ignores_in_silence_is_ignored_with_a_warning() {
    for ipam in [
        json!({"range": "10.0.0.0/24", "range_start": "10.0.1.1"}),
        json!({"range": "10.0.0.0/24", "range_start": "fd00::1"}),
        json!({"ipRanges": [{"range": "10.0.0.0/24"}], "subnet": "10.0.0.0/24"}),
        json!({"range": "10.0.0.0/24", "range_start": "nonsense"}),
        json!({"range": "10.0.0.0/24", "range_end": "10.0.0.255"}),
    ] {
        let config = load(ipam.clone()).unwrap();
        assert_eq!(config.warnings.len(), 1, "{ipam} {:?}", config.warnings);
    }
    assert!(
        load(json!({"range": "10.0.0.0/24"}))
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[test]
fn each_mistake_has_its_text() {
    let kubeconfig = "you have not configured the storage engine (looks like you're using an \
        invalid `kubernetes.kubeconfig` parameter in your config)";
    for (ipam, expected) in [
        (
            json!({"range": "10.0.0.0"}),
            "invalid CIDR 10.0.0.0: invalid CIDR address: 10.0.0.0",
        ),
        (
            json!({"range": "x-10.0.0.9/24"}),
            "invalid range start IP: x",
        ),
        (
            json!({"range": "10.0.0.1-x/24"}),
            "invalid CIDR (do you have the 'range' parameter set for Whereabouts?) 'x/24': \
             invalid CIDR address: x/24",
        ),
        (
            json!({"range": "10.0.1.1-10.0.0.9/24"}),
            "invalid range start for CIDR 10.0.0.0/24: 10.0.1.1",
        ),
        (
            json!({"ipRanges": [{"subnet": "10.0.0.0/24"}]}),
            "'subnet' is no setting of whereabouts: write 'range' instead of 'subnet' (\"10.0.0.0/24\")",
        ),
        (json!({"kubernetes": {}}), kubeconfig),
        (json!({"gateway": "x"}), "couldn't parse gateway IP: x"),
        (
            json!({"addresses": [{"address": "x"}]}),
            "invalid CIDR in addresses x: invalid CIDR address: x",
        ),
        (
            json!({"subnet": "10.0.0.0/24"}),
            "'subnet' is no setting of whereabouts: write 'range' instead of 'subnet' (\"10.0.0.0/24\")",
        ),
        (
            json!({"datastore": "consul"}),
            "datastore \"consul\" is not known: write \"kubernetes\" or \"etcd\"",
        ),
        (
            json!({"datastore": "etcd"}),
            "datastore etcd: etcd_host is missing: write HOST:PORT",
        ),
        (
            json!({"datastore": "etcd", "etcd_host": "a:2379", "etcd_key_file": "k"}),
            "datastore etcd: etcd_cert_file and etcd_key_file go together",
        ),
        (
            json!({"datastore": "etcd", "etcd_host": "a:2379 b"}),
            "datastore etcd: etcd_host has \"b\": write HOST:PORT, with http:// or https:// in front of it or nothing",
        ),
        (
            json!({"datastore": "etcd", "etcd_host": "http://root:sesame@a:2379"}),
            "datastore etcd: etcd_host names a user: write that into etcd_username and etcd_password",
        ),
        (
            json!({"datastore": "etcd", "etcd_host": "a:2379", "node_slice_size": "/26"}),
            "datastore etcd: node slices are objects of Kubernetes: leave node_slice_size out",
        ),
        (
            json!({"add_timeout": "soon"}),
            "add_timeout \"soon\" is no duration such as 90s or 2m",
        ),
    ] {
        assert_eq!(load(ipam.clone()).unwrap_err(), expected, "{ipam}");
    }
    let network =
        |ipam: Value| with(&json!({"name": "n", "ipam": ipam}), "", &|_| Ok(None)).unwrap_err();
    assert_eq!(network(Value::Null), "IPAM config missing 'ipam' key");
    assert_eq!(
        network(json!({"type": "host-local"})),
        "only interested in networks whose IPAM type is 'whereabouts'. This one was: host-local"
    );
    for ipam in [
        json!({"range": 5}),
        json!({"type": 5}),
        // What has the wrong type is an error before what has the wrong value.
        json!({"type": "host-local", "range": 5}),
        json!({"ipRanges": [{"range": "10.0.0.0/24", "range_start": "010.0.0.1"}]}),
        json!({"ipRanges": [{"range": "10.0.0.0/24", "range_end": "x"}]}),
        json!({"addresses": [{"address": "10.0.0.5/24", "gateway": "010.0.0.1"}]}),
    ] {
        let error = network(ipam.clone());
        let is_json = error.starts_with("LoadIPAMConfig - JSON Parsing Error: ");
        assert!(is_json, "{ipam}: {error}");
    }
    let long = "x".repeat(100_000);
    let error = load(json!({"range": 5, "name": long})).unwrap_err();
    assert!(error.len() < 5000, "{}", error.len());
    let args = with(&json!({"ipam": {"type": "whereabouts"}}), "FOO=1", &|_| {
        Ok(None)
    });
    assert_eq!(
        args.unwrap_err(),
        "LoadArgs - CNI Args Parsing Error: ARGS: unknown args [\"FOO=1\"]"
    );
}

#[test]
fn what_only_add_needs_does_not_keep_del_from_working() {
    for ipam in [
        json!({"range": "10.0.0.0/32"}),
        json!({"range": "fd00::/64", "range_start": "fd00::8000:0:0:1"}),
        json!({"range": "fd00::8000:0:0:1-fd00::8000:0:0:9/64"}),
        json!({"range": "10.0.0.0/24", "exclude": ["10.0.0.300"]}),
    ] {
        assert!(
            load(ipam.clone()).unwrap().ranges[0].window.is_err(),
            "{ipam}"
        );
    }
}

#[test]
fn the_flat_file_fills_what_is_empty() {
    let flat = json!({"kubernetes": {"kubeconfig": "/flat"}, "range": "10.9.0.0/24", "gateway": "10.0.0.1",
        "enable_overlapping_ranges": false, "log_level": "debug", "exclude": ["10.0.0.1"]});
    let read = |path: &Path| {
        let first = path == Path::new("/etc/cni/net.d/whereabouts.d/whereabouts.conf");
        Ok(first.then(|| flat.to_string().into_bytes()))
    };
    let network = json!({"ipam": {"type": "whereabouts", "range": "10.0.0.0/24", "gateway": ""}});
    let config = with(&network, "", &read).unwrap();
    assert_eq!(config.kubeconfig, "/flat");
    assert_eq!(windows(&config), ["10.0.0.0/24 10.0.0.1-10.0.0.254"]);
    assert_eq!(config.gateway, Some("10.0.0.1".parse().unwrap()));
    assert!(config.overlapping_ranges);
    assert_eq!(config.log_level.as_deref(), Some("debug"));

    let own = json!({"ipam": {"type": "whereabouts", "configuration_path": "/own"}});
    let read = |path: &Path| {
        assert_eq!(path, Path::new("/own"));
        Ok(Some(b"{\"kubernetes\": {\"kubeconfig\": \"/k\"}}".to_vec()))
    };
    assert_eq!(with(&own, "", &read).unwrap().kubeconfig, "/k");
    let broken = with(&own, "", &|_| Ok(Some(b"{".to_vec()))).unwrap_err();
    assert!(
        broken.starts_with("LoadIPAMConfig Flatfile (/own) - JSON Parsing Error: "),
        "{broken}"
    );
    let mistyped = with(&own, "", &|_| Ok(Some(b"{\"range\": 5}".to_vec()))).unwrap_err();
    assert!(
        mistyped.starts_with("LoadIPAMConfig Flatfile (/own) - JSON Parsing Error: "),
        "{mistyped}"
    );
    let empty = with(&own, "", &|_| Ok(Some(b"null".to_vec()))).unwrap_err();
    assert!(empty.starts_with("you have not configured"), "{empty}");
    let unreadable = with(&own, "", &|_| Err(io::Error::other("no"))).unwrap_err();
    assert_eq!(
        unreadable,
        "error opening flat configuration file @ /own with: no"
    );
}

#[test]
fn static_addresses_come_from_both_places_and_get_their_gateways() {
    let network = json!({"ipam": {"type": "whereabouts", "kubernetes": {"kubeconfig": "/k"},
        "addresses": [{"address": "10.0.0.5/24"}, {"address": "fd00::5/64", "gateway": "fd00::1"}]}});
    let args = "IgnoreUnknown=1;IP=10.1.0.7/16, 10.2.0.7/16;GATEWAY=10.1.0.1,10.9.0.1";
    let config = with(&network, args, &|_| Ok(None)).unwrap();
    let shown: Vec<String> = config
        .addresses
        .iter()
        .map(|a| format!("{} {:?}", a.address, a.gateway))
        .collect();
    assert_eq!(
        shown,
        [
            "10.0.0.5/24 None",
            "fd00::5/64 Some(fd00::1)",
            "10.1.0.7/16 Some(10.1.0.1)",
            "10.2.0.7/16 None"
        ]
    );
    let old = IpamConfig::load(
        network.to_string().as_bytes(),
        args,
        Version::V0_2_0,
        &|_| Ok(None),
    );
    assert_eq!(
        old.unwrap_err().to_string(),
        "CNI version 0.2.0 does not support more than 1 address per family"
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, range: String) {
        let _ = IpamConfig::load(&bytes, "", Version::V1_0_0, &|_| Ok(None));
        let _ = load(json!({"range": range, "gateway": range, "exclude": [range]}));
    }
}
