//! PURE: cuts the items out of a list while its body streams in.
//!
//! A page of a big cluster has megabytes; kept is one item at a time, and the envelope around the
//! items, which says whether there is another page. An envelope that is not complete is an error,
//! so a body that ends early never passes for a list.

use serde::Deserialize;

/// What surrounds the items; what is no list at all does not parse as one.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Envelope {
    kind: String,
    /// `metadata` of the list.
    pub metadata: ListMetadata,
    /// Empty, or null where the server has none; but it is there.
    #[serde(rename = "items")]
    _items: Present,
}

/// A member that is there, whatever its value.
#[derive(Debug, PartialEq, Eq)]
struct Present;

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// `metadata` of a list.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ListMetadata {
    #[serde(rename = "resourceVersion")]
    resource_version: String,
    /// Where the next page begins; absent on the last one.
    #[serde(default, rename = "continue")]
    pub continue_token: Option<String>,
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
    pub fn push<E>(
        &mut self,
        chunk: &[u8],
        mut item: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // Where the item that is being read begins in this piece.
        let mut start = self.is_in_item().then_some(0);
        let mut at = 0;
        loop {
            at = self.next_of_interest(chunk, at);
            let Some(byte) = chunk.get(at).copied() else {
                break;
            };
            let was_in_item = self.is_in_item();
            self.step(byte);
            match (was_in_item, self.is_in_item()) {
                (false, true) => start = Some(at),
                (true, false) => {
                    let end = chunk.get(start.take().unwrap_or(at)..=at);
                    let end = end.unwrap_or_default();
                    if self.partial.is_empty() {
                        item(end)?;
                    } else {
                        self.partial.extend_from_slice(end);
                        item(&self.partial)?;
                        self.partial.clear();
                    }
                }
                (false, false) if self.place != Place::Items || byte != b',' => {
                    self.envelope.push(byte);
                }
                (false, false) | (true, true) => {}
            }
            at += 1;
        }
        if let Some(rest) = start.and_then(|start| chunk.get(start..)) {
            self.partial.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Where the next byte is that matters, from `at` on: most of an item are strings, and of those
    /// only the ends matter.
    fn next_of_interest(&self, chunk: &[u8], at: usize) -> usize {
        if self.text != Text::Inside || !self.is_in_item() {
            return at;
        }
        let rest = chunk.get(at..).unwrap_or_default();
        let skipped = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        at.saturating_add(skipped)
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

    /// The envelope, once the whole body has come in.
    ///
    /// # Errors
    /// When the body ended early, is no list, or has items that are no objects.
    pub fn finish(self) -> Result<Envelope, serde_json::Error> {
        if self.stray {
            return Err(serde::de::Error::custom("an item of the list is no object"));
        }
        let envelope: Envelope = serde_json::from_slice(&self.envelope)?;
        if !envelope.kind.ends_with("List") || envelope.metadata.resource_version.is_empty() {
            return Err(serde::de::Error::custom(format_args!(
                "kind {:?} is no list of a certain moment",
                envelope.kind
            )));
        }
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn split(body: &[u8], cut: usize) -> (Vec<Value>, Result<Envelope, serde_json::Error>) {
        let mut items = Items::default();
        let mut found = Vec::new();
        for chunk in body.chunks(cut.max(1)) {
            let read = items.push(chunk, |item| {
                found.push(serde_json::from_slice(item)?);
                Ok::<_, serde_json::Error>(())
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
            assert_eq!(
                envelope.unwrap().metadata.continue_token.as_deref(),
                Some("t")
            );
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
                let _ = items.push(chunk, |_| Ok::<_, ()>(()));
            }
            let _ = items.finish();
        }
    }
}
