//! What holds for every call, also for one that makes no sense.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 7] = [
    "CNI_COMMAND",
    "CNI_CONTAINERID",
    "CNI_NETNS",
    "CNI_IFNAME",
    "CNI_ARGS",
    "CNI_PATH",
    "CNI_NETNS_OVERRIDE",
];

fn command() -> impl Strategy<Value = String> {
    let known = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"].map(str::to_owned);
    prop_oneof![4 => prop::sample::select(known.to_vec()), 1 => any::<String>()]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z0-9]{1,15}", 1 => Just(OWN_NETNS.to_owned()), 1 => any::<String>()]
}

fn member() -> impl Strategy<Value = String> {
    let names = [
        "name",
        "NAME",
        "cniVersion",
        "prevResult",
        "cni.dev/valid-attachments",
        "ipam",
    ];
    let value = prop_oneof![
        3 => "\"([a-z0-9]{1,9}|[0-9]\\.[0-9]\\.[0-9])\"",
        1 => Just("null".to_owned()),
        1 => Just("[{\"containerID\":\"c\"}]".to_owned()),
        1 => Just("{\"ips\":[{\"address\":\"10.0.0.1/24\"}],\"ip4\":{}}".to_owned()),
        1 => "\\PC{0,9}",
    ];
    (prop::sample::select(names.to_vec()), value)
        .prop_map(|(name, value)| format!("\"{name}\":{value}"))
}

fn object() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(member(), 0..5)
        .prop_map(|members| format!("{{{}}}", members.join(",")).into_bytes())
}

fn stdin() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        5 => object(),
        2 => (object(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut json, at, byte)| {
            let at = at.index(json.len());
            json[at] = byte;
            json
        }),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

fn address() -> impl Strategy<Value = Address> {
    let net = (any::<std::net::IpAddr>(), 0u8..=32)
        .prop_map(|(address, prefix)| ipnet::IpNet::new(address, prefix).unwrap());
    (net, any::<Option<std::net::IpAddr>>())
        .prop_map(|(address, gateway)| Address { address, gateway })
}

proptest! {
    #[test]
    fn stdout_is_one_document_or_nothing(
        command in command(),
        values in prop::collection::vec(value(), NAMES.len()),
        stdin in stdin(),
        addresses in prop::collection::vec(address(), 0..4),
        fails: bool,
        text: String,
    ) {
        let mut environment: Vec<_> = NAMES.into_iter().zip(values).collect();
        environment[0].1 = command;
        let environment: Environment = environment.into_iter().collect();
        let mut plugin = Recorder {
            result: IpamResult { addresses, ..IpamResult::default() },
            error: fails.then(|| Error::new(Code::Internal, text.clone()).with_details(text)),
            ..Recorder::default()
        };
        let reply = dispatch(&environment, || Ok(stdin), &mut plugin, ABOUT);

        let document: Option<Value> = if reply.stdout.is_empty() {
            None
        } else {
            Some(serde_json::from_slice(&reply.stdout).unwrap())
        };
        match document {
            Some(document) if reply.exit == 1 => {
                prop_assert!(document["code"].as_u64().is_some_and(|code| code > 0));
                prop_assert!(document["msg"].is_string());
                prop_assert!(document.get("cniVersion").is_none());
            }
            Some(document) => {
                prop_assert_eq!(reply.exit, 0);
                prop_assert!(document["cniVersion"].is_string());
            }
            None => prop_assert_eq!(reply.exit, 0),
        }
        prop_assert!(plugin.calls.len() <= 1);
    }

    #[test]
    fn helpers_read_any_bytes(stdin in stdin()) {
        let _ = crate::cni::valid_attachments(&stdin);
        let _ = crate::cni::previous_addresses(&stdin);
    }
}
