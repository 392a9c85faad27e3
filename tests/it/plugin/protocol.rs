//! The protocol of the plugin as a runtime sees it: what a process prints, and how it ends.

use std::path::Path;

use serde_json::{Value, json};

use super::call::{Call, Network, call};
use crate::support::cluster::Cluster;

const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// A network whose cluster is never asked.
fn nowhere() -> Network {
    Network::at(Path::new("/nonexistent"), json!({"range": "10.0.0.0/24"}))
}

#[tokio::test]
async fn a_result_has_the_form_of_its_version() {
    let cluster = Cluster::lock().await;
    let ipam = json!({"range": "10.0.0.0/24", "ipRanges": [{"range": "fd00::/64"}],
        "gateway": "10.0.0.254", "routes": [{"dst": "10.9.0.0/16", "mtu": 1400}, {"dst": "::/0", "gw": "fd00::9"}],
        "dns": {"nameservers": ["10.0.0.53"]}});
    let network = Network::new(&cluster, ipam);
    let gateway = "10.0.0.254";
    let dns = json!({"nameservers": ["10.0.0.53"]});
    let routes = json!([{"dst": "10.9.0.0/16", "mtu": 1400}, {"dst": "::/0", "gw": "fd00::9"}]);
    for version in VERSIONS {
        let network = network.top("cniVersion", json!(version));
        let add = call("ADD", &network)
            .pod("default", "web")
            .run()
            .await
            .expect(0);
        let expected = match version {
            "0.1.0" | "0.2.0" => json!({"cniVersion": version,
                "ip4": {"ip": "10.0.0.1/24", "gateway": gateway, "routes": [{"dst": "10.9.0.0/16"}]},
                "ip6": {"ip": "fd00::1/64", "gateway": gateway, "routes": [{"dst": "::/0", "gw": "fd00::9"}]},
                "dns": dns}),
            "1.0.0" | "1.1.0" => json!({"cniVersion": version,
                "ips": [{"address": "10.0.0.1/24", "gateway": gateway},
                    {"address": "fd00::1/64", "gateway": gateway}],
                "routes": routes, "dns": dns}),
            _ => json!({"cniVersion": version,
                "ips": [{"version": "4", "address": "10.0.0.1/24", "gateway": gateway},
                    {"version": "6", "address": "fd00::1/64", "gateway": gateway}],
                "routes": routes, "dns": dns}),
        };
        assert_eq!(add.json(), expected, "{version}");
        let del = call("DEL", &network).run().await.expect(0);
        assert_eq!(del.stdout, "", "{version}");
    }
}

#[tokio::test]
async fn static_addresses_need_no_range_and_no_store() {
    let fixed = json!({"addresses": [{"address": "10.7.0.5/16", "gateway": "10.7.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}]});
    let network = Network::at(Path::new("/nonexistent"), fixed);
    let add = call("ADD", &network).env("CNI_ARGS", "IP=fd00::5/64;GATEWAY=fd00::1");
    let expected = json!({"cniVersion": "1.1.0", "routes": [{"dst": "0.0.0.0/0"}], "ips": [
        {"address": "10.7.0.5/16", "gateway": "10.7.0.1"},
        {"address": "fd00::5/64", "gateway": "fd00::1"}]});
    assert_eq!(add.run().await.expect(0).json(), expected);
}

#[tokio::test]
async fn version_and_the_call_of_a_curious_person() {
    let version = call("VERSION", &nowhere()).run().await.expect(0);
    let expected = json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS});
    assert_eq!(version.json(), expected);
    let about = call("", &nowhere()).run().await.expect(0);
    assert_eq!(about.stdout, "");
    assert!(about.stderr.starts_with("whereabouts "), "{about:#?}");
    assert!(about.stderr.contains(" linux/"), "{about:#?}");
}

/// What is wrong with a call, and the error that it gets.
type Case = (&'static str, Call, u32, &'static str, &'static str);

fn with_env(command: &str, name: &str, value: &str) -> Call {
    call(command, &nowhere()).env(name, value)
}

fn with_top(command: &str, member: &str, value: Value) -> Call {
    call(command, &nowhere().top(member, value))
}

/// Errors of the environment, before standard input is looked at.
fn environment() -> [Case; 13] {
    let id = "invalid characters in containerID";
    let long = "interface name is too long";
    let odd = "interface name contains / or : or whitespace characters";
    [
        (
            "no id",
            with_env("ADD", "CNI_CONTAINERID", ""),
            4,
            "required env variables [CNI_CONTAINERID] missing",
            "",
        ),
        (
            "nothing",
            with_env("ADD", "CNI_CONTAINERID", "")
                .env("CNI_NETNS", "")
                .env("CNI_IFNAME", "")
                .env("CNI_PATH", ""),
            4,
            "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing",
            "",
        ),
        (
            "no netns",
            with_env("CHECK", "CNI_NETNS", ""),
            4,
            "required env variables [CNI_NETNS] missing",
            "",
        ),
        (
            "no path",
            with_env("GC", "CNI_PATH", ""),
            4,
            "required env variables [CNI_PATH] missing",
            "",
        ),
        (
            "no path",
            with_env("STATUS", "CNI_PATH", ""),
            4,
            "required env variables [CNI_PATH] missing",
            "",
        ),
        (
            "no interface",
            with_env("DEL", "CNI_IFNAME", ""),
            4,
            "required env variables [CNI_IFNAME] missing",
            "",
        ),
        (
            "odd id",
            with_env("ADD", "CNI_CONTAINERID", "../x"),
            4,
            id,
            "../x",
        ),
        (
            "odd id first",
            with_env("DEL", "CNI_CONTAINERID", "-x").env("CNI_IFNAME", ""),
            4,
            id,
            "-x",
        ),
        (
            "long interface",
            with_env("ADD", "CNI_IFNAME", "sixteen-bytes-xx"),
            4,
            long,
            "interface name should be less than 16 characters",
        ),
        (
            "dots",
            with_env("ADD", "CNI_IFNAME", ".."),
            4,
            "interface name is . or ..",
            "",
        ),
        ("slash", with_env("ADD", "CNI_IFNAME", "a/b"), 4, odd, ""),
        (
            "blank",
            with_env("DEL", "CNI_IFNAME", "a\u{2003}b"),
            4,
            odd,
            "",
        ),
        (
            "command",
            call("PLAY", &nowhere()),
            4,
            "unknown CNI_COMMAND: PLAY",
            "",
        ),
    ]
}

/// Errors of what stands on standard input.
fn input() -> [Case; 12] {
    let supported =
        "plugin supports [\"0.1.0\" \"0.2.0\" \"0.3.0\" \"0.3.1\" \"0.4.0\" \"1.0.0\" \"1.1.0\"]";
    let nines: &str = format!("config is \"9.9.9\", {supported}").leak();
    [
        (
            "no json",
            call("ADD", &nowhere()).stdin("{nonsense"),
            6,
            "error unmarshall network config: ",
            "",
        ),
        (
            "nothing",
            call("DEL", &nowhere()).stdin(""),
            6,
            "error unmarshall network config: ",
            "",
        ),
        (
            "no name",
            with_top("ADD", "name", json!("")),
            7,
            "missing network name",
            "",
        ),
        (
            "odd name",
            with_top("PLAY", "name", json!("a b")),
            7,
            "invalid characters found in network name",
            "a b",
        ),
        (
            "version",
            with_top("ADD", "cniVersion", json!("9.9.9")),
            1,
            "incompatible CNI versions",
            nines,
        ),
        (
            "version",
            with_top("DEL", "cniVersion", json!("9.9.9")),
            1,
            "incompatible CNI versions",
            nines,
        ),
        (
            "no text",
            with_top("ADD", "cniVersion", json!(1)),
            6,
            "decoding version from network config: ",
            "",
        ),
        (
            "old",
            with_top("CHECK", "cniVersion", json!("0.3.1")),
            1,
            "config version does not allow CHECK",
            "",
        ),
        (
            "new",
            with_top("CHECK", "cniVersion", json!("1.2.0")),
            1,
            "plugin version does not allow CHECK",
            "",
        ),
        (
            "old",
            with_top("GC", "cniVersion", json!("1.0.0")),
            1,
            "config version does not allow GC",
            "",
        ),
        (
            "old",
            with_top("STATUS", "cniVersion", json!("1.0.0")),
            1,
            "config version does not allow STATUS",
            "",
        ),
        (
            "parts",
            with_top("CHECK", "cniVersion", json!("1.0.0.0")),
            6,
            "invalid version \"1.0.0.0\": too many parts",
            "",
        ),
    ]
}

#[tokio::test]
async fn each_error_has_its_code_its_text_and_its_details() {
    for (said, call, code, msg, details) in environment().into_iter().chain(input()) {
        let failed = call.run().await.expect(1);
        let error = failed.json();
        assert_eq!(error["code"], code, "{said} {failed:#?}");
        let text = error["msg"].as_str().unwrap();
        assert!(
            text == msg || (msg.ends_with(": ") && text.starts_with(msg)),
            "{said} {failed:#?}"
        );
        assert_eq!(
            error["details"].as_str().unwrap_or_default(),
            details,
            "{said} {failed:#?}"
        );
        assert_eq!(error.get("cniVersion"), None, "{said}");
    }
}

#[tokio::test]
async fn in_its_own_network_namespace_it_has_nothing_to_do() {
    let own = "/proc/self/ns/net";
    let network = Network::at(Path::new("/nonexistent"), json!({}));
    let add = call("ADD", &network)
        .env("CNI_NETNS", own)
        .run()
        .await
        .expect(1);
    let mut texts = serde_json::Deserializer::from_str(&add.stdout).into_iter::<Value>();
    assert_eq!(texts.next().unwrap().unwrap()["code"], 8, "{add:#?}");
    assert!(texts.next().is_none(), "{add:#?}");
    let overridden = call("ADD", &network)
        .env("CNI_NETNS", own)
        .env("CNI_NETNS_OVERRIDE", "True");
    overridden.run().await.expect(0);
}
