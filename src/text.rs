//! PURE: texts of records in little room. A cluster has a hundred thousand of them, and most are the
//! same few, or can be written in half.

use std::collections::HashSet;
use std::fmt;

use serde::{Serialize, Serializer};

/// A text that several records have in common.
pub type Text = arcstr::ArcStr;

/// Texts that are there once, however many records have them.
#[derive(Debug, Default)]
pub struct Texts(HashSet<Text>);

impl Texts {
    /// Puts the one that is there in the place of an equal one.
    pub fn share(&mut self, text: &mut Text) {
        match self.0.get(&**text) {
            Some(shared) => *text = shared.clone(),
            None => {
                self.0.insert(text.clone());
            }
        }
    }
}

/// A text that is kept as the bytes that its hexadecimal digits stand for, if it is of a usual form.
macro_rules! packed {
    ($(#[$about:meta])* $name:ident, $bytes:literal, $dashes:expr) => {
        $(#[$about])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Packed<$bytes>);

        impl $name {
            const DASHES: &'static [usize] = &$dashes;

            /// Whether there is none.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                matches!(&self.0, Packed::Other(text) if text.is_empty())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self(Packed::Other(Text::default()))
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Packed::of(text, Self::DASHES))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(Self::DASHES, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.to_string())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

packed! {
    /// `metadata.uid` of an object, usually a UUID (RFC 9562).
    Uid, 16, [4, 6, 8, 10]
}

impl Uid {
    /// The bytes of one of the usual form.
    #[must_use]
    pub fn bytes(&self) -> Option<[u8; 16]> {
        match self.0 {
            Packed::Hexadecimal(bytes) => Some(bytes),
            Packed::Other(_) => None,
        }
    }
}

impl From<[u8; 16]> for Uid {
    fn from(bytes: [u8; 16]) -> Self {
        Self(Packed::Hexadecimal(bytes))
    }
}

packed! {
    /// The id of a container, usually 64 hexadecimal digits.
    ContainerId, 32, []
}

/// `metadata.resourceVersion` of an object, usually a number; only whether it is the same counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceVersion {
    /// As `etcd` counts.
    Number(u64),
    /// Any other text.
    Other(Text),
}

impl ResourceVersion {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Other(text) if text.is_empty())
    }
}

impl From<&str> for ResourceVersion {
    fn from(text: &str) -> Self {
        let number = text.parse().ok();
        let number = number.filter(|number: &u64| number.to_string() == text);
        number.map_or_else(|| Self::Other(text.into()), Self::Number)
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Serialize for ResourceVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Packed<const BYTES: usize> {
    /// Lower-case digits, with dashes before some of the bytes.
    Hexadecimal([u8; BYTES]),
    Other(Text),
}

impl<const BYTES: usize> Packed<BYTES> {
    fn of(text: &str, dashes: &[usize]) -> Self {
        Self::read(text, dashes).map_or_else(|| Self::Other(text.into()), Self::Hexadecimal)
    }

    fn read(text: &str, dashes: &[usize]) -> Option<[u8; BYTES]> {
        let mut digits = text.bytes();
        let mut bytes = [0; BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            if dashes.contains(&at) && digits.next() != Some(b'-') {
                return None;
            }
            *byte = digit(digits.next()?)? << 4 | digit(digits.next()?)?;
        }
        digits.next().is_none().then_some(bytes)
    }

    fn write(&self, dashes: &[usize], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hexadecimal(bytes) => {
                let mut text = String::with_capacity(2 * BYTES + dashes.len());
                for (at, byte) in bytes.iter().enumerate() {
                    if dashes.contains(&at) {
                        text.push('-');
                    }
                    let digits = [byte >> 4, byte & 0xf].map(u32::from);
                    text.extend(
                        digits
                            .iter()
                            .filter_map(|digit| char::from_digit(*digit, 16)),
                    );
                }
                f.write_str(&text)
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// The value of a lower-case hexadecimal digit: another spelling is another text.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_forms_need_no_room_of_their_own() {
        let uid = Uid::from("0b6f4bd2-41c1-4f1e-9d7c-0a1b2c3d4e5f");
        assert!(matches!(uid.0, Packed::Hexadecimal(_)));
        let container = ContainerId::from(&*"4f".repeat(32));
        assert!(matches!(container.0, Packed::Hexadecimal(_)));
        assert!(Uid::default().is_empty() && !uid.is_empty());
    }

    #[test]
    fn equal_texts_are_kept_once() {
        let mut texts = Texts::default();
        let (mut one, mut other) = (Text::from("net1"), Text::from("net1"));
        texts.share(&mut one);
        texts.share(&mut other);
        assert!(Text::ptr_eq(&one, &other));
    }

    proptest! {
        #[test]
        fn every_text_comes_out_as_it_went_in(
            text in "\\PC{0,40}|[0-9+]{0,21}|[0-9a-f]{64}|[0-9a-fA-F]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
            other in "\\PC{0,3}|[0-9a-f]{64}",
        ) {
            prop_assert_eq!(Uid::from(&*text).to_string(), &*text);
            prop_assert_eq!(ResourceVersion::from(&*text).to_string(), &*text);
            prop_assert_eq!(ContainerId::from(&*text).to_string(), &*text);
            prop_assert_eq!(Uid::from(&*text) == Uid::from(&*other), text == other);
        }
    }
}
