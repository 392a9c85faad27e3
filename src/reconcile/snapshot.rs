//! I/O: what the cluster looked like, read in the order that makes an absence mean something.
//!
//! **Everything that could be freed is read first, everything that proves use after it.** A pod
//! whose address was recorded before the read began is then either seen, or really gone.

mod again;
mod documents;
mod files;
mod list;
mod live;

use std::collections::HashMap;

use super::audit::Audit;
use super::findings::{self, Finding, Protection};
use super::grace::Grace;
use super::networks::Networks;
use super::nodes::Nodes;
use super::pods::Pods;
use super::records::{RecordId, Records};
use crate::pod::PodRef;
use crate::record::evidence::Evidence;

pub use again::{read_again, read_cron_jobs, read_definitions};
pub use files::{FileError, parse_dumps, read_files};
#[cfg(feature = "etcd")]
pub(in crate::reconcile) use list::MAX_RESTARTS;
pub use live::{
    ReadStep, glance_at_pool, read_cluster, read_cluster_with, read_evidence, read_node, read_pod,
    read_pool, read_reservation, read_whole_pod,
};
pub(in crate::reconcile) use live::{read_pools, read_reservations};

/// The records of a cluster, and what its pods prove about them.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// What could be freed.
    pub records: Records,
    /// What proves that nothing runs on a node any more.
    pub nodes: Nodes,
    /// What proves use.
    pub pods: Pods,
    /// How long an orphan has to be seen as one.
    pub grace: Grace,
    /// Details of pods that somebody asks about; a run needs none.
    pub evidence: HashMap<PodRef, Evidence>,
    /// What the definitions of networks say.
    pub networks: Networks,
    /// What is wrong between the records and the pods.
    pub findings: Vec<Finding>,
    /// Why not all that seemed wrong could be looked at a second time, if so.
    pub unsure: Option<String>,
    /// What was odd about the input, for the report.
    pub notes: Vec<String>,
}

impl Snapshot {
    /// The pod that a record names, if there was none.
    #[must_use]
    pub fn absent_pod(&self, id: RecordId) -> Option<&PodRef> {
        let pod = self.records.pod_of(id)?;
        self.pods.get(pod).is_none().then_some(pod)
    }

    /// What is wrong in it, at first sight.
    #[must_use]
    pub fn find(&self) -> (Vec<Finding>, Protection) {
        let audit = self.audit();
        let protection = Protection::of(&audit, &self.networks);
        let findings = findings::find(&audit, &self.networks, &protection);
        (findings, protection)
    }

    /// The verdicts on it.
    #[must_use]
    pub fn audit(&self) -> Audit<'_> {
        Audit::new(&self.records, &self.pods, &self.nodes, self.grace)
    }
}
