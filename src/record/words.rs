//! PURE: an entry as it is written, in little room: nearly all say in the same words what is known of
//! their owners anyway.

use std::borrow::Cow;

use serde::Serialize;

use super::Owner;
use crate::pod::PodRef;
use crate::text::{ContainerId, Uid};

/// What an entry says, to the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Kept);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    /// In the order of the API server, and without anything else.
    Usual(ContainerId),
    Other(Box<str>),
}

/// An entry in the order in which the API server writes what both programs record.
#[derive(Serialize)]
struct Usual<'a, Id: ?Sized, Uid: ?Sized> {
    id: &'a Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<UsualOwner<'a, Id, Uid>>,
    podref: &'a PodRef,
}

#[derive(Serialize)]
struct UsualOwner<'a, Id: ?Sized, Uid: ?Sized> {
    id: &'a Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    poduid: Option<&'a Uid>,
}

impl Words {
    /// Keeps the words of an entry, of which these were read.
    #[must_use]
    pub fn of(text: &str, container: &str, owner: &Owner, uid: Option<&str>) -> Self {
        let is_usual = usual(container, owner, uid).is_some_and(|usual| usual == text);
        Self(if is_usual {
            Kept::Usual(container.into())
        } else {
            Kept::Other(text.into())
        })
    }

    /// Keeps any other words.
    #[must_use]
    pub fn other(text: &str) -> Self {
        Self(Kept::Other(text.into()))
    }

    /// Whether they may name this container.
    #[must_use]
    pub fn may_name(&self, container: &str) -> bool {
        match &self.0 {
            Kept::Usual(named) => *named == ContainerId::from(container),
            Kept::Other(text) => text.contains(container),
        }
    }

    /// The words; `owner` and the pod's `uid` are those that were read of them.
    #[must_use]
    pub fn text(&self, owner: &Owner, uid: Option<&Uid>) -> Cow<'_, str> {
        match &self.0 {
            Kept::Usual(container) => usual(container, owner, uid).unwrap_or_default().into(),
            Kept::Other(text) => (&**text).into(),
        }
    }
}

fn usual<Id: Serialize + ?Sized, Uid: Serialize + ?Sized>(
    container: &Id,
    owner: &Owner,
    uid: Option<&Uid>,
) -> Option<String> {
    let node = owner.node.as_deref();
    let is_known = node.is_some() || uid.is_some();
    let usual = Usual {
        id: container,
        ifname: owner.interface.as_deref(),
        owner: is_known.then_some(UsualOwner {
            id: container,
            nodename: node,
            poduid: uid,
        }),
        podref: owner.pod.as_ref()?,
    };
    serde_json::to_string(&usual).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{ObjectId, Pool, decode};

    fn entry(raw: &str) -> crate::record::Entry {
        let id = ObjectId {
            namespace: "kube-system".into(),
            name: "10.0.0.0-24".into(),
        };
        decode::entry(&Pool::new(id, "10.0.0.0/24", false), "5", raw)
    }

    fn usual_entry(id: &str) -> String {
        format!(
            r#"{{"id":"{id}","ifname":"net1","owner":{{"id":"{id}","nodename":"node-a","poduid":"u"}},"podref":"shop/web-0"}}"#
        )
    }

    #[test]
    fn what_both_programs_write_needs_no_room() {
        let id = "4f".repeat(32);
        let of_go = format!(r#"{{"id":"{id}","ifname":"net1","podref":"shop/web-0"}}"#);
        for raw in [
            usual_entry(&id),
            of_go,
            r#"{"id":"c","podref":"a/b"}"#.to_owned(),
        ] {
            let entry = entry(&raw);
            assert!(matches!(entry.words.0, Kept::Usual(_)), "{raw}");
            assert_eq!(entry.raw(), raw);
        }
    }

    #[test]
    fn whatever_else_is_written_stays_to_the_letter() {
        let usual = usual_entry("c");
        for raw in [
            usual.replace("\"owner\":{\"id\":\"c\"", "\"owner\":{\"id\":\"before\""),
            usual.replace("\"podref\"", "\"more\":1,\"podref\""),
            usual.replace("net1", ""),
            usual.replace("shop/web-0", "/web-0"),
            usual.replace("shop/web-0", "shop\\u002fweb-0"),
            usual.replace(':', ": "),
            "{}".to_owned(),
            "null".to_owned(),
            r#"{"id":5}"#.to_owned(),
        ] {
            let entry = entry(&raw);
            assert!(matches!(entry.words.0, Kept::Other(_)), "{raw}");
            assert_eq!(entry.raw(), raw);
        }
    }

    proptest! {
        #[test]
        fn no_entry_is_told_in_other_words(
            id in "[0-9a-f]{0,3}|[0-9a-f]{64}", said in "[0-9a-f]{0,2}|[0-9a-f]{64}",
            name in "[a-z0-9/ -]{0,8}", node in proptest::option::of("\\PC{0,4}"),
            uid in proptest::option::of("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|.{0,3}"),
            same: bool, more: bool,
        ) {
            let mut value = serde_json::json!({
                "id": id, "ifname": node, "podref": format!("ns/{name}"),
                "owner": {"id": if same { &id } else { &said }, "nodename": node, "poduid": uid},
            });
            if more {
                value["more"] = serde_json::Value::Null;
            }
            let raw = value.to_string();
            let entry = entry(&raw);
            prop_assert_eq!(entry.raw(), raw);
        }
    }
}
