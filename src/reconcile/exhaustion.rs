//! PURE: when a pool will be full, if it goes on as it did.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::record::history::Sample;

/// From less than this nothing is concluded.
const MIN_SPAN: Duration = Duration::from_hours(1);

/// How long the free addresses last at the pace since the oldest sample; `None` when the pool does not
/// fill, or when it is not known.
#[must_use]
pub fn time_left(
    samples: &[Sample],
    allocated: u64,
    usable: u128,
    now: Timestamp,
) -> Option<Duration> {
    let first = samples.first()?;
    let span = Duration::try_from(now.duration_since(first.at)).ok()?;
    let grown = u128::from(allocated.checked_sub(first.allocated)?);
    if span < MIN_SPAN || grown == 0 {
        return None;
    }
    let left = usable.saturating_sub(allocated.into());
    let seconds = left.checked_mul(u128::from(span.as_secs()))? / grown;
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// A length of time as a person wants to know it: `45m`, `7h`, `12d`, `3y`.
#[must_use]
pub fn in_words(length: Duration) -> String {
    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    let seconds = length.as_secs();
    let (unit, name) = match seconds {
        0..HOUR => (60, "m"),
        HOUR..DAY => (HOUR, "h"),
        DAY..YEAR => (DAY, "d"),
        YEAR.. => (YEAR, "y"),
    };
    format!("{}{name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_794_997_600 + hours * 3600).unwrap()
    }

    fn left(samples: &[(i64, u64)], allocated: u64, usable: u128) -> Option<String> {
        let samples: Vec<Sample> = samples
            .iter()
            .map(|(hours, allocated)| Sample {
                at: at(*hours),
                allocated: *allocated,
            })
            .collect();
        time_left(&samples, allocated, usable, at(10)).map(in_words)
    }

    #[test]
    fn a_pool_lasts_as_long_as_its_pace_says() {
        for (samples, allocated, usable, expected) in [
            (&[(0, 100)][..], 200, 254, Some("5h")),
            (&[(0, 100), (9, 190)], 200, 254, Some("5h")),
            (&[(8, 10)], 20, 65_534, Some("1y")),
            (&[(8, 252)], 254, 254, Some("0m")),
            (&[(0, 100)], 100, 254, None),
            (&[(0, 100)], 90, 254, None),
            (&[], 90, 254, None),
            (&[(10, 1)], 90, 254, None),
            (&[(12, 1)], 90, 254, None),
            (&[(0, 1)], 2, u128::MAX, None),
        ] {
            assert_eq!(
                left(samples, allocated, usable).as_deref(),
                expected,
                "{samples:?}"
            );
        }
    }
}
