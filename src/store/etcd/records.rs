//! I/O: reading and changing the record of an address, each change guarded by what was read.

use std::collections::BTreeSet;
use std::net::IpAddr;

use etcd_client::{
    Compare, CompareOp, GetOptions, KeyValue, ResponseHeader, Txn, TxnOp, TxnOpResponse,
};

use super::blocks::Block;
use super::connect::{Connection, Failure};
use super::layout::{Key, Record, led_to, pod_prefix};
use crate::store::{Overlap, Range};

/// How many keys are read at once.
const PAGE: i64 = 500;

/// An address that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) record: Record,
    revision: i64,
}

/// The record behind a key; what cannot be read is said, and left as it is.
fn held(key: Key, kv: &KeyValue) -> Option<Held> {
    match serde_json::from_slice(kv.value()) {
        Ok(record) => Some(Held {
            key,
            record,
            revision: kv.mod_revision(),
        }),
        Err(error) => {
            let key = key.text();
            tracing::warn!(key, %error, "A value in etcd cannot be read: its address stays taken until the key is deleted");
            None
        }
    }
}

/// What index keys with a prefix lead to.
pub(super) struct Look {
    pub(super) found: Vec<Held>,
    /// Up to which revision of etcd the index was read.
    pub(super) revision: i64,
}

/// The records that index keys with this prefix lead to.
pub(super) async fn behind(store: &Connection, prefix: &str) -> Result<Look, Failure> {
    let options = GetOptions::new().with_prefix().with_keys_only();
    let index = store.get(prefix, Some(options)).await?;
    let revision = index.header().map_or(0, ResponseHeader::revision);
    let mut found = Vec::new();
    for kv in index.kvs() {
        let Some(key) = kv.key_str().ok().and_then(|text| led_to(prefix, text)) else {
            continue;
        };
        let read = store.get(&key.text(), None).await?;
        found.extend(read.kvs().first().and_then(|kv| held(key, kv)));
    }
    Ok(Look { found, revision })
}

/// The keys under which an address of the range may be recorded: that of the network, and that of the
/// range. Both have to be free, so that an address is given once whether or not its range was protected
/// when that was done.
fn places(range: &Range<'_>, address: IpAddr) -> [Key; 2] {
    [
        Key::of_network(range, address),
        Key::of_range(range, address),
    ]
}

/// Where an address of the range is recorded as the range is protected now.
pub(super) fn place(range: &Range<'_>, address: IpAddr) -> Key {
    match range.overlap {
        Overlap::Protected => Key::of_network(range, address),
        Overlap::Ignored => Key::of_range(range, address),
    }
}

/// Records an address that nobody has; `false` when somebody has it, or the pod's interface was given
/// anything after that revision. That keeps a claim whose answer was lost, and that etcd carries out
/// late, from giving a second one.
pub(super) async fn create(
    store: &Connection,
    range: &Range<'_>,
    (address, record): (IpAddr, &Record),
    looked: i64,
) -> Result<bool, Failure> {
    let pod = pod_prefix(&record.podref, &record.ifname);
    let later = looked.saturating_add(1);
    let mut guards = vec![Compare::mod_revision(pod, CompareOp::Less, later).with_prefix()];
    let free =
        places(range, address).map(|key| Compare::create_revision(key.text(), CompareOp::Equal, 0));
    guards.extend(free);
    let key = place(range, address);
    let txn = Txn::new().when(guards).and_then(puts(&key, record));
    Ok(store.txn(&key.text(), txn).await?.succeeded())
}

/// Puts another record in the place of this one, and where its range says that it belongs; `false` when
/// it was changed, or the address is somebody else's there.
pub(super) async fn replace(
    store: &Connection,
    range: &Range<'_>,
    old: &Held,
    new: &Record,
) -> Result<bool, Failure> {
    // What is protected already stays so.
    let key = if old.key.range.is_none() {
        old.key.clone()
    } else {
        place(range, old.key.address)
    };
    let mut guards = vec![unchanged(old)];
    let mut operations = Vec::new();
    if key != old.key {
        guards.push(Compare::create_revision(key.text(), CompareOp::Equal, 0));
        operations.push(TxnOp::delete(old.key.text(), None));
    }
    // No key may be changed twice in one transaction.
    let kept = new.indexes(&key);
    let gone = old.record.indexes(&old.key);
    let gone = gone.into_iter().filter(|index| !kept.contains(index));
    operations.extend(gone.map(|index| TxnOp::delete(index, None)));
    operations.extend(puts(&key, new));
    let txn = Txn::new().when(guards).and_then(operations);
    Ok(store.txn(&key.text(), txn).await?.succeeded())
}

/// Deletes a record, if it is still what was read; `false` when it is not.
pub(super) async fn delete(store: &Connection, old: &Held) -> Result<bool, Failure> {
    let key = old.key.text();
    let indexes = old.record.indexes(&old.key).into_iter();
    let keys = indexes.chain([key.clone()]);
    let deletes: Vec<TxnOp> = keys.map(|key| TxnOp::delete(key, None)).collect();
    let txn = Txn::new().when([unchanged(old)]).and_then(deletes);
    Ok(store.txn(&key, txn).await?.succeeded())
}

fn unchanged(old: &Held) -> Compare {
    Compare::mod_revision(old.key.text(), CompareOp::Equal, old.revision)
}

fn puts(key: &Key, record: &Record) -> Vec<TxnOp> {
    let indexes = record.indexes(key).into_iter();
    let indexes = indexes.map(|index| TxnOp::put(index, "", None));
    std::iter::once(TxnOp::put(key.text(), record.value(), None))
        .chain(indexes)
        .collect()
}

/// How many keys there are in each block, for all of them in one transaction: no key is read.
pub(super) async fn count(
    store: &Connection,
    range: &Range<'_>,
    blocks: &[Block],
) -> Result<Vec<u128>, Failure> {
    let counts = blocks.iter().flat_map(|block| {
        spans(range, *block).map(|(first, end)| {
            let options = GetOptions::new().with_range(end).with_count_only();
            TxnOp::get(first, Some(options))
        })
    });
    let txn = Txn::new().and_then(counts.collect::<Vec<_>>());
    let answer = store.look("addresses", txn).await?;
    let counts = answer
        .op_responses()
        .into_iter()
        .map(|answer| match answer {
            TxnOpResponse::Get(got) => u128::try_from(got.count()).unwrap_or_default(),
            _ => 0,
        });
    let counts: Vec<u128> = counts.collect();
    Ok(counts.chunks(2).map(|both| both.iter().sum()).collect())
}

/// The addresses of a block that are recorded.
pub(super) async fn taken(
    store: &Connection,
    range: &Range<'_>,
    block: Block,
) -> Result<BTreeSet<IpAddr>, Failure> {
    let mut all = BTreeSet::new();
    for (first, end) in spans(range, block) {
        let mut read = async |page: &[KeyValue]| {
            let keys = page.iter().filter_map(|kv| kv.key_str().ok());
            all.extend(keys.filter_map(Key::read).map(|key| key.address));
            Ok(())
        };
        pages(store, (first, end), true, &mut read).await?;
    }
    Ok(all)
}

/// The records of a range in a block, page by page.
pub(super) async fn each(
    store: &Connection,
    range: &Range<'_>,
    block: Block,
    mut action: impl AsyncFnMut(Held) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for span in spans(range, block) {
        let mut read = async |page: &[KeyValue]| {
            for kv in page {
                let key = kv.key_str().ok().and_then(Key::read);
                if let Some(held) = key.and_then(|key| held(key, kv)) {
                    action(held).await?;
                }
            }
            Ok(())
        };
        pages(store, span, false, &mut read).await?;
    }
    Ok(())
}

async fn pages(
    store: &Connection,
    (mut first, end): (String, String),
    keys_only: bool,
    read: &mut impl AsyncFnMut(&[KeyValue]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
        let options = if keys_only {
            options.with_keys_only()
        } else {
            options
        };
        let page = store.get(&first, Some(options)).await?;
        read(page.kvs()).await?;
        match page.kvs().last().and_then(|kv| kv.key_str().ok()) {
            Some(last) if page.more() => first = format!("{last}\0"),
            _ => return Ok(()),
        }
    }
}

/// From which key to before which other one the addresses of a block are recorded.
fn spans(range: &Range<'_>, block: Block) -> [(String, String); 2] {
    let [first, last] = [block.first, block.last].map(|address| places(range, address));
    let [of_network, of_range] = first;
    let [end_of_network, end_of_range] = last;
    [
        (of_network.text(), format!("{}\0", end_of_network.text())),
        (of_range.text(), format!("{}\0", end_of_range.text())),
    ]
}
