//! The world: virtual time, and everything that happens in it in one order, decided by the seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use forebay_types::{HostId, SessionId};

use crate::check::{self, Rule, Violation, Watch};
use crate::client::Client;
use crate::clock::Clock;
use crate::dice::Dice;
use crate::digest::Digest;
use crate::disk::Disk;
use crate::event::{Emit, Event, Fault, Scheduled, Step, Timer};
use crate::faults::{Faults, Sabotage};
use crate::history::{History, Op};
use crate::host::{Host, Map};
use crate::net::{Body, Net, Node, Packet};
use crate::registry::Registry;
use crate::workload::Workload;

const MS: u64 = 1_000_000;
/// Longest time until everything has come to rest, and how often that is looked for.
const REST_NS: u64 = 240_000 * MS;
const LOOK_NS: u64 = 500 * MS;

/// See the module.
pub(crate) struct World {
    pub now: u64,
    pub watch: Watch,
    pub history: History,
    pub events: u64,
    faults: Faults,
    sabotage: Option<Sabotage>,
    dice: Dice,
    net: Net,
    hosts: BTreeMap<HostId, Host>,
    clients: Vec<Client>,
    registry: Registry,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    emits: Vec<Emit>,
    sessions: u64,
    paused: BTreeMap<Node, u64>,
    digest: Digest,
}

impl World {
    pub fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let mut dice = Dice::new(seed);
        let faults = Faults::drawn(&mut dice).fit_for(sabotage);
        let ids: Vec<HostId> = (1..=faults.hosts).map(HostId).collect();
        let turned = |n: u16| {
            let mut replicas = ids.clone();
            replicas.rotate_left(usize::from(n) % ids.len());
            replicas
        };
        let map = Map { shards: (0..faults.shards).map(turned).collect() };
        let clock = |dice: &mut Dice| Clock::drawn(dice, faults.drift_ppm, faults.wall_ms);
        let lies = sabotage == Some(Sabotage::LyingDisks);
        let host = |id| (id, Host::new(id, Disk::new(lies), clock(&mut dice), map.clone()));
        let hosts = ids.iter().copied().map(host).collect();
        let mut clients = Vec::new();
        for id in 0..faults.clients {
            let mut clock = clock(&mut dice);
            if sabotage == Some(Sabotage::SlowClocks) {
                clock = clock.broken();
            }
            let workload = Workload::drawn(id, faults.names, &mut dice);
            clients.push(Client::new(id, clock, map.clone(), faults.programs, workload));
        }
        let mut world = Self {
            now: 0,
            watch: Watch::default(),
            history: History::default(),
            events: 0,
            faults,
            sabotage,
            dice,
            net: Net::default(),
            hosts,
            clients,
            registry: Registry::default(),
            queue: BinaryHeap::new(),
            scheduled: 0,
            emits: Vec::new(),
            sessions: 0,
            paused: BTreeMap::new(),
            digest: Digest::new(),
        };
        ids.into_iter().for_each(|id| world.with_host(id, Host::start));
        (0..world.clients.len()).for_each(|n| world.with_client(n as u32, Client::start));
        world.schedule_faults();
        world
    }

    fn schedule_faults(&mut self) {
        let all =
            [Fault::Crash, Fault::Part, Fault::PauseHost, Fault::PauseClient, Fault::HandOver, Fault::LoseSession];
        all.into_iter().for_each(|fault| self.again(fault));
        if self.sabotage == Some(Sabotage::LostRow) {
            self.schedule(self.faults.active_ns / 2, Event::Fault(Fault::LoseRow));
        }
    }

    /// A fault happens again some time.
    fn again(&mut self, fault: Fault) {
        let mean = match fault {
            Fault::Crash => self.faults.crash_mean,
            Fault::Part => self.faults.partition_mean,
            Fault::PauseHost => self.faults.pause_mean,
            Fault::PauseClient => self.faults.client_pause_mean,
            Fault::HandOver => self.faults.handover_mean,
            Fault::LoseSession => self.faults.session_loss_mean,
            Fault::Restart(_) | Fault::Heal | Fault::LoseRow => 0,
        };
        if mean > 0 && !self.net.calm {
            let after = self.dice.around(mean);
            self.schedule(after, Event::Fault(fault));
        }
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled { at: self.now + after, number: self.scheduled, event }));
    }

    fn step_of<'a>(&'a mut self) -> (Step<'a>, &'a mut BTreeMap<HostId, Host>, &'a mut Vec<Client>) {
        self.watch.now = self.now;
        let step = Step {
            now: self.now,
            dice: &mut self.dice,
            watch: &mut self.watch,
            history: &mut self.history,
            faults: &self.faults,
            sabotage: self.sabotage,
            ended: &self.registry.ended,
            emits: &mut self.emits,
            sessions: &mut self.sessions,
        };
        (step, &mut self.hosts, &mut self.clients)
    }

    fn with_host(&mut self, id: HostId, act: impl FnOnce(&mut Host, &mut Step<'_>)) {
        let (mut step, hosts, _) = self.step_of();
        if let Some(host) = hosts.get_mut(&id) {
            act(host, &mut step);
        }
        self.emit();
    }

    fn with_client(&mut self, id: u32, act: impl FnOnce(&mut Client, &mut Step<'_>)) {
        let (mut step, _, clients) = self.step_of();
        if let Some(client) = clients.get_mut(id as usize) {
            act(client, &mut step);
        }
        self.emit();
    }

    /// Lets what was decided take its course.
    fn emit(&mut self) {
        for emit in std::mem::take(&mut self.emits) {
            match emit {
                Emit::After { nanos, node, life, timer } => self.schedule(nanos, Event::Wakes { node, life, timer }),
                Emit::Send(packet) => self.send(*packet),
            }
        }
    }

    fn send(&mut self, packet: Packet) {
        let copies = self.net.copies(&mut self.dice, &self.faults, &packet);
        if let (Body::Raft(message), true) = (&packet.body, copies.is_empty()) {
            let after = self.dice.between(MS, 1_000 * MS);
            let (host, to, shard) = (message.from, message.to, message.shard);
            self.schedule(after, Event::Lost { host, to, shard });
        }
        for after in copies {
            self.schedule(after, Event::Arrives(Box::new(packet.clone())));
        }
    }

    /// Lets everything happen until a moment.
    fn until(&mut self, end: u64) {
        while self.queue.peek().is_some_and(|Reverse(next)| next.at <= end) {
            let Some(Reverse(Scheduled { at, event, .. })) = self.queue.pop() else { break };
            self.now = at;
            let node = match &event {
                Event::Arrives(packet) => Some(packet.to),
                Event::Lost { host, .. } => Some(Node::Host(*host)),
                Event::Wakes { node, .. } => Some(*node),
                Event::Fault(_) => None,
            };
            if let Some(until) = node.and_then(|node| self.paused.get(&node).copied()).filter(|until| *until > at) {
                self.schedule(until - at, event);
                continue;
            }
            self.events += 1;
            self.happen(event);
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        self.digest.number(self.now);
        match event {
            Event::Arrives(packet) => {
                self.digest.number(packet.body.tag());
                self.arrives(*packet);
            }
            Event::Lost { host, to, shard } => {
                self.with_host(host, |host, step| {
                    if host.up {
                        host.unreachable(shard, to, step);
                    }
                });
            }
            Event::Wakes { node, life, timer } => self.wakes(node, life, timer),
            Event::Fault(fault) => {
                self.digest.debug(&fault);
                self.fault(fault);
                self.again(fault);
            }
        }
    }

    fn arrives(&mut self, packet: Packet) {
        let Packet { from, to, body, .. } = packet;
        match to {
            Node::Host(id) => {
                let host = &self.hosts[&id];
                if host.up {
                    return self.with_host(id, |host, step| host.receive(from, body, step));
                }
                if let (Body::Call { id, .. } | Body::Lease { id, .. }, true) = (body, host.refuses) {
                    self.send(Packet { from: to, to: from, body: Body::Refused { id } });
                }
            }
            Node::Client(id) => {
                let grants = matches!(&body, Body::Answer { .. });
                self.with_client(id, |client, step| client.receive(body, step));
                if grants {
                    check::leases::check(&mut self.watch, &self.clients, &self.registry.ended, self.faults.shards);
                }
            }
            Node::Registry => {
                if let Some(body) = self.registry.receive(body, self.now) {
                    self.send(Packet { from: to, to: from, body });
                }
            }
        }
    }

    fn wakes(&mut self, node: Node, life: u32, timer: Timer) {
        match node {
            Node::Host(id) => self.with_host(id, |host, step| {
                if host.up && host.life == life {
                    host.wake(timer, step);
                }
            }),
            Node::Client(id) => self.with_client(id, |client, step| {
                if client.life == life {
                    client.wake(timer, step);
                }
            }),
            Node::Registry => {}
        }
    }

    fn fault(&mut self, fault: Fault) {
        if self.net.calm {
            return;
        }
        let host = HostId(self.dice.between(1, u64::from(self.faults.hosts)) as u32);
        match fault {
            Fault::Crash if self.hosts[&host].up => {
                self.with_host(host, |host, step| {
                    host.refuses = step.dice.chance(500);
                    host.crash(step);
                });
                let down = self.dice.between(self.faults.down_ns / 4, self.faults.down_ns);
                self.schedule(down, Event::Fault(Fault::Restart(host)));
            }
            Fault::Crash => {}
            Fault::Restart(host) => self.restart(host),
            Fault::Part => {
                let hosts = self.hosts.keys().map(|host| Node::Host(*host));
                let nodes: Vec<Node> = hosts.chain((0..self.faults.clients).map(Node::Client)).collect();
                self.net.part(&mut self.dice, &nodes);
                let heal = self.dice.around(self.faults.partition_ns);
                self.schedule(heal, Event::Fault(Fault::Heal));
            }
            Fault::Heal => self.net.heal(),
            Fault::PauseHost => {
                let until = self.now + self.dice.below(self.faults.pause_ns);
                self.paused.insert(Node::Host(host), until);
            }
            Fault::PauseClient => {
                let client = self.dice.below(self.faults.clients.into()) as u32;
                let until = self.now + self.dice.below(self.faults.pause_ns);
                self.paused.insert(Node::Client(client), until);
            }
            Fault::HandOver => {
                let to = HostId(self.dice.between(1, u64::from(self.faults.hosts)) as u32);
                self.with_host(host, |host, step| {
                    if host.up && host.id != to {
                        host.hand_over(to, step);
                    }
                });
            }
            Fault::LoseSession => {
                let client = self.dice.below(self.faults.clients.into()) as usize;
                self.registry.ended.insert(self.clients[client].session);
            }
            Fault::LoseRow => self.hosts[&host].lose_row(),
        }
    }

    fn restart(&mut self, host: HostId) {
        if self.hosts[&host].up {
            return;
        }
        self.with_host(host, Host::start);
        for replica in self.hosts[&host].replicas.values() {
            check::replicas::fsck(&mut self.watch, host, replica);
        }
    }

    /// Nothing goes wrong any more.
    fn calm(&mut self) {
        self.net.calm = true;
        self.net.heal();
        self.paused.clear();
        for host in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.restart(host);
        }
        self.clients.iter_mut().for_each(|client| client.quiet = true);
    }

    /// Lets time pass until it is so; otherwise says why it is not.
    fn rest(&mut self, unrest: impl Fn(&Self) -> Option<String>) {
        let end = self.now + REST_NS;
        while let Some(reason) = unrest(self) {
            if self.now >= end {
                return self.watch.violated(Rule::ComesToRest, reason);
            }
            if !self.watch.violations.is_empty() {
                return;
            }
            self.until(self.now + LOOK_NS);
        }
    }

    fn busy(&self) -> Option<String> {
        self.clients.iter().find(|client| !client.is_idle()).map(Client::waits_for)
    }

    /// Every client looks at everything once more.
    fn look_at_everything(&mut self) {
        let directories: BTreeSet<_> = self.watch.names.keys().map(|(dir, _)| *dir).collect();
        let listings = directories.iter().map(|dir| Op::ReadDir { dir: *dir });
        let attributes = self.watch.attrs.keys().rev().take(20).map(|ino| Op::GetAttr { ino: *ino });
        let ops: Vec<Op> = listings.chain(attributes).collect();
        for client in 0..self.faults.clients {
            self.with_client(client, |client, step| client.ask(ops.clone(), step));
        }
    }

    /// Runs from the beginning to the end.
    pub fn run(mut self) -> Outcome {
        self.until(self.faults.active_ns);
        self.calm();
        self.rest(Self::busy);
        self.look_at_everything();
        self.rest(Self::busy);
        let sessions: Vec<SessionId> = self.clients.iter().map(|client| client.session).collect();
        self.registry.ended.extend(sessions);
        self.rest(|world| check::replicas::unrest(&world.hosts, world.faults.shards));
        if self.watch.violations.is_empty() {
            check::replicas::at_rest(&mut self.watch, &self.hosts, self.faults.shards);
        }
        check::namespace::check(&mut self.watch, &self.history);
        check::linear::check(&mut self.watch, &self.history);
        for record in &self.history.records {
            self.digest.debug(record);
        }
        Outcome {
            digest: self.digest.value(),
            operations: self.history.records.len(),
            answered: self.history.records.iter().filter(|record| record.end.is_some()).count(),
            believed: self.history.records.iter().filter(|record| record.believed).count(),
            events: self.events,
            virtual_ms: self.now / MS,
            weather: format!("{:?}", self.faults),
            violations: self.watch.violations,
        }
    }
}

/// What came of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Of everything that happened.
    pub digest: u64,
    /// Operations that clients asked for.
    pub operations: usize,
    /// Of those, how many were answered.
    pub answered: usize,
    /// Of those, how many from what a client believed.
    pub believed: usize,
    /// Things that happened.
    pub events: u64,
    /// Virtual time that passed, in milliseconds.
    pub virtual_ms: u64,
    /// What went wrong in the world, as the seed decided.
    pub weather: String,
    /// Rules that were broken.
    pub violations: Vec<Violation>,
}

/// Runs the world of a seed. With `sabotage` something in it is broken on purpose.
#[must_use]
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    World::new(seed, sabotage).run()
}
