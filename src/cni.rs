//! PURE: the protocol between a container runtime and an IPAM plugin (CNI 0.1.0 to 1.1.0).
//!
//! A call is an environment and a document on stdin; its answer is one JSON document on stdout, or
//! nothing, and an exit code. [`dispatch`] makes the answer from what it is given and from a
//! [`Plugin`], and touches nothing else.
//!
//! Input is read as Go's JSON package reads it, because that is what existing configurations were
//! written for: members in any letter case, unknown ones skipped, `null` the same as absent.

pub mod args;
mod dispatch;
mod environment;
mod error;
mod input;
mod print;
mod read;
mod result;
mod version;

pub use dispatch::{Call, Plugin, Reply, dispatch};
pub use environment::Environment;
pub use error::{Code, Error};
pub use input::{Attachment, previous_addresses, valid_attachments};
pub(crate) use read::OptionalAddress;
pub use read::{parse_address, parse_cidr};
pub use result::{Address, Dns, IpamResult, Route};
pub use version::{UnsupportedVersion, Version};
