//! PURE: the network configuration of a CNI call, with the flat file behind it.
//!
//! Names, defaults, the order of checks and the texts of errors are those of the Go program, so that
//! existing configurations go on working. What it ignores in silence is ignored with a warning.

mod etcd;
mod members;
mod merge;
mod ranges;
mod raw;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::cni::args::Args;
use crate::cni::{Address, Dns, Route, Version, args};
use crate::duration;
use crate::ip::{IpRange, parse_address};

pub use etcd::EtcdConfig;
pub use ranges::RangeConfig;
use raw::{Ipam, Kubernetes, StaticAddress};

/// Where the flat file is looked for, after `configuration_path`.
const FLAT_FILES: [&str; 3] = [
    "/etc/kubernetes/cni/net.d/whereabouts.d/whereabouts.conf",
    "/etc/cni/net.d/whereabouts.d/whereabouts.conf",
    "/host/etc/cni/net.d/whereabouts.d/whereabouts.conf",
];

/// Where the processes of a node lock pools; gone after a reboot, as the processes are.
const LOCK_DIR: &str = "/run/whereabouts";
/// How long ADD and DEL may take by default.
const ADD_TIMEOUT: Duration = Duration::from_mins(2);
const DEL_TIMEOUT: Duration = Duration::from_mins(1);

/// What a call is to do, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpamConfig {
    /// The prefix of the names of pools and reservations; empty for the unnamed network.
    pub network_name: String,
    /// The name of the `NodeSlicePool` that says which slice of the first range this node has, where
    /// slices are switched on.
    pub slices: Option<String>,
    /// The ranges, in the order in which addresses are allocated from them.
    pub ranges: Vec<RangeConfig>,
    /// The gateway of every allocated address.
    pub gateway: Option<IpAddr>,
    /// Routes for the result.
    pub routes: Vec<Route>,
    /// Name resolution for the result.
    pub dns: Dns,
    /// Addresses that are given as they are, and recorded nowhere.
    pub addresses: Vec<Address>,
    /// Whether an address is unique across all ranges of the network.
    pub overlapping_ranges: bool,
    /// Where the cluster is.
    pub kubeconfig: String,
    /// How to reach etcd, where that is the datastore.
    pub etcd: Option<EtcdConfig>,
    /// The folder of what the installer wrote, or the flat file.
    pub configuration_path: Option<String>,
    /// The file to log into, besides standard error.
    pub log_file: Option<String>,
    /// How much to log.
    pub log_level: Option<String>,
    /// The folder of the locks by which the processes of a node take turns.
    pub lock_dir: PathBuf,
    /// How long ADD may take.
    pub add_timeout: Duration,
    /// How long DEL may take.
    pub del_timeout: Duration,
    /// What was ignored, and why.
    pub warnings: Vec<String>,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no JSON, or a member has the wrong type.
    #[error("LoadIPAMConfig - JSON Parsing Error: {reason} / bytes: {bytes}")]
    Json {
        /// What is wrong.
        reason: String,
        /// The configuration.
        bytes: String,
    },
    /// It has no `ipam`.
    #[error("IPAM config missing 'ipam' key")]
    NoIpam,
    /// It is for another plugin.
    #[error("only interested in networks whose IPAM type is 'whereabouts'. This one was: {0}")]
    OtherType(String),
    /// `CNI_ARGS` cannot be read.
    #[error("LoadArgs - CNI Args Parsing Error: {0}")]
    Args(#[from] args::Error),
    /// The flat file cannot be opened.
    #[error("error opening flat configuration file @ {path} with: {reason}")]
    FlatFile {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The flat file is no JSON object.
    #[error("LoadIPAMConfig Flatfile ({path}) - JSON Parsing Error: {reason}")]
    FlatJson {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The flat file can be opened, but not read.
    #[error("LoadIPAMConfig Flatfile ({path}) - io.ReadAll error: {reason}")]
    FlatRead {
        /// Which file, or folder.
        path: String,
        /// Why.
        reason: String,
    },
    /// No object can have a name that begins so.
    #[error(
        "network_name {0:?} cannot begin the name of a Kubernetes object: write lower case letters, \
         digits, '-' and '.', at most 209 of them"
    )]
    NetworkName(String),
    /// A range cannot be understood.
    #[error("{0}")]
    Range(String),
    /// `subnet` belongs to other IPAM plugins.
    #[error("'subnet' is no setting of whereabouts: write 'range' instead of 'subnet' ({0:?})")]
    Subnet(String),
    /// No cluster is named.
    #[error(
        "you have not configured the storage engine (looks like you're using an invalid \
         `kubernetes.kubeconfig` parameter in your config)"
    )]
    NoStore,
    /// The datastore is one that is not there.
    #[error("datastore {0:?} is not known: write \"kubernetes\" or \"etcd\"")]
    Datastore(String),
    /// How to reach etcd is not said, or not in full.
    #[error("datastore etcd: {0}")]
    Etcd(&'static str),
    /// An endpoint of etcd that could not be asked.
    #[error(
        "datastore etcd: etcd_host has {0:?}: write HOST:PORT, with http:// or https:// in front of it or nothing"
    )]
    Endpoint(String),
    /// The gateway is no address.
    #[error("couldn't parse gateway IP: {0}")]
    Gateway(String),
    /// A static address is none.
    #[error("invalid CIDR in addresses {0}: invalid CIDR address: {0}")]
    Address(String),
    /// `IP=` has something that is no address.
    #[error("invalid CIDR {0}: invalid CIDR address: {0}")]
    ArgsAddress(String),
    /// `GATEWAY=` has something that is no address.
    #[error("invalid gateway address: {0}")]
    ArgsGateway(String),
    /// Old results have room for one address of each family.
    #[error("CNI version {0} does not support more than 1 address per family")]
    TooManyAddresses(Version),
    /// A time limit is none.
    #[error("{setting} {value:?} is no duration such as 90s or 2m")]
    Timeout {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
}

impl Error {
    fn subnet(value: &serde_json::Value) -> Self {
        let text = value.as_str().map(ToOwned::to_owned);
        Self::Subnet(text.unwrap_or_else(|| value.to_string()))
    }
}

/// Reads a file; `None` when there is none.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Option<Vec<u8>>>;

impl IpamConfig {
    /// Reads and checks the configuration of a call, and the arguments that came with it.
    pub fn load(
        stdin: &[u8],
        args: &str,
        version: Version,
        read_file: ReadFile<'_>,
    ) -> Result<(Self, Args), Error> {
        let merge::Network {
            name,
            ipam: mut document,
        } = merge::read(stdin)?;
        let mut warnings = members::unknown("ipam", &document);
        let json = |error: serde_json::Error| Error::Json {
            reason: error.to_string(),
            bytes: merge::shown(stdin),
        };
        let own = merge::typed(&document).map_err(json)?;
        if own.kind != "whereabouts" {
            return Err(Error::OtherType(own.kind));
        }
        let args = Args::parse(args)?;
        let own_path = Some(own.configuration_path.as_str()).filter(|path| !path.is_empty());
        let paths = own_path.into_iter().chain(FLAT_FILES);
        if let Some(flat) = merge::first_of(paths, read_file)? {
            if flat.contains_key("enable_overlapping_ranges") {
                warnings.push(
                    "enable_overlapping_ranges in the flat file is ignored: it belongs into the \
                     network configuration"
                        .to_owned(),
                );
            }
            merge::fill(&mut document, flat);
        }
        let ipam = merge::typed(&document).map_err(json)?;
        let config = check(&name, ipam, &args, version, warnings)?;
        Ok((config, args))
    }
}

fn check(
    network: &str,
    ipam: Ipam,
    args: &Args,
    version: Version,
    mut warnings: Vec<String>,
) -> Result<IpamConfig, Error> {
    let ranges = ranges::ranges_of(&ipam, &mut warnings)?;
    if let Some(subnet) = &ipam.subnet {
        if ranges.is_empty() {
            return Err(Error::subnet(subnet));
        }
        warnings.push("ipam: \"subnet\" is no setting and is ignored".to_owned());
    }
    let etcd = match ipam.datastore.as_str() {
        "" | "kubernetes" => None,
        "etcd" => Some(EtcdConfig::of(&ipam)?),
        _ => return Err(Error::Datastore(ipam.datastore)),
    };
    let network_name = ipam.network_name;
    if !network_name.is_empty() && !members::is_name_prefix(&network_name) {
        return Err(Error::NetworkName(network_name));
    }
    let slices = (!ipam.node_slice_size.is_empty()).then(|| match network_name.as_str() {
        "" => network.to_owned(),
        named => named.to_owned(),
    });
    let Kubernetes { kubeconfig } = ipam.kubernetes;
    if kubeconfig.is_empty() && etcd.is_none() {
        return Err(Error::NoStore);
    }
    let gateway = match ipam.gateway.as_str() {
        "" => None,
        text => Some(parse_address(text).ok_or_else(|| Error::Gateway(text.to_owned()))?),
    };
    let addresses = statics(&ipam.addresses, args, version)?;
    let non_empty = |text: String| (!text.is_empty()).then_some(text);
    Ok(IpamConfig {
        network_name,
        slices,
        ranges,
        gateway,
        routes: ipam.routes,
        dns: ipam.dns,
        addresses,
        overlapping_ranges: ipam.enable_overlapping_ranges.unwrap_or(true),
        kubeconfig,
        etcd,
        configuration_path: non_empty(ipam.configuration_path),
        log_file: non_empty(ipam.log_file),
        log_level: non_empty(ipam.log_level),
        lock_dir: non_empty(ipam.lock_dir).map_or_else(|| LOCK_DIR.into(), PathBuf::from),
        add_timeout: timeout("add_timeout", &ipam.add_timeout, ADD_TIMEOUT)?,
        del_timeout: timeout("del_timeout", &ipam.del_timeout, DEL_TIMEOUT)?,
        warnings,
    })
}

/// The static addresses of the configuration, then those of `CNI_ARGS`.
fn statics(
    configured: &[StaticAddress],
    args: &Args,
    version: Version,
) -> Result<Vec<Address>, Error> {
    let mut addresses = Vec::new();
    for StaticAddress { address, gateway } in configured {
        let parsed = parse_cidr(address).ok_or_else(|| Error::Address(address.clone()))?;
        addresses.push(Address {
            address: parsed,
            gateway: gateway.0,
        });
    }
    for text in args
        .ip
        .iter()
        .flat_map(|list| list.split(','))
        .map(str::trim)
    {
        let address = parse_cidr(text).ok_or_else(|| Error::ArgsAddress(text.to_owned()))?;
        addresses.push(Address {
            address,
            gateway: None,
        });
    }
    for text in args
        .gateway
        .iter()
        .flat_map(|list| list.split(','))
        .map(str::trim)
    {
        let gateway = parse_address(text).ok_or_else(|| Error::ArgsGateway(text.to_owned()))?;
        for address in addresses
            .iter_mut()
            .filter(|a| a.address.contains(&gateway))
        {
            address.gateway = Some(gateway);
        }
    }
    let of_family = |v4| {
        addresses
            .iter()
            .filter(|a| a.address.addr().is_ipv4() == v4)
            .count()
    };
    if version <= Version::V0_2_0 && (of_family(true) > 1 || of_family(false) > 1) {
        return Err(Error::TooManyAddresses(version));
    }
    Ok(addresses)
}

/// An address with its prefix length, in any spelling that the Go program takes.
fn parse_cidr(text: &str) -> Option<IpNet> {
    let range: IpRange = text.parse().ok()?;
    IpNet::new(range.address_at(0)?, range.prefix_len()).ok()
}

fn timeout(setting: &'static str, value: &str, default: Duration) -> Result<Duration, Error> {
    if value.is_empty() {
        return Ok(default);
    }
    let invalid = || Error::Timeout {
        setting,
        value: value.to_owned(),
    };
    let duration = duration::parse(value).map_err(|_| invalid())?;
    let sensible = !duration.is_zero() && duration <= Duration::from_hours(1);
    sensible.then_some(duration).ok_or_else(invalid)
}

#[cfg(test)]
mod tests;
