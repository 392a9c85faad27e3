//! PURE: a list in JSON.
//!
//! Kept is one item at a time, and what surrounds the items, which says whether there is another page.

use std::fmt;

use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Envelope, MAX_ELEMENT, NoList};

/// What surrounds the items; what is no list at all does not parse as one.
#[derive(Deserialize)]
struct Surroundings {
    kind: String,
    metadata: ListMetadata,
    /// It is there, or this is no list.
    #[serde(rename = "items")]
    _items: Nothing,
}

/// What is left of the items when they are cut out: an empty array, or null where the server has none.
/// Anything else would be items that were not found.
struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not as an `Option`: that may be missing.
        deserializer.deserialize_any(Nothing)
    }
}

impl<'de> Visitor<'de> for Nothing {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no items besides those that can be told apart")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        match items.next_element::<IgnoredAny>()? {
            None => Ok(self),
            Some(_) => Err(de::Error::custom("its items cannot be told apart")),
        }
    }
}

#[derive(Deserialize)]
struct ListMetadata {
    #[serde(rename = "resourceVersion")]
    resource_version: String,
    /// Absent on the last page.
    #[serde(default, rename = "continue")]
    continue_token: Option<String>,
}

/// A JSON text that is read piece by piece.
#[derive(Debug, Default)]
pub struct Items {
    /// Everything outside the items.
    envelope: Vec<u8>,
    /// The beginning of an item whose end has not come in yet.
    partial: Vec<u8>,
    depth: usize,
    text: Text,
    place: Place,
    /// The last string at the top level of the list: a key, when a colon follows it.
    last_string: Vec<u8>,
    /// Whether an item was no object.
    stray: bool,
}

/// Whether the reader is inside a string.
#[derive(Debug, Default, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    Escape,
}

/// Where in the list the reader is.
#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Envelope,
    /// Behind the key `items` and its colon.
    BeforeItems,
    Items,
}

/// How deep the array of the items is.
const ARRAY_DEPTH: usize = 2;

impl Items {
    /// Takes the next piece of the body, and hands over each item that it completes.
    pub(super) fn push<E: From<NoList>>(
        &mut self,
        chunk: &[u8],
        mut item: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = 0;
        while let Some(byte) = chunk.get(at).copied() {
            let goes_on = self.is_in_item();
            if !goes_on {
                self.step(byte);
                if !self.is_in_item() {
                    if self.place != Place::Items || byte != b',' {
                        self.envelope.push(byte);
                    }
                    if self.envelope.len() > MAX_ELEMENT {
                        return Err(NoList::TooLarge(self.envelope.len()).into());
                    }
                    at += 1;
                    continue;
                }
            }
            let end = self.end_of_item(chunk, if goes_on { at } else { at + 1 });
            let part = chunk.get(at..end).unwrap_or_default();
            at = end;
            let length = self.partial.len().saturating_add(part.len());
            if length > MAX_ELEMENT {
                return Err(NoList::TooLarge(length).into());
            }
            if self.is_in_item() {
                self.partial.extend_from_slice(part);
            } else if self.partial.is_empty() {
                item(part)?;
            } else {
                self.partial.extend_from_slice(part);
                item(&self.partial)?;
                self.partial.clear();
            }
        }
        Ok(())
    }

    /// Moves through an item from `at` on, and says where it ends, or where the piece does.
    fn end_of_item(&mut self, chunk: &[u8], mut at: usize) -> usize {
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            match self.text {
                Text::Escape => {
                    self.text = Text::Inside;
                    at += 1;
                }
                // Most of an item are strings, and of those only the ends matter.
                Text::Inside => match memchr::memchr2(b'"', b'\\', rest) {
                    Some(found) => {
                        let is_end = rest.get(found) == Some(&b'"');
                        self.text = if is_end { Text::Outside } else { Text::Escape };
                        at += found + 1;
                    }
                    None => return chunk.len(),
                },
                Text::Outside => {
                    for byte in rest {
                        at += 1;
                        match byte {
                            b'"' => {
                                self.text = Text::Inside;
                                break;
                            }
                            b'{' | b'[' => self.depth += 1,
                            b'}' | b']' => {
                                self.depth -= 1;
                                if self.depth == ARRAY_DEPTH {
                                    return at;
                                }
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        at
    }

    fn is_in_item(&self) -> bool {
        self.place == Place::Items && self.depth > ARRAY_DEPTH
    }

    /// Moves over one byte.
    fn step(&mut self, byte: u8) {
        match (&self.text, byte) {
            (Text::Escape, _) => self.text = Text::Inside,
            (Text::Inside, b'\\') => self.text = Text::Escape,
            (Text::Inside, b'"') => self.text = Text::Outside,
            (Text::Inside, _) if self.depth == 1 => self.last_string.push(byte),
            (Text::Inside, _) => {}
            (Text::Outside, _) => self.step_outside(byte),
        }
    }

    fn step_outside(&mut self, byte: u8) {
        // Between items there are only objects, commas, blanks, and the end.
        let is_expected = matches!(byte, b'{' | b',' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        let is_between_items = self.place == Place::Items && self.depth == ARRAY_DEPTH;
        self.stray |= is_between_items && !is_expected;
        match byte {
            b'"' => {
                self.text = Text::Inside;
                self.last_string.clear();
            }
            b':' if self.depth == 1 && self.last_string == b"items" => {
                self.place = Place::BeforeItems;
            }
            b',' if self.depth == 1 => self.place = Place::Envelope,
            b'{' | b'[' => {
                if self.place == Place::BeforeItems && self.depth == 1 && byte == b'[' {
                    self.place = Place::Items;
                }
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 1 {
                    self.place = Place::Envelope;
                }
            }
            _ => {}
        }
    }

    /// What the list says of itself, once the whole body has come in.
    pub(super) fn finish(self) -> Result<Envelope, NoList> {
        if self.stray {
            return Err(NoList::Stray);
        }
        let read = serde_json::from_slice(&self.envelope);
        let Surroundings { kind, metadata, .. } =
            read.map_err(|error| NoList::Json(error.to_string()))?;
        Envelope::of(&kind, &metadata.resource_version, metadata.continue_token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn split(body: &[u8], cut: usize) -> (Vec<Value>, Result<Envelope, NoList>) {
        let mut items = Items::default();
        let mut found = Vec::new();
        for chunk in body.chunks(cut.max(1)) {
            let read = items.push(chunk, |item| {
                found.push(serde_json::from_slice(item).unwrap());
                Ok::<_, NoList>(())
            });
            read.unwrap();
        }
        (found, items.finish())
    }

    #[test]
    fn items_come_out_whatever_stands_around_them() {
        let tricky =
            json!({"items": [1, {"a": "]}\"\\"}], "metadata": {"items": []}, "s": "\"items\":["});
        let body = json!({"kind": "List", "metadata": {"resourceVersion": "1", "continue": "t", "labels": {"items": "x"}},
            "items": [tricky, {}, tricky], "extra": [{"items": [{}]}]});
        let body = serde_json::to_vec(&body).unwrap();
        for cut in 1..=body.len() {
            let (found, envelope) = split(&body, cut);
            assert_eq!(
                found,
                [tricky.clone(), json!({}), tricky.clone()],
                "cut {cut}"
            );
            assert_eq!(envelope.unwrap().continue_token.as_deref(), Some("t"));
        }
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let body =
            br#"{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[{"a":{}},{"b":[]}]}"#;
        assert!(split(body, 7).1.is_ok());
        for end in 0..body.len() {
            assert!(split(&body[..end], 7).1.is_err(), "{end}");
        }
    }

    #[test]
    fn an_item_that_is_no_object_is_an_error() {
        let list = |items: &str| {
            let envelope = r#""kind":"PodList","metadata":{"resourceVersion":"1"}"#;
            split(format!("{{{envelope} {items} }}").as_bytes(), 3).1
        };
        for items in [
            r#","items":null"#,
            r#","items":[]"#,
            r#", "items" : [ ] "#,
            r#","items":[{}]"#,
        ] {
            assert!(list(items).is_ok(), "{items}");
        }
        for items in ["null", "{},5", r#""x""#, "[{}]", "{} {}, true"] {
            assert!(list(&format!(r#","items":[{items}]"#)).is_err(), "{items}");
        }
        assert!(list("").is_err());
    }

    #[test]
    fn what_is_no_list_never_passes_for_an_empty_one() {
        for body in [
            "{}",
            r#"{"items":[]}"#,
            r#"{"kind":"Status","metadata":{"resourceVersion":"1"},"items":[]}"#,
            r#"{"kind":"PodList","metadata":{},"items":[]}"#,
            r#"{"kind":"PodList","metadata":{"resourceVersion":""},"items":[]}"#,
            r#"{"kind":"PodList","metadata":{"resourceVersion":"1"}}"#,
            r#"{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":{}}"#,
            r#"{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":5}"#,
            r#"{"kind":"PodList","metadata":{"resourceVersion":"1"},"it\u0065ms":[{}]}"#,
            "<html></html>",
        ] {
            assert!(split(body.as_bytes(), 3).1.is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_items(
            texts in proptest::collection::vec("\\PC{0,12}", 0..6), cut in 1usize..40
        ) {
            let all: Vec<Value> = texts.iter().map(|text| json!({ text.as_str(): [text, {}] })).collect();
            let body = serde_json::to_vec_pretty(&json!({"kind": "PodList", "items": all, "metadata": {"resourceVersion": "1"}})).unwrap();
            let (found, envelope) = split(&body, cut);
            prop_assert_eq!(found, all);
            prop_assert!(envelope.is_ok());
        }

        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>, cut in 1usize..9) {
            let mut items = Items::default();
            for chunk in body.chunks(cut) {
                let _ = items.push(chunk, |_| Ok::<_, NoList>(()));
            }
            let _ = items.finish();
        }
    }
}
