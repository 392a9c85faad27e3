//! I/O: the ranges of a call as they are on this node: whole, or the node's slice.

use super::node;
use crate::config::{IpamConfig, RangeConfig};
use crate::store::{Error, Overlap, Range, Store};

/// A range to allocate from on this node.
pub(super) struct Place {
    config: RangeConfig,
    /// The node whose slice it is.
    slice_of: Option<String>,
    /// The prefix length that addresses are given with: that of the whole range.
    pub(super) prefix_len: u8,
}

impl Place {
    /// All ranges of the call. The first one is cut into slices where the configuration says so:
    /// what cuts them, the controller of the Go program, cuts no other.
    ///
    /// # Errors
    /// When this node has no slice of it, or the store cannot say.
    pub(super) async fn all(
        config: &IpamConfig,
        node: Option<&str>,
        store: &impl Store,
    ) -> Result<Vec<Self>, Error> {
        let mut places = Vec::new();
        for range in &config.ranges {
            let prefix_len = range.range.prefix_len();
            let place = match config.slices.as_deref().filter(|_| places.is_empty()) {
                None => Self {
                    config: range.clone(),
                    slice_of: None,
                    prefix_len,
                },
                Some(slices) => {
                    let node = node.map(ToOwned::to_owned).or_else(node::hostname);
                    let node = node.ok_or_else(|| Error::NoSlice {
                        slices: slices.to_owned(),
                        reason: "this node's name is not known".to_owned(),
                    })?;
                    let slice = store.slice_of(slices, &node, range.range).await?;
                    Self {
                        config: range.slice(slice),
                        slice_of: Some(node),
                        prefix_len,
                    }
                }
            };
            places.push(place);
        }
        Ok(places)
    }

    pub(super) fn range<'a>(&'a self, config: &'a IpamConfig) -> Range<'a> {
        let overlap = if config.overlapping_ranges {
            Overlap::Protected
        } else {
            Overlap::Ignored
        };
        Range {
            network: &config.network_name,
            slice_of: self.slice_of.as_deref(),
            config: &self.config,
            overlap,
        }
    }
}
