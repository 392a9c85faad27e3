//! Whereabouts: cluster-wide IP addresses for the secondary interfaces of pods.
//!
//! The programs are thin shells around this library. What decides is pure and has no clock, no
//! environment and no network; what touches the world stands at the edges:
//!
//! | module | | what it is |
//! |---|---|---|
//! | [`ip`] | pure | addresses, ranges, offsets |
//! | [`pod`], [`node`] | pure | pod references and network status; what a Node says |
//! | [`allocate`] | pure | which address comes next |
//! | [`api`] | pure | the custom resources |
//! | [`record`] | pure | pool entries and reservations, from their JSON |
//! | [`text`] | pure | texts of records in little room |
//! | [`duration`] | pure | lengths of time as Go writes them |
//! | [`client`] | I/O | kubeconfig or service account to a client; errors in words |
//! | [`reconcile`] | both | snapshot → audit → plan → apply → report |
//! | [`metrics`] | pure | what a run leaves behind for Prometheus |
//! | [`install`] | I/O | puts the plugin onto a node, for `whereabouts-install` |
//! | [`cli`], [`log`] | I/O | the command line of `ip-reconciler`, and its log |

pub mod allocate;
pub mod api;
pub mod cli;
pub mod client;
pub mod cni;
pub mod config;
pub mod duration;
pub mod install;
pub mod ip;
pub mod ipam;
pub mod log;
pub mod metrics;
pub mod node;
pub mod pod;
pub mod reconcile;
pub mod record;
pub mod retry;
pub mod store;
pub mod text;
