//! PURE: which members a configuration may have, and what is said of others.

use serde_json::{Map, Value};

/// The members of `ipam`, in lower case.
///
/// The last ones are settings of the Go program that mean nothing here: there is no lease, and the
/// reconciler's schedule is its `CronJob`'s.
const IPAM: [&str; 37] = [
    "type",
    "range",
    "range_start",
    "range_end",
    "exclude",
    "ipranges",
    "gateway",
    "routes",
    "dns",
    "addresses",
    "network_name",
    "node_slice_size",
    "enable_overlapping_ranges",
    "kubernetes",
    "configuration_path",
    "log_file",
    "log_level",
    "datastore",
    "etcd_host",
    "etcd_username",
    "etcd_password",
    "etcd_key_file",
    "etcd_cert_file",
    "etcd_ca_cert_file",
    "lock_dir",
    "add_timeout",
    "del_timeout",
    "leader_lease_duration",
    "leader_renew_deadline",
    "leader_retry_period",
    "reconciler_cron_expression",
    "sleep_for_race",
    "name",
    "podname",
    "podnamespace",
    // Said where it matters: see `Error::Subnet`.
    "subnet",
    "cniversion",
];
const RANGE: [&str; 4] = ["range", "range_start", "range_end", "exclude"];

/// The longest prefix of an object's name: behind it come a `-` and an address with its prefix length
/// (RFC 1123 subdomain, 253 characters).
const MAX_NETWORK_NAME: usize = 253 - 1 - 39 - 4;

/// Names what is no setting, and so is ignored: most often a mistyped one. `place` is where it stands.
pub(super) fn unknown(place: &str, ipam: &Map<String, Value>) -> Vec<String> {
    let ranges = ipam.get("ipranges").and_then(Value::as_array);
    let of_ranges = ranges.into_iter().flatten().filter_map(Value::as_object);
    let of_ranges = of_ranges
        .flat_map(Map::keys)
        .filter(|key| !RANGE.contains(&key.as_str()));
    let of_ipam = ipam.keys().filter(|key| !IPAM.contains(&key.as_str()));
    let say = |place: &str, key: &String| format!("{place}: {key:?} is no setting and is ignored");
    let of_ipam = of_ipam.map(|key| say(place, key));
    of_ipam
        .chain(of_ranges.map(|key| say("ipRanges", key)))
        .collect()
}

/// Whether the names of Kubernetes objects can begin with this text and a `-`.
pub(super) fn is_name_prefix(text: &str) -> bool {
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.next().is_some_and(plain) && bytes.all(|byte| plain(byte) || byte == b'-')
    };
    let mut labels = text.split('.').rev();
    // The last label goes on behind the text; the others end in it.
    labels.next().is_some_and(is_label)
        && labels.all(|label| is_label(label) && !label.ends_with('-'))
        && text.len() <= MAX_NETWORK_NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_names_has_the_characters_of_names() {
        for good in ["blue", "a.b-c", "0", "a-", &"a".repeat(209)] {
            assert!(is_name_prefix(good), "{good}");
        }
        for bad in [
            "",
            "Blue",
            "a_b",
            "-a",
            ".a",
            "a.",
            "a-.b",
            "a/b",
            "é",
            &"a".repeat(210),
        ] {
            assert!(!is_name_prefix(bad), "{bad}");
        }
    }
}
