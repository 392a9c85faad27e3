//! PURE: how full a pool was, as an annotation remembers it between runs.
//!
//! `2026-11-23T22:10:00Z=120 2026-11-23T23:15:00Z=131`: the time, and how many addresses were
//! allocated. What cannot be read is left out.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The annotation.
pub const USE_HISTORY_KEY: &str = "whereabouts.cni.cncf.io/use-history";

/// Samples are at least so far apart, so that a pool is seldom written for their sake.
const APART: Duration = Duration::from_hours(1);

/// What lies further back says nothing of how a pool fills now.
const KEPT_FOR: Duration = Duration::from_hours(7 * 24);

/// At most so many samples are kept.
const MAX_SAMPLES: usize = 24;

/// How many addresses were allocated at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// How many.
    pub allocated: u64,
}

/// Reads the annotation of a pool; the oldest sample comes first.
#[must_use]
pub fn parse(text: &str) -> Vec<Sample> {
    let read = |sample: &str| {
        let (at, allocated) = sample.split_once('=')?;
        let (at, allocated) = (at.parse().ok()?, allocated.parse().ok()?);
        Some(Sample { at, allocated })
    };
    let mut samples: Vec<Sample> = text.split(' ').filter_map(read).collect();
    samples.sort_by_key(|sample| sample.at);
    samples.drain(..samples.len().saturating_sub(MAX_SAMPLES));
    samples
}

/// The annotation with what is allocated now; `None` when there is nothing new to remember, or it
/// is too early.
#[must_use]
pub fn extended(samples: &[Sample], now: Sample) -> Option<String> {
    let age = |sample: &Sample| now.at.duration_since(sample.at);
    let is_within = |sample: &Sample, length: Duration| {
        SignedDuration::try_from(length).is_ok_and(|length| age(sample) < length)
    };
    // Samples of the future are those of a clock that went wrong.
    let past = samples.iter().filter(|sample| sample.at <= now.at);
    let mut kept: Vec<Sample> = past
        .filter(|sample| is_within(sample, KEPT_FOR))
        .copied()
        .collect();
    if let Some(last) = kept.last()
        && (last.allocated == now.allocated || is_within(last, APART))
    {
        return None;
    }
    kept.push(now);
    kept.drain(..kept.len().saturating_sub(MAX_SAMPLES));
    let texts: Vec<String> = kept
        .iter()
        .map(|Sample { at, allocated }| format!("{at:.0}={allocated}"))
        .collect();
    Some(texts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(hours: i64, allocated: u64) -> Sample {
        let at = Timestamp::from_second(1_794_997_600 + hours * 3600).unwrap();
        Sample { at, allocated }
    }

    #[test]
    fn a_sample_is_added_when_something_changed_an_hour_later() {
        let text = extended(&[], sample(0, 5)).unwrap();
        assert_eq!(text, "2026-11-18T10:26:40Z=5");
        let one = parse(&text);
        assert_eq!(one, [sample(0, 5)]);
        assert_eq!(extended(&one, sample(9, 5)), None);
        assert_eq!(extended(&one, sample(0, 6)), None);
        let two = parse(&extended(&one, sample(1, 6)).unwrap());
        assert_eq!(two, [sample(0, 5), sample(1, 6)]);
    }

    #[test]
    fn old_samples_and_those_of_the_future_go() {
        let samples = [sample(0, 1), sample(100, 2), sample(300, 3)];
        let text = extended(&samples, sample(200, 4)).unwrap();
        assert_eq!(parse(&text), [sample(100, 2), sample(200, 4)]);
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut samples = Vec::new();
        for hour in 0..99 {
            let allocated = u64::try_from(hour).unwrap();
            samples = parse(&extended(&samples, sample(hour, allocated)).unwrap());
        }
        assert_eq!((samples.len(), samples[0]), (MAX_SAMPLES, sample(75, 75)));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(parse(""), []);
        let text = "x=1 2026-11-18T10:26:40Z=-1 2026-11-18T10:26:40Z 2026-11-18T10:26:40Z=7 =";
        assert_eq!(parse(text), [sample(0, 7)]);
    }
}
