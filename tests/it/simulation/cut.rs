//! Calls that are cut off, or whose answers are lost (I/O).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::dice::Dice;
use crate::support::proxy::{Fault, Proxy, Seen};

/// What goes wrong with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// The process is killed before the server has it.
    KilledBefore,
    /// The process is killed when the server has carried it out.
    KilledAfter,
    /// The server does not carry it out, and says so, or the connection ends.
    Refused,
    Dropped,
    /// The server carries it out, and the answer is lost.
    Unanswered,
    Misreported,
}

const ALL: [How; 6] = [
    How::KilledBefore,
    How::KilledAfter,
    How::Refused,
    How::Dropped,
    How::Unanswered,
    How::Misreported,
];

/// Something that goes wrong with the nth write of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    write: usize,
    how: How,
}

impl Cut {
    /// Any fault at any of the first writes.
    pub(super) fn any(dice: &mut Dice, writes: usize) -> Cut {
        let how = dice.pick(&ALL).unwrap();
        let write = dice.below(writes);
        Cut { write, how }
    }

    /// Carries something out whose writes are `meant`, and lets this go wrong; `None`: its process
    /// was killed.
    pub(super) async fn during<T>(
        cut: Option<Cut>,
        proxy: &Proxy,
        meant: impl Fn(&Seen) -> bool + Send + 'static,
        process: impl Future<Output = T>,
    ) -> Option<T> {
        let Some(Cut { write, how }) = cut else {
            return Some(process.await);
        };
        let killed = Arc::new(Notify::new());
        let is_armed = Arc::new(AtomicBool::new(true));
        let armed = Arc::clone(&is_armed);
        let writes = AtomicUsize::new(0);
        let nth = move |seen: &Seen| {
            let counts = armed.load(Ordering::Relaxed) && seen.is_write() && meant(seen);
            counts && writes.fetch_add(1, Ordering::Relaxed) == write
        };
        let kill = {
            let killed = Arc::clone(&killed);
            async move {
                killed.notify_one();
                std::future::pending::<()>().await;
            }
        };
        let fault = match how {
            How::KilledBefore | How::KilledAfter => Fault::Hang,
            How::Refused => Fault::Status(500, "InternalError"),
            How::Dropped => Fault::DropConnection,
            How::Unanswered => Fault::DropAfter,
            How::Misreported => Fault::StatusAfter(500),
        };
        match how {
            How::KilledBefore => proxy.before(nth, kill),
            How::KilledAfter => proxy.after(nth, kill),
            _ => proxy.rule(move |seen| nth(seen).then(|| fault.clone())),
        }
        // Whoever loses is dropped: a process with all that it has begun.
        let ended = tokio::select! {
            ended = process => Some(ended),
            () = killed.notified() => None,
        };
        is_armed.store(false, Ordering::Relaxed);
        ended
    }
}
