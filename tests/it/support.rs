//! What the tests stand on: a real control plane, objects to put into it, a proxy that makes the
//! network fail, and the program as a process.

pub(crate) mod cluster;
pub(crate) mod control_plane;
#[cfg(feature = "etcd")]
pub(crate) mod etcd;
pub(crate) mod objects;
pub(crate) mod prometheus;
pub(crate) mod proxy;
#[cfg(feature = "etcd")]
pub(crate) mod relay;
pub(crate) mod run;
