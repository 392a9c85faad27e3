use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn address(address: &str, gateway: &str) -> Address {
    Address {
        address: net(address),
        gateway: gateway.parse().ok(),
    }
}

fn route(json: &str) -> Route {
    serde_json::from_str(json).unwrap()
}

/// Two addresses of one family, one of the other, and all members of routes and name resolution.
fn full() -> IpamResult {
    IpamResult {
        addresses: vec![
            address("fd00::5/64", "fd00::1"),
            address("10.0.0.5/24", "10.0.0.1"),
            address("10.0.1.5/16", ""),
        ],
        routes: vec![
            route(r#"{"dst":"0.0.0.0/0"}"#),
            route(
                r#"{"dst":"fd01::1/64","gw":"fd00::9","mtu":1400,"advmss":1300,"priority":5,
                    "table":0,"scope":0}"#,
            ),
        ],
        dns: Dns {
            nameservers: vec!["10.0.0.2".to_owned(), "<&>".to_owned()],
            domain: "d.example".to_owned(),
            search: vec!["s.example".to_owned()],
            options: vec!["ndots:5".to_owned()],
        },
    }
}

/// One address and nothing else.
fn bare() -> IpamResult {
    IpamResult {
        addresses: vec![address("10.0.0.5/24", "")],
        ..IpamResult::default()
    }
}

fn rendered(result: &IpamResult, version: Version) -> String {
    String::from_utf8(result.render(version).unwrap()).unwrap()
}

#[test]
fn versions_of_one_form_differ_in_their_number_only() {
    for versions in [
        &[Version::V0_1_0, Version::V0_2_0][..],
        &[Version::V0_3_0, Version::V0_3_1, Version::V0_4_0],
        &[Version::V1_0_0, Version::V1_1_0],
    ] {
        let forms = versions.iter().map(|version| {
            let form = rendered(&full(), *version);
            assert_eq!(form.matches(version.as_str()).count(), 1);
            form.replace(version.as_str(), "")
        });
        let forms: std::collections::BTreeSet<_> = forms.collect();
        assert_eq!(forms.len(), 1);
    }
}

#[test]
fn the_oldest_form_has_one_address_of_each_family_with_its_routes() {
    insta::assert_snapshot!(rendered(&full(), Version::V0_2_0), @r#"
    {
        "cniVersion": "0.2.0",
        "ip4": {
            "ip": "10.0.0.5/24",
            "gateway": "10.0.0.1",
            "routes": [
                {
                    "dst": "0.0.0.0/0"
                }
            ]
        },
        "ip6": {
            "ip": "fd00::5/64",
            "gateway": "fd00::1",
            "routes": [
                {
                    "dst": "fd01::1/64",
                    "gw": "fd00::9"
                }
            ]
        },
        "dns": {
            "nameservers": [
                "10.0.0.2",
                "\u003c\u0026\u003e"
            ],
            "domain": "d.example",
            "search": [
                "s.example"
            ],
            "options": [
                "ndots:5"
            ]
        }
    }
    "#);
    insta::assert_snapshot!(rendered(&bare(), Version::V0_1_0), @r#"
    {
        "cniVersion": "0.1.0",
        "ip4": {
            "ip": "10.0.0.5/24"
        },
        "dns": {}
    }
    "#);
}

#[test]
fn the_middle_form_says_the_family_of_each_address() {
    insta::assert_snapshot!(rendered(&full(), Version::V0_4_0), @r#"
    {
        "cniVersion": "0.4.0",
        "ips": [
            {
                "version": "6",
                "address": "fd00::5/64",
                "gateway": "fd00::1"
            },
            {
                "version": "4",
                "address": "10.0.0.5/24",
                "gateway": "10.0.0.1"
            },
            {
                "version": "4",
                "address": "10.0.1.5/16"
            }
        ],
        "routes": [
            {
                "dst": "0.0.0.0/0"
            },
            {
                "dst": "fd01::1/64",
                "gw": "fd00::9",
                "mtu": 1400,
                "advmss": 1300,
                "priority": 5,
                "table": 0,
                "scope": 0
            }
        ],
        "dns": {
            "nameservers": [
                "10.0.0.2",
                "\u003c\u0026\u003e"
            ],
            "domain": "d.example",
            "search": [
                "s.example"
            ],
            "options": [
                "ndots:5"
            ]
        }
    }
    "#);
    insta::assert_snapshot!(rendered(&bare(), Version::V0_3_0), @r#"
    {
        "cniVersion": "0.3.0",
        "ips": [
            {
                "version": "4",
                "address": "10.0.0.5/24"
            }
        ],
        "dns": {}
    }
    "#);
}

#[test]
fn the_current_form_is_sorted_and_leaves_out_what_is_empty() {
    insta::assert_snapshot!(rendered(&full(), Version::V1_1_0), @r#"
    {
        "cniVersion": "1.1.0",
        "dns": {
            "domain": "d.example",
            "nameservers": [
                "10.0.0.2",
                "\u003c\u0026\u003e"
            ],
            "options": [
                "ndots:5"
            ],
            "search": [
                "s.example"
            ]
        },
        "ips": [
            {
                "address": "fd00::5/64",
                "gateway": "fd00::1"
            },
            {
                "address": "10.0.0.5/24",
                "gateway": "10.0.0.1"
            },
            {
                "address": "10.0.1.5/16"
            }
        ],
        "routes": [
            {
                "dst": "0.0.0.0/0"
            },
            {
                "advmss": 1300,
                "dst": "fd01::1/64",
                "gw": "fd00::9",
                "mtu": 1400,
                "priority": 5,
                "scope": 0,
                "table": 0
            }
        ]
    }
    "#);
    insta::assert_snapshot!(rendered(&bare(), Version::V1_0_0), @r#"
    {
        "cniVersion": "1.0.0",
        "ips": [
            {
                "address": "10.0.0.5/24"
            }
        ]
    }
    "#);
}

#[test]
fn routes_of_a_family_without_address_are_dropped_up_to_0_2_0() {
    let result = IpamResult {
        routes: full().routes,
        ..bare()
    };
    let form = rendered(&result, Version::V0_2_0);
    assert!(
        form.contains("0.0.0.0/0") && !form.contains("fd01"),
        "{form}"
    );
    let form = rendered(&result, Version::V0_3_0);
    assert!(
        form.contains("0.0.0.0/0") && form.contains("fd01::1/64"),
        "{form}"
    );
}

#[test]
fn without_address_there_is_a_result_from_0_3_0_on() {
    let empty = IpamResult::default();
    for version in [Version::V0_1_0, Version::V0_2_0] {
        let error = empty.render(version).unwrap_err();
        assert_eq!(error.code.number(), 999);
        assert_eq!(error.msg, "cannot convert: no valid IP addresses");
    }
    assert_eq!(
        rendered(&empty, Version::V0_4_0),
        "{\n    \"cniVersion\": \"0.4.0\",\n    \"dns\": {}\n}"
    );
    assert_eq!(
        rendered(&empty, Version::V1_0_0),
        "{\n    \"cniVersion\": \"1.0.0\"\n}"
    );
}

#[test]
fn addresses_are_printed_as_go_prints_them() {
    for (given, gateway, printed, printed_gateway) in [
        (
            "2001:DB8:0:0:1:0:0:1/64",
            "FE80::1",
            "2001:db8::1:0:0:1/64",
            "fe80::1",
        ),
        (
            "2001:db8:0:1:1:1:1:1/64",
            "::",
            "2001:db8:0:1:1:1:1:1/64",
            "::",
        ),
        ("::1.2.3.4/96", "::1.2.3.4", "::102:304/96", "::102:304"),
        (
            "::ffff:10.0.0.5/120",
            "::ffff:10.0.0.1",
            "10.0.0.5/24",
            "10.0.0.1",
        ),
        ("0.0.0.0/0", "0.0.0.0", "0.0.0.0/0", "0.0.0.0"),
    ] {
        let result = IpamResult {
            addresses: vec![address(given, gateway)],
            ..IpamResult::default()
        };
        for version in Version::ALL {
            let form = rendered(&result, version);
            assert!(form.contains(&format!("\"{printed}\"")), "{form}");
            assert!(form.contains(&format!("\"{printed_gateway}\"")), "{form}");
            let is_v4 = printed.contains('.');
            match version {
                Version::V0_1_0 | Version::V0_2_0 => assert_eq!(form.contains("ip4"), is_v4),
                Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => {
                    assert_eq!(form.contains("\"version\": \"4\""), is_v4);
                }
                Version::V1_0_0 | Version::V1_1_0 => assert!(!form.contains("\"version\"")),
            }
        }
    }
}

#[test]
fn routes_are_read_as_go_reads_them() {
    let plain = route(r#"{"dst":"10.0.0.0/8"}"#);
    for json in [
        r#"{"DST":"10.0.0.0/08","GW":""}"#,
        r#"{"dst":"10.0.0.0/8","gw":null,"mtu":null,"advMSS":0,"Priority":0,"table":null}"#,
        r#"{"dst":"::ffff:10.0.0.0/104","other":{"dst":1}}"#,
    ] {
        assert_eq!(route(json), plain, "{json}");
    }
    let zero = route(r#"{"dst":"10.0.0.0/8","table":0,"scope":0}"#);
    assert_eq!((zero.table, zero.scope), (Some(0), Some(0)));
    let host = route(r#"{"dst":"10.1.2.3/8","gw":"::ffff:10.0.0.1"}"#);
    assert_eq!(host.dst.to_string(), "10.1.2.3/8");
    assert_eq!(host.gw.unwrap().to_string(), "10.0.0.1");

    for (json, reason) in [
        ("{}", "a route has no dst"),
        ("null", "a route has no dst"),
        (
            r#"{"dst":"10.0.0.0"}"#,
            "dst: invalid CIDR address: 10.0.0.0",
        ),
        (
            r#"{"dst":"010.0.0.0/8"}"#,
            "dst: invalid CIDR address: 010.0.0.0/8",
        ),
        (
            r#"{"dst":"10.0.0.0/8","gw":"10.0.0.01"}"#,
            "gw: invalid IP address: 10.0.0.01",
        ),
        (
            r#"{"dst":"10.0.0.0/8","mtu":"9"}"#,
            "mtu: invalid type: string \"9\", expected i64",
        ),
        (
            r#"{"dst":"10.0.0.0/8","mtu":1.5}"#,
            "mtu: invalid type: floating point",
        ),
        ("[]", "invalid type: sequence, expected an object"),
    ] {
        let error = serde_json::from_str::<Route>(json).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{json}: {error}");
    }
}

#[test]
fn name_resolution_is_read_as_go_reads_it() {
    let read = |json: &str| serde_json::from_str::<Dns>(json);
    for json in ["{}", "null", r#"{"nameservers":null,"domain":null,"x":1}"#] {
        assert_eq!(read(json).unwrap(), Dns::default(), "{json}");
    }
    let json = r#"{"NameServers":["10.0.0.2","<&>"],"Domain":"d.example","SEARCH":["s.example"],
        "options":["ndots:5"]}"#;
    assert_eq!(read(json).unwrap(), full().dns);
    assert!(read(r#"{"nameservers":"10.0.0.2"}"#).is_err());
}

#[test]
fn both_are_read_from_values_too() {
    let value = serde_json::json!({ "Dst": "10.0.0.0/8", "mtu": 9 });
    assert_eq!(
        serde_json::from_value::<Route>(value).unwrap().mtu,
        NonZeroI64::new(9)
    );
    let value = serde_json::json!({ "Domain": "d" });
    assert_eq!(serde_json::from_value::<Dns>(value).unwrap().domain, "d");
}
