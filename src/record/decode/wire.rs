//! PURE: the metadata of one pod, as protocol buffers.
//!
//! The members that do not matter are not named here, and skipped by their length: most of the bytes are
//! `managedFields`.

use std::borrow::Cow;

use prost::Message;

use super::{PodMetadata, SeenPod, metadata_of_pod};

/// `meta.v1.PartialObjectMetadata` (k8s.io/apimachinery).
#[derive(Message)]
struct PartialObjectMetadata {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

/// `meta.v1.ObjectMeta`.
#[derive(Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(message, optional, tag = "9")]
    deletion_timestamp: Option<Time>,
    /// A map is written as its pairs.
    #[prost(message, repeated, tag = "12")]
    annotations: Vec<Pair>,
}

/// `meta.v1.Time`: whether there is one is all that counts.
#[derive(Message)]
struct Time {}

/// The API server does not check that values are UTF-8, and neither is it asked of those that do not
/// matter: in JSON it writes U+FFFD for what is not.
#[derive(Message)]
struct Pair {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// Reads it.
pub(super) fn pod(bytes: &[u8]) -> Result<SeenPod, serde_json::Error> {
    let object = PartialObjectMetadata::decode(bytes).map_err(serde::de::Error::custom)?;
    let metadata = object.metadata.unwrap_or_default();
    let annotation = |key: &str| {
        let mut pairs = metadata.annotations.iter().rev();
        let pair = pairs.find(|pair| pair.key == key.as_bytes())?;
        Some(text(&pair.value))
    };
    metadata_of_pod(&PodMetadata {
        name: &metadata.name,
        namespace: &metadata.namespace,
        uid: &metadata.uid,
        deleting: metadata.deletion_timestamp.is_some(),
        annotation,
    })
}

/// As JSON has it. Nearly all are texts, which is seen quicker than what is none is put right.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pod::{MIRROR_KEY, RECONCILE_KEY, STATUS_KEYS};

    fn wire(name: &str, namespace: &str, deleting: bool, annotations: &[(&str, &str)]) -> Vec<u8> {
        let pair = |(key, value): &(&str, &str)| Pair {
            key: (*key).into(),
            value: (*value).into(),
        };
        let metadata = ObjectMeta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            uid: "0c0c7a4e-9c05-4a50-9b4e-d3b7e7c7a111".to_owned(),
            deletion_timestamp: deleting.then_some(Time {}),
            annotations: annotations.iter().map(pair).collect(),
        };
        let object = PartialObjectMetadata {
            metadata: Some(metadata),
        };
        object.encode_to_vec()
    }

    #[test]
    fn a_pod_without_a_name_or_with_an_end_missing_is_an_error() {
        let whole = wire("web-0", "shop", true, &[(RECONCILE_KEY, "false")]);
        assert!(pod(&whole).is_ok());
        for end in 1..whole.len() {
            assert!(pod(&whole[..end]).is_err(), "{end}");
        }
        for broken in [
            &b""[..],
            &wire("", "shop", false, &[]),
            &wire("web-0", "", false, &[]),
        ] {
            assert!(pod(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn a_value_that_is_no_text_hides_no_pod() {
        let mut whole = wire(
            "web-0",
            "shop",
            false,
            &[("other", "xyz"), (STATUS_KEYS[0], "xyz")],
        );
        while let Some(at) = whole.windows(3).position(|part| part == b"xyz") {
            whole[at] = 0xff;
        }
        let seen = pod(&whole).unwrap();
        assert!(seen.state.status.unreadable.is_some());
    }

    proptest! {
        #[test]
        fn it_says_what_the_same_pod_says_in_json(
            deleting: bool, mirror: bool, protected in "false|true|",
            status in proptest::option::of(r#"\[\]|x|\[\{"interface":"net1","ips":\["10\.0\.0\.[1-9]"\]\}\]"#),
            other in "\\PC{0,9}",
        ) {
            let mut annotations = vec![(RECONCILE_KEY, &*protected), ("other", &*other)];
            annotations.extend(mirror.then_some((MIRROR_KEY, "x")));
            annotations.extend(status.as_deref().map(|status| (STATUS_KEYS[0], status)));
            let pairs: std::collections::BTreeMap<_, _> = annotations.iter().copied().collect();
            let mut json = serde_json::json!({"metadata": {"name": "web-0", "namespace": "shop",
                "uid": "0c0c7a4e-9c05-4a50-9b4e-d3b7e7c7a111", "annotations": pairs}});
            if deleting {
                json["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            let json = super::super::pod(json.to_string().as_bytes()).unwrap();
            let wire = pod(&wire("web-0", "shop", deleting, &annotations)).unwrap();
            prop_assert_eq!(wire.pod, json.pod);
            prop_assert_eq!(wire.state, json.state);
        }
    }
}
