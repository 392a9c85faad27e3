//! I/O: the store that a network is configured with.

use std::collections::BTreeSet;
use std::net::IpAddr;

#[cfg(feature = "etcd")]
use super::etcd::Etcd;
use super::kubernetes::Kubernetes;
use super::{Acquired, Attachment, Error, Garbage, Range, Store};
use crate::ip::IpRange;

/// One of the stores.
pub enum Any {
    /// Custom resources.
    Kubernetes(Kubernetes),
    /// Keys in etcd.
    #[cfg(feature = "etcd")]
    Etcd(Box<Etcd>),
}

/// Does it with whichever store it is.
macro_rules! with {
    ($any:expr, $store:ident => $call:expr) => {
        match $any {
            Any::Kubernetes($store) => $call.await,
            #[cfg(feature = "etcd")]
            Any::Etcd($store) => $call.await,
        }
    };
}

impl Store for Any {
    async fn slice_of(&self, slices: &str, node: &str, range: IpRange) -> Result<IpRange, Error> {
        with!(self, store => store.slice_of(slices, node, range))
    }

    async fn acquire(
        &self,
        range: &Range<'_>,
        attachment: &Attachment,
        avoid: &BTreeSet<IpAddr>,
    ) -> Result<Acquired, Error> {
        with!(self, store => store.acquire(range, attachment, avoid))
    }

    async fn undo(&self, range: &Range<'_>, attachment: &Attachment) -> Result<(), Error> {
        with!(self, store => store.undo(range, attachment))
    }

    async fn release(
        &self,
        range: &Range<'_>,
        container: &str,
        interface: &str,
    ) -> Result<(), Error> {
        with!(self, store => store.release(range, container, interface))
    }

    async fn verify(
        &self,
        range: &Range<'_>,
        container: &str,
        interface: &str,
        addresses: &[IpAddr],
    ) -> Result<Vec<IpAddr>, Error> {
        with!(self, store => store.verify(range, container, interface, addresses))
    }

    async fn collect(&self, range: &Range<'_>, garbage: &Garbage<'_>) -> Result<(), Error> {
        with!(self, store => store.collect(range, garbage))
    }

    async fn has_free(&self, range: &Range<'_>) -> Result<bool, Error> {
        with!(self, store => store.has_free(range))
    }
}
