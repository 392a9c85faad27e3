//! What lets things happen between the program and its servers.

use super::Home;
#[cfg(feature = "etcd")]
use super::keys::LEADS;
use crate::support::proxy::{Fault, Proxy, Seen};
#[cfg(feature = "etcd")]
use crate::support::relay::Relay;
use crate::support::run::{Run, reconciler};

/// What stands between the program and its servers, and lets things happen there.
pub(in crate::either) struct Wire<'a> {
    pub(super) home: &'a Home,
    /// Before the API server.
    pub(in crate::either) proxy: Proxy,
    /// Before etcd.
    #[cfg(feature = "etcd")]
    pub(super) relay: Option<Relay>,
}

impl Wire<'_> {
    /// A run over this.
    pub(in crate::either) fn run(&self) -> Run {
        let cluster = &self.home.cluster;
        let run = reconciler(&self.proxy.kubeconfig(cluster, cluster.token()));
        #[cfg(feature = "etcd")]
        let host = self.relay.as_ref().map(Relay::host);
        #[cfg(not(feature = "etcd"))]
        let host = None;
        self.home.between(run, host).args(["-o", "json"])
    }

    /// Does something before the first request that frees addresses.
    pub(in crate::either) fn before_release(
        &self,
        action: impl Future<Output = ()> + Send + 'static,
    ) {
        #[cfg(feature = "etcd")]
        if let Some(relay) = &self.relay {
            return relay.before(|message| message.contains(LEADS), action);
        }
        self.proxy
            .before(|seen| seen.is("PATCH", "/ippools/"), action);
    }

    /// Ends the connection of the first request that frees addresses.
    pub(in crate::either) fn lose_release(&self, lost: Lost) {
        #[cfg(feature = "etcd")]
        if let Some(relay) = &self.relay {
            let releases = |message: &str| message.contains(LEADS);
            return match lost {
                Lost::Request => relay.cut_before(releases),
                Lost::Answer => relay.cut_after(releases),
            };
        }
        let fault = match lost {
            Lost::Request => Fault::DropConnection,
            Lost::Answer => Fault::DropAfter,
        };
        let releases = |seen: &Seen| seen.is("PATCH", "/ippools/");
        self.proxy.once(releases, fault);
    }
}

/// What does not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::either) enum Lost {
    Request,
    Answer,
}
