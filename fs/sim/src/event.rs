//! What happens in the world, and what a node may do about it.

use std::collections::BTreeSet;

use forebay_types::{HostId, SessionId, ShardId};

use crate::check::Watch;
use crate::dice::Dice;
use crate::faults::{Faults, Sabotage};
use crate::history::History;
use crate::net::{Body, Node, Packet};

/// What a node asked to be woken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timer {
    Tick,
    Flushed,
    Heartbeat,
    FetchLate(ShardId, HostId),
    SettleIn(ShardId, u64),
    /// A step of another shard's transaction.
    Step(u64),
    /// Calls look at the clock.
    Look,
    Call(u64),
    Program(usize, u64),
    Introduce(ShardId, u64),
    Poll(HostId, u64),
    Give(u64),
    Renew,
}

/// What goes wrong, or right again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Crash,
    Restart(HostId),
    Part,
    Heal,
    PauseHost,
    PauseClient,
    HandOver,
    LoseSession,
    LoseRow,
}

pub(crate) enum Event {
    Arrives(Box<Packet>),
    /// Raft messages of a shard from one host to another are known to be lost.
    Lost {
        host: HostId,
        to: HostId,
        shard: ShardId,
    },
    Wakes {
        node: Node,
        life: u32,
        timer: Timer,
    },
    Fault(Fault),
}

/// Something that will happen; in order of time, and at one time in the order in which it was decided.
pub(crate) struct Scheduled {
    pub at: u64,
    pub number: u64,
    pub event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What a node has done.
pub(crate) enum Emit {
    Send(Box<Packet>),
    After { nanos: u64, node: Node, life: u32, timer: Timer },
}

/// What a node may use while it does one thing.
pub(crate) struct Step<'a> {
    pub now: u64,
    pub dice: &'a mut Dice,
    pub watch: &'a mut Watch,
    pub history: &'a mut History,
    pub faults: &'a Faults,
    pub sabotage: Option<Sabotage>,
    /// Sessions that have ended, whether or not anybody knows.
    pub ended: &'a BTreeSet<SessionId>,
    pub emits: &'a mut Vec<Emit>,
    pub sessions: &'a mut u64,
}

impl Step<'_> {
    pub fn send(&mut self, from: Node, to: Node, body: Body) {
        self.emits.push(Emit::Send(Box::new(Packet { from, to, body })));
    }

    pub fn after(&mut self, nanos: u64, node: Node, life: u32, timer: Timer) {
        self.emits.push(Emit::After { nanos, node, life, timer });
    }

    /// A session that was never there before.
    pub fn next_session(&mut self) -> SessionId {
        *self.sessions += 1;
        SessionId(*self.sessions)
    }
}
