//! Everything is repaired, so that it can be seen whether anything is left (I/O).

use super::event::Event;
use super::live::History;
use super::model::{NODES, PODS, Phase, Seen, Writer};

impl History {
    /// Ends what is under way, repairs or removes nodes, ends what is being deleted, and lets every
    /// other pod run and show its address.
    pub(super) async fn repair(&mut self) {
        if self.model.under_way.is_some() {
            self.carry_out(Event::GoWrites, None).await;
        }
        for node in 0..NODES {
            let event = match self.model.objects.nodes[node] {
                Seen::Silent if self.model.nodes[node].powered => Some(Event::Return(node)),
                // The other one is enough.
                Seen::Silent if node == 0 => Some(Event::Remove(node)),
                Seen::Silent => Some(Event::Taint(node)),
                _ => None,
            };
            if let Some(event) = event {
                self.carry_out(event, None).await;
            }
        }
        self.post().await;
        for pod in 0..PODS {
            self.settle(pod).await;
        }
    }

    async fn settle(&mut self, pod: usize) {
        let Some(object) = self.model.objects.pods[pod].clone() else {
            return;
        };
        if !self.model.is_healthy(object.node) {
            // Evicted, and collected.
            self.carry_out(Event::Force(pod), None).await;
        } else if object.deleting {
            self.carry_out(Event::End(pod), None).await;
        } else if object.phase == Phase::Running {
            if self.model.running(pod).is_none() {
                let (writer, late) = (Writer::Ours, false);
                self.carry_out(Event::Start { pod, writer, late }, None)
                    .await;
            }
            if self.model.running(pod).is_some() {
                self.carry_out(Event::Show(pod), None).await;
            }
        }
    }

    /// Whether a pod could not get an address, although there is room.
    pub(super) fn starved(&self) -> Option<String> {
        let waits = |pod: &usize| {
            let object = self.model.objects.pods[*pod].as_ref();
            let runs = object.is_some_and(|it| it.phase == Phase::Running && !it.deleting);
            runs && self.model.running(*pod).is_none()
        };
        let pod = (0..PODS).find(waits)?;
        Some(format!("web-{pod} has no address"))
    }
}
