//! The network: what is sent arrives, once, twice or never, now or later, in any order; links break in one direction or both.

use std::collections::BTreeSet;

use forebay_types::{HostId, SessionId, ShardId};
use forebay_wire::lease::{LeaseReply, LeaseRequest};
use forebay_wire::meta::{MetaAnswer, MetaRequest};
use forebay_wire::raft::RaftMessage;

use crate::dice::Dice;
use crate::faults::Faults;

/// Who sends and receives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Node {
    Host(HostId),
    Client(u32),
    /// What the cluster group knows of sessions: always there, not always reached.
    Registry,
}

/// Rows of a shard's state.
pub(crate) type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Raft(RaftMessage),
    /// Send me the state of a shard.
    FetchState(ShardId),
    /// It; none where there is no replica.
    State(ShardId, Option<Rows>),
    /// A call, by the caller's number for it, and how long its caller waits.
    Call {
        id: u64,
        request: MetaRequest,
        timeout_ns: u64,
    },
    Answer {
        id: u64,
        answer: MetaAnswer,
    },
    Lease {
        id: u64,
        request: LeaseRequest,
        timeout_ns: u64,
    },
    LeaseAnswer {
        id: u64,
        reply: LeaseReply,
    },
    /// Nobody listens there.
    Refused {
        id: u64,
    },
    /// A session's sign of life.
    Renew(SessionId),
    /// A host's sign of life, with the sessions that its shards remember.
    Heartbeat(Vec<SessionId>),
    /// Those of them that have ended.
    Ended(Vec<SessionId>),
}

impl Body {
    /// Whether it may arrive twice: Raft's messages are of the kind that may, calls go over connections.
    fn may_double(&self) -> bool {
        matches!(self, Self::Raft(_))
    }

    /// For the digest.
    pub fn tag(&self) -> u64 {
        match self {
            Self::Raft(message) => 0x100 + u64::from(message.shard.0),
            Self::FetchState(_) => 1,
            Self::State(..) => 2,
            Self::Call { .. } => 3,
            Self::Answer { .. } => 4,
            Self::Lease { .. } => 5,
            Self::LeaseAnswer { .. } => 6,
            Self::Refused { .. } => 7,
            Self::Heartbeat(_) => 8,
            Self::Ended(_) => 9,
            Self::Renew(_) => 10,
        }
    }
}

/// Something on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub from: Node,
    pub to: Node,
    pub body: Body,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Net {
    blocked: BTreeSet<(Node, Node)>,
    /// Nothing goes wrong any more.
    pub calm: bool,
}

impl Net {
    /// After how long each copy of a packet arrives; none where it is lost.
    pub fn copies(&self, dice: &mut Dice, faults: &Faults, packet: &Packet) -> Vec<u64> {
        let delay = |dice: &mut Dice| dice.between(faults.delay_ns.0, faults.delay_ns.1);
        if packet.from == packet.to {
            return vec![delay(dice) / 10];
        }
        if self.blocked.contains(&(packet.from, packet.to)) {
            return Vec::new();
        }
        if self.calm {
            return vec![delay(dice)];
        }
        let lost = dice.chance(faults.loss);
        let count = usize::from(!lost) + usize::from(packet.body.may_double() && dice.chance(faults.duplicates));
        let late = |dice: &mut Dice| if dice.chance(faults.late) { dice.below(faults.late_ns) } else { 0 };
        (0..count).map(|_| delay(dice) + late(dice)).collect()
    }

    pub fn heal(&mut self) {
        self.blocked.clear();
    }

    /// Breaks links: between a node and all others, between two sides, or of two nodes in one direction.
    pub fn part(&mut self, dice: &mut Dice, nodes: &[Node]) {
        self.heal();
        let side: BTreeSet<Node> = match dice.below(4) {
            0 | 1 => BTreeSet::from([*dice.pick(nodes)]),
            2 => nodes.iter().copied().filter(|_| dice.chance(500)).collect(),
            _ => {
                for _ in 0..dice.between(1, 3) {
                    self.blocked.insert((*dice.pick(nodes), *dice.pick(nodes)));
                }
                return;
            }
        };
        let (one_way, inwards) = (dice.chance(300), dice.chance(500));
        for a in nodes.iter().filter(|node| side.contains(node)) {
            for b in nodes.iter().filter(|node| !side.contains(node)) {
                if !one_way || !inwards {
                    self.blocked.insert((*a, *b));
                }
                if !one_way || inwards {
                    self.blocked.insert((*b, *a));
                }
            }
        }
    }
}
