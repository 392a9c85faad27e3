//! PURE: whose entry of a pool it is.
//!
//! References to pods are compared as they are written: a runtime without Kubernetes names its
//! containers as no pod can be named, and has to find its entries all the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::allocate::Window;
use crate::record::{Entry, PoolObject};
use crate::store::Attachment;
use crate::text::Uid;

/// A text of an entry, in its own words; empty where there is none.
pub(super) fn text_of(entry: &Entry, pointer: &str) -> String {
    let entry: Value = serde_json::from_str(&entry.raw()).unwrap_or_default();
    let text = entry.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// Whether an entry is that of a container's interface; entries of old versions name none.
pub(super) fn is_of(entry: &Entry, container: &str, interface: &str) -> bool {
    // Most entries are others': those are not parsed.
    fits(entry, interface) && entry.words.may_name(container) && text_of(entry, "/id") == container
}

/// The Go program wrote no interface until 2024: such an entry is the pod's only one here.
fn fits(entry: &Entry, interface: &str) -> bool {
    let recorded = entry.owner.interface.as_deref();
    recorded.is_none_or(|name| name == interface)
}

/// Whether an entry is of a pod.
pub(super) fn is_for(entry: &Entry, podref: &str) -> bool {
    match &entry.owner.pod {
        Some(pod) => pod.to_string() == podref,
        // It names no pod that Kubernetes could have.
        None => text_of(entry, "/podref") == podref,
    }
}

/// All that a pool records for the attachment's pod, word for word.
pub(super) fn recorded(found: Option<&PoolObject>, attachment: &Attachment) -> BTreeSet<Box<str>> {
    let entries = found.into_iter().flat_map(|found| &found.entries);
    let of_pod = entries.filter(|entry| is_for(entry, &attachment.podref));
    of_pod.map(|entry| entry.raw().into()).collect()
}

/// The lowest entry that this attachment has already, from this call's container or one before it.
///
/// The lowest, because that is how they were allocated: ranges that share a pool then find their
/// own one again.
pub(super) fn own_entry<'a>(
    found: &'a PoolObject,
    window: &Window,
    attachment: &Attachment,
    avoid: &BTreeSet<IpAddr>,
    lost: &BTreeSet<IpAddr>,
) -> Option<(&'a Entry, IpAddr)> {
    let own = found.entries.iter().filter_map(|entry| {
        let address = *entry.address.as_ref().ok()?;
        let is_wanted =
            window.holds(address) && !avoid.contains(&address) && !lost.contains(&address);
        let is_own = is_wanted
            && fits(entry, &attachment.interface)
            && is_for(entry, &attachment.podref)
            && may_take_over(entry, attachment);
        is_own.then_some((entry, address))
    });
    own.min_by_key(|(_, address)| *address)
}

/// Whether the container that the entry names cannot run elsewhere any more.
fn may_take_over(entry: &Entry, attachment: &Attachment) -> bool {
    if is_of(entry, &attachment.container, &attachment.interface) {
        return true;
    }
    let same_uid = match (&entry.uid, &attachment.pod_uid) {
        (Some(recorded), Some(ours)) => *recorded == Uid::from(&**ours),
        _ => true,
    };
    let node = text_of(entry, "/owner/nodename");
    same_uid || attachment.node.as_deref().is_some_and(|ours| *ours == node)
}

/// What is recorded of an attachment.
pub(super) fn entry_of(attachment: &Attachment) -> Value {
    let Attachment {
        container,
        interface,
        podref,
        pod_uid,
        node,
        network: _,
    } = attachment;
    let mut owner = json!({ "id": container });
    for (member, value) in [("poduid", pod_uid), ("nodename", node)] {
        if let Some(value) = value {
            owner[member] = json!(value);
        }
    }
    json!({"id": container, "podref": podref, "ifname": interface, "owner": owner})
}
