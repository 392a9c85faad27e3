//! I/O: asking again, after pauses that are jittered so that callers do not stay in step.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::client::CallError;

/// How long to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A few times: whoever asked comes again soon.
    AFewTimes,
    /// More often: others change the same object.
    ForConflicts,
    /// As long as the calls' own deadline lets them.
    UntilTheDeadline,
}

/// The pauses between attempts.
pub fn pauses(patience: Patience) -> impl Iterator<Item = Duration> {
    let pauses = ExponentialBuilder::default().with_jitter();
    match patience {
        Patience::AFewTimes => pauses
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(7),
        Patience::ForConflicts => pauses
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_millis(500))
            .with_max_times(20),
        Patience::UntilTheDeadline => pauses
            .with_min_delay(Duration::from_millis(10))
            .with_max_delay(Duration::from_millis(300))
            .without_max_times(),
    }
    .build()
}

/// Repeats a call that is safe to repeat, as long as its failure may pass.
pub async fn repeat<T>(
    mut call: impl AsyncFnMut() -> Result<T, CallError>,
    may_go_on: impl Fn() -> bool,
) -> Result<T, CallError> {
    let mut pauses = pauses(Patience::AFewTimes);
    loop {
        match call().await {
            Err(error) if error.cause.is_passing() && may_go_on() => match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            },
            result => return result,
        }
    }
}

/// A number below `bound`, another one each time and in each process; 0 for a bound of 0.
#[must_use]
pub fn random_below(bound: usize) -> usize {
    // A new RandomState has new keys.
    let random = RandomState::new().hash_one(0u8);
    usize::try_from(random)
        .unwrap_or_default()
        .checked_rem(bound)
        .unwrap_or_default()
}
