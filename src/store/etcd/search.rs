//! I/O: the lowest free addresses of a range, with few keys read however many are taken.
//!
//! etcd counts the keys of blocks of addresses without handing them out; only those of a block that is
//! not full are read.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::blocks::{Block, blocks};
use super::connect::Connection;
use super::records;
use crate::allocate::Window;
use crate::store::{Error, Range};

/// How many blocks are counted at once: etcd takes 128 operations in a transaction, and each block has
/// two kinds of keys.
const AT_ONCE: usize = 60;
/// A block of at most so many addresses is read.
const READABLE: u128 = 1024;

/// The `wanted` lowest free addresses, or as many as there are.
///
/// # Errors
/// When there is none, or etcd cannot say.
pub(super) async fn free(
    store: &Connection,
    range: &Range<'_>,
    window: &Window,
    avoid: &BTreeSet<IpAddr>,
    wanted: usize,
) -> Result<Vec<IpAddr>, Error> {
    let mut all = Vec::new();
    let mut next = blocks(window);
    loop {
        let some: Vec<Block> = next.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        for block in not_full(store, range, &some).await? {
            all.extend(free_in(store, range, window, avoid, (block, wanted)).await?);
            if all.len() >= wanted {
                all.truncate(wanted);
                return Ok(all);
            }
        }
    }
    if all.is_empty() {
        all.extend(look_at_all(store, range, window, avoid).await?);
    }
    Ok(all)
}

async fn not_full(
    store: &Connection,
    range: &Range<'_>,
    blocks: &[Block],
) -> Result<Vec<Block>, Error> {
    let counts = records::count(store, range, blocks).await?;
    let counted = blocks.iter().zip(counts);
    let open = counted.filter(|(block, count)| *count < block.capacity());
    Ok(open.map(|(block, _)| *block).collect())
}

/// Those of one block: of the first part of it that is not full, and so on until it can be read.
async fn free_in(
    store: &Connection,
    range: &Range<'_>,
    window: &Window,
    avoid: &BTreeSet<IpAddr>,
    (block, wanted): (Block, usize),
) -> Result<Vec<IpAddr>, Error> {
    let mut open = vec![block];
    while let Some(block) = open.pop() {
        if block.capacity() > READABLE {
            let parts = block.split(u128::try_from(AT_ONCE).unwrap_or(1));
            let mut parts = not_full(store, range, &parts).await?;
            parts.reverse();
            open.extend(parts);
            continue;
        }
        let mut taken = records::taken(store, range, block).await?;
        taken.extend(avoid);
        let part = window.part(block.first, block.last);
        let free: Vec<IpAddr> = part.free(&taken).take(wanted).collect();
        if !free.is_empty() {
            return Ok(free);
        }
    }
    Ok(Vec::new())
}

/// Before it is said that there is none: a key in both of its places, or of an address that is never
/// allocated, is counted but takes nothing.
async fn look_at_all(
    store: &Connection,
    range: &Range<'_>,
    window: &Window,
    avoid: &BTreeSet<IpAddr>,
) -> Result<Option<IpAddr>, Error> {
    let (first, last) = window.ends();
    let mut taken = records::taken(store, range, Block { first, last }).await?;
    taken.extend(avoid);
    window
        .lowest(&taken)
        .map(Some)
        .map_err(|full| Error::Exhausted(full.to_string()))
}
