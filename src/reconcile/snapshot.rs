//! I/O: what the cluster looked like, read in the order that makes an absence mean something.
//!
//! **Everything that could be freed is read first, everything that proves use after it.** A pod
//! whose address was recorded before the read began is then either seen, or really gone.

mod files;
mod list;
mod live;

use std::collections::HashMap;

use super::audit::Audit;
use super::grace::Grace;
use super::nodes::Nodes;
use super::pods::Pods;
use super::records::{RecordId, Records};
use crate::pod::PodRef;
use crate::record::evidence::Evidence;

pub use files::{FileError, parse_dumps, read_files};
pub use live::{
    ReadStep, read_cluster, read_cluster_with, read_evidence, read_node, read_pod, read_pool,
    read_reservation,
};

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

    /// The verdicts on it.
    #[must_use]
    pub fn audit(&self) -> Audit<'_> {
        Audit::new(&self.records, &self.pods, &self.nodes, self.grace)
    }
}
