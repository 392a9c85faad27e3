//! I/O: ADD for one range: in turn, and together with others that wait for theirs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::Kubernetes;
use super::batch::{Wanted, lead};
use super::own::recorded;
use super::settle::settle;
use super::spool::{Request, Taken, Waiting, Wish};
use super::take::Crowd;
use super::turn::Turn;
use crate::record::ObjectId;
use crate::store::{Acquired, Attachment, Error, Range};

/// For how many others a process allocates at once: one patch, and one answer, of bounded size.
const MAX_BATCH: usize = 100;
/// How long to wait for an answer before looking what the pool records of the attachment.
///
/// Most are answered by then, and need no connection of their own. What is recorded so soon after
/// the call began is not that of a container after this call's: no runtime gives up on a call and
/// starts the next within this time.
const BEFORE_A_LOOK: Duration = Duration::from_secs(1);
/// The pause between two looks for an answer; and which part of the time waited it is at least.
const LOOK_EVERY: (Duration, u32) = (Duration::from_millis(20), 20);

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
    let (mut given, mut crowd) = (None, Crowd::default());
    let mut may_lead = true;
    if turn.is_none() {
        let request = ask(store, range, attachment, avoid);
        let mut waiting = pin!(wait(store, &pool_id, request.as_ref()));
        let soon = tokio::time::timeout(BEFORE_A_LOOK, &mut waiting).await;
        let waited = if let Ok(waited) = soon {
            waited
        } else {
            let told = request.as_ref().and_then(Request::before);
            before = Some(match told {
                Some(told) => told,
                None => look(store, &pool_id, attachment).await?,
            });
            waiting.await
        };
        match waited? {
            Waited::Turn(had) => turn = Some(had),
            Waited::Left(had) => {
                turn = Some(had);
                may_lead = false;
                crowd.is_left = true;
            }
            Waited::Answered(address) => given = Some(address),
        }
    }
    let turn = turn.unwrap_or_else(Turn::none);
    if turn.is_held() && may_lead {
        let from = source(store, range);
        let others = Taken::all(&store.lock_folder, &pool_id, &from, MAX_BATCH);
        if !others.is_empty() {
            let own = Wanted { attachment, avoid };
            // Without other nodes they are served before they need to know.
            let is_crowded = store.crowd(&pool_id) > 0;
            let waiting = is_crowded.then(|| Waiting::now(&store.lock_folder, &pool_id, &from));
            let waiting = waiting.unwrap_or_default();
            given = Box::pin(lead(store, range, window, own, (others, waiting))).await;
        }
    }
    if let Some(address) = given {
        return Ok(Acquired {
            address,
            was_held: false,
        });
    }
    // Boxed, or it would be a part of each future that leads here.
    Box::pin(settle(
        store,
        range,
        (window, avoid),
        attachment,
        before,
        (crowd, turn),
    ))
    .await
}

/// How the wait for the turn ended.
enum Waited {
    /// It is this process's turn, or it goes on without.
    Turn(Turn),
    /// Its turn has come, and whoever had it before has died at what was asked for.
    Left(Turn),
    /// Another process has done what was asked for.
    Answered(IpAddr),
}

/// What the pool records of the attachment, in the server's cache: what was recorded a moment ago and is
/// missing there counts as recorded since.
async fn look(
    store: &Kubernetes,
    pool: &ObjectId,
    attachment: &Attachment,
) -> Result<BTreeSet<Box<str>>, Error> {
    let found = store.glance_at_pool(pool, None).await?;
    Ok(recorded(found.as_ref(), attachment))
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
    request: Option<&Request>,
) -> Result<Waited, Error> {
    let mut turn = pin!(store.turn(pool));
    let Some(request) = request else {
        return Ok(Waited::Turn(turn.await));
    };
    let started = Instant::now();
    let pause = || {
        let (least, part) = LOOK_EVERY;
        least.max(started.elapsed() / part)
    };
    // Not only when it is this process's turn: others may have theirs before.
    let turn = loop {
        if let Ok(turn) = tokio::time::timeout(pause(), &mut turn).await {
            break turn;
        }
        if let Some(address) = request.answer() {
            return Ok(Waited::Answered(address));
        }
    };
    loop {
        if let Some(address) = request.answer() {
            return Ok(Waited::Answered(address));
        }
        if request.withdraw() {
            return Ok(Waited::Turn(turn));
        }
        if turn.is_held() {
            return Ok(Waited::Left(turn));
        }
        if Instant::now() >= store.client.deadline() {
            return Err(Error::Contended {
                pool: pool.to_string(),
                last: "another process of this node was at it, and has not answered".to_owned(),
            });
        }
        tokio::time::sleep(pause()).await;
    }
}
