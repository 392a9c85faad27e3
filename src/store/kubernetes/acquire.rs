//! I/O: ADD for one range: in turn, and together with others that wait for theirs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Kubernetes;
use super::batch::{Wanted, lead};
use super::own::recorded;
use super::settle::settle;
use super::spool::{Request, Taken, Wish};
use super::turn::Turn;
use crate::record::ObjectId;
use crate::store::{Acquired, Attachment, Error, Overlap, Range};

/// For how many others a process allocates at once: one patch, and one answer, of bounded size.
const MAX_BATCH: usize = 100;
/// The pause between two looks for an answer.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Allocates an address, or finds the one that the attachment has.
pub(super) async fn acquire(
    store: &Kubernetes,
    range: &Range<'_>,
    attachment: &Attachment,
    avoid: &BTreeSet<IpAddr>,
) -> Result<Acquired, Error> {
    let pool_id = store.pool_id(range);
    let window = range
        .config
        .window
        .as_ref()
        .map_err(|reason| Error::Exhausted(reason.clone()))?;
    let (mut turn, mut before) = (store.turn_now(&pool_id), None);
    let mut given = None;
    if turn.is_none() {
        let found = store.read_pool(&pool_id).await?;
        let known = recorded(found.as_ref(), attachment);
        let request = known
            .is_empty()
            .then(|| ask(store, range, attachment, avoid));
        before = Some(known);
        match wait(store, &pool_id, request.flatten()).await? {
            Waited::Turn(had) => turn = Some(had),
            Waited::Answered(address) => given = Some(address),
        }
    }
    let mut turn = turn.unwrap_or_else(Turn::none);
    if turn.is_held() {
        let others = Taken::all(
            &store.lock_folder,
            &pool_id,
            &source(store, range),
            MAX_BATCH,
        );
        if !others.is_empty() {
            let own = Wanted { attachment, avoid };
            given = Box::pin(lead(store, range, window, own, others)).await;
        }
    }
    if let Some(address) = given {
        turn.end();
        if is_protected(store, range, address, attachment).await {
            return Ok(Acquired {
                address,
                was_held: false,
            });
        }
    }
    // Boxed, or it would be a part of each future that leads here.
    Box::pin(settle(
        store, range, window, attachment, avoid, before, turn,
    ))
    .await
}

/// How the wait for the turn ended.
enum Waited {
    /// It is this process's turn, or it goes on without.
    Turn(Turn),
    /// Another process has done what was asked for.
    Answered(IpAddr),
}

/// Asks whoever has the turn; without it this process does it alone.
fn ask(
    store: &Kubernetes,
    range: &Range<'_>,
    attachment: &Attachment,
    avoid: &BTreeSet<IpAddr>,
) -> Option<Request> {
    let wish = Wish {
        from: source(store, range),
        attachment: attachment.clone(),
        avoid: avoid.clone(),
    };
    let filed = Request::file(&store.lock_folder, &store.pool_id(range), &wish);
    filed
        .inspect_err(|error| tracing::debug!(%error, "No request could be filed"))
        .ok()
}

/// What has to be the same for two processes to get addresses from one of them.
fn source(store: &Kubernetes, range: &Range<'_>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("{version} {} {range:?}", store.client.server())
}

/// Waits for the turn, or for what was asked for.
///
/// A request that was taken binds: whoever has it may be recording an address this moment, and would
/// take it back from a process that has gone.
async fn wait(
    store: &Kubernetes,
    pool: &ObjectId,
    request: Option<Request>,
) -> Result<Waited, Error> {
    let turn = store.turn(pool).await;
    let Some(request) = request else {
        return Ok(Waited::Turn(turn));
    };
    loop {
        if let Some(address) = request.answer() {
            return Ok(Waited::Answered(address));
        }
        // With the turn: whoever had it has ended without an answer.
        if turn.is_held() || request.withdraw() {
            return Ok(Waited::Turn(turn));
        }
        if Instant::now() >= store.client.deadline() {
            return Err(Error::Contended {
                pool: pool.to_string(),
                last: "another process of this node was at it, and has not answered".to_owned(),
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether the claim of an address that was recorded for the attachment is there: the Go program's
/// DEL deletes reservations by name, whoever owns them.
async fn is_protected(
    store: &Kubernetes,
    range: &Range<'_>,
    address: IpAddr,
    attachment: &Attachment,
) -> bool {
    if range.overlap == Overlap::Ignored {
        return true;
    }
    let claim = store
        .read_claim(&store.reservation_id(range, address))
        .await;
    matches!(claim, Ok(Some(claim)) if claim.is_of(attachment))
}
