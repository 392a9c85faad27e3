//! PURE: how long an orphan has been seen as one, and whether that is long enough.
//!
//! A pod that is deleted by force is gone while its containers still run for their grace period, and
//! a kubelet that comes back needs a while to say what runs. So an operator may want a record to be
//! seen as an orphan for some time, and its node to be Ready for as long, before it is released.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::record::marks::Mark;

/// Orphans seen as such by two complete runs so far apart no longer count for the brake.
pub const CONFIRMED_AFTER: Duration = Duration::from_mins(15);

/// How long to wait, and what time it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grace {
    /// How long; nothing is waited for, and nothing remembered, by default.
    pub wanted: Duration,
    /// The time of the run, once for all of it.
    pub now: Timestamp,
}

/// What an orphan waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting<'a> {
    /// It was never seen so before.
    FirstSight,
    /// It has been seen so since then.
    Since(Timestamp),
    /// Its node has been Ready only since then.
    Node(&'a str, Timestamp),
}

impl Grace {
    /// Whether runs remember what they have seen.
    #[must_use]
    pub fn remembers(&self) -> bool {
        !self.wanted.is_zero()
    }

    /// Since when it has been seen so, as a mark says that was made for the same evidence. A mark of
    /// the future is that of a clock that went wrong, and says nothing.
    #[must_use]
    pub fn since(
        &self,
        mark: Option<Mark>,
        print: crate::record::marks::Print,
    ) -> Option<Timestamp> {
        let mark = mark.filter(|mark| mark.print == print && mark.at <= self.now)?;
        Some(mark.at)
    }

    /// What is still waited for.
    #[must_use]
    pub fn waiting<'a>(
        &self,
        first_seen: Option<Timestamp>,
        ready: Option<(&'a str, Timestamp)>,
    ) -> Option<Waiting<'a>> {
        if !self.remembers() {
            return None;
        }
        match (first_seen, ready) {
            (None, _) => Some(Waiting::FirstSight),
            (Some(since), _) if !self.is_past(since, self.wanted) => Some(Waiting::Since(since)),
            (_, Some((node, since))) if !self.is_past(since, self.wanted) => {
                Some(Waiting::Node(node, since))
            }
            _ => None,
        }
    }

    /// Whether an orphan was seen as one by another complete run, long ago.
    #[must_use]
    pub fn is_confirmed(&self, first_seen: Option<Timestamp>) -> bool {
        self.remembers() && first_seen.is_some_and(|since| self.is_past(since, CONFIRMED_AFTER))
    }

    fn is_past(&self, since: Timestamp, length: Duration) -> bool {
        let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        self.now.duration_since(since) >= length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::marks::Print;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn grace(wanted: u64, now: i64) -> Grace {
        Grace {
            wanted: Duration::from_secs(wanted),
            now: at(now),
        }
    }

    #[test]
    fn it_waits_for_the_record_and_then_for_its_node() {
        let grace = grace(120, 300);
        for (first_seen, ready, waiting) in [
            (None, None, Some(Waiting::FirstSight)),
            (Some(at(181)), None, Some(Waiting::Since(at(181)))),
            (Some(at(180)), None, None),
            (
                Some(at(0)),
                Some(("n", at(181))),
                Some(Waiting::Node("n", at(181))),
            ),
            (Some(at(0)), Some(("n", at(180))), None),
            (
                Some(at(0)),
                Some(("n", at(900))),
                Some(Waiting::Node("n", at(900))),
            ),
        ] {
            assert_eq!(grace.waiting(first_seen, ready), waiting);
        }
        let none = Grace {
            wanted: Duration::ZERO,
            ..grace
        };
        assert_eq!(none.waiting(None, Some(("n", at(300)))), None);
    }

    #[test]
    fn a_mark_of_something_else_or_of_the_future_says_nothing() {
        let (same, other) = (Print::of(&["a"]), Print::of(&["b"]));
        let grace = grace(120, 300);
        let mark = |second, print| {
            Some(Mark {
                at: at(second),
                print,
            })
        };
        assert_eq!(grace.since(mark(300, same), same), Some(at(300)));
        assert_eq!(grace.since(mark(301, same), same), None);
        assert_eq!(grace.since(mark(0, other), same), None);
        assert_eq!(grace.since(None, same), None);
    }

    #[test]
    fn two_runs_confirm_an_orphan_when_they_are_far_enough_apart() {
        let confirmed = |first_seen| grace(1, 900).is_confirmed(first_seen);
        assert!(confirmed(Some(at(0))) && !confirmed(Some(at(1))) && !confirmed(None));
        assert!(!grace(0, 900).is_confirmed(Some(at(0))));
    }
}
