//! PURE: what the definitions of networks say, where they can be read.
//!
//! A `NetworkAttachmentDefinition` tells whether an interface's addresses come from Whereabouts at all,
//! from which pools, and whether they are reserved besides. Without one, all that is left is what the
//! records themselves show.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::ledger::Datastore;
use super::pods::Showing;
use super::records::Records;
use crate::cni::Version;
use crate::config::{Error, IpamConfig};
use crate::record::{Fit, ObjectId, Pool};

/// `network-attachment-definitions`, as roles and messages spell it.
pub const DEFINITIONS: &str = "network-attachment-definitions.k8s.cni.cncf.io";

/// All definitions that could be read, by `namespace/name`; empty where none could.
#[derive(Debug, Default)]
pub struct Networks {
    all: HashMap<Box<str>, Definition>,
    /// Where the records are that are looked at.
    datastore: Datastore,
}

/// What a definition says.
#[derive(Debug)]
enum Definition {
    /// Its addresses come from elsewhere.
    Foreign,
    /// It may be one of Whereabouts, but not all of it can be understood from here.
    Unclear,
    /// It is one of Whereabouts.
    Ours(Box<IpamConfig>),
}

/// The addresses that a pod's interface may have come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From elsewhere, or given as they are and recorded nowhere.
    Elsewhere,
    /// From one of these pools, by index.
    Pools(Vec<usize>),
}

/// Whether a pool's entries have reservations beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserves<'a> {
    /// No definition says it.
    Unknown,
    /// `enable_overlapping_ranges` is off.
    Never,
    /// For the network of this name.
    For(&'a str),
}

/// What all definitions of a pool say of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// One of them gives it out, or nobody knows.
    Yes,
    /// It lies before `range_start` or behind `range_end`.
    Outside,
    /// It lies in a block of `exclude`.
    Excluded,
}

impl Networks {
    /// Those whose records may be there.
    #[must_use]
    pub fn of(datastore: Datastore) -> Self {
        Self {
            datastore,
            ..Self::default()
        }
    }

    /// Where the records are that are looked at.
    #[must_use]
    pub fn datastore(&self) -> Datastore {
        self.datastore
    }

    /// Takes note of a definition, given as its object's JSON.
    pub fn see(&mut self, id: &ObjectId, object: &Value) {
        let config = object.pointer("/spec/config").and_then(Value::as_str);
        let datastore = self.datastore;
        let definition = config.map_or(Definition::Unclear, |text| read(text, datastore));
        self.all.insert(id.to_string().into(), definition);
    }

    /// Where an address that a pod shows comes from.
    #[must_use]
    pub fn origin(&self, records: &Records, showing: &Showing) -> Origin {
        let address = showing.address;
        let covers = |pool: &Pool| {
            let range = pool.range.as_ref();
            range.is_ok_and(|range| range.contains(address))
        };
        let pools = records.pools.iter().enumerate();
        let covering = pools.filter(|(_, pool)| covers(pool));
        let config = match self.all.get(&*showing.network) {
            None | Some(Definition::Unclear) => {
                return Origin::Pools(covering.map(|(index, _)| index).collect());
            }
            Some(Definition::Foreign) => return Origin::Elsewhere,
            Some(Definition::Ours(config)) => config,
        };
        let mut statics = config.addresses.iter();
        if statics.any(|given| given.address.addr() == address) {
            return Origin::Elsewhere;
        }
        let of_network = covering.filter(|(_, pool)| feeds(config, pool).may());
        let pools: Vec<usize> = of_network.map(|(index, _)| index).collect();
        if pools.is_empty() {
            Origin::Elsewhere
        } else {
            Origin::Pools(pools)
        }
    }

    /// Whether reservations go with a pool's entries.
    #[must_use]
    pub fn reserves<'a>(&'a self, pool: &'a Pool) -> Reserves<'a> {
        if self.datastore == Datastore::Etcd {
            return Reserves::Never;
        }
        let mut said = Reserves::Unknown;
        for (config, feeds) in self.of_pool(pool) {
            if feeds == Feeds::Maybe {
                return Reserves::Unknown;
            }
            if !config.overlapping_ranges {
                return Reserves::Never;
            }
            said = Reserves::For(&config.network_name);
        }
        said
    }

    /// Whether the definitions of a pool give out an address of it.
    #[must_use]
    pub fn allow(&self, pool: &Pool, address: IpAddr) -> Allowed {
        let mut found = Allowed::Yes;
        for (config, feeds) in self.of_pool(pool) {
            let same = |range: &&crate::config::RangeConfig| {
                pool.range
                    .as_ref()
                    .is_ok_and(|of_pool| of_pool.masked() == range.range)
            };
            let range = config.ranges.iter().find(same);
            let (Feeds::Surely, Some(range)) = (feeds, range) else {
                return Allowed::Yes;
            };
            match &range.window {
                Ok(window) if window.excludes(address) => found = Allowed::Excluded,
                Ok(window) if !window.holds(address) => found = Allowed::Outside,
                _ => return Allowed::Yes,
            }
        }
        if self.has_unclear() {
            Allowed::Yes
        } else {
            found
        }
    }

    fn of_pool<'a>(&'a self, pool: &'a Pool) -> impl Iterator<Item = (&'a IpamConfig, Feeds)> {
        let ours = self.all.values().filter_map(|definition| match definition {
            Definition::Ours(config) => Some((&**config, feeds(config, pool))),
            Definition::Foreign | Definition::Unclear => None,
        });
        ours.filter(|(_, feeds)| feeds.may())
    }

    fn has_unclear(&self) -> bool {
        let mut all = self.all.values();
        all.any(|definition| matches!(definition, Definition::Unclear))
    }
}

/// Whether a network allocates from a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feeds {
    No,
    /// Its ranges stand in the flat file, which cannot be seen from here.
    Maybe,
    Surely,
}

impl Feeds {
    fn may(self) -> bool {
        self != Self::No
    }
}

fn feeds(config: &IpamConfig, pool: &Pool) -> Feeds {
    let fit = pool.fit(&config.network_name);
    let Ok(range) = &pool.range else {
        return Feeds::No;
    };
    if config.ranges.is_empty() {
        return if fit > Fit::No {
            Feeds::Maybe
        } else {
            Feeds::No
        };
    }
    let range = range.masked();
    let mut ranges = config.ranges.iter();
    let first = config.ranges.first();
    // Only the first range is cut into slices.
    let in_slices = config.slices.is_some()
        && fit > Fit::No
        && first.is_some_and(|first| first.range.contains(range.first()));
    let whole = fit == Fit::Exact && ranges.any(|written| written.range == range);
    if in_slices || whole {
        Feeds::Surely
    } else {
        Feeds::No
    }
}

/// Reads a configuration: of one plugin, or of a list of plugins that has one with addresses.
fn read(text: &str, datastore: Datastore) -> Definition {
    let Ok(config) = serde_json::from_str::<Value>(text) else {
        return Definition::Unclear;
    };
    let name = config.get("name").cloned();
    let plugins = match config.get("plugins").and_then(Value::as_array) {
        Some(plugins) => plugins.clone(),
        None => vec![config],
    };
    // A plugin without `ipam`, at the end of a chain, leaves the addresses as they are.
    let with_ipam = plugins
        .into_iter()
        .filter(|plugin| plugin.get("ipam").is_some());
    let read: Vec<Definition> = with_ipam
        .map(|plugin| read_plugin(name.as_ref(), plugin, datastore))
        .collect();
    let mut ours = read
        .into_iter()
        .filter(|definition| !matches!(definition, Definition::Foreign));
    ours.next().unwrap_or(Definition::Foreign)
}

fn read_plugin(name: Option<&Value>, mut plugin: Value, datastore: Datastore) -> Definition {
    if let (Some(name), Some(members)) = (name, plugin.as_object_mut()) {
        members.insert("name".to_owned(), name.clone());
    }
    // Where the records are usually stands in a file on the node; what stands here goes before that.
    let flat = |_: &Path| -> io::Result<Option<Vec<u8>>> {
        let on_the_node = "on the node";
        let flat = json!({"kubernetes": {"kubeconfig": on_the_node}, "etcd_host": "on.the.node:2379",
            "datastore": datastore.name()});
        Ok(Some(flat.to_string().into_bytes()))
    };
    let text = plugin.to_string();
    match IpamConfig::load(text.as_bytes(), "", Version::V1_1_0, &flat) {
        Ok((config, _)) if config.etcd.is_some() != (datastore == Datastore::Etcd) => {
            Definition::Foreign
        }
        Ok((config, _)) => Definition::Ours(Box::new(config)),
        Err(Error::OtherType(_) | Error::NoIpam | Error::Datastore(_)) => Definition::Foreign,
        Err(_) => Definition::Unclear,
    }
}
