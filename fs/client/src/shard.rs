//! Calls to metadata shards: sent to the leader, tried again until they are answered or the deadline passes.

use std::sync::Arc;

use forebay_cache::Ticket;
use forebay_net::call_meta;
use forebay_types::{Cred, Epoch, Errno, FsId, InodeId, ShardId};
use forebay_wire::meta::{Behind, MetaAnswer, MetaCall, MetaError, MetaReply, MetaRequest, MutateOp, ReadOp};

use crate::cluster::{Attempts, SHARD_TIMEOUT};
use crate::file::{File, Files};
use crate::leases::Leases;
use crate::locks::Locks;
use crate::opens::Opens;
use crate::session::Session;
use crate::{ClientError, Cluster};

/// Why there was no time for a call.
const UNSENT: &str = "what was done here before could not be sent";

/// A filesystem's shards, for one session.
#[derive(Clone)]
pub(crate) struct Shards {
    pub cluster: Cluster,
    pub session: Arc<Session>,
    pub fs: FsId,
    pub opens: Arc<Opens>,
    pub leases: Arc<Leases>,
    pub files: Arc<Files>,
    pub locks: Arc<Locks>,
}

/// What a mutation must not outlive: what its file was written behind under.
#[derive(Clone, Copy)]
pub(crate) struct Fence<'a> {
    pub file: &'a File,
    /// Times the file's lease had been lost when the bytes were taken.
    pub lost: u64,
}

impl Fence<'_> {
    fn check(&self) -> Result<(), ClientError> {
        if self.file.times_lost() == self.lost { Ok(()) } else { Err(ClientError::LeaseLost { ino: self.file.ino }) }
    }
}

/// A ticket that is given back when its call is over in any way.
struct Ticketed<'a> {
    leases: &'a Leases,
    ticket: Ticket,
}

impl<'a> Ticketed<'a> {
    fn take(leases: &'a Leases, shard: ShardId) -> (Self, u64) {
        let mut core = leases.lock();
        let (ticket, number) = (core.begin(shard), core.number(shard));
        (Self { leases, ticket }, number)
    }
}

impl Drop for Ticketed<'_> {
    fn drop(&mut self) {
        self.leases.lock().end(self.ticket);
    }
}

impl Shards {
    /// Reads. `Busy` names are waited for.
    pub async fn read(&self, shard: ShardId, cred: &Cred, op: ReadOp) -> Result<MetaReply, ClientError> {
        self.read_answer(shard, cred, op).await.and_then(reply)
    }

    /// [`Self::read`] with what it grants, which has been learned; an answer POSIX has a number for is one too.
    pub async fn read_answer(&self, shard: ShardId, cred: &Cred, op: ReadOp) -> Result<MetaAnswer, ClientError> {
        let attempts = Attempts::new(self.cluster.options().timeout);
        if let Some(reply) = attempts.within(UNSENT, self.read_here(shard, cred, &op)).await? {
            return Ok(reply.into());
        }
        if let ReadOp::Open { ino, .. } = op {
            self.opens.tell(ino);
        }
        let call = MetaCall::Read { fs: self.fs, session: self.session.id, cred: cred.clone(), op };
        self.call_in(attempts, shard, call, None).await
    }

    /// An inode is open no more, wherever that was known. `told`: the shard was told that it is.
    pub async fn close(&self, ino: InodeId, told: bool) -> Result<(), ClientError> {
        let op = ReadOp::Close { ino };
        self.leases.delegations.read(true, false, &Cred::ROOT, &op);
        if told {
            let call = MetaCall::Read { fs: self.fs, session: self.session.id, cred: Cred::ROOT, op };
            self.call(ino.shard(), call).await?;
        }
        Ok(())
    }

    /// Mutates, once: every attempt carries the same number, and the shard answers a repeated one as it did before.
    pub async fn mutate(&self, shard: ShardId, cred: &Cred, op: MutateOp) -> Result<MetaReply, ClientError> {
        self.mutate_within(shard, cred, op, None).await
    }

    /// [`Self::mutate`] that is not sent any more once its fence is down.
    pub async fn mutate_within(
        &self,
        shard: ShardId,
        cred: &Cred,
        op: MutateOp,
        fence: Option<Fence<'_>>,
    ) -> Result<MetaReply, ClientError> {
        let attempts = Attempts::new(self.cluster.options().timeout);
        if let Some(done) = attempts.within(UNSENT, self.mutate_here(cred, &op)).await? {
            return reply(done.into());
        }
        let detour = attempts.within(UNSENT, self.detour(&op)).await?;
        let number = self.session.number()?;
        let Some(detour) = detour else {
            let mutation = self.mutation(number.id, cred, op);
            return self.call_in(attempts, shard, mutation, fence).await.and_then(reply);
        };
        let answer = self.call_in(attempts, shard, self.mutation(number.id, cred, op.clone()), fence).await;
        detour.end(&op, answer.as_ref().ok()).await;
        answer.and_then(reply)
    }

    /// Calls a shard's leader, with a deadline of its own.
    pub(crate) async fn call(&self, shard: ShardId, call: MetaCall) -> Result<MetaAnswer, ClientError> {
        self.call_in(Attempts::new(self.cluster.options().timeout), shard, call, None).await
    }

    async fn call_in(
        &self,
        mut attempts: Attempts,
        shard: ShardId,
        call: MetaCall,
        fence: Option<Fence<'_>>,
    ) -> Result<MetaAnswer, ClientError> {
        let mut request = MetaRequest { shard, epoch: Epoch(0), number: 0, call };
        loop {
            let map = self.cluster.map().await?;
            request.epoch = map.epoch;
            let Some(host) = self.cluster.leader(&map, shard) else {
                return Err(ClientError::Posix(Errno::Stale));
            };
            if let Some(fence) = &fence {
                fence.check()?;
            }
            let (ticketed, number) = Ticketed::take(&self.leases, shard);
            if number == 0 {
                drop(ticketed);
                self.be_introduced(shard, 0, &attempts).await?;
                continue;
            }
            request.number = number;
            let timeout = attempts.call_timeout().min(SHARD_TIMEOUT);
            let answer = call_meta(&self.cluster.peer(&host.address), &request, timeout).await;
            let error = match answer {
                Ok(MetaAnswer { reply: MetaReply::Error(error), .. }) if !matches!(error, MetaError::Posix(_)) => error,
                Ok(answer) => {
                    self.leases.learn(ticketed.ticket, number, &answer);
                    self.cluster.count_answer();
                    return Ok(answer);
                }
                Err(error) if error.is_transient() => {
                    drop(ticketed);
                    self.cluster.not_leader(&map, shard, host.id, None);
                    attempts.pause(&error).await?;
                    // The map may say more by now; that nobody answers this question shows soon enough.
                    attempts.refresh(&self.cluster).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            drop(ticketed);
            match error {
                MetaError::NotIntroduced { .. } => {
                    self.be_introduced(shard, number, &attempts).await?;
                    // A leader that never takes it is not asked for ever.
                    attempts.pause(&error).await?;
                }
                error => self.refused(shard, (&map, host.id), error, &mut attempts).await?,
            }
        }
    }

    /// What to do about a refusal: an error, or nothing more to do than to ask again.
    pub async fn refused(
        &self,
        shard: ShardId,
        (map, host): (&forebay_wire::map::ClusterMap, forebay_types::HostId),
        error: MetaError,
        attempts: &mut Attempts,
    ) -> Result<(), ClientError> {
        match error {
            MetaError::Posix(errno) => Err(errno.into()),
            MetaError::SessionEnded(_) => {
                self.session.mark_ended();
                Err(ClientError::SessionEnded)
            }
            MetaError::Storage { reason } => Err(ClientError::MetadataStore { reason }),
            MetaError::NotDurable { .. } => {
                tracing::error!(%error, "commit refused");
                Err(ClientError::Posix(Errno::Io))
            }
            MetaError::NotServed { leader, .. } => {
                self.cluster.not_leader(map, shard, host, leader);
                attempts.pause(&error).await?;
                if leader.is_none() {
                    attempts.refresh(&self.cluster).await;
                }
                Ok(())
            }
            MetaError::NoPlacement => {
                attempts.pause(&error).await?;
                attempts.refresh(&self.cluster).await;
                Ok(())
            }
            MetaError::Busy | MetaError::NotIntroduced { .. } => attempts.pause(&error).await,
        }
    }

    /// [`Self::introduce`], for somebody who waits no longer than its own deadline: it goes on without them.
    pub async fn be_introduced(&self, shard: ShardId, number: u64, attempts: &Attempts) -> Result<(), ClientError> {
        let this = self.clone();
        let introduction = tokio::spawn(async move { this.introduce(shard, number).await });
        let unfinished = |_| ClientError::UnexpectedReply { what: "an introduction" };
        attempts.within("not introduced to the shard's leader", async { introduction.await.map_err(unfinished)? }).await
    }

    /// Introduces the session to the leader of a shard, which may be a new one: everything believed of the shard is given
    /// up but exclusive leases, and locks, that the leader lets it keep. Nothing is done where somebody else did it meanwhile:
    /// `number` is that of the introduction that does not count any more.
    pub async fn introduce(&self, shard: ShardId, number: u64) -> Result<(), ClientError> {
        let _one_at_a_time = self.leases.introduction(shard).await;
        if self.leases.lock().number(shard) != number {
            return Ok(());
        }
        let good = self.leases.begin_introduction(shard);
        self.leases.give_up_shared(shard).await;
        let mut attempts = Attempts::new(self.cluster.options().timeout);
        loop {
            let map = self.cluster.map().await?;
            let Some(host) = self.cluster.leader(&map, shard) else {
                return Err(ClientError::Posix(Errno::Stale));
            };
            let (good_until, claims) = (self.leases.good_until(), self.claims(shard, good));
            let locks = self.locks_held(shard, self.leases.now() < good);
            let op = ReadOp::Introduce { inodes: self.opens.introduce(shard), exclusive: claims.clone(), locks };
            let call = MetaCall::Read { fs: self.fs, session: self.session.id, cred: Cred::ROOT, op };
            let request = MetaRequest { shard, epoch: map.epoch, number: self.leases.next_attempt(), call };
            let timeout = attempts.call_timeout().min(SHARD_TIMEOUT);
            match call_meta(&self.cluster.peer(&host.address), &request, timeout).await.map(|answer| answer.reply) {
                Ok(MetaReply::Introduced { number, exclusive, lost }) => {
                    lost.iter().for_each(|(ino, lock)| self.lose_lock(*ino, lock));
                    for Behind { ino, .. } in claims.iter().filter(|claim| !exclusive.contains(&claim.ino)) {
                        if self.leases.delegations.attr(*ino).is_some() {
                            self.lose_delegations(shard);
                        }
                        self.files.lose(*ino);
                        self.leases.forget(*ino).await;
                    }
                    // Answers of an earlier leader may have come in between.
                    while !self.leases.introduced(shard, number, &exclusive, good_until) {
                        self.leases.give_up_shared(shard).await;
                    }
                    tracing::debug!(%shard, host = host.name, number, "introduced to the shard's leader");
                    return Ok(());
                }
                Ok(MetaReply::Error(error)) => self.refused(shard, (&map, host.id), error, &mut attempts).await?,
                Ok(_) => return Err(ClientError::UnexpectedReply { what: "Introduce" }),
                Err(error) if error.is_transient() => {
                    self.cluster.not_leader(&map, shard, host.id, None);
                    attempts.pause(&error).await?;
                    attempts.refresh(&self.cluster).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn claims(&self, shard: ShardId, until: u64) -> Vec<Behind> {
        let good = self.leases.now() < until;
        let core = self.leases.lock();
        core.exclusive(shard).into_iter().map(|(ino, version)| Behind { ino, version, good }).collect()
    }
}

fn reply(answer: MetaAnswer) -> Result<MetaReply, ClientError> {
    match answer.reply {
        MetaReply::Error(MetaError::Posix(errno)) => Err(errno.into()),
        reply => Ok(reply),
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
