//! I/O: asking again, a bounded number of times.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::client::CallError;

/// The pauses between attempts: jittered, so that two runs do not stay in step.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(7)
        .with_jitter()
        .build()
}

/// Repeats a call that is safe to repeat, as long as its failure may pass.
pub(super) async fn repeat<T>(
    mut call: impl AsyncFnMut() -> Result<T, CallError>,
    may_go_on: impl Fn() -> bool,
) -> Result<T, CallError> {
    let mut pauses = pauses();
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
