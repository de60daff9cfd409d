//! Calls of the meta service: who may be answered when, and what may be believed of the answer. The twin of `server`'s
//! `metadata/calls.rs`, where each call is a task; here each is looked at whenever something has happened.

use forebay_meta::{Claim, Input};
use forebay_types::{Cred, FileKind, FsId, InodeId, SessionId, ShardId};
use forebay_wire::meta::{
    Behind, MetaAnswer, MetaCall, MetaError, MetaReply, MetaRequest, MutateOp, OpenInode, ReadOp,
};

use super::desk::Told;
use super::lead::{CONFIRM_WAIT_NS, Permit};
use super::reads::{Granting, read_now};
use super::touch::{directory_of, moved, written};
use super::{Host, OWN, Work, not_served};
use crate::event::{Step, Timer};
use crate::faults::Sabotage;
use crate::net::{Body, Node};

/// A call that has not been answered.
pub(super) struct Call {
    /// Who waits, and their number for it; nobody for the host's own.
    from: Option<(Node, u64)>,
    shard: ShardId,
    number: u64,
    what: What,
    stage: Stage,
    /// Nobody waits any longer.
    until_ns: u64,
    /// Inodes that nobody else may begin to write behind meanwhile.
    claims: Vec<InodeId>,
    below: Vec<InodeId>,
    /// What the driver answered.
    pub replied: Option<MetaReply>,
}

enum What {
    Read {
        fs: FsId,
        session: SessionId,
        cred: Cred,
        op: ReadOp,
    },
    Introduce {
        fs: FsId,
        session: SessionId,
        inodes: Vec<OpenInode>,
        exclusive: Vec<Behind>,
    },
    /// A mutation, a step of another shard, or the end of a session.
    Change {
        fs: FsId,
        input: Input,
    },
}

enum Stage {
    Begin,
    /// A session joins.
    Join(Permit),
    /// A read looks.
    Look(Permit),
    /// It has an answer that may be given once it is confirmed that this host leads.
    Confirm {
        permit: Permit,
        asked_ns: u64,
        until_ns: u64,
        answer: MetaAnswer,
    },
    Claim,
    ClaimBelow,
    Submitted,
    /// It has an answer that may be given once nobody believes any more what was before.
    Settle(MetaReply),
}

/// What looking at a call came to.
enum Look {
    Wait,
    Next,
    Done(Box<MetaAnswer>),
}

fn done(answer: impl Into<MetaAnswer>) -> Look {
    Look::Done(Box::new(answer.into()))
}

fn refused(error: impl Into<MetaError>) -> Look {
    done(MetaReply::Error(error.into()))
}

impl Host {
    /// Takes a call in.
    pub(super) fn call(&mut self, from: Node, id: u64, request: MetaRequest, timeout_ns: u64, step: &mut Step<'_>) {
        let MetaRequest { shard, number, call, .. } = request;
        let what = match call {
            MetaCall::Read { fs, session, op: ReadOp::Introduce { inodes, exclusive, .. }, .. } => {
                What::Introduce { fs, session, inodes, exclusive }
            }
            MetaCall::Read { fs, session, cred, op } => What::Read { fs, session, cred, op },
            MetaCall::Mutate(mutation) => What::Change { fs: mutation.fs, input: Input::Mutate(mutation) },
            MetaCall::Peer(step) => What::Change { fs: step.fs, input: Input::Peer(step) },
        };
        self.begin_call(Some((from, id)), shard, number, what, timeout_ns, step);
    }

    fn begin_call(
        &mut self,
        from: Option<(Node, u64)>,
        shard: ShardId,
        number: u64,
        what: What,
        timeout_ns: u64,
        step: &mut Step<'_>,
    ) {
        let until_ns = self.now(step) + timeout_ns;
        self.last_call += 1;
        let (claims, below) = (Vec::new(), Vec::new());
        let call = Call { from, shard, number, what, stage: Stage::Begin, until_ns, claims, below, replied: None };
        self.calls.insert(self.last_call, call);
        self.after(step, timeout_ns, Timer::Look);
    }

    /// The cluster group says that a session has ended: tells the shards that are led from here, with the next signs of
    /// life again where that fails.
    pub(super) fn end_session(&mut self, session: SessionId) {
        if self.sessions.contains(&session) {
            self.ending.insert(session);
        }
    }

    fn end_sessions(&mut self, step: &mut Step<'_>) {
        for session in std::mem::take(&mut self.ending) {
            self.sessions.remove(&session);
            let led = self.replicas.values().filter(|replica| replica.lead.ready.is_some());
            for shard in led.map(|replica| replica.id).collect::<Vec<_>>() {
                let input = self.own(FsId(0), MutateOp::EndSession { session }, step);
                self.begin_call(None, shard, 0, What::Change { fs: FsId(0), input }, 60_000_000_000, step);
            }
        }
    }

    /// Looks at every call; whether any has got on.
    pub(super) fn poll_calls(&mut self, step: &mut Step<'_>) -> bool {
        self.end_sessions(step);
        let mut moved = false;
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            let Some(mut call) = self.calls.remove(&id) else { continue };
            let late = self.now(step) >= call.until_ns;
            let answer = loop {
                match self.look(id, &mut call, step) {
                    Look::Next => moved = true,
                    Look::Done(answer) => break Some(*answer),
                    Look::Wait if late => break Some(MetaReply::Error(MetaError::Busy).into()),
                    Look::Wait => break None,
                }
            };
            let Some(answer) = answer else {
                self.calls.insert(id, call);
                continue;
            };
            moved = true;
            self.unclaim(&mut call);
            self.note_ended(&call, &answer.reply, step);
            if let Some((to, id)) = call.from {
                step.send(self.node(), to, Body::Answer { id, answer });
            }
        }
        moved
    }

    /// The host's own word to a shard that a session has ended was carried out, or was not.
    fn note_ended(&mut self, call: &Call, reply: &MetaReply, step: &mut Step<'_>) {
        let What::Change { input: Input::Mutate(mutation), .. } = &call.what else { return };
        let (MutateOp::EndSession { session }, None) = (&mutation.op, call.from) else { return };
        let session = *session;
        if matches!(reply, MetaReply::Error(_)) {
            // The next leader, or this one, is told with its next sign of life.
            self.sessions.insert(session);
            return;
        }
        let Some(replica) = self.replicas.get_mut(&call.shard) else { return };
        replica.opens.end_session(session);
        let reaps = replica.shard.reaps(&mut replica.opens).expect("the store works");
        replica.desk.table.end_session(session);
        self.submit_reaps(call.shard, reaps, step);
    }

    fn unclaim(&mut self, call: &mut Call) {
        let What::Change { fs, .. } = call.what else { return };
        let Some(replica) = self.replicas.get_mut(&call.shard) else { return };
        for ino in call.claims.drain(..).chain(call.below.drain(..)) {
            replica.desk.table.unclaim((fs, ino));
        }
    }

    fn look(&mut self, id: u64, call: &mut Call, step: &mut Step<'_>) -> Look {
        let now = self.now(step);
        let Some(replica) = self.replicas.get(&call.shard) else {
            return done(not_served(call.shard, None));
        };
        match std::mem::replace(&mut call.stage, Stage::Begin) {
            Stage::Begin => match &call.what {
                What::Change { input: Input::Peer(_), .. } if replica.desk.table.awaits(now) => {
                    refused(MetaError::Busy)
                }
                What::Change { .. } => to(call, Stage::Claim),
                What::Read { session, .. } | What::Introduce { session, .. } => {
                    let permit = match replica.lead.begin(now) {
                        Ok(permit) => permit,
                        Err(leader) => return done(not_served(call.shard, leader)),
                    };
                    self.sessions.insert(*session);
                    if matches!(call.what, What::Read { .. }) {
                        return to(call, Stage::Look(permit));
                    }
                    self.join(id, call, permit)
                }
            },
            Stage::Join(permit) => match call.replied.take() {
                Some(MetaReply::Done) => self.introduce(call, permit, now, step),
                Some(reply) => done(reply),
                None => stay(call, Stage::Join(permit)),
            },
            Stage::Look(permit) => self.look_up(call, permit, now, step),
            Stage::Confirm { permit, asked_ns, until_ns, answer } => {
                let lead = replica.lead;
                if lead.allows(permit, asked_ns) {
                    return done(answer);
                }
                if now >= until_ns || !lead.is_of(permit) {
                    return done(not_served(call.shard, lead.leader));
                }
                stay(call, Stage::Confirm { permit, asked_ns, until_ns, answer })
            }
            Stage::Claim => self.claim(call, now),
            Stage::ClaimBelow => self.claim_below(id, call, now),
            Stage::Submitted => match call.replied.take() {
                Some(reply) => {
                    self.unclaim(call);
                    to(call, Stage::Settle(reply))
                }
                None => stay(call, Stage::Submitted),
            },
            Stage::Settle(reply) => self.settled(call, reply, now, step),
        }
    }

    fn join(&mut self, id: u64, call: &mut Call, permit: Permit) -> Look {
        let What::Introduce { session, .. } = call.what else { return Look::Wait };
        match self.replicas[&call.shard].shard.has_joined(session).expect("the store works") {
            Some(true) => call.replied = Some(MetaReply::Done),
            Some(false) => self.inbox.push_back(Work::Input(call.shard, Input::Join { session }, Some(id))),
            None => return refused(MetaError::SessionEnded(session)),
        }
        to(call, Stage::Join(permit))
    }

    fn introduce(&mut self, call: &mut Call, permit: Permit, now: u64, step: &mut Step<'_>) -> Look {
        let What::Introduce { fs, session, inodes, exclusive } = &call.what else { return Look::Wait };
        let Some(replica) = self.replicas.get_mut(&call.shard) else { return Look::Wait };
        let inodes = if step.sabotage == Some(Sabotage::ForgottenOpens) { &[][..] } else { inodes.as_slice() };
        let version = |ino| replica.shard.attr(*fs, ino).expect("the store works").map(|attr| attr.version);
        let claim = |behind: &Behind| Claim {
            inode: (*fs, behind.ino),
            good: behind.good,
            unchanged: version(behind.ino) == Some(behind.version),
        };
        let claims: Vec<Claim> = exclusive.iter().map(claim).collect();
        let Some((number, kept)) = replica.desk.table.introduce(*session, call.number, &claims, now) else {
            return refused(MetaError::Busy);
        };
        replica.opens.introduce(*fs, *session, inodes);
        let exclusive = kept.into_iter().map(|(_, ino)| ino).collect();
        let answer = MetaReply::Introduced { number, exclusive, lost: Vec::new() }.into();
        self.confirm(call, permit, now, answer, step)
    }

    fn confirm(&self, call: &mut Call, permit: Permit, now: u64, answer: MetaAnswer, step: &mut Step<'_>) -> Look {
        self.after(step, CONFIRM_WAIT_NS, Timer::Look);
        to(call, Stage::Confirm { permit, asked_ns: now, until_ns: now + CONFIRM_WAIT_NS, answer })
    }

    /// Whether a call of a session can be looked at: its leases are known here, and so are everybody else's.
    fn admit(&self, call: &Call, session: SessionId, now: u64) -> Result<(), MetaError> {
        let table = &self.replicas[&call.shard].desk.table;
        if session != OWN && !table.knows(session, call.number) {
            return Err(MetaError::NotIntroduced { shard: call.shard });
        }
        if table.awaits(now) { Err(MetaError::Busy) } else { Ok(()) }
    }

    fn look_up(&mut self, call: &mut Call, permit: Permit, now: u64, step: &mut Step<'_>) -> Look {
        let What::Read { fs, session, cred, op } = &call.what else { return Look::Wait };
        if let Err(error) = self.admit(call, *session, now) {
            let answer = MetaReply::Error(error).into();
            return self.confirm(call, permit, now, answer, step);
        }
        let Some(replica) = self.replicas.get_mut(&call.shard) else { return Look::Wait };
        let Some(answer) = read_now(replica, (*fs, *session), cred, op, now, step.sabotage) else {
            return stay(call, Stage::Look(permit));
        };
        if let ReadOp::Open { ino, .. } = op
            && step.sabotage == Some(Sabotage::ForgottenOpens)
        {
            replica.shard.read(*fs, *session, cred, &ReadOp::Close { ino: *ino }, &mut replica.opens);
        }
        if matches!(op, ReadOp::Close { .. }) {
            let reaps = replica.shard.reaps(&mut replica.opens).expect("the store works");
            self.submit_reaps(call.shard, reaps, step);
        }
        self.confirm(call, permit, now, answer, step)
    }

    /// Waits until nobody else writes behind what a change names.
    fn claim(&mut self, call: &mut Call, now: u64) -> Look {
        let What::Change { fs, input } = &call.what else { return Look::Wait };
        let (fs, shard) = (*fs, call.shard);
        let (named, session) = match input {
            Input::Mutate(mutation) => {
                self.sessions.extend((mutation.id.session != OWN).then_some(mutation.id.session));
                if let Err(error) = self.admit(call, mutation.id.session, now) {
                    return refused(error);
                }
                (written(&mutation.op), Some(mutation.id.session))
            }
            Input::Peer(step) => (directory_of(&step.action).into_iter().collect(), None),
            _ => (Vec::new(), None),
        };
        let Some(replica) = self.replicas.get_mut(&shard) else { return Look::Wait };
        for ino in named.into_iter().filter(|ino| ino.shard() == shard) {
            if call.claims.contains(&ino) {
                continue;
            }
            let granted = match session {
                Some(session) => replica.desk.table.claim((fs, ino), session, now),
                None => replica.desk.table.claim_undelegated((fs, ino), now),
            };
            if !granted {
                return stay(call, Stage::Claim);
            }
            call.claims.push(ino);
        }
        to(call, Stage::ClaimBelow)
    }

    /// Directories of this shard that a mutation moves or removes by a name are claimed too.
    fn claim_below(&mut self, id: u64, call: &mut Call, now: u64) -> Look {
        let What::Change { fs, input } = &call.what else { return Look::Wait };
        let (fs, shard, input) = (*fs, call.shard, input.clone());
        let Some(replica) = self.replicas.get_mut(&shard) else { return Look::Wait };
        if let Input::Mutate(mutation) = &input {
            let names = moved(&mutation.op).into_iter().filter(|(dir, _)| dir.shard() == shard);
            let found = names.filter_map(|(dir, name)| replica.shard.find(fs, dir, name).expect("the store works"));
            let here = found.filter(|(ino, kind)| *kind == FileKind::Directory && ino.shard() == shard);
            let wanted: Vec<InodeId> = here.map(|(ino, _)| ino).collect();
            let table = &mut replica.desk.table;
            for ino in std::mem::take(&mut call.below) {
                if wanted.contains(&ino) {
                    call.below.push(ino);
                } else {
                    table.unclaim((fs, ino));
                }
            }
            for ino in wanted {
                if !call.below.contains(&ino) {
                    if !table.claim_undelegated((fs, ino), now) {
                        return stay(call, Stage::ClaimBelow);
                    }
                    call.below.push(ino);
                }
            }
        }
        self.inbox.push_back(Work::Input(shard, input, Some(id)));
        to(call, Stage::Submitted)
    }

    /// Answers a change once nobody believes any more what was before.
    fn settled(&mut self, call: &mut Call, reply: MetaReply, now: u64, step: &mut Step<'_>) -> Look {
        let What::Change { fs, input } = &call.what else { return Look::Wait };
        let Some(replica) = self.replicas.get_mut(&call.shard) else { return Look::Wait };
        let told = match input {
            Input::Mutate(mutation) => Told::Mutation(mutation.id),
            Input::Peer(step) => Told::Step(step.txn, step.step),
            _ => return done(reply),
        };
        if !replica.desk.may_tell(told) && step.sabotage != Some(Sabotage::AnswersWithoutBarrier) {
            return stay(call, Stage::Settle(reply));
        }
        let Input::Mutate(mutation) = input else { return done(reply) };
        let session = mutation.id.session;
        if session == OWN {
            return done(reply);
        }
        let own_changes = replica.desk.take_own_changes(mutation.id, mutation.acknowledged_below);
        let (mut grants, mut stale) = (Granting::new(replica, now, *fs, session, step.sabotage), Vec::new());
        for ino in own_changes {
            if !grants.renewed(ino) {
                stale.push(ino);
            }
        }
        if let MetaReply::Entry { ino, created: true, .. } = reply {
            match mutation.op {
                MutateOp::Create { open: true, .. } => grants.exclusive(ino),
                _ => grants.shared(ino),
            }
        }
        let grants = grants.grants;
        done(MetaAnswer { reply, grants, stale })
    }
}

fn to(call: &mut Call, stage: Stage) -> Look {
    call.stage = stage;
    Look::Next
}

fn stay(call: &mut Call, stage: Stage) -> Look {
    call.stage = stage;
    Look::Wait
}
