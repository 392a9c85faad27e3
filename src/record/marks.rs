//! PURE: when a record was first seen as an orphan, as annotations remember it between runs.
//!
//! A pool remembers it for its entries, `{"2026-11-23T22:10:00Z":"5:0a1b2c 6:3d4e5f"}`: the time,
//! and each entry's key with a fingerprint of what was seen. A reservation without an entry
//! remembers it for itself, `2026-11-23T22:10:00Z 0a1b2c`. A mark that cannot be read, or that is
//! of something else, counts for nothing: the record was never seen so before.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::jiff::Timestamp;

/// The annotation, on pools and on reservations.
pub const FIRST_SEEN_KEY: &str = "whereabouts.cni.cncf.io/first-seen";

/// The longest annotation that is written, in bytes. The annotations of one object may have
/// 256 KiB (Kubernetes, Annotations), but every byte makes each write to the pool dearer.
const MAX_TEXT: usize = 64 * 1024;

/// When something was first seen, and what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// What: the same record with the same evidence.
    pub print: Print,
}

/// A fingerprint. Two programs may take different ones of the same thing; then the wait begins
/// again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Print(u32);

impl Print {
    /// How many bits are kept: enough to tell a record from the next one at its place.
    const BITS: u32 = 24;

    /// Takes it of all parts.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        let bits = hasher.finish() % (1 << Self::BITS);
        Self(u32::try_from(bits).unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Self> {
        let print = u32::from_str_radix(text, 16).ok()?;
        (text.len() == 6).then_some(Self(print))
    }
}

impl std::fmt::Display for Print {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:06x}", self.0)
    }
}

impl Mark {
    /// Reads the annotation of a reservation.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at, print) = text.split_once(' ')?;
        Some(Self {
            at: at.parse().ok()?,
            print: Print::parse(print)?,
        })
    }
}

/// As the annotation of a reservation has it.
impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} {}", self.at, self.print)
    }
}

/// The marks of one pool, by the key of the entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    by_key: HashMap<Box<str>, Mark>,
    /// Whether a part of the annotation could not be read, and is to be written anew.
    pub damaged: bool,
}

impl Marks {
    /// Reads the annotation of a pool; what cannot be read is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut marks = Self::default();
        let Ok(by_time) = serde_json::from_str::<BTreeMap<&str, &str>>(text) else {
            marks.damaged = true;
            return marks;
        };
        for (at, entries) in by_time {
            for entry in entries.split(' ') {
                match read(at, entry) {
                    Some((key, mark)) => marks.add(key, mark),
                    None => marks.damaged = true,
                }
            }
        }
        marks
    }

    /// The mark of an entry.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Mark> {
        self.by_key.get(key).copied()
    }

    /// Takes note of an entry; of two marks the younger one counts.
    pub fn add(&mut self, key: &str, mark: Mark) {
        let known = self.by_key.entry(key.into()).or_insert(mark);
        if known.at < mark.at {
            *known = mark;
        }
    }

    /// Whether nothing is marked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Leaves out the youngest marks, until the annotation is short enough.
    pub fn bound(&mut self) {
        let mut all: Vec<(&Box<str>, &Mark)> = self.by_key.iter().collect();
        all.sort_by(|(a, one), (b, other)| {
            let by_key = || (a.len(), a).cmp(&(b.len(), b));
            one.at.cmp(&other.at).then_with(by_key)
        });
        let (mut length, mut last) = (2, None);
        let too_long = all.iter().position(|(key, mark)| {
            // Of the time: two quotes, a colon, two quotes, a comma. Of the entry: a colon, a blank.
            let time = (last.replace(mark.at) != Some(mark.at)).then_some(20 + 6);
            length += time.unwrap_or_default() + key.len() + 8;
            length > MAX_TEXT
        });
        if let Some(too_long) = too_long {
            let dropped = all.split_off(too_long);
            let dropped: Vec<Box<str>> = dropped.iter().map(|(key, _)| (*key).clone()).collect();
            for key in dropped {
                self.by_key.remove(&key);
            }
        }
    }

    /// The annotation; `None` when nothing is marked.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let mut by_time: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, Mark { at, print }) in &self.by_key {
            let at = format!("{at:.0}");
            by_time
                .entry(at)
                .or_default()
                .push(format!("{key}:{print}"));
        }
        if by_time.is_empty() {
            return None;
        }
        let by_time: BTreeMap<String, String> = by_time
            .into_iter()
            .map(|(at, mut entries)| {
                entries.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
                (at, entries.join(" "))
            })
            .collect();
        serde_json::to_string(&by_time).ok()
    }
}

fn read<'a>(at: &str, entry: &'a str) -> Option<(&'a str, Mark)> {
    let (key, print) = entry.split_once(':')?;
    let at = at.parse().ok()?;
    let print = Print::parse(print)?;
    Some((key, Mark { at, print }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(second: i64, what: &str) -> Mark {
        Mark {
            at: Timestamp::from_second(1_794_997_600 + second).unwrap(),
            print: Print::of(&[what]),
        }
    }

    #[test]
    fn an_annotation_can_be_read_by_a_person() {
        let mut marks = Marks::default();
        assert_eq!(marks.text(), None);
        marks.add("10", mark(0, "a"));
        marks.add("9", mark(0, "b"));
        let (a, b) = (Print::of(&["a"]), Print::of(&["b"]));
        let text = format!(r#"{{"2026-11-18T10:26:40Z":"9:{b} 10:{a}"}}"#);
        assert_eq!(marks.text(), Some(text));
    }

    #[test]
    fn what_is_damaged_counts_for_nothing() {
        for text in [
            "",
            "[]",
            r#"{"yesterday":"5:0a1b2c"}"#,
            r#"{"2026-11-18T10:26:40Z":"5"}"#,
            r#"{"2026-11-18T10:26:40Z":"5:xyz"}"#,
            r#"{"2026-11-18T10:26:40Z":5}"#,
            r#"{"2026-11-18T10:26:40Z":"5:0a1b2c"#,
        ] {
            let marks = Marks::parse(text);
            assert!(marks.is_empty() && marks.damaged, "{text}");
            assert_eq!(Mark::parse(text), None);
        }
        let half = Marks::parse(r#"{"2026-11-18T10:26:40Z":"5:0a1b2c 6"}"#);
        assert!(half.damaged && half.get("5").is_some() && half.get("6").is_none());
    }

    #[test]
    fn of_two_marks_the_younger_one_counts() {
        let text = r#"{"2026-11-18T10:26:40Z":"5:0a1b2c","2026-11-18T10:31:40Z":"5:0a1b2c"}"#;
        let at = Marks::parse(text).get("5").unwrap().at;
        assert_eq!(at.to_string(), "2026-11-18T10:31:40Z");
    }

    #[test]
    fn an_annotation_stays_short_and_the_oldest_marks_stay() {
        let mut marks = Marks::default();
        for key in 0..10_000 {
            marks.add(&key.to_string(), mark(key / 100, "x"));
        }
        marks.bound();
        let text = marks.text().unwrap();
        assert!(
            text.len() <= MAX_TEXT && text.len() > MAX_TEXT - 64,
            "{}",
            text.len()
        );
        assert!(marks.get("0").is_some() && marks.get("9999").is_none());
        assert_eq!(Marks::parse(&text), marks);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries: HashMap<u64, (u16, String)>) {
            let mut marks = Marks::default();
            for (key, (second, what)) in &entries {
                marks.add(&key.to_string(), mark(i64::from(*second), what));
            }
            let text = marks.text();
            prop_assert_eq!(text.map(|text| Marks::parse(&text)).unwrap_or_default(), marks);
            for (second, what) in entries.values() {
                let mark = mark(i64::from(*second), what);
                prop_assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = (Marks::parse(&text), Mark::parse(&text));
        }
    }
}
