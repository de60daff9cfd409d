//! Calls of the meta service: who may be answered when, and what may be believed of the answer.

mod claims;
mod grants;
mod reads;

use std::time::Duration;

use forebay_meta::{Claim, Input, ShardError};
use forebay_types::{Cred, Errno, FsId, InodeId, SessionId};
use forebay_wire::meta::{
    Behind, LocksHeld, MetaAnswer, MetaCall, MetaError, MetaReply, MetaRequest, MutateOp, Mutation, OpenInode,
    PeerStep, ReadOp,
};

use super::leases::{Desk, Told};
use super::{Metadata, Served, read_lock};
use claims::{Claimant, directory_of, made_by_client, written};
use grants::Granting;
use reads::read_now;

/// The session of what hosts do by themselves: it has no leases.
const OWN: SessionId = SessionId(0);

/// Who reads.
pub(super) struct Reader<'a> {
    pub fs: FsId,
    pub session: SessionId,
    pub number: u64,
    pub cred: &'a Cred,
}

impl Metadata {
    /// Answers a call, at its deadline at the latest.
    pub async fn handle(&self, request: MetaRequest, deadline: Duration) -> MetaAnswer {
        let MetaRequest { shard, number, call, .. } = request;
        let Some(served) = self.table.get(shard) else { return self.not_served(shard, None).into() };
        let answer = async {
            match call {
                MetaCall::Read { fs, session, cred, op } => {
                    let reader = Reader { fs, session, number, cred: &cred };
                    match op {
                        ReadOp::Introduce { inodes, exclusive, locks } => {
                            self.introduce(&served, fs, (session, number), (&inodes, &exclusive, &locks)).await.into()
                        }
                        ReadOp::Fsck(question) => self.fsck(&served, &reader, question).await.into(),
                        op => self.read(&served, &reader, &op).await,
                    }
                }
                MetaCall::Mutate(mutation) => self.mutate(&served, number, mutation).await,
                MetaCall::Peer(step) => self.peer(&served, step).await.into(),
            }
        };
        // Nobody waits for the answer any more; a retry of a mutation finds it.
        tokio::time::timeout(deadline, answer).await.unwrap_or_else(|_| MetaReply::Error(MetaError::Busy).into())
    }

    /// Whether a call of a session can be looked at: its leases are known here, and so are everybody else's.
    pub(super) fn admit(&self, served: &Served, desk: &Desk, session: SessionId, number: u64) -> Result<(), MetaError> {
        if session != OWN && !desk.table.knows(session, number) {
            return Err(MetaError::NotIntroduced { shard: served.id });
        }
        if desk.table.awaits(self.clock.nanos()) {
            return Err(MetaError::Busy);
        }
        Ok(())
    }

    async fn introduce(
        &self,
        served: &Served,
        fs: FsId,
        (session, attempt): (SessionId, u64),
        (inodes, exclusive, locks): (&[OpenInode], &[Behind], &LocksHeld),
    ) -> MetaReply {
        let permit = match served.lead.begin(self.clock.nanos()) {
            Ok(permit) => permit,
            Err(leader) => return self.not_served(served.id, leader),
        };
        let joined = read_lock(&served.shard).has_joined(session);
        match joined {
            Ok(Some(true)) => {}
            Ok(Some(false)) => match self.submit(served.id, Input::Join { session }).await {
                MetaReply::Done => {}
                refused => return refused,
            },
            Ok(None) => return MetaReply::Error(MetaError::SessionEnded(session)),
            Err(error) => return MetaReply::Error(MetaError::Storage { reason: error.to_string() }),
        }
        self.note_session(session);
        let introduced = {
            let mut opens = served.opens();
            let introduced = served.leases.with(|desk| {
                let shard = read_lock(&served.shard);
                let version = |ino| shard.attr(fs, ino).ok().flatten().map(|attr| attr.version);
                let claim = |behind: &Behind| Claim {
                    inode: (fs, behind.ino),
                    good: behind.good,
                    unchanged: version(behind.ino) == Some(behind.version),
                };
                let claims: Vec<Claim> = exclusive.iter().map(claim).collect();
                let now = self.clock.nanos();
                if !locks.good && !locks.locks.is_empty() && desk.table.awaits_others(session, now) {
                    return None;
                }
                let (number, exclusive) = desk.table.introduce(session, attempt, &claims, now)?;
                Some((number, exclusive, desk.locks.introduce(fs, session, &locks.locks)))
            });
            if introduced.is_some() {
                opens.introduce(fs, session, inodes);
            }
            introduced
        };
        let Some((number, exclusive, lost)) = introduced else { return MetaReply::Error(MetaError::Busy) };
        served.leases.notify();
        match served.lead.confirm(permit, self.clock.nanos()).await {
            Ok(()) => {
                let exclusive = exclusive.into_iter().map(|(_, ino)| ino).collect();
                MetaReply::Introduced { number, exclusive, lost }
            }
            Err(leader) => self.not_served(served.id, leader),
        }
    }

    async fn read(&self, served: &Served, by: &Reader<'_>, op: &ReadOp) -> MetaAnswer {
        let permit = match served.lead.begin(self.clock.nanos()) {
            Ok(permit) => permit,
            Err(leader) => return self.not_served(served.id, leader).into(),
        };
        self.note_session(by.session);
        let mut news = served.leases.watch();
        let (answer, reaps) = loop {
            if let Some(found) = self.look(served, by, op) {
                break found;
            }
            // Until somebody gives up a lease, or it runs out; never longer than the call's deadline.
            let _ = news.changed().await;
        };
        self.reap(served.id, reaps);
        match served.lead.confirm(permit, self.clock.nanos()).await {
            Ok(()) => answer,
            Err(leader) => self.not_served(served.id, leader).into(),
        }
    }

    /// Answers a read if that can be told now, with the orphans that go because of it.
    fn look(
        &self,
        served: &Served,
        by: &Reader<'_>,
        op: &ReadOp,
    ) -> Option<(MetaAnswer, Result<Vec<Input>, ShardError>)> {
        let mut opens = served.opens();
        served.leases.with(|desk| {
            let shard = read_lock(&served.shard);
            if let Err(error) = self.admit(served, desk, by.session, by.number) {
                return Some((MetaReply::Error(error).into(), Ok(Vec::new())));
            }
            let now = self.clock.nanos();
            let mut answer = read_now(&shard, &mut opens, desk, (now, self.clock.wall()), by, op)?;
            if let (ReadOp::OwnerUsage { owners }, MetaReply::OwnerUsage(usage)) = (op, &mut answer.reply) {
                served.wants.add_to(by.fs, owners, usage, now);
            }
            let ends = matches!(op, ReadOp::Close { .. });
            Some((answer, if ends { shard.reaps(&mut opens) } else { Ok(Vec::new()) }))
        })
    }

    async fn mutate(&self, served: &Served, number: u64, mutation: Box<Mutation>) -> MetaAnswer {
        let (fs, id) = (mutation.fs, mutation.id);
        self.note_session(id.session);
        let named: Vec<InodeId> = written(&mutation.op).into_iter().filter(|ino| ino.shard() == served.id).collect();
        let by = Claimant::Session(id.session, number);
        let claims = match self.claim(served, fs, by, named).await {
            Ok(claims) => claims,
            Err(error) => return MetaReply::Error(error).into(),
        };
        let below = match self.claim_directories_below(served, fs, &mutation.op).await {
            Ok(below) => below,
            Err(error) => return MetaReply::Error(error).into(),
        };
        let is_log = matches!(mutation.op, MutateOp::Logged { .. });
        let delegated = |ino: &InodeId| served.leases.with(|desk| desk.table.writes_behind((fs, *ino), id.session));
        if is_log && !claims.inodes.iter().all(delegated) {
            // Others may have been there since.
            return MetaReply::Error(Errno::Stale.into()).into();
        }
        let wants_exclusive = matches!(mutation.op, MutateOp::Create { open: true, .. } | MutateOp::Tmpfile { .. });
        let made = made_by_client(&mutation.op);
        let acknowledged_below = mutation.acknowledged_below;
        let reply = self.submit(served.id, Input::Mutate(mutation)).await;
        drop((claims, below));
        self.settled(served, Told::Mutation(id)).await;
        if id.session == OWN {
            return reply.into();
        }
        let (grants, stale) = served.leases.with(|desk| {
            let own_changes = desk.take_own_changes(id, acknowledged_below);
            let (shard, now) = (read_lock(&served.shard), self.clock.nanos());
            let (mut grants, mut stale) = (Granting::new(&shard, desk, now, fs, id.session), Vec::new());
            for ino in own_changes {
                if !grants.renewed(ino) {
                    stale.push(ino);
                }
            }
            match reply {
                MetaReply::Entry { ino, created: true, .. } if wants_exclusive => grants.exclusive(ino),
                MetaReply::Entry { ino, created: true, .. } => grants.shared(ino),
                // Nobody else has seen them yet.
                MetaReply::Logged { .. } => made.into_iter().for_each(|ino| grants.exclusive(ino)),
                _ => {}
            }
            (grants.grants, stale)
        });
        MetaAnswer { reply, grants, stale }
    }

    async fn peer(&self, served: &Served, step: PeerStep) -> MetaReply {
        let told = Told::Step(step.txn, step.step);
        if served.leases.with(|desk| desk.table.awaits(self.clock.nanos())) {
            return MetaReply::Error(MetaError::Busy);
        }
        let directory = directory_of(&step.action).filter(|ino| ino.shard() == served.id);
        let claims = self.claim(served, step.fs, Claimant::Shard, directory.into_iter().collect()).await;
        let claims = match claims {
            Ok(claims) => claims,
            Err(error) => return MetaReply::Error(error),
        };
        let reply = self.submit(served.id, Input::Peer(step)).await;
        drop(claims);
        self.settled(served, told).await;
        reply
    }

    /// Waits until nobody believes any more what was before the changes that this one is to be told of.
    async fn settled(&self, served: &Served, told: Told) {
        let mut news = served.leases.watch();
        while !served.leases.with(|desk| desk.may_tell(told)) {
            let _ = news.changed().await;
        }
    }
}
