//! PURE: which pools have reservations beside their entries.
//!
//! Networks with `enable_overlapping_ranges: false` have none, and then none is missing. The
//! definition says it where it can be read; else the other entries of the pool do.

use std::collections::HashMap;

use super::super::audit::Audit;
use super::super::networks::{Networks, Reserves};
use crate::record::{Fit, ObjectId, readings};

/// For each pool that has reservations, the network that stands before the address in their names.
#[derive(Debug, Default)]
pub struct Protection(HashMap<ObjectId, Box<str>>);

/// What the entries of one pool show.
#[derive(Default)]
struct Shown {
    with: usize,
    all: usize,
    network: Option<(Fit, Box<str>)>,
}

impl Protection {
    /// Finds out which pools have them.
    #[must_use]
    pub fn of(audit: &Audit<'_>, networks: &Networks) -> Self {
        let records = audit.records();
        let mut shown: Vec<Shown> = Vec::new();
        shown.resize_with(records.pools.len(), Shown::default);
        for entry in records.entries.iter().filter(|entry| entry.address.is_ok()) {
            if let Some(shown) = shown.get_mut(entry.pool) {
                shown.all += 1;
            }
        }
        for reservation in records.reservations() {
            for entry in reservation.entries {
                let Some(entry) = records.entries.get(*entry) else {
                    continue;
                };
                let pool = records.pool_of(entry);
                let Some(shown) = shown.get_mut(entry.pool) else {
                    continue;
                };
                shown.with += 1;
                // Nothing fits better, and most have that.
                if matches!(shown.network, Some((Fit::Exact, _))) {
                    continue;
                }
                let name = reservation.name();
                let readings = readings(&name).into_iter();
                let of_address =
                    readings.filter(|(_, address)| entry.address.as_ref().ok() == Some(address));
                let fits = of_address.map(|(network, _)| (pool.fit(network), network.into()));
                let all = fits.chain(shown.network.take());
                shown.network = all.max_by_key(|(fit, _)| *fit);
            }
        }
        let pools = records.pools.iter().zip(shown);
        let protected = pools.filter_map(|(pool, shown)| {
            // Half of them: one that never had any is not to get the first one from here.
            let by_others = shown.with > 0 && shown.with * 2 >= shown.all;
            let network = match networks.reserves(pool) {
                Reserves::For(network) => network.into(),
                Reserves::Unknown if by_others => shown.network?.1,
                Reserves::Unknown | Reserves::Never => return None,
            };
            Some((pool.id.clone(), network))
        });
        Self(protected.collect())
    }

    /// The network in the names of a pool's reservations; `None` where it has none.
    #[must_use]
    pub fn network(&self, pool: &ObjectId) -> Option<&str> {
        self.0.get(pool).map(|network| &**network)
    }
}
