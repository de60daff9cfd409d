//! Steps that shards ask of each other: sent until they are answered. The twin of `server`'s `metadata/outbox.rs`.

use std::collections::BTreeMap;

use forebay_meta::Input;
use forebay_types::{Epoch, HostId, ShardId};
use forebay_wire::meta::{MetaCall, MetaError, MetaReply, MetaRequest, PeerStep, TxnId};

use super::{Host, Work};
use crate::event::{Step, Timer};
use crate::net::{Body, Node};

const TIMEOUT_NS: u64 = 2_000_000_000;
const PAUSE_FIRST_NS: u64 = 5_000_000;
const PAUSE_LONGEST_NS: u64 = 500_000_000;

struct UnderWay {
    from: ShardId,
    to: ShardId,
    step: PeerStep,
    /// The number of the attempt, or of the pause after it.
    token: u64,
    asked: Option<HostId>,
    pause_ns: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Outbox {
    under_way: BTreeMap<(TxnId, u32), UnderWay>,
    leaders: BTreeMap<ShardId, HostId>,
    last_token: u64,
}

impl Outbox {
    fn by_token(&mut self, token: u64) -> Option<&mut UnderWay> {
        self.under_way.values_mut().find(|under_way| under_way.token == token)
    }

    fn next_token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }
}

impl Host {
    /// Sends a step of `from` to shard `to`, unless it is under way already.
    pub(super) fn send_step(&mut self, from: ShardId, to: ShardId, what: PeerStep, step: &mut Step<'_>) {
        let key = (what.txn, what.step);
        if self.outbox.under_way.contains_key(&key) {
            return;
        }
        let token = self.outbox.next_token();
        let under_way = UnderWay { from, to, step: what, token, asked: None, pause_ns: PAUSE_FIRST_NS };
        self.outbox.under_way.insert(key, under_way);
        self.ask_step(token, step);
    }

    fn ask_step(&mut self, token: u64, step: &mut Step<'_>) {
        let leaders = self.outbox.leaders.clone();
        let map = self.map.clone();
        let Some(under_way) = self.outbox.by_token(token) else { return };
        let to = under_way.to;
        let host = leaders.get(&to).copied().unwrap_or(map.replicas(to)[0]);
        under_way.asked = Some(host);
        let request =
            MetaRequest { shard: to, epoch: Epoch(0), number: 0, call: MetaCall::Peer(under_way.step.clone()) };
        step.send(self.node(), Node::Host(host), Body::Call { id: token, request, timeout_ns: TIMEOUT_NS });
        self.after(step, TIMEOUT_NS, Timer::Step(token));
    }

    /// A step was answered, or nobody listens there.
    pub(super) fn step_answered(&mut self, token: u64, reply: Option<MetaReply>, step: &mut Step<'_>) {
        let Some(under_way) = self.outbox.by_token(token) else { return };
        let (to, asked, key) = (under_way.to, under_way.asked, (under_way.step.txn, under_way.step.step));
        match reply {
            Some(MetaReply::Error(MetaError::NotServed { leader, .. })) => self.not_leader(to, asked, leader),
            Some(MetaReply::Error(MetaError::Busy | MetaError::Storage { .. })) => {}
            Some(reply) => {
                let Some(done) = self.outbox.under_way.remove(&key) else { return };
                let input = Input::Answer { txn: key.0, step: key.1, reply };
                return self.inbox.push_back(Work::Input(done.from, input, None));
            }
            None => self.not_leader(to, asked, None),
        }
        self.pause_step(token, step);
    }

    fn pause_step(&mut self, token: u64, step: &mut Step<'_>) {
        let next = self.outbox.next_token();
        let Some(under_way) = self.outbox.by_token(token) else { return };
        let pause = under_way.pause_ns;
        under_way.pause_ns = (pause * 2).min(PAUSE_LONGEST_NS);
        (under_way.token, under_way.asked) = (next, None);
        self.after(step, pause, Timer::Step(next));
    }

    /// An attempt has taken too long, or a pause is over.
    pub(super) fn step_late(&mut self, token: u64, step: &mut Step<'_>) {
        let Some(under_way) = self.outbox.by_token(token) else { return };
        let to = under_way.to;
        match under_way.asked {
            Some(asked) => {
                self.not_leader(to, Some(asked), None);
                self.pause_step(token, step);
            }
            None => self.ask_step(token, step),
        }
    }

    fn not_leader(&mut self, shard: ShardId, asked: Option<HostId>, hint: Option<HostId>) {
        let next =
            hint.filter(|hint| Some(*hint) != asked).unwrap_or_else(|| next_replica(self.map.replicas(shard), asked));
        if self.outbox.leaders.get(&shard).copied().is_none_or(|known| Some(known) == asked) {
            self.outbox.leaders.insert(shard, next);
        }
    }
}

/// Whom to ask after one that does not lead.
pub(crate) fn next_replica(replicas: &[HostId], asked: Option<HostId>) -> HostId {
    let at = asked.and_then(|asked| replicas.iter().position(|host| *host == asked));
    replicas[at.map_or(0, |at| (at + 1) % replicas.len())]
}
