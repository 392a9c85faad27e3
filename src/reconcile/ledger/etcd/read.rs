//! I/O: keys of etcd, all as of one revision, or an error.

use std::collections::BTreeSet;

use etcd_client::{GetOptions, KeyValue};

use super::pools::{Filing, Place};
use super::{EtcdLedger, KEYS};
use crate::client::{Call, CallError, Cause, Refusal};
use crate::reconcile::records::Records;
use crate::reconcile::snapshot::MAX_RESTARTS;
use crate::record::{ObjectId, PoolObject};
use crate::store::etcd::layout::{ADDRESSES, ANNOTATIONS, ROOT};

/// The most keys that are asked for at once: with values of the usual size an answer of this many has
/// half a megabyte.
const MAX_KEYS_A_PAGE: u32 = 2000;

/// From which key to before which other one.
type Span = (String, String);

impl EtcdLedger {
    /// Reads all pools with their entries.
    ///
    /// # Errors
    /// When they cannot be read to their end.
    pub(in crate::reconcile) async fn read_pools(
        &self,
        page: u32,
    ) -> Result<Vec<PoolObject>, CallError> {
        let [networks, ranges] = ADDRESSES;
        let spans = [networks, ranges, ANNOTATIONS].map(all_below);
        self.read(&spans, page).await
    }

    /// Reads some pools again; those that are gone are left out.
    ///
    /// # Errors
    /// When they cannot be read to their end.
    pub(in crate::reconcile) async fn read_again(
        &self,
        pools: impl IntoIterator<Item = ObjectId>,
    ) -> Result<Records, CallError> {
        let wanted: BTreeSet<ObjectId> = pools.into_iter().collect();
        let places = wanted.iter().flat_map(Place::readings);
        let spans: Vec<Span> = places.map(|place| place.span()).collect();
        let mut found = Vec::new();
        if !spans.is_empty() {
            found = self.read(&spans, MAX_KEYS_A_PAGE).await?;
            found.retain(|object| wanted.contains(&object.pool.id));
        }
        Ok(Records::new(found, Vec::new()))
    }

    /// Reads all keys of some spans. The first page is as new as etcd, and all others belong to the same
    /// revision.
    ///
    /// When etcd has forgotten that revision between two pages, everything is read again from the start.
    async fn read(&self, spans: &[Span], page: u32) -> Result<Vec<PoolObject>, CallError> {
        let call = Call {
            verb: "read",
            resource: KEYS,
            object: ROOT,
        };
        for restart in 0..=MAX_RESTARTS {
            match self.read_once(&call, spans, page).await {
                Err(error) if is_compacted(&error) => {
                    tracing::warn!(restart, "etcd was compacted between two pages");
                }
                read => return read,
            }
        }
        Err(call.failed(Cause::Expired(MAX_RESTARTS.saturating_add(1))))
    }

    async fn read_once(
        &self,
        call: &Call<'_>,
        spans: &[Span],
        page: u32,
    ) -> Result<Vec<PoolObject>, CallError> {
        let page = page.min(MAX_KEYS_A_PAGE);
        let (mut filing, mut revision) = (Filing::default(), None);
        for (first, end) in spans {
            let (mut first, mut left) = (first.clone(), None);
            loop {
                let options = GetOptions::new()
                    .with_range(end.clone())
                    .with_limit(page.into())
                    .with_revision(revision.unwrap_or_default());
                let answer = self.get(call, &first, options).await?;
                let at = answer.header().map(etcd_client::ResponseHeader::revision);
                let at = at.ok_or_else(|| call.unreadable("an answer without its revision"))?;
                revision.get_or_insert(at);
                let keys = answer.kvs();
                see(call, &mut filing, keys)?;
                // How many there are from this key on, of which a page is a part.
                let count = usize::try_from(answer.count()).unwrap_or_default();
                let rest = count.checked_sub(keys.len());
                let is_whole =
                    left.is_none_or(|left| left == count) && answer.more() == (rest > Some(0));
                let (Some(rest), true) = (rest, is_whole) else {
                    return Err(call.unreadable("a page does not fit to the one before it"));
                };
                left = Some(rest);
                match keys.last().filter(|_| rest > 0) {
                    Some(last) => first = format!("{}\0", text(call, last)?),
                    None => break,
                }
            }
        }
        let revision = revision.ok_or_else(|| call.unreadable("nothing was asked for"))?;
        Ok(filing.finish(revision))
    }
}

fn see(call: &Call<'_>, filing: &mut Filing, keys: &[KeyValue]) -> Result<(), CallError> {
    for found in keys {
        filing.see(text(call, found)?, found.value());
    }
    Ok(())
}

fn text<'a>(call: &Call<'_>, found: &'a KeyValue) -> Result<&'a str, CallError> {
    found.key_str().map_err(|error| call.unreadable(error))
}

fn is_compacted(error: &CallError) -> bool {
    let compacted = Refusal::Compacted;
    matches!(&error.cause, Cause::Etcd { refusal, .. } if *refusal == compacted)
}

/// All keys that begin so.
fn all_below(prefix: &str) -> Span {
    // The byte that follows a slash.
    let end = format!("{}0", prefix.trim_end_matches('/'));
    (prefix.to_owned(), end)
}
