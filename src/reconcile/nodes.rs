//! PURE: where a record's container ran, and whether it can still run there.
//!
//! A node that does not answer may be alive behind a broken network, its containers too. So an
//! absence of the pod proves nothing there, until a person has said that the node is off, or has
//! deleted it.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::node::NodeState;

/// The nodes of a cluster.
#[derive(Debug, Default)]
pub struct Nodes {
    /// All Nodes by name; empty when none was read, and then nothing is concluded from them.
    states: HashMap<Box<str>, NodeState>,
    rules: Rules,
}

/// What an operator wants to be concluded from nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether records of pods that are gone are held while their node is not known and some
    /// node is unreachable.
    pub strict: bool,
    /// After how long an unreachable node counts as off.
    pub release_after: Option<Duration>,
}

/// What a node says of a container that ran there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its kubelet answers, so what the pod objects say is true.
    Ready,
    /// Its kubelet does not answer: the container may still run.
    Unreachable,
    /// The same for longer than the operator wants to wait.
    UnreachableTooLong,
    /// An operator has said that it is powered off.
    OutOfService,
    /// There is no such Node any more.
    Gone,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "is Ready",
            Self::Unreachable | Self::UnreachableTooLong => "is not Ready",
            Self::OutOfService => "is not Ready and out of service",
            Self::Gone => "no longer exists",
        })
    }
}

/// A node and its standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Its standing.
    pub standing: Standing,
}

/// The nodes that can be meant, the best evidence first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names<'a> {
    /// The node that the record names.
    pub recorded: Option<&'a str>,
    /// What stands before the range in the pool's name: `[network-]node` for a node slice.
    pub slice: Option<&'a str>,
    /// The node of the pod, where it is known.
    pub pod: Option<&'a str>,
}

impl Nodes {
    /// Takes note of a Node.
    pub fn see(&mut self, name: Box<str>, state: NodeState) {
        self.states.insert(name, state);
    }

    /// Puts what a fresh look showed in place of what was known; `None`: there is no such Node.
    pub fn replace(&mut self, name: &str, state: Option<NodeState>) {
        match state {
            Some(state) => {
                self.states.insert(name.into(), state);
            }
            None => {
                self.states.remove(name);
            }
        }
    }

    /// Says what is to be concluded.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Whether there is a Node of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.states.contains_key(name)
    }

    /// Whether any Node is known at all.
    #[must_use]
    pub fn are_known(&self) -> bool {
        !self.states.is_empty()
    }

    /// The Nodes that are not Ready, in order of their names.
    #[must_use]
    pub fn not_ready(&self) -> Vec<&str> {
        let states = self.states.iter().filter(|(_, state)| !state.ready);
        let mut names: Vec<&str> = states.map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names
    }

    /// Whether a record is held although its node is not known.
    #[must_use]
    pub fn hold_unknown(&self) -> bool {
        self.rules.strict && self.has_unreachable()
    }

    /// Whether any node is unreachable.
    #[must_use]
    pub fn has_unreachable(&self) -> bool {
        let mut states = self.states.values();
        states.any(|state| !state.ready && !state.out_of_service)
    }

    /// Where the container ran; `None` where that is not known.
    ///
    /// What is said of a node that no Node has the name of is believed only of the pod itself,
    /// and of a record whose pod is gone.
    #[must_use]
    pub fn place<'a>(&'a self, names: Names<'a>, pod_exists: bool) -> Option<Place<'a>> {
        let known = [
            names.recorded,
            names.slice.and_then(|slice| self.node_of_slice(slice)),
            names.pod,
        ];
        let known = known.into_iter().flatten().filter_map(|node| {
            let (node, state) = self.states.get_key_value(node)?;
            let standing = self.standing(state);
            Some(Place { node, standing })
        });
        let known: Vec<Place<'a>> = known.collect();
        let unreachable = known
            .iter()
            .find(|place| place.standing == Standing::Unreachable);
        let gone = || {
            let node = if pod_exists {
                names.pod
            } else {
                names.recorded
            };
            let standing = Standing::Gone;
            node.filter(|_| self.are_known())
                .map(|node| Place { node, standing })
        };
        unreachable.or(known.first()).copied().or_else(gone)
    }

    fn standing(&self, state: &NodeState) -> Standing {
        if state.ready {
            Standing::Ready
        } else if state.out_of_service {
            Standing::OutOfService
        } else if self.has_been_enough(state) {
            Standing::UnreachableTooLong
        } else {
            Standing::Unreachable
        }
    }

    fn has_been_enough(&self, state: &NodeState) -> bool {
        let Some((wanted, since)) = self.rules.release_after.zip(state.since) else {
            return false;
        };
        let wanted = SignedDuration::try_from(wanted).unwrap_or(SignedDuration::MAX);
        Timestamp::now().duration_since(since) >= wanted
    }

    /// The Node with which the name of a slice's pool begins, behind the network.
    fn node_of_slice<'a>(&'a self, prefix: &'a str) -> Option<&'a str> {
        let starts = std::iter::once(0).chain(prefix.match_indices('-').map(|(at, _)| at + 1));
        let mut ends = starts.filter_map(|start| prefix.get(start..));
        ends.find(|end| self.states.contains_key(*end))
    }

    /// Since when a Node is as it is; nothing where that is not said.
    #[must_use]
    pub fn since(&self, node: &str) -> Option<Timestamp> {
        self.states.get(node)?.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(rules: Rules) -> Nodes {
        let mut nodes = Nodes {
            rules,
            ..Nodes::default()
        };
        for (name, ready, out_of_service) in
            [("a", true, false), ("b", false, false), ("c", false, true)]
        {
            let since = "2020-01-01T00:00:00Z".parse().ok();
            let state = NodeState {
                ready,
                since,
                out_of_service,
            };
            nodes.see(name.into(), state);
        }
        nodes
    }

    fn names<'a>(recorded: &'a str, slice: &'a str, pod: &'a str) -> Names<'a> {
        let name = |text: &'a str| (!text.is_empty()).then_some(text);
        Names {
            recorded: name(recorded),
            slice: name(slice),
            pod: name(pod),
        }
    }

    #[test]
    fn the_worst_that_is_known_of_a_place_counts() {
        let nodes = nodes(Rules::default());
        for (of, pod_exists, expected) in [
            (names("a", "", ""), true, Some(("a", Standing::Ready))),
            (
                names("a", "", "b"),
                true,
                Some(("b", Standing::Unreachable)),
            ),
            (
                names("", "blue-b", ""),
                false,
                Some(("b", Standing::Unreachable)),
            ),
            (names("", "blue", ""), false, None),
            (
                names("c", "", ""),
                false,
                Some(("c", Standing::OutOfService)),
            ),
            (names("x", "", ""), false, Some(("x", Standing::Gone))),
            // A pod that is there says itself where it is.
            (names("x", "", ""), true, None),
            (names("x", "", "y"), true, Some(("y", Standing::Gone))),
            (names("x", "", "a"), true, Some(("a", Standing::Ready))),
        ] {
            let place = nodes.place(of, pod_exists);
            assert_eq!(place.map(|at| (at.node, at.standing)), expected, "{of:?}");
        }
        let none = Nodes::default();
        assert_eq!(none.place(names("x", "", "y"), false), None);
    }

    #[test]
    fn time_alone_frees_only_where_the_operator_says_so() {
        let after = |release_after| Rules {
            release_after: Some(release_after),
            strict: false,
        };
        let standing = |rules| {
            nodes(rules)
                .place(names("b", "", ""), false)
                .unwrap()
                .standing
        };
        let long = after(Duration::from_mins(1));
        assert_eq!(standing(long), Standing::UnreachableTooLong);
        let longer = after(Duration::from_secs(u64::MAX));
        assert_eq!(standing(longer), Standing::Unreachable);
    }
}
