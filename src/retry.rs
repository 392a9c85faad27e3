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
    }
    .build()
}

/// The first and the longest window of [`crowd_pause`].
const WINDOWS: (Duration, Duration) = (Duration::from_millis(30), Duration::from_secs(2));

/// A pause for one of many that want the same, after so many conflicts: drawn from windows that
/// double, so that they part ways however many they are.
#[must_use]
pub fn crowd_pause(conflicts: usize) -> Duration {
    let (first, longest) = WINDOWS;
    let double = |window: Duration| window.saturating_mul(2);
    let window = (0..conflicts.min(16)).fold(first, |window, _| double(window).min(longest));
    random_within(window)
}

/// Less than a time, another one each time and in each process.
#[must_use]
pub fn random_within(window: Duration) -> Duration {
    let window = usize::try_from(window.as_micros()).unwrap_or(usize::MAX);
    Duration::from_micros(u64::try_from(random_below(window)).unwrap_or_default())
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
