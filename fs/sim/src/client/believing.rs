//! Leases: introductions to leaders, staying alive with them, giving back what they ask for. The twin of `client`'s
//! `leases.rs` and of `Shards::introduce` in its `shard.rs`.

use std::collections::BTreeMap;

use forebay_types::{Cred, Epoch, HostId, InodeId, ShardId, limits};
use forebay_wire::lease::{Given, Known, LeaseReply, LeaseRequest, Revoke, Standing};
use forebay_wire::meta::{Behind, LocksHeld, MetaCall, MetaError, MetaReply, MetaRequest, OpenInode, ReadOp};

use super::{Client, For, OutCall, RETRY_FIRST_NS, RETRY_LONGEST_NS, SHARD_TIMEOUT_NS, TIMEOUT_NS};
use crate::event::{Step, Timer};
use crate::faults::Sabotage;
use crate::host::FS;
use crate::net::{Body, Node};

/// A client believes a lease for this part of its time only: clocks run apart.
const GOOD_NS: u64 = limits::LEASE_MS * 1_000_000 / 10 * 9;
const POLL_WAIT_MS: u32 = 2_500;
const POLL_SLACK_NS: u64 = 1_000_000_000;
pub(super) const POLL_PAUSE_NS: u64 = 50_000_000;

/// An introduction to a shard's leader under way.
pub(super) struct Introduction {
    /// Until when the leases from before were good.
    good: u64,
    good_until: u64,
    until: u64,
    pause: u64,
    number: u64,
}

/// A poll of a host under way, or the pause after one.
pub(super) struct Polling {
    known: Vec<Known>,
    good_until: u64,
    call: Option<u64>,
    number: u64,
}

/// A lease that is being given back.
pub(super) struct Give {
    shard: ShardId,
    introduction: u64,
    until: u64,
    given: Given,
}

impl Client {
    /// Introduces the session to the leader of a shard. `number` is that of the introduction that does not count any more.
    pub(super) fn introduce(&mut self, shard: ShardId, number: u64, step: &mut Step<'_>) {
        if self.introductions.contains_key(&shard) || self.cache.number(shard) != number {
            return;
        }
        let good = self.cache.begin_introduction(shard);
        self.give_up_shared(shard);
        let until = self.now(step) + TIMEOUT_NS;
        let introduction = Introduction { good, good_until: 0, until, pause: RETRY_FIRST_NS, number: 0 };
        self.introductions.insert(shard, introduction);
        self.try_introduction(shard, step);
    }

    fn give_up_shared(&mut self, shard: ShardId) {
        for ino in self.cache.shared(shard) {
            self.cache.give_up(ino, None);
        }
    }

    fn try_introduction(&mut self, shard: ShardId, step: &mut Step<'_>) {
        let (now, host, id) = (self.now(step), self.leader(shard), self.number());
        let Some(introduction) = self.introductions.get_mut(&shard) else { return };
        introduction.good_until = now + GOOD_NS;
        let good = now < introduction.good;
        let mut exclusive: Vec<(InodeId, u64)> = self.cache.exclusive(shard);
        exclusive.sort_unstable();
        let exclusive = exclusive.into_iter().map(|(ino, version)| Behind { ino, version, good }).collect();
        *self.introduced.entry(shard).or_default() += 1;
        let here = self.opens.iter().filter(|(ino, _)| ino.shard() == shard);
        let inodes = here.map(|(ino, open)| OpenInode { ino: *ino, write: open.write }).collect();
        let op = ReadOp::Introduce { inodes, exclusive, locks: LocksHeld::default() };
        let call = MetaCall::Read { fs: FS, session: self.session, cred: Cred::ROOT, op };
        let request = MetaRequest { shard, epoch: Epoch(0), number: id, call };
        let purpose = For::Introduction(shard);
        self.calls.insert(id, OutCall { purpose, host, shard, ticket: None, number: 0 });
        step.send(self.node(), Node::Host(host), Body::Call { id, request, timeout_ns: SHARD_TIMEOUT_NS });
        self.after(step, SHARD_TIMEOUT_NS, Timer::Call(id));
    }

    pub(super) fn introduction_answered(
        &mut self,
        shard: ShardId,
        host: HostId,
        reply: Option<MetaReply>,
        step: &mut Step<'_>,
    ) {
        match reply {
            Some(MetaReply::Introduced { number, exclusive, .. }) => {
                let Some(introduction) = self.introductions.remove(&shard) else { return };
                // Answers of an earlier leader may have come in between.
                self.give_up_shared(shard);
                self.cache.introduced(shard, number, &exclusive, introduction.good_until);
                self.known_to(shard, step);
                self.start_polls(step);
                return self.introduction_over(shard, step);
            }
            Some(MetaReply::Error(MetaError::SessionEnded(_))) => return self.start(step),
            Some(MetaReply::Error(MetaError::NotServed { leader, .. })) => self.not_leader(shard, host, leader),
            Some(_) => {}
            None => self.not_leader(shard, host, None),
        }
        let (now, number) = (self.now(step), self.number());
        let Some(introduction) = self.introductions.get_mut(&shard) else { return };
        let pause = introduction.pause;
        if now + pause >= introduction.until {
            self.introductions.remove(&shard);
            return self.introduction_over(shard, step);
        }
        introduction.pause = (pause * 2).min(RETRY_LONGEST_NS);
        introduction.number = number;
        self.after(step, pause, Timer::Introduce(shard, number));
    }

    pub(super) fn introduction_wakes(&mut self, shard: ShardId, number: u64, step: &mut Step<'_>) {
        if self.introductions.get(&shard).is_some_and(|introduction| introduction.number == number) {
            self.try_introduction(shard, step);
        }
    }

    /// Asks every host about the shards that it leads and is not asked about yet.
    pub(super) fn start_polls(&mut self, step: &mut Step<'_>) {
        let mut wanted: BTreeMap<HostId, Vec<Known>> = BTreeMap::new();
        for (shard, number, seen) in self.cache.standings() {
            wanted.entry(self.leader(shard)).or_default().push(Known { shard, number, seen });
        }
        let about = |known: &[Known]| known.iter().map(|known| (known.shard, known.number)).collect::<Vec<_>>();
        for (host, mut known) in wanted {
            known.sort_unstable_by_key(|known| known.shard);
            match self.polls.get(&host) {
                Some(same) if about(&same.known) == about(&known) => continue,
                Some(Polling { call: Some(call), .. }) => drop(self.calls.remove(call)),
                _ => {}
            }
            let id = self.number();
            let shard = known[0].shard;
            self.calls.insert(id, OutCall { purpose: For::Poll(host), host, shard, ticket: None, number: 0 });
            let request = LeaseRequest::Poll { session: self.session, shards: known.clone(), wait_ms: POLL_WAIT_MS };
            let good_until = self.now(step) + GOOD_NS;
            self.polls.insert(host, Polling { known, good_until, call: Some(id), number: id });
            let timeout_ns = u64::from(POLL_WAIT_MS) * 1_000_000 + POLL_SLACK_NS;
            step.send(self.node(), Node::Host(host), Body::Lease { id, request, timeout_ns });
            self.after(step, timeout_ns, Timer::Call(id));
        }
    }

    /// A poll was answered, or was not.
    pub(super) fn polled(&mut self, host: HostId, reply: Option<LeaseReply>, step: &mut Step<'_>) {
        let Some(poll) = self.polls.get_mut(&host) else { return };
        let standings = match reply {
            Some(LeaseReply::Standings(standings)) if standings.len() == poll.known.len() => standings,
            _ => {
                poll.call = None;
                let number = poll.number;
                return self.after(step, POLL_PAUSE_NS, Timer::Poll(host, number));
            }
        };
        let Some(poll) = self.polls.remove(&host) else { return };
        for (known, standing) in poll.known.iter().zip(standings) {
            match standing {
                Standing::Good { told, revokes } => {
                    self.known_to(known.shard, step);
                    self.cache.renewed(known.shard, known.number, told, poll.good_until);
                    revokes.into_iter().for_each(|revoke| self.give_back(known, revoke, step));
                }
                Standing::Unknown => self.introduce(known.shard, known.number, step),
            }
        }
        self.start_polls(step);
    }

    /// The pause after a poll that failed is over: whoever leads these shards now is found by asking for any of them.
    pub(super) fn poll_wakes(&mut self, host: HostId, number: u64, step: &mut Step<'_>) {
        if self.polls.get(&host).is_none_or(|poll| poll.number != number) {
            return;
        }
        let Some(poll) = self.polls.remove(&host) else { return };
        for known in poll.known {
            self.not_leader(known.shard, host, None);
            self.introduce(known.shard, known.number, step);
        }
        self.start_polls(step);
    }

    fn give_back(&mut self, known: &Known, revoke: Revoke, step: &mut Step<'_>) {
        let Revoke { fs, ino, keep, number } = revoke;
        if step.sabotage != Some(Sabotage::KeptBeliefs) {
            self.cache.give_up(ino, keep);
        }
        let given = Given { fs, ino, keep, number };
        let (id, until) = (self.number(), self.now(step) + GOOD_NS);
        self.gives.insert(id, Give { shard: known.shard, introduction: known.number, until, given });
        self.tell_given(id, step);
    }

    /// Tells a leader, until it has heard or knows this session by another number.
    pub(super) fn tell_given(&mut self, give: u64, step: &mut Step<'_>) {
        let now = self.now(step);
        let Some(Give { shard, introduction, until, given }) = self.gives.get(&give) else { return };
        let (shard, number, given) = (*shard, *introduction, *given);
        if now >= *until || self.cache.number(shard) != number {
            self.gives.remove(&give);
            return;
        }
        let (host, id) = (self.leader(shard), self.number());
        let request = LeaseRequest::Give { session: self.session, shard, number, leases: vec![given] };
        self.calls.insert(id, OutCall { purpose: For::Give(give), host, shard, ticket: None, number });
        step.send(self.node(), Node::Host(host), Body::Lease { id, request, timeout_ns: POLL_SLACK_NS });
        self.after(step, POLL_SLACK_NS, Timer::Call(id));
    }

    /// Takes back what was believed of shards whose leases have run out.
    pub(super) fn lapse(&mut self, step: &Step<'_>) {
        let mut late = self.cache.lapse(self.now(step));
        late.sort_unstable();
        late.into_iter().for_each(|shard| self.give_up_shared(shard));
    }
}
