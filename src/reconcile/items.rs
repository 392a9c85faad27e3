//! PURE: cuts the items out of a list while its body streams in.
//!
//! A page of a big cluster has megabytes; kept is one item at a time. A list that is not complete is
//! an error, so a body that ends early never passes for one.

mod json;
mod protobuf;

use crate::client::Encoding;

/// The largest item, and what surrounds them all, in bytes: an API server stores nothing that large.
const MAX_ELEMENT: usize = 64 * 1024 * 1024;

/// A list that is read piece by piece.
#[derive(Debug)]
pub enum Items {
    /// In JSON.
    Json(json::Items),
    /// In Kubernetes' envelope of protocol buffers.
    Protobuf(protobuf::Items),
}

/// Why a list is none, or not all of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoList {
    /// JSON that cannot be read.
    #[error("{0}")]
    Json(String),
    /// Protocol buffers that cannot be read.
    #[error("{0}")]
    Protobuf(String),
    /// It ended early.
    #[error("it ended early")]
    Cut,
    /// An item of it is of another kind.
    #[error("an item of the list is no object")]
    Stray,
    /// More than any server has.
    #[error("a part of {0} bytes is too large")]
    TooLarge(usize),
    /// Something else, or one that does not say of which moment it is.
    #[error("kind {0:?} is no list of a certain moment")]
    Other(String),
}

/// What a complete list says of itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Where the next page begins; `None` on the last one.
    pub continue_token: Option<String>,
}

impl Envelope {
    fn of(kind: &str, version: &str, token: Option<String>) -> Result<Self, NoList> {
        if !kind.ends_with("List") || version.is_empty() {
            return Err(NoList::Other(kind.to_owned()));
        }
        Ok(Self {
            continue_token: token.filter(|token| !token.is_empty()),
        })
    }
}

impl Items {
    /// Begins to read a list.
    #[must_use]
    pub fn of(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Json => Self::Json(json::Items::default()),
            Encoding::Protobuf => Self::Protobuf(protobuf::Items::default()),
        }
    }

    /// Takes the next piece of the body, and hands over each item that it completes.
    ///
    /// # Errors
    /// Those of `item`, and what can be no list, however it goes on.
    pub fn push<E: From<NoList>>(
        &mut self,
        chunk: &[u8],
        item: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Json(items) => items.push(chunk, item),
            Self::Protobuf(items) => items.push(chunk, item),
        }
    }

    /// What the list says of itself, once the whole body has come in.
    ///
    /// # Errors
    /// When the body ended early, is no list, or has items that are no objects.
    pub fn finish(self) -> Result<Envelope, NoList> {
        match self {
            Self::Json(items) => items.finish(),
            Self::Protobuf(items) => items.finish(),
        }
    }
}
