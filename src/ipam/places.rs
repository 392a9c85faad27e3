//! I/O: the ranges of a call as they are on this node: whole, or the node's slice.

use std::net::IpAddr;

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
    /// All ranges of the call.
    ///
    /// # Errors
    /// When this node has no slice of the first one, or the store cannot say.
    pub(super) async fn all(
        config: &IpamConfig,
        node: Option<&str>,
        store: &impl Store,
    ) -> Result<Vec<Self>, Error> {
        let mut places = Vec::new();
        for (at, range) in config.ranges.iter().enumerate() {
            places.push(Self::of(config, at, range, node, store).await?);
        }
        Ok(places)
    }

    /// The ranges of a call that takes something back: where this node has no slice there is
    /// nothing that it could know of, and what may be left the reconciler finds.
    pub(super) async fn left(
        config: &IpamConfig,
        node: Option<&str>,
        store: &impl Store,
    ) -> Result<Vec<Self>, Error> {
        let mut places = Vec::new();
        for (at, range) in config.ranges.iter().enumerate() {
            match Self::of(config, at, range, node, store).await {
                Ok(place) => places.push(place),
                Err(error @ Error::NoSlice { .. }) => {
                    tracing::warn!(%error, "Nothing is taken back");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(places)
    }

    /// One range. Only the first one is cut into slices, where the configuration says so: what cuts
    /// them, the controller of the Go program, cuts no other.
    async fn of(
        config: &IpamConfig,
        at: usize,
        range: &RangeConfig,
        node: Option<&str>,
        store: &impl Store,
    ) -> Result<Self, Error> {
        let prefix_len = range.range.prefix_len();
        let Some(slices) = config.slices.as_deref().filter(|_| at == 0) else {
            return Ok(Self {
                config: range.clone(),
                slice_of: None,
                prefix_len,
            });
        };
        let node = node.map(ToOwned::to_owned).or_else(node::hostname);
        let node = node.ok_or_else(|| Error::NoSlice {
            slices: slices.to_owned(),
            reason: "this node's name is not known".to_owned(),
        })?;
        let slice = store.slice_of(slices, &node, range.range).await?;
        Ok(Self {
            config: range.slice(slice),
            slice_of: Some(node),
            prefix_len,
        })
    }

    /// Whether the address is of this range: it is for its records to say whose.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.config.range.contains(address)
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
