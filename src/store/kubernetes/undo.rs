//! I/O: takes back what a call wrote that failed.

use super::Kubernetes;
use super::claims::Claim;
use super::own::is_of;
use super::pools::Change;
use crate::record::{Entry, ObjectId};
use crate::store::Attachment;

/// After a failure: takes entries out again that were recorded all the same.
pub(super) async fn take_back(store: &Kubernetes, pool: &ObjectId, meant: &[(&str, &Attachment)]) {
    if meant.is_empty() {
        return;
    }
    let store = &store.for_taking_back();
    let Ok(Some(now)) = store.read_pool(pool).await else {
        return;
    };
    let is_meant = |entry: &Entry| {
        meant.iter().any(|(key, attachment)| {
            *entry.key == **key && is_of(entry, &attachment.container, &attachment.interface)
        })
    };
    let ours = now.entries.iter().filter(|entry| is_meant(entry));
    let changes: Vec<Change<'_>> = ours.map(Change::Remove).collect();
    if !changes.is_empty()
        && let Err(error) = store.change_all(&now.pool, changes).await
    {
        tracing::warn!(%pool, %error, "Entries are left for the reconciler");
    }
}

/// After a failure: deletes the claim again.
pub(super) async fn give_back(store: &Kubernetes, claim: Option<&Claim>) {
    if let Some(claim) = claim
        && let Err(error) = store.for_taking_back().drop_claim(claim).await
    {
        tracing::warn!(reservation = %claim.id, %error, "A claim is left for the reconciler");
    }
}
