//! A client: a session, programs that ask for things, and what it believes, held in the real lease core. What goes on
//! around that core is the twin of `client`'s `shard.rs` ([`programs`]), `leases.rs` ([`believing`]) and `opens.rs`.

mod answers;
mod believing;
mod programs;

use std::collections::{BTreeMap, BTreeSet};

use forebay_cache::{LeaseCache, Ticket};
use forebay_types::{HostId, InodeId, LeaseMode, SessionId, ShardId};

use crate::clock::Clock;
use crate::event::{Step, Timer};
use crate::host::{Map, next_replica};
use crate::net::{Body, Node};
use crate::workload::Workload;
use believing::{Give, Introduction, Polling};
use programs::Program;

/// Longest wait for one answer of a shard.
const SHARD_TIMEOUT_NS: u64 = 1_500_000_000;
const RETRY_FIRST_NS: u64 = 10_000_000;
const RETRY_LONGEST_NS: u64 = 250_000_000;
/// Deadline of an operation.
const TIMEOUT_NS: u64 = 60_000_000_000;
/// A leader takes what it does not know to be open for closed after a little longer than this.
const INTRODUCTIONS_NS: u64 = 44_000_000_000;
const RENEW_NS: u64 = 10_000_000_000;

/// What a call is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum For {
    Program(usize),
    Introduction(ShardId),
    Poll(HostId),
    Give(u64),
}

/// A call under way.
struct OutCall {
    purpose: For,
    host: HostId,
    shard: ShardId,
    /// For what may be granted with the answer.
    ticket: Option<Ticket>,
    number: u64,
}

#[derive(Clone, Copy, Default)]
struct Open {
    count: u32,
    write: bool,
    /// Since when the shard is known to know, and nothing may make the file vanish.
    since: Option<u64>,
}

/// See the module.
pub(crate) struct Client {
    pub id: u32,
    /// Which of its sessions this is.
    pub life: u32,
    pub session: SessionId,
    pub clock: Clock,
    map: Map,
    cache: LeaseCache,
    leaders: BTreeMap<ShardId, HostId>,
    last_sequence: u64,
    unanswered: BTreeSet<u64>,
    calls: BTreeMap<u64, OutCall>,
    /// Numbers of calls, timers and what else has to be told apart.
    last_number: u64,
    introductions: BTreeMap<ShardId, Introduction>,
    /// How often it has begun to introduce itself.
    introduced: BTreeMap<ShardId, u64>,
    polls: BTreeMap<HostId, Polling>,
    gives: BTreeMap<u64, Give>,
    opens: BTreeMap<InodeId, Open>,
    /// When the leader of a shard was last known to know the session.
    known_at: BTreeMap<ShardId, u64>,
    programs: Vec<Program>,
    workload: Workload,
    /// Begins nothing any more.
    pub quiet: bool,
}

impl Client {
    pub fn new(id: u32, clock: Clock, map: Map, programs: u32, workload: Workload) -> Self {
        Self {
            id,
            life: 0,
            session: SessionId(0),
            clock,
            map,
            cache: LeaseCache::default(),
            leaders: BTreeMap::new(),
            last_sequence: 0,
            unanswered: BTreeSet::new(),
            calls: BTreeMap::new(),
            last_number: 0,
            introductions: BTreeMap::new(),
            introduced: BTreeMap::new(),
            polls: BTreeMap::new(),
            gives: BTreeMap::new(),
            opens: BTreeMap::new(),
            known_at: BTreeMap::new(),
            programs: (0..programs).map(|_| Program::default()).collect(),
            workload,
            quiet: false,
        }
    }

    /// Begins a session. What was under way in the one before may have happened or not.
    pub fn start(&mut self, step: &mut Step<'_>) {
        self.life += 1;
        self.session = step.next_session();
        self.cache = LeaseCache::default();
        (self.last_sequence, self.unanswered) = (0, BTreeSet::new());
        self.calls.clear();
        self.introductions.clear();
        self.introduced.clear();
        self.polls.clear();
        self.gives.clear();
        self.opens.clear();
        self.known_at.clear();
        step.send(self.node(), Node::Registry, Body::Renew(self.session));
        self.after(step, RENEW_NS, Timer::Renew);
        for n in 0..self.programs.len() {
            self.programs[n] = Program::default();
            self.rest(n, step);
        }
    }

    /// What it believes at this moment, and in which way.
    pub fn beliefs(&self, world_ns: u64, shards: u16) -> Vec<(InodeId, LeaseMode)> {
        let now = self.clock.nanos(world_ns);
        let all = (0..shards).flat_map(|shard| self.cache.of_shard(ShardId(shard)));
        all.filter_map(|ino| Some((ino, self.cache.mode(ino, now)?))).collect()
    }

    /// Whether no program does anything.
    pub fn is_idle(&self) -> bool {
        self.programs.iter().all(Program::is_idle)
    }

    /// What its programs wait for.
    pub fn waits_for(&self) -> String {
        let all: Vec<String> = self.programs.iter().filter_map(Program::waits_for).collect();
        format!("client {} waits for {}", self.id, all.join("; "))
    }

    fn node(&self) -> Node {
        Node::Client(self.id)
    }

    fn now(&self, step: &Step<'_>) -> u64 {
        self.clock.nanos(step.now)
    }

    fn after(&self, step: &mut Step<'_>, nanos: u64, timer: Timer) {
        step.after(self.clock.in_world(nanos), self.node(), self.life, timer);
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// The leader of a shard knows the session: what it has open stays, unless it was away for too long.
    fn known_to(&mut self, shard: ShardId, step: &Step<'_>) {
        let last = self.known_at.insert(shard, step.now).unwrap_or(step.now);
        if step.now >= last + INTRODUCTIONS_NS {
            self.opens.iter_mut().filter(|(ino, _)| ino.shard() == shard).for_each(|(_, open)| open.since = None);
        }
    }

    fn leader(&self, shard: ShardId) -> HostId {
        self.leaders.get(&shard).copied().unwrap_or(self.map.replicas(shard)[0])
    }

    fn not_leader(&mut self, shard: ShardId, asked: HostId, hint: Option<HostId>) {
        let other = hint.filter(|hint| *hint != asked);
        let next = other.unwrap_or_else(|| next_replica(self.map.replicas(shard), Some(asked)));
        if self.leader(shard) == asked {
            self.leaders.insert(shard, next);
        }
    }

    /// A message has arrived.
    pub fn receive(&mut self, body: Body, step: &mut Step<'_>) {
        self.lapse(step);
        match body {
            Body::Answer { id, answer } => {
                let Some(call) = self.calls.remove(&id) else { return };
                match call.purpose {
                    For::Program(program) => self.answered(program, call, answer, step),
                    For::Introduction(shard) => self.introduction_answered(shard, call.host, Some(answer.reply), step),
                    For::Poll(_) | For::Give(_) => {}
                }
            }
            Body::LeaseAnswer { id, reply } => {
                let Some(call) = self.calls.remove(&id) else { return };
                match call.purpose {
                    For::Poll(host) => self.polled(host, Some(reply), step),
                    For::Give(give) => drop(self.gives.remove(&give)),
                    For::Program(_) | For::Introduction(_) => {}
                }
            }
            Body::Refused { id } => self.unanswered(id, step),
            _ => {}
        }
    }

    /// A call was not answered.
    fn unanswered(&mut self, id: u64, step: &mut Step<'_>) {
        let Some(call) = self.calls.remove(&id) else { return };
        match call.purpose {
            For::Program(program) => self.not_answered(program, call, step),
            For::Introduction(shard) => self.introduction_answered(shard, call.host, None, step),
            For::Poll(host) => self.polled(host, None, step),
            For::Give(give) => self.after(step, believing::POLL_PAUSE_NS, Timer::Give(give)),
        }
    }

    /// A time has come.
    pub fn wake(&mut self, timer: Timer, step: &mut Step<'_>) {
        self.lapse(step);
        match timer {
            Timer::Call(id) => self.unanswered(id, step),
            Timer::Program(program, number) => self.program_wakes(program, number, step),
            Timer::Introduce(shard, number) => self.introduction_wakes(shard, number, step),
            Timer::Poll(host, number) => self.poll_wakes(host, number, step),
            Timer::Give(give) => self.tell_given(give, step),
            Timer::Renew => {
                step.send(self.node(), Node::Registry, Body::Renew(self.session));
                self.after(step, RENEW_NS, Timer::Renew);
            }
            _ => {}
        }
    }
}
