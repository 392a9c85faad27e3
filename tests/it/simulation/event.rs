//! PURE: what can happen next, and what it makes of the cluster.

use super::dice::Dice;
use super::model::{Container, Model, NODES, PODS, Phase, Pod, Seen, Writer};

/// Something that happens. Numbers are those of pods, nodes and containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A pod is made, and bound.
    Create {
        pod: usize,
        node: usize,
        is_mirror: bool,
    },
    /// Its kubelet makes a sandbox: ADD. If it is `late`, it has not said so before.
    Start {
        pod: usize,
        writer: Writer,
        late: bool,
    },
    /// An ADD of the Go program reads, and writes later.
    GoReads(usize),
    GoWrites,
    /// Multus writes the network status.
    Show(usize),
    /// What kubelets have not said yet, they say.
    Post,
    /// A sandbox dies; the pod stays.
    Break(usize),
    /// A pod ends by itself, or its kubelet evicts it.
    Finish {
        pod: usize,
        phase: Phase,
    },
    /// Somebody deletes it, with grace.
    Delete(usize),
    /// Its kubelet has ended it.
    End(usize),
    /// Somebody deletes it by force, or its object is collected because its node is.
    Force(usize),
    /// A mirror pod is deleted and made anew, with another uid.
    Remake(usize),
    /// Somebody, or a controller, says that it has failed, without having looked.
    Fail(usize),
    Crash(usize),
    /// A node loses the network: its containers run on.
    CutOff(usize),
    /// Somebody pulls the plug of a node that was cut off.
    PowerOff(usize),
    /// It is heard of again.
    Return(usize),
    /// An administrator says that it is off.
    Taint(usize),
    Remove(usize),
    /// A kubelet calls DEL: for the first time, or once more.
    Del(usize),
    /// A runtime calls GC.
    Collect(usize),
}

impl Model {
    /// What happens next.
    pub(super) fn choose(&self, dice: &mut Dice) -> Option<Event> {
        let mut can = Vec::new();
        let mut may = |times: usize, event: Event| can.extend(std::iter::repeat_n(event, times));
        for pod in 0..PODS {
            self.of_pod(pod, &mut may, dice);
        }
        for node in 0..NODES {
            self.of_node(node, &mut may);
        }
        for (index, container) in self.containers.iter().enumerate() {
            // The calls for one pod come one after the other.
            let is_adding = self
                .under_way
                .as_ref()
                .is_some_and(|(pod, _)| *pod == container.pod);
            if !container.runs && !is_adding && self.reaches(container.node) {
                may(if container.owes_del { 8 } else { 1 }, Event::Del(index));
            }
        }
        if self.can_post() {
            may(3, Event::Post);
        }
        if let Some((_, container)) = &self.under_way {
            let is_there = self.reaches(container.node);
            may(if is_there { 12 } else { 0 }, Event::GoWrites);
        }
        dice.pick(&can)
    }

    /// A pod that is missing comes back on some node, as far as there is one: what a run that is
    /// about to write must not overlook.
    pub(super) fn come_back(&self, dice: &mut Dice) -> Option<[Event; 2]> {
        let missing: Vec<usize> = (0..PODS)
            .filter(|pod| self.objects.pods[*pod].is_none())
            .collect();
        let healthy: Vec<usize> = (0..NODES).filter(|node| self.is_healthy(*node)).collect();
        let (pod, node) = (dice.pick(&missing)?, dice.pick(&healthy)?);
        let (is_mirror, late) = (false, false);
        let writer = dice.pick(&[Writer::Ours, Writer::Go])?;
        let is_free = self.under_way.is_none();
        let create = Event::Create {
            pod,
            node,
            is_mirror,
        };
        is_free.then_some([create, Event::Start { pod, writer, late }])
    }

    fn of_pod(&self, pod: usize, may: &mut impl FnMut(usize, Event), dice: &mut Dice) {
        let Some(object) = &self.objects.pods[pod] else {
            for node in (0..NODES).filter(|node| self.is_healthy(*node)) {
                let is_mirror = dice.percent(10);
                may(
                    6,
                    Event::Create {
                        pod,
                        node,
                        is_mirror,
                    },
                );
            }
            return;
        };
        let running = self.running(pod);
        let has_ended = object.phase != Phase::Running;
        let reaches = self.reaches(object.node);
        let is_under_way = self.under_way.is_some();
        if self.is_healthy(object.node)
            && !object.deleting
            && !has_ended
            && running.is_none()
            && !is_under_way
        {
            let writer = if dice.percent(60) {
                Writer::Ours
            } else {
                Writer::Go
            };
            let late = dice.percent(30);
            may(12, Event::Start { pod, writer, late });
            may(4, Event::GoReads(pod));
        }
        if let Some(container) = running.filter(|_| reaches) {
            self.of_running(pod, object, container, may);
        }
        let is_gone = self.objects.nodes[object.node] == Seen::Gone;
        match (object.is_mirror, object.deleting) {
            (true, _) if !is_gone => may(2, Event::Remake(pod)),
            (_, true) => may(if reaches { 6 } else { 0 }, Event::End(pod)),
            (_, false) if !has_ended || self.may_vanish(pod) => may(3, Event::Delete(pod)),
            (_, false) => {}
        }
        if self.may_vanish(pod) && (!object.is_mirror || is_gone) {
            let is_cut_off = !reaches && !has_ended;
            may(if is_cut_off { 6 } else { 2 }, Event::Force(pod));
        }
        let is_believed = !self.nodes[object.node].is_fresh;
        if self.objects.nodes[object.node] != Seen::Ready && !has_ended && is_believed {
            may(1, Event::Fail(pod));
        }
    }

    fn of_running(
        &self,
        pod: usize,
        object: &Pod,
        container: usize,
        may: &mut impl FnMut(usize, Event),
    ) {
        let address = self.containers[container].address;
        if object.shows != address || !object.settled {
            may(8, Event::Show(pod));
        }
        may(3, Event::Break(pod));
        if !object.deleting {
            for phase in [Phase::Succeeded, Phase::Failed] {
                may(1, Event::Finish { pod, phase });
            }
        }
    }

    /// Whether the object may go although the kubelet has not agreed.
    fn may_vanish(&self, pod: usize) -> bool {
        let mut live = self
            .live()
            .filter(|it| it.pod == pod && it.writer == Writer::Go);
        let is_held = self.limits.go_pods_vanish || live.all(|it| self.reaches(it.node));
        let is_fresh = |it: &Container| self.nodes[it.node].is_fresh;
        is_held && !self.live().any(|it| it.pod == pod && is_fresh(it))
    }

    fn of_node(&self, node: usize, may: &mut impl FnMut(usize, Event)) {
        match self.objects.nodes[node] {
            Seen::Ready if self.nodes[node].linked => {
                may(1, Event::Crash(node));
                may(2, Event::CutOff(node));
                may(1, Event::Collect(node));
            }
            // Nobody has noticed yet.
            Seen::Ready => {}
            Seen::Silent if self.nodes[node].powered => {
                may(3, Event::Return(node));
                may(1, Event::PowerOff(node));
            }
            Seen::Silent => {
                may(3, Event::Return(node));
                may(2, Event::Taint(node));
                may(1, Event::Remove(node));
            }
            Seen::OutOfService => {
                may(2, Event::Return(node));
                may(2, Event::Remove(node));
            }
            Seen::Gone => may(3, Event::Return(node)),
        }
    }

    /// What an event is, but for the calls of the plugin that belong to it.
    pub(super) fn happen(&mut self, event: Event, dice: &mut Dice) {
        match event {
            Event::Create {
                pod,
                node,
                is_mirror,
            } => self.create(pod, node, is_mirror),
            Event::Start {
                pod, late: true, ..
            }
            | Event::GoReads(pod) => self.unsaid.push(pod),
            Event::Start {
                pod, late: false, ..
            } => {
                self.unsaid.push(pod);
                self.post();
            }
            Event::Post => self.post(),
            Event::Show(pod) => self.show(pod),
            Event::Break(pod) => self.end(self.running(pod).unwrap()),
            Event::Finish { pod, phase } => {
                self.end(self.running(pod).unwrap());
                self.objects.pods[pod].as_mut().unwrap().phase = phase;
            }
            Event::Delete(pod) => self.delete(pod),
            Event::End(pod) => {
                if let Some(container) = self.running(pod) {
                    self.end(container);
                }
                self.objects.pods[pod] = None;
            }
            Event::Force(pod) => {
                self.objects.pods[pod] = None;
                let lag = self.lag(dice);
                self.end_what_is_left(lag);
            }
            Event::Remake(pod) => {
                let number = self.number();
                let object = self.objects.pods[pod].as_mut().unwrap();
                *object = Pod {
                    object: number,
                    deleting: false,
                    shows: None,
                    ..object.clone()
                };
            }
            Event::Fail(pod) => {
                self.objects.pods[pod].as_mut().unwrap().phase = Phase::Failed;
            }
            Event::Del(container) => self.containers[container].owes_del = false,
            event => self.happen_to_node(event, dice),
        }
    }

    fn happen_to_node(&mut self, event: Event, dice: &mut Dice) {
        match event {
            Event::Crash(node) | Event::CutOff(node) => {
                let noticed = self.now + self.lag(dice);
                self.cut_off(node, noticed);
                if event == Event::Crash(node) {
                    self.power_off(node);
                }
                self.tick(0);
            }
            Event::PowerOff(node) => self.power_off(node),
            Event::Return(node) => {
                self.nodes[node].powered = true;
                self.nodes[node].linked = true;
                self.see(node, Seen::Ready);
                let lag = self.lag(dice);
                self.end_what_is_left(lag);
            }
            Event::Taint(node) => self.see(node, Seen::OutOfService),
            Event::Remove(node) => self.see(node, Seen::Gone),
            _ => {}
        }
    }

    /// By how much the world is behind this time.
    fn lag(&self, dice: &mut Dice) -> i64 {
        let most = usize::try_from(self.limits.lag).unwrap();
        i64::try_from(dice.below(most + 1)).unwrap()
    }

    fn create(&mut self, pod: usize, node: usize, is_mirror: bool) {
        let number = self.number();
        self.objects.pods[pod] = Some(Pod {
            object: number,
            life: number,
            node,
            is_mirror,
            deleting: false,
            phase: Phase::Running,
            shows: None,
            settled: true,
        });
    }

    fn show(&mut self, pod: usize) {
        self.unsaid.retain(|unsaid| *unsaid != pod);
        let address = self.containers[self.running(pod).unwrap()].address;
        let object = self.objects.pods[pod].as_mut().unwrap();
        object.shows = address;
        object.settled = true;
    }

    fn delete(&mut self, pod: usize) {
        let object = self.objects.pods[pod].as_mut().unwrap();
        object.deleting = true;
        // The API server waits for nobody when a pod has ended.
        if object.phase != Phase::Running {
            self.objects.pods[pod] = None;
        }
        self.end_what_is_left(0);
    }

    fn power_off(&mut self, node: usize) {
        self.nodes[node].powered = false;
        for container in self.containers.iter_mut().filter(|it| it.node == node) {
            container.runs = false;
            container.ends = None;
        }
        if self
            .under_way
            .as_ref()
            .is_some_and(|(_, it)| it.node == node)
        {
            self.under_way = None;
        }
    }

    /// Kubelets that are in touch end what no object asks for any more.
    pub(super) fn end_what_is_left(&mut self, lag: i64) {
        let objects = self.objects.clone();
        let reached = [0, 1].map(|node| self.reaches(node));
        self.end_within(lag, |it| {
            let object = objects.pods[it.pod].as_ref();
            let is_wanted =
                object.is_some_and(|pod| pod.life == it.life && pod.phase == Phase::Running);
            reached[it.node] && !is_wanted
        });
    }
}
