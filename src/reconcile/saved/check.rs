//! PURE: whether a report names objects as the API does.
//!
//! Its names become parts of paths: one with a slash in it would lead to another object.

use super::SavedReport;
use crate::reconcile::ledger::Datastore;

/// The first name in a report that no object can have.
pub(super) fn odd_name(report: &SavedReport) -> Option<&str> {
    if report.datastore == Datastore::Etcd {
        // Its pools become parts of keys, in which a slash is escaped.
        return None;
    }
    let of_entries = report.allocations.iter().flat_map(|saved| {
        let ids = [saved.namespace.as_str(), saved.pool.as_str()];
        let reservations = saved.reservations.iter().map(String::as_str);
        ids.into_iter().chain(reservations)
    });
    let of_reservations = report.reservations.iter().flat_map(|saved| {
        let (namespace, name) = saved.id();
        [namespace, name]
    });
    of_entries
        .chain(of_reservations)
        .find(|name| !is_object_name(name))
}

/// Whether the API server can have let an object have this name (RFC 1123).
fn is_object_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    ends.is_some_and(|(first, last)| is_plain(*first) && is_plain(*last))
        && bytes
            .iter()
            .all(|byte| is_plain(*byte) || matches!(byte, b'-' | b'.'))
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_change_a_path_is_none() {
        for name in ["10.0.0.0-24", "kube-system", "fd00--5", "a"] {
            assert!(is_object_name(name), "{name:?}");
        }
        for name in [
            "", "..", "a/b", "a..b", "a?b", "A", "-a", "a-", "a%2fb", "a b",
        ] {
            assert!(!is_object_name(name), "{name:?}");
        }
    }
}
