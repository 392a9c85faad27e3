//! PURE: JSON in which characters that reorder or move text are escaped.

use std::io::{self, Write};

use super::escape::is_unsafe;

/// Writes JSON on, and such characters as `\u`: in JSON they can stand nowhere but in a string.
pub(super) struct Ascii<'a>(pub(super) &'a mut dyn Write);

impl Write for Ascii<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_ascii() {
            self.0.write_all(bytes)?;
            return Ok(bytes.len());
        }
        // The serializer writes strings in whole pieces; control characters it escapes itself.
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let is_meant = |c: char| !c.is_ascii() && is_unsafe(c);
        if !text.contains(is_meant) {
            self.0.write_all(bytes)?;
            return Ok(bytes.len());
        }
        for c in text.chars() {
            if is_meant(c) {
                // All of them are of the basic plane.
                write!(self.0, "\\u{:04x}", u32::from(c))?;
            } else {
                write!(self.0, "{c}")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_deceive_a_reader_is_escaped_and_means_the_same() {
        let deceiving = serde_json::json!({"a\u{202e}": ["\u{9b}2J", "ü\u{2028}", "\u{7f}"]});
        let mut text = Vec::new();
        serde_json::to_writer_pretty(Ascii(&mut text), &deceiving).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("a\\u202e") && text.contains("\\u009b2J") && text.contains('ü'));
        assert!(
            !text.chars().any(|c| is_unsafe(c) && !c.is_ascii()),
            "{text:?}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            deceiving
        );
    }
}
