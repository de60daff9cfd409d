//! A storage host: the real cores of its metadata, put together as `server`'s `metadata/driver.rs` does, without threads.
//!
//! One driver takes in what has arrived, stores what all replicas must keep with one flush, sends, applies, answers; while
//! it flushes, which takes time, the next batch gathers, and calls ([`calls`]) go on beside it from what is applied.

mod calls;
mod desk;
mod lead;
mod outbox;
mod polls;
mod reads;
mod replica;
mod touch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use forebay_consensus::{FIRST, Group, Outcome, encode_members};
use forebay_env::{Batch, Durability, Kv};
use forebay_meta::{Effect, Input, OpenTable, Placement, ReceiptKey, Shard, ShardConfig, Staging};
use forebay_types::{Cred, FsId, Geometry, HostId, LifetimeClass, OpId, PgId, SessionId, ShardId};
use forebay_wire::meta::{MetaError, MetaReply, MutateOp, Mutation};
use forebay_wire::raft::{Members, RaftBody, RaftMessage};

use crate::clock::Clock;
use crate::disk::Store;
use crate::event::{Step, Timer};
use crate::faults::Sabotage;
use crate::net::{Body, Node, Rows};
use calls::Call;
use outbox::Outbox;
pub(crate) use outbox::next_replica;
use polls::Poll;
pub(crate) use replica::Replica;
use replica::Waiter;

/// The filesystem of the simulation.
pub(crate) const FS: FsId = FsId(1);
/// The session of what hosts do by themselves.
const OWN: SessionId = SessionId(0);
/// Time between the ticks of all groups, and the least that passes between two that count.
pub(crate) const TICK_NS: u64 = 50_000_000;
const TICK_LEAST_NS: u64 = 45_000_000;
const CONFIRM_TICKS: u32 = 2;
const BALANCE_TICKS: u32 = 20;
const LEAD_TICKS: u32 = 100;
/// Ticks between looks for leases that have run out.
const LAPSE_TICKS: u32 = 5;
/// A new leader leaves orphans alone for this long, and looks for more this often.
const INTRODUCTIONS_NS: u64 = 45_000_000_000;
const SWEEP_NS: u64 = 600_000_000_000;
const HEARTBEAT_NS: u64 = 500_000_000;
const FETCH_NS: u64 = 10_000_000_000;
const OWN_ANSWERS_KEPT_NS: u64 = 60_000_000_000;

/// There is nowhere to put stripes: the simulation has no bytes.
pub(super) struct NoDrives;

impl Placement for NoDrives {
    fn pick(&self, _: u32, _: LifetimeClass) -> Result<Vec<(PgId, Geometry)>, MetaError> {
        Err(MetaError::NoPlacement)
    }
}

/// What every host knows of the cluster: which hosts have which shard, and should lead it (the first).
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub shards: Vec<Vec<HostId>>,
}

impl Map {
    pub fn replicas(&self, shard: ShardId) -> &[HostId] {
        &self.shards[usize::from(shard.0)]
    }
}

enum Work {
    Input(ShardId, Input, Waiter),
    Raft(RaftMessage),
    Tick,
    Unreachable(ShardId, HostId),
    Fetched(ShardId, HostId, Option<Rows>),
}

/// See the module.
pub(crate) struct Host {
    pub id: HostId,
    pub kv: Store,
    pub clock: Clock,
    pub map: Map,
    /// Which of its lives this is: what was begun in an earlier one is forgotten.
    pub life: u32,
    pub up: bool,
    /// Whether callers are told at once when nobody listens.
    pub refuses: bool,
    pub replicas: BTreeMap<ShardId, Replica>,
    inbox: VecDeque<Work>,
    flushing: Option<Vec<(ShardId, Outcome)>>,
    calls: BTreeMap<u64, Call>,
    last_call: u64,
    polls: Vec<Poll>,
    outbox: Outbox,
    sessions: BTreeSet<SessionId>,
    ending: BTreeSet<SessionId>,
    ticks: u32,
    last_tick_ns: u64,
}

impl Host {
    /// A host with its part of a new cluster in its store; not running yet.
    pub fn new(id: HostId, kv: Store, clock: Clock, map: Map) -> Self {
        let mut batch = Batch::default();
        for (n, replicas) in map.shards.iter().enumerate().filter(|(_, replicas)| replicas.contains(&id)) {
            let (shard, members) = (ShardId(n as u16), Members { voters: replicas.clone(), learners: Vec::new() });
            batch.writes.extend(Group::<Store>::first_batch(shard).writes);
            batch.writes.extend(Shard::<Store>::first_batch(shard, FIRST, encode_members(&members)).writes);
        }
        kv.write(batch, Durability::Flushed).expect("the store works");
        kv.flush().expect("the store works");
        Self {
            id,
            kv,
            clock,
            map,
            life: 0,
            up: false,
            refuses: true,
            replicas: BTreeMap::new(),
            inbox: VecDeque::new(),
            flushing: None,
            calls: BTreeMap::new(),
            last_call: 0,
            polls: Vec::new(),
            outbox: Outbox::default(),
            sessions: BTreeSet::new(),
            ending: BTreeSet::new(),
            ticks: 0,
            last_tick_ns: 0,
        }
    }

    /// Begins to run, with what the store has.
    pub fn start(&mut self, step: &mut Step<'_>) {
        self.up = true;
        let count = self.map.shards.len() as u16;
        for (n, replicas) in self.map.shards.clone().iter().enumerate().filter(|(_, all)| all.contains(&self.id)) {
            let shard = ShardId(n as u16);
            let config = ShardConfig { shard, shard_count: count, receipt_key: ReceiptKey::derive(b"simulated") };
            let preferred = replicas.first() == Some(&self.id);
            let replica = Replica::open(self.kv.clone(), config, self.id, preferred, step.faults.log_kept);
            self.replicas.insert(shard, replica);
        }
        let (tick, heartbeat) = (step.dice.below(TICK_NS), step.dice.below(HEARTBEAT_NS));
        self.after(step, tick, Timer::Tick);
        self.after(step, heartbeat, Timer::Heartbeat);
    }

    /// Power fails: all that is left is what the store keeps.
    pub fn crash(&mut self, step: &mut Step<'_>) {
        self.kv.crash(step.dice);
        self.life += 1;
        self.up = false;
        self.replicas.clear();
        self.inbox.clear();
        self.flushing = None;
        self.calls.clear();
        self.polls.clear();
        self.outbox = Outbox::default();
        self.sessions.clear();
        self.ending.clear();
        self.last_tick_ns = 0;
    }

    /// A row of the shards' states vanishes from the store.
    pub fn lose_row(&self) {
        let rows = self.kv.scan(b"m", b"o", usize::MAX).expect("the store works");
        if let Some((key, _)) = rows.into_iter().rev().find(|(key, _)| matches!(key.get(3), Some(b'D' | b'K'))) {
            let mut batch = Batch::default();
            batch.delete(key);
            self.kv.write(batch, Durability::Flushed).expect("the store works");
        }
    }

    fn node(&self) -> Node {
        Node::Host(self.id)
    }

    fn after(&self, step: &mut Step<'_>, nanos: u64, timer: Timer) {
        step.after(self.clock.in_world(nanos), self.node(), self.life, timer);
    }

    /// A mutation of the host's own.
    fn own(&self, fs: FsId, op: MutateOp, step: &Step<'_>) -> Input {
        let sequence = self.clock.wall(step.now).as_nanos() as u64;
        let id = OpId { session: OWN, sequence };
        let acknowledged_below = sequence.saturating_sub(OWN_ANSWERS_KEPT_NS);
        Input::Mutate(Box::new(Mutation { fs, id, acknowledged_below, cred: Cred::ROOT, op }))
    }

    fn now(&self, step: &Step<'_>) -> u64 {
        self.clock.nanos(step.now)
    }

    /// A message has arrived.
    pub fn receive(&mut self, from: Node, body: Body, step: &mut Step<'_>) {
        match body {
            Body::Raft(message) => self.inbox.push_back(Work::Raft(message)),
            Body::FetchState(shard) => {
                let rows = self.replicas.get(&shard).map(export);
                step.send(self.node(), from, Body::State(shard, rows));
            }
            Body::State(shard, rows) => {
                if let Node::Host(host) = from {
                    self.inbox.push_back(Work::Fetched(shard, host, rows));
                }
            }
            Body::Call { id, request, timeout_ns } => self.call(from, id, request, timeout_ns, step),
            Body::Answer { id, answer } => self.step_answered(id, Some(answer.reply), step),
            Body::Refused { id } => self.step_answered(id, None, step),
            Body::Lease { id, request, timeout_ns } => self.lease(from, id, request, timeout_ns, step),
            Body::Ended(sessions) => sessions.into_iter().for_each(|session| self.end_session(session)),
            Body::LeaseAnswer { .. } | Body::Heartbeat(_) | Body::Renew(_) => {}
        }
        self.pump(step);
    }

    /// A time has come.
    pub fn wake(&mut self, timer: Timer, step: &mut Step<'_>) {
        match timer {
            Timer::Tick => {
                self.inbox.push_back(Work::Tick);
                // Ticks are late now and then.
                let late = if step.dice.chance(50) { step.dice.below(TICK_NS) } else { step.dice.below(2_000_000) };
                self.after(step, TICK_NS - 1_000_000 + late, Timer::Tick);
            }
            Timer::Flushed => {
                self.kv.flush().expect("the store works");
                let under_way = self.flushing.take().unwrap_or_default();
                self.settle(under_way, step);
            }
            Timer::Heartbeat => {
                let sessions = self.sessions.iter().copied().collect();
                step.send(self.node(), Node::Registry, Body::Heartbeat(sessions));
                self.after(step, HEARTBEAT_NS, Timer::Heartbeat);
            }
            // Where it came all the same, nothing is being fetched.
            Timer::FetchLate(shard, from) => self.inbox.push_back(Work::Fetched(shard, from, None)),
            Timer::SettleIn(shard, term) => self.settle_in(shard, term, step),
            Timer::Step(token) => self.step_late(token, step),
            // Calls and polls look at the clock themselves.
            _ => {}
        }
        self.pump(step);
    }

    /// Messages to a host were lost.
    pub fn unreachable(&mut self, shard: ShardId, host: HostId, step: &mut Step<'_>) {
        self.inbox.push_back(Work::Unreachable(shard, host));
        self.pump(step);
    }

    /// Does all that can be done now.
    fn pump(&mut self, step: &mut Step<'_>) {
        loop {
            while self.flushing.is_none() {
                while let Some(work) = self.inbox.pop_front() {
                    self.take(work, step);
                }
                if !self.turn(step) {
                    break;
                }
            }
            self.hand_out_answers();
            if !self.poll_calls(step) && (self.flushing.is_some() || self.inbox.is_empty()) {
                break;
            }
        }
        self.poll_polls(step);
    }

    fn take(&mut self, work: Work, step: &mut Step<'_>) {
        match work {
            Work::Input(shard, input, waiter) => match self.replicas.get_mut(&shard) {
                Some(replica) => replica.propose(self.clock.wall(step.now), input, waiter),
                None => self.answer_call(waiter, not_served(shard, None)),
            },
            Work::Raft(message) => {
                let (shard, from) = (message.shard, message.from);
                let Some(replica) = self.replicas.get_mut(&shard) else { return };
                if replica.group.step(message) && !replica.fetching {
                    replica.fetching = true;
                    step.send(self.node(), Node::Host(from), Body::FetchState(shard));
                    self.after(step, FETCH_NS, Timer::FetchLate(shard, from));
                }
            }
            Work::Tick => self.tick(step),
            Work::Unreachable(shard, host) => {
                if let Some(replica) = self.replicas.get_mut(&shard) {
                    replica.group.unreachable(host);
                }
            }
            Work::Fetched(shard, from, rows) => self.fetched(shard, from, rows, step),
        }
    }

    fn fetched(&mut self, shard: ShardId, from: HostId, rows: Option<Rows>, step: &mut Step<'_>) {
        let Some(replica) = self.replicas.get_mut(&shard).filter(|replica| replica.fetching) else { return };
        replica.fetching = false;
        let term = replica.group.standing().term;
        let Some(rows) = rows else {
            let message = RaftMessage { shard, from: self.id, to: from, term, body: RaftBody::StateFailed };
            return step.send(self.node(), Node::Host(from), Body::Raft(message));
        };
        let staging = Staging::begin(&*self.kv, shard).expect("the store works");
        for page in rows.chunks(64) {
            staging.receive(&*self.kv, page.iter().cloned()).expect("the store works");
        }
        replica.fetched(from, staging);
    }

    fn tick(&mut self, step: &mut Step<'_>) {
        let now = self.now(step);
        // Ticks that come late are not made up for: time that seems to pass too fast would break promises.
        if now.saturating_sub(self.last_tick_ns) < TICK_LEAST_NS {
            return;
        }
        self.last_tick_ns = now;
        self.ticks = self.ticks.wrapping_add(1);
        for replica in self.replicas.values_mut() {
            replica.group.tick(&mut |sides| step.dice.below(sides.into()) as u32);
            if self.ticks.is_multiple_of(CONFIRM_TICKS) {
                replica.group.confirm(now);
            }
            if self.ticks.is_multiple_of(LAPSE_TICKS) && replica.lead.ready.is_some() {
                replica.desk.lapse(now);
            }
        }
        if self.ticks.is_multiple_of(BALANCE_TICKS) {
            self.balance();
        }
    }

    /// Hands shards over to the hosts that should lead them.
    fn balance(&mut self) {
        for (shard, replica) in self.replicas.iter_mut().filter(|(_, replica)| replica.leads()) {
            replica.led_ticks = replica.led_ticks.saturating_add(BALANCE_TICKS);
            let better = self.map.replicas(*shard)[0];
            if better != self.id && replica.led_ticks >= LEAD_TICKS && replica.group.caught_up(better) {
                replica.hand_over(better);
            }
        }
    }

    /// Hands a shard over to any host, as one that is slow does.
    pub fn hand_over(&mut self, to: HostId, step: &mut Step<'_>) {
        for replica in self.replicas.values_mut() {
            if replica.leads() && replica.group.caught_up(to) {
                replica.hand_over(to);
            }
        }
        self.pump(step);
    }

    /// Stores, sends and applies once; whether there was anything to do.
    fn turn(&mut self, step: &mut Step<'_>) -> bool {
        let (mut batch, mut flush, mut under_way) = (Batch::default(), false, Vec::new());
        for (id, replica) in &mut self.replicas {
            replica.truncate(&mut batch);
            if replica.group.has_ready() {
                let mut out = Outcome::default();
                flush |= replica.collect(&mut batch, &mut out);
                send(&mut out, step);
                under_way.push((*id, out));
            }
        }
        if under_way.is_empty() && batch.is_empty() {
            return false;
        }
        self.kv.write(batch, Durability::Buffered).expect("the store works");
        if flush {
            let faults = step.faults;
            let usual = step.dice.between(faults.flush_ns.0, faults.flush_ns.1);
            let stall = if step.dice.chance(faults.stalls) { step.dice.below(faults.stall_ns) } else { 0 };
            self.after(step, usual + stall, Timer::Flushed);
            self.flushing = Some(under_way);
        } else {
            self.settle(under_way, step);
        }
        true
    }

    fn settle(&mut self, under_way: Vec<(ShardId, Outcome)>, step: &mut Step<'_>) {
        let now = self.now(step);
        for (id, mut out) in under_way {
            let Some(replica) = self.replicas.get_mut(&id) else { continue };
            let todo = replica.settle(&mut out, now, step);
            send(&mut out, step);
            self.see_to(id, todo, step);
        }
    }

    fn see_to(&mut self, id: ShardId, todo: replica::Todo, step: &mut Step<'_>) {
        let Some(replica) = self.replicas.get(&id).filter(|replica| replica.leads()) else { return };
        let (lead, mut reaps, mut steps) = (replica.lead, Vec::new(), Vec::new());
        if todo.took_over {
            if step.sabotage != Some(Sabotage::ForgottenOutbox) {
                steps = replica.shard.outbox(usize::MAX).expect("the store works");
            }
            self.sessions.extend(replica.shard.sessions().expect("the store works"));
            self.after(step, INTRODUCTIONS_NS, Timer::SettleIn(id, lead.ready.unwrap_or_default()));
            if id == ShardId(0) {
                let input = self.own(FS, MutateOp::MakeRoot, step);
                self.inbox.push_back(Work::Input(id, input, None));
            }
        }
        for effect in todo.effects {
            match effect {
                Effect::Send { to, step } => steps.push((to, step)),
                // Otherwise it goes when its last open ends.
                Effect::Orphaned { fs, ino } if !self.replicas[&id].opens.is_open(fs, ino) => {
                    reaps.push(Input::Reap { fs, ino });
                }
                Effect::Orphaned { .. }
                | Effect::Reply { .. }
                | Effect::Opened { .. }
                | Effect::Wanted { .. }
                | Effect::SessionEnded { .. } => {}
            }
        }
        self.submit_reaps(id, reaps, step);
        steps.into_iter().for_each(|(to, what)| self.send_step(id, to, what, step));
    }

    fn submit_reaps(&mut self, shard: ShardId, reaps: Vec<Input>, step: &Step<'_>) {
        if step.sabotage != Some(Sabotage::KeptOrphans) {
            self.inbox.extend(reaps.into_iter().map(|reap| Work::Input(shard, reap, None)));
        }
    }

    /// Sessions had time to say what they have open: the other orphans go.
    fn settle_in(&mut self, shard: ShardId, term: u64, step: &mut Step<'_>) {
        let Some(replica) = self.replicas.get_mut(&shard).filter(|r| r.lead.ready == Some(term)) else { return };
        replica.opens.complete();
        let orphans = replica.shard.orphans(None, usize::MAX).expect("the store works");
        let reaps = orphans.into_iter().map(|(fs, ino)| Input::Reap { fs, ino }).collect();
        self.submit_reaps(shard, reaps, step);
        self.after(step, SWEEP_NS, Timer::SettleIn(shard, term));
    }

    fn hand_out_answers(&mut self) {
        for replica in self.replicas.values_mut() {
            for (id, reply) in std::mem::take(&mut replica.answers) {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.replied = Some(reply);
                }
            }
        }
    }

    fn answer_call(&mut self, waiter: Waiter, reply: MetaReply) {
        if let Some(call) = waiter.and_then(|id| self.calls.get_mut(&id)) {
            call.replied = Some(reply);
        }
    }
}

fn send(out: &mut Outcome, step: &mut Step<'_>) {
    for message in std::mem::take(&mut out.messages) {
        step.send(Node::Host(message.from), Node::Host(message.to), Body::Raft(message));
    }
}

fn export(replica: &Replica) -> Rows {
    let mut rows = Rows::new();
    let visited = replica.shard.export().visit(&mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        true
    });
    visited.expect("the store works");
    rows
}

/// Every row of a replica's state.
pub(crate) fn rows(replica: &Replica) -> Rows {
    export(replica)
}

fn not_served(shard: ShardId, leader: Option<HostId>) -> MetaReply {
    MetaReply::Error(MetaError::NotServed { shard, epoch: forebay_types::Epoch(0), leader })
}

/// A table for looking at a shard without opening anything.
pub(crate) fn nothing_open() -> OpenTable {
    OpenTable::new()
}
