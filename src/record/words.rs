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
struct Usual<'a> {
    id: &'a ContainerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<UsualOwner<'a>>,
    podref: &'a PodRef,
}

#[derive(Serialize)]
struct UsualOwner<'a> {
    id: &'a ContainerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    poduid: Option<&'a Uid>,
}

impl Words {
    /// Keeps the words of an entry, of which these were read.
    #[must_use]
    pub fn of(text: &str, container: &str, owner: &Owner, uid: Option<&Uid>) -> Self {
        let container = ContainerId::from(container);
        let is_usual = usual(&container, owner, uid).is_some_and(|usual| usual == text);
        Self(if is_usual {
            Kept::Usual(container)
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

fn usual(container: &ContainerId, owner: &Owner, uid: Option<&Uid>) -> Option<String> {
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
