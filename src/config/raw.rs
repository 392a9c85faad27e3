//! PURE: the configuration's members as they are written, all in lower case.

use serde::Deserialize;
use serde_json::Value;

use crate::cni::{Dns, OptionalAddress, Route};

/// `ipam`; what is absent is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ipam {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) range: String,
    pub(super) range_start: String,
    pub(super) range_end: String,
    pub(super) exclude: Vec<String>,
    pub(super) ipranges: Vec<Range>,
    /// No setting: see `Error::Subnet`.
    pub(super) subnet: Option<Value>,
    pub(super) gateway: String,
    pub(super) routes: Vec<Route>,
    pub(super) dns: Dns,
    pub(super) addresses: Vec<StaticAddress>,
    pub(super) network_name: String,
    pub(super) node_slice_size: String,
    pub(super) enable_overlapping_ranges: Option<bool>,
    pub(super) kubernetes: Kubernetes,
    pub(super) configuration_path: String,
    pub(super) log_file: String,
    pub(super) log_level: String,
    pub(super) datastore: String,
    pub(super) etcd_host: String,
    pub(super) etcd_username: String,
    pub(super) etcd_password: String,
    pub(super) etcd_key_file: String,
    pub(super) etcd_cert_file: String,
    pub(super) etcd_ca_cert_file: String,
    pub(super) lock_dir: String,
    pub(super) add_timeout: String,
    pub(super) del_timeout: String,
}

/// An element of `ipRanges`.
#[expect(
    clippy::struct_field_names,
    reason = "the names are the configuration's"
)]
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Range {
    pub(super) range: String,
    pub(super) range_start: OptionalAddress,
    pub(super) range_end: OptionalAddress,
    pub(super) exclude: Vec<String>,
    pub(super) subnet: Option<Value>,
}

/// An element of `addresses`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StaticAddress {
    pub(super) address: String,
    pub(super) gateway: OptionalAddress,
}

/// `kubernetes`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Kubernetes {
    pub(super) kubeconfig: String,
}
