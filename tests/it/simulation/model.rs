//! PURE: a small cluster as it really is, and as its API shows it.
//!
//! **The truth** is which containers run where, and with which address. Nobody in the cluster sees it.
//! **The objects** are what the API server has of pods and nodes: what the reconciler sees. The
//! records are in neither of them: they are what the programs under test make of it all.

/// How many nodes and names of pods a cluster has.
pub(super) const NODES: usize = 2;
pub(super) const PODS: usize = 3;

/// Which program a node's plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Ours,
    /// The Go program: it writes no uid and no node, and takes over what is its pod's without
    /// writing the reservation.
    Go,
}

/// What the API shows of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Ready,
    /// Not heard of.
    Silent,
    /// Not heard of, and tainted as out of service.
    OutOfService,
    /// There is no such object.
    Gone,
}

/// The objects of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Objects {
    pub(super) nodes: [Seen; NODES],
    /// Since when each node is as it is seen: seconds of the clock that the controllers have.
    pub(super) since: [i64; NODES],
    pub(super) pods: [Option<Pod>; PODS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    Succeeded,
    Failed,
}

/// A pod's object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    /// Which object of this name it is: another one has another uid.
    pub(super) object: usize,
    /// Which pod it is: a mirror pod that is made anew stays the same.
    pub(super) life: usize,
    pub(super) node: usize,
    pub(super) is_mirror: bool,
    pub(super) deleting: bool,
    pub(super) phase: Phase,
    /// The last part of the address that the network status shows.
    pub(super) shows: Option<usize>,
    /// Whether its kubelet does not say that the sandbox is being made.
    pub(super) settled: bool,
}

/// A node as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) powered: bool,
    /// Whether it reaches the API server.
    pub(super) linked: bool,
    /// When the controllers notice that they have not heard of it.
    pub(super) noticed: Option<i64>,
    /// Whether it was cut off while a run is reading.
    pub(super) is_fresh: bool,
}

/// A container that got an address once.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) id: usize,
    pub(super) pod: usize,
    pub(super) life: usize,
    pub(super) node: usize,
    pub(super) writer: Writer,
    /// The last part of the address; `None` for one whose ADD was cut off.
    pub(super) address: Option<usize>,
    /// Whether it runs, and so holds its address.
    pub(super) runs: bool,
    /// When its kubelet ends it, which has begun to.
    pub(super) ends: Option<i64>,
    /// Whether DEL has still to be called.
    pub(super) owes_del: bool,
    /// Whether the records are still to name it: an ADD of the Go program for the next pod of its
    /// name takes its entry over, wherever it runs.
    pub(super) recorded: bool,
}

/// What may happen in a history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Whether pods may vanish, or be said to have failed, while the same run reads that began
    /// before their node was cut off. Without `--grace` nothing helps against that.
    pub(super) all_at_once: bool,
    /// How many seconds the world may be behind the API: a pod deleted by force ends so much
    /// later, a failure of a node is noticed so much later, and a node that is back ends what is
    /// left on it so much later.
    pub(super) lag: i64,
    /// Whether a pod that the Go program recorded may vanish while its container runs on behind a
    /// broken network; only `--strict` holds its address then.
    pub(super) go_pods_vanish: bool,
}

/// A small cluster.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) limits: Limits,
    /// The true time.
    pub(super) now: i64,
    pub(super) nodes: [Node; NODES],
    pub(super) objects: Objects,
    pub(super) containers: Vec<Container>,
    /// Pods whose kubelet has yet to say that their sandbox is being made.
    pub(super) unsaid: Vec<usize>,
    /// The pod and the container of an ADD of the Go program that has read and not yet written.
    pub(super) under_way: Option<(usize, Container)>,
    pub(super) made: usize,
    in_run: bool,
}

impl Model {
    /// A run begins or ends.
    pub(super) fn set_in_run(&mut self, in_run: bool) {
        self.in_run = in_run;
        for node in &mut self.nodes {
            node.is_fresh = false;
        }
    }

    /// Healthy nodes, and nothing else.
    pub(super) fn new(limits: Limits) -> Model {
        let node = Node {
            powered: true,
            linked: true,
            noticed: None,
            is_fresh: false,
        };
        Model {
            limits,
            now: 0,
            nodes: [node; NODES],
            objects: Objects {
                nodes: [Seen::Ready; NODES],
                since: [-100_000; NODES],
                pods: [None, None, None],
            },
            containers: Vec::new(),
            unsaid: Vec::new(),
            under_way: None,
            made: 0,
            in_run: false,
        }
    }

    /// Whether a kubelet works and is heard of.
    pub(super) fn is_healthy(&self, node: usize) -> bool {
        self.reaches(node) && self.objects.nodes[node] == Seen::Ready
    }

    /// Takes note that a node was cut off.
    pub(super) fn cut_off(&mut self, node: usize, noticed: i64) {
        let is_fresh = self.in_run && !self.limits.all_at_once;
        let cut_off = &mut self.nodes[node];
        cut_off.linked = false;
        cut_off.noticed = Some(noticed);
        cut_off.is_fresh = is_fresh;
    }

    /// Whether the kubelet of a node can call the API.
    pub(super) fn reaches(&self, node: usize) -> bool {
        self.nodes[node].powered && self.nodes[node].linked
    }

    /// The container of the pod that has this object now, if it runs.
    pub(super) fn running(&self, pod: usize) -> Option<usize> {
        let life = self.objects.pods[pod].as_ref()?.life;
        let mut all = self.containers.iter();
        all.position(|it| it.runs && it.pod == pod && it.life == life)
    }

    /// All containers that hold an address.
    pub(super) fn live(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|it| it.runs)
    }

    /// How many containers run although the API shows no pod, or another one, in their place.
    pub(super) fn ghosts(&self) -> usize {
        let is_shown = |it: &&Container| {
            let object = self.objects.pods[it.pod].as_ref();
            object.is_some_and(|object| object.life == it.life)
        };
        self.live().filter(|it| !is_shown(it)).count()
    }

    /// A number that nothing had before.
    pub(super) fn number(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    /// A container that a kubelet is about to make.
    pub(super) fn container(&mut self, pod: usize, writer: Writer) -> Container {
        let id = self.number();
        let object = self.objects.pods[pod].as_ref().unwrap();
        Container {
            id,
            pod,
            life: object.life,
            node: object.node,
            writer,
            address: None,
            runs: false,
            ends: None,
            owes_del: true,
            recorded: false,
        }
    }

    /// Takes note of the end of an ADD; `None`: it failed, and its process may have been killed.
    pub(super) fn added(&mut self, mut container: Container, address: Option<usize>) {
        container.address = address;
        // The node can have gone down while the call was under way.
        container.runs = address.is_some() && self.reaches(container.node);
        container.recorded = container.runs;
        self.containers.push(container);
        // Its pod can have been deleted meanwhile.
        self.end_what_is_left(0);
    }

    /// Lets a container end: its kubelet still has to call DEL.
    pub(super) fn end(&mut self, container: usize) {
        let container = &mut self.containers[container];
        container.runs = false;
        container.ends = None;
    }

    /// Lets all containers of a node end that are `meant`, within the time that this may take.
    pub(super) fn end_within(&mut self, lag: i64, meant: impl Fn(&Container) -> bool) {
        let until = self.now + lag;
        for container in &mut self.containers {
            if container.runs && meant(container) {
                container.ends.get_or_insert(until);
            }
        }
        self.tick(0);
    }

    /// Lets time pass, and with it happen what was only delayed.
    pub(super) fn tick(&mut self, seconds: i64) {
        self.now += seconds;
        for index in 0..self.containers.len() {
            let Container {
                runs, ends, node, ..
            } = self.containers[index];
            let is_due = ends.is_some_and(|at| at <= self.now);
            if runs && is_due && self.nodes[node].powered {
                self.end(index);
            }
        }
        for node in 0..NODES {
            if self.nodes[node].noticed.is_some_and(|at| at <= self.now) {
                self.nodes[node].noticed = None;
                self.see(node, Seen::Silent);
            }
        }
    }

    /// Lets the API show something else of a node.
    pub(super) fn see(&mut self, node: usize, seen: Seen) {
        if self.objects.nodes[node] != seen {
            self.objects.nodes[node] = seen;
            self.objects.since[node] = self.now;
        }
    }

    /// Whether a kubelet can say what it has not said yet.
    pub(super) fn can_post(&self) -> bool {
        let mut pods = self.unsaid.iter().map(|pod| &self.objects.pods[*pod]);
        pods.any(|pod| pod.as_ref().is_none_or(|pod| self.nodes[pod.node].linked))
    }

    /// Lets the API no longer show what the kubelets and Multus have not yet written.
    pub(super) fn post(&mut self) {
        for pod in std::mem::take(&mut self.unsaid) {
            let Some(object) = &mut self.objects.pods[pod] else {
                continue;
            };
            if self.nodes[object.node].linked {
                object.settled = false;
            } else {
                self.unsaid.push(pod);
            }
        }
    }
}

/// What histories were about: without it they would prove nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) histories: usize,
    /// Containers that ran without a pod while the reconciler did.
    pub(super) ghosts: usize,
    /// Runs, or records, in which something was released.
    pub(super) released: usize,
}

impl Tally {
    pub(super) fn add(&mut self, more: Tally) {
        self.histories += more.histories;
        self.ghosts += more.ghosts;
        self.released += more.released;
    }

    /// Many histories had both what must be kept and what must go.
    pub(super) fn assert(self) {
        let is_telling = self.ghosts > 0 && self.released > 0;
        assert!(self.histories < 100 || is_telling, "{self:?}");
    }
}
