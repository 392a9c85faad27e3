//! A record that a test wants to be there, wherever that is.

/// An address of a pod's interface `net1`.
#[derive(Clone)]
pub(super) struct Record {
    /// Its last part.
    pub(super) at: u8,
    pub(super) podref: String,
    /// The uid of the pod and the node, which the Go program does not write.
    pub(super) owner: Option<(String, String)>,
}

/// The address `10.0.0.AT`, recorded for a pod of the namespace `default` as the plugin does it.
pub(super) fn record(at: u8, pod: &str) -> Record {
    Record {
        at,
        podref: format!("default/{pod}"),
        owner: Some((format!("uid-{pod}"), "node-a".to_owned())),
    }
}

impl Record {
    pub(super) fn uid(mut self, uid: &str) -> Record {
        self.owner = self.owner.map(|(_, node)| (uid.to_owned(), node));
        self
    }

    pub(super) fn node(mut self, node: &str) -> Record {
        self.owner = self.owner.map(|(uid, _)| (uid, node.to_owned()));
        self
    }

    /// Says neither uid nor node.
    pub(super) fn bare(mut self) -> Record {
        self.owner = None;
        self
    }

    pub(super) fn podref(mut self, podref: &str) -> Record {
        podref.clone_into(&mut self.podref);
        self
    }

    pub(super) fn address(&self) -> String {
        address(self.at)
    }

    pub(super) fn container(&self) -> String {
        format!("c-{}", self.podref.rsplit('/').next().unwrap())
    }
}

/// So many orphans, from 10.0.0.1 on.
pub(super) fn orphans(count: u8) -> Vec<Record> {
    let all = (1..=count).map(|at| record(at, &format!("gone-{at}")).bare());
    all.collect()
}

pub(super) fn address(at: u8) -> String {
    format!("10.0.0.{at}")
}
