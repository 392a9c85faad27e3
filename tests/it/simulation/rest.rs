//! PURE: everything is repaired, so that it can be seen whether anything is left.

use super::event::Event;
use super::model::{Model, NODES, PODS, Phase, Seen, Writer};

impl Model {
    /// What has still to be done: what is under way comes to an end, nodes are repaired or removed,
    /// what is being deleted ends, and every other pod runs and shows its address, but those that
    /// could not get one.
    pub(super) fn repair(&self, without: &[usize]) -> Option<Event> {
        if self.under_way.is_some() {
            return Some(Event::GoWrites);
        }
        let mut nodes = (0..NODES).filter_map(|node| self.repair_node(node));
        let unsaid = || self.can_post().then_some(Event::Post);
        let mut pods = (0..PODS).filter_map(|pod| self.repair_pod(pod, without));
        nodes.next().or_else(unsaid).or_else(|| pods.next())
    }

    fn repair_node(&self, node: usize) -> Option<Event> {
        match self.objects.nodes[node] {
            Seen::Silent if self.nodes[node].powered => Some(Event::Return(node)),
            // The other one is enough.
            Seen::Silent if node == 0 => Some(Event::Remove(node)),
            Seen::Silent => Some(Event::Taint(node)),
            _ => None,
        }
    }

    fn repair_pod(&self, pod: usize, without: &[usize]) -> Option<Event> {
        let object = self.objects.pods[pod].as_ref()?;
        if !self.is_healthy(object.node) {
            // Evicted, and collected.
            return Some(Event::Force(pod));
        }
        if object.deleting {
            return Some(Event::End(pod));
        }
        if object.phase != Phase::Running {
            return None;
        }
        match self.running(pod) {
            None if without.contains(&pod) => None,
            None => Some(Event::Start {
                pod,
                writer: Writer::Ours,
                late: false,
            }),
            Some(container) => {
                let is_shown = object.shows == self.containers[container].address;
                (!is_shown || !object.settled).then_some(Event::Show(pod))
            }
        }
    }

    /// Pods that run nowhere although they should.
    pub(super) fn waiting(&self) -> Vec<usize> {
        let waits = |pod: &usize| {
            let object = self.objects.pods[*pod].as_ref();
            let is_wanted = object.is_some_and(|it| it.phase == Phase::Running && !it.deleting);
            is_wanted && self.running(*pod).is_none()
        };
        (0..PODS).filter(waits).collect()
    }
}
