//! PURE: JSON documents with the bytes that Go's JSON package gives them.
//!
//! Members keep the order in which they were put, and strings are escaped as for HTML; printing
//! cannot fail.

use std::fmt::Write;

const INDENT: &str = "    ";

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Text(String),
    Number(i64),
    List(Vec<Node>),
    Object(Object),
}

/// A JSON object under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Object(Vec<(&'static str, Node)>);

impl Object {
    /// Adds a member.
    #[must_use]
    pub(super) fn put(mut self, member: &'static str, node: Node) -> Self {
        self.0.push((member, node));
        self
    }

    #[must_use]
    pub(super) fn text(self, member: &'static str, text: impl Into<String>) -> Self {
        self.put(member, Node::Text(text.into()))
    }

    #[must_use]
    pub(super) fn number(self, member: &'static str, number: i64) -> Self {
        self.put(member, Node::Number(number))
    }

    #[must_use]
    pub(super) fn object(self, member: &'static str, object: Self) -> Self {
        self.put(member, Node::Object(object))
    }

    #[must_use]
    pub(super) fn text_unless_empty(self, member: &'static str, text: &str) -> Self {
        if text.is_empty() {
            return self;
        }
        self.text(member, text)
    }

    #[must_use]
    pub(super) fn text_if_any(self, member: &'static str, text: Option<String>) -> Self {
        match text {
            Some(text) => self.text(member, text),
            None => self,
        }
    }

    #[must_use]
    pub(super) fn number_if_any(self, member: &'static str, number: Option<i64>) -> Self {
        match number {
            Some(number) => self.number(member, number),
            None => self,
        }
    }

    #[must_use]
    pub(super) fn list_unless_empty(self, member: &'static str, list: Vec<Node>) -> Self {
        if list.is_empty() {
            return self;
        }
        self.put(member, Node::List(list))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same object with its members, and those of all objects in it, sorted by name.
    #[must_use]
    pub(super) fn sorted(self) -> Self {
        let mut members: Vec<_> = self
            .0
            .into_iter()
            .map(|(member, node)| (member, node.sorted()))
            .collect();
        members.sort_by_key(|(member, _)| *member);
        Self(members)
    }

    /// The document on lines of its own for each member, without a newline at its end.
    #[must_use]
    pub(super) fn pretty(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write(&mut out, Layout::Indented(0));
        out.into_bytes()
    }

    /// The document on one line, without a newline at its end.
    #[must_use]
    pub(super) fn compact(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write(&mut out, Layout::Compact);
        out.into_bytes()
    }

    fn write(&self, out: &mut String, layout: Layout) {
        if self.0.is_empty() {
            out.push_str("{}");
            return;
        }
        let inner = layout.inner();
        out.push('{');
        for (position, (member, node)) in self.0.iter().enumerate() {
            inner.separate(out, position);
            write_text(out, member);
            out.push_str(layout.colon());
            node.write(out, inner);
        }
        layout.end(out);
        out.push('}');
    }
}

impl Node {
    fn sorted(self) -> Self {
        match self {
            Self::Text(_) | Self::Number(_) => self,
            Self::List(list) => Self::List(list.into_iter().map(Self::sorted).collect()),
            Self::Object(object) => Self::Object(object.sorted()),
        }
    }

    fn write(&self, out: &mut String, layout: Layout) {
        match self {
            Self::Text(text) => write_text(out, text),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Object(object) => object.write(out, layout),
            Self::List(list) => {
                if list.is_empty() {
                    out.push_str("[]");
                    return;
                }
                let inner = layout.inner();
                out.push('[');
                for (position, node) in list.iter().enumerate() {
                    inner.separate(out, position);
                    node.write(out, inner);
                }
                layout.end(out);
                out.push(']');
            }
        }
    }
}

/// Where elements stand.
#[derive(Clone, Copy)]
enum Layout {
    /// All on one line.
    Compact,
    /// Each on a line of its own, this deep.
    Indented(usize),
}

impl Layout {
    fn inner(self) -> Self {
        match self {
            Self::Compact => Self::Compact,
            Self::Indented(depth) => Self::Indented(depth.saturating_add(1)),
        }
    }

    fn colon(self) -> &'static str {
        match self {
            Self::Compact => ":",
            Self::Indented(_) => ": ",
        }
    }

    /// What stands before the element at a position.
    fn separate(self, out: &mut String, position: usize) {
        if position > 0 {
            out.push(',');
        }
        self.end(out);
    }

    /// What stands before a closing bracket.
    fn end(self, out: &mut String) {
        if let Self::Indented(depth) = self {
            out.push('\n');
            out.push_str(&INDENT.repeat(depth));
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..'\u{20}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            _ => out.push(char),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn sample() -> Object {
        Object::default()
            .text("z", "1")
            .list_unless_empty("none", Vec::new())
            .put("empty", Node::List(Vec::new()))
            .object("o", Object::default())
            .put(
                "list",
                Node::List(vec![
                    Node::Object(Object::default().number("b", -1).number("a", 2)),
                    Node::Text("x".to_owned()),
                ]),
            )
    }

    #[test]
    fn members_keep_their_order_until_sorted() {
        assert_eq!(
            String::from_utf8(sample().compact()).unwrap(),
            r#"{"z":"1","empty":[],"o":{},"list":[{"b":-1,"a":2},"x"]}"#
        );
        assert_eq!(
            String::from_utf8(sample().sorted().compact()).unwrap(),
            r#"{"empty":[],"list":[{"a":2,"b":-1},"x"],"o":{},"z":"1"}"#
        );
    }

    #[test]
    fn each_element_stands_on_a_line_of_its_own() {
        insta::assert_snapshot!(String::from_utf8(sample().pretty()).unwrap(), @r#"
        {
            "z": "1",
            "empty": [],
            "o": {},
            "list": [
                {
                    "b": -1,
                    "a": 2
                },
                "x"
            ]
        }
        "#);
    }

    #[test]
    fn strings_are_escaped_as_for_html() {
        let text = "<a href=\"x\">&\\/\u{8}\u{c}\n\r\t\0\u{1f}\u{7f}\u{2028}\u{2029}ä€😀";
        let mut out = String::new();
        write_text(&mut out, text);
        assert_eq!(
            out,
            "\"\\u003ca href=\\\"x\\\"\\u003e\\u0026\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\
             \\u2028\\u2029ä€😀\""
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(text: String, number: i64) {
            let object = Object::default().text("text", text.as_str()).number("number", number);
            let expected = serde_json::json!({ "text": text, "number": number });
            for document in [object.pretty(), object.compact()] {
                let value: Value = serde_json::from_slice(&document).unwrap();
                prop_assert_eq!(&value, &expected);
            }
        }
    }
}
