//! Delegated directories and their shards: asking for them, sending the log, going back to the shard for what cannot be
//! done here, and giving them back.
//!
//! The log is sent in rounds: of every shard's part something, side by side, and the next round when all have arrived. So
//! what a node that dies takes with it are the last things done there, but for those of one round.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use forebay_types::{Cred, Errno, InodeId, LeaseMode, ShardId};
use forebay_wire::meta::{Grant, MetaAnswer, MetaCall, MetaError, MetaReply, MutateOp, Mutation, ReadOp};
use tokio::time::Instant;

use crate::ClientError;
use crate::delegation::{Batch, Delegations, Here, Seal};
use crate::filesystem::Filesystem;
use crate::shard::Shards;

/// What was done here is sent at the latest this long after.
const LOG_AGE: Duration = Duration::from_secs(2);
/// Pause before a log that could not be sent is tried again.
const SEND_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for a directory that others have to give back first: it can be done without.
const DELEGATION_WAIT: Duration = Duration::from_millis(500);
/// Inode numbers asked for at once.
const NUMBERS_AT_ONCE: u32 = 4096;

/// A change that is made by the shard of something that is here: nothing else changes there meanwhile.
pub(crate) struct Detour {
    shards: Shards,
    seals: Vec<Seal>,
    directories: Vec<InodeId>,
}

impl Detour {
    /// What the shard answered, where it did. The directories go on from there, if that can be followed.
    pub async fn end(mut self, op: &MutateOp, answer: Option<&MetaAnswer>) {
        let refused = answer.is_some_and(|answer| matches!(answer.reply, MetaReply::Error(MetaError::Posix(_))));
        if let Some(first) = op.inodes().first()
            && answer.is_some_and(|answer| !matches!(answer.reply, MetaReply::Error(_)))
            && may_add(op)
        {
            self.shards.leases.delegations.forget_over(first.shard());
        }
        // One after the other is done with: what is left when this is given up is done all the same.
        while let Some(&dir) = self.directories.last() {
            let now = answer.and_then(|answer| answer.grants.iter().find(|grant| grant.attr.ino == dir));
            let reply = answer.map(|answer| &answer.reply);
            let followed = match (now, reply) {
                _ if refused => true,
                (Some(now), Some(reply)) => self.shards.leases.delegations.follow(op, reply, &now.attr),
                _ => false,
            };
            if !followed {
                self.shards.give_up_directory(dir).await;
            }
            self.directories.pop();
        }
    }
}

impl Drop for Detour {
    /// Nobody knows how it ended.
    fn drop(&mut self) {
        let (directories, seals) = (std::mem::take(&mut self.directories), std::mem::take(&mut self.seals));
        if directories.is_empty() {
            return;
        }
        let shards = self.shards.clone();
        tokio::spawn(async move {
            for dir in directories {
                shards.give_up_directory(dir).await;
            }
            drop(seals);
        });
    }
}

impl Shards {
    fn delegations(&self) -> &Arc<Delegations> {
        &self.leases.delegations
    }

    /// Answers a read from what is delegated. `None`: it is for the shard, which knows everything that was done here.
    pub(crate) async fn read_here(
        &self,
        shard: ShardId,
        cred: &Cred,
        op: &ReadOp,
    ) -> Result<Option<MetaReply>, ClientError> {
        let held = matches!(op, ReadOp::ReadDir { dir, .. } if self.opens.is_open(*dir));
        match self.delegations().read(self.leases.is_good(shard), held, cred, op) {
            Here::Answer(reply) => Ok(Some(reply)),
            Here::AfterSending => self.send_log().await.map(|()| None),
            _ => Ok(None),
        }
    }

    /// Carries a mutation out here, if it can be.
    pub(crate) async fn mutate_here(&self, cred: &Cred, op: &MutateOp) -> Result<Option<MetaReply>, ClientError> {
        let Some(first) = op.inodes().first().copied() else { return Ok(None) };
        let mut asked = false;
        loop {
            // Before looking: no news are missed.
            let mut news = self.delegations().watch();
            match self.delegations().run(self.leases.is_good(first.shard()), cred, op) {
                Here::Answer(reply) => return Ok(Some(reply)),
                Here::Sealed => drop(news.changed().await),
                Here::NeedsNumbers => self.reserve_numbers(first.shard()).await?,
                Here::Full => self.send_log().await?,
                Here::Nothing | Here::AfterSending => match self.delegations().is_wanted(op) {
                    Some(dir) if !asked => {
                        asked = true;
                        self.ask_for_directory(dir, cred).await;
                    }
                    _ => return Ok(None),
                },
            }
        }
    }

    /// Before a mutation is made by its shard: whatever it is about that is here is so no more, or stands still.
    pub(crate) async fn detour(&self, op: &MutateOp) -> Result<Option<Detour>, ClientError> {
        let names = op.inodes();
        let delegations = self.delegations();
        let seals: Vec<Seal> = names.iter().filter_map(|ino| delegations.seal(*ino)).collect();
        if !seals.is_empty() || is_of_names(op) {
            self.send_log().await?;
        }
        if seals.is_empty() {
            return Ok(None);
        }
        for file in delegations.files_in_the_way(op) {
            self.give_up_file(file).await;
        }
        let mut directories = names;
        directories.retain(|ino| delegations.has_directory(*ino));
        directories.dedup();
        Ok(Some(Detour { shards: self.clone(), seals, directories }))
    }

    /// Asks for a directory, for somebody who wants to make something there; it is delegated or not.
    async fn ask_for_directory(&self, dir: InodeId, cred: &Cred) {
        let op = ReadOp::Delegate { dir };
        let call = MetaCall::Read { fs: self.fs, session: self.session.id, cred: cred.clone(), op };
        let asked = tokio::time::timeout(DELEGATION_WAIT, self.call(dir.shard(), call)).await;
        let Ok(Ok(MetaAnswer { reply: MetaReply::Delegated(delegated), .. })) = asked else {
            return self.delegations().refused(dir);
        };
        let Some(map) = self.cluster.known_map() else { return };
        // Nobody has asked for it back since: whoever does looks for it there after that.
        let core = self.leases.lock();
        if core.mode(dir, self.leases.now()) == Some(LeaseMode::Exclusive) {
            self.delegations().add(self.fs, self.session.id, dir, map.shards.len() as u16, &delegated);
        }
    }

    async fn reserve_numbers(&self, shard: ShardId) -> Result<(), ClientError> {
        let number = self.session.number()?;
        let op = MutateOp::ReserveInodes { count: NUMBERS_AT_ONCE };
        let answer = self.call(shard, self.mutation(number.id, &Cred::ROOT, op)).await?;
        match answer.reply {
            MetaReply::Inodes { first, count } => {
                self.delegations().add_numbers(first, count);
                Ok(())
            }
            _ => Err(ClientError::UnexpectedReply { what: "ReserveInodes" }),
        }
    }

    pub(crate) fn mutation(&self, id: forebay_types::OpId, cred: &Cred, op: MutateOp) -> MetaCall {
        let acknowledged_below = self.session.answered_below();
        MetaCall::Mutate(Box::new(Mutation { fs: self.fs, id, acknowledged_below, cred: cred.clone(), op }))
    }

    /// Sends everything that was done here before this was called.
    pub(crate) async fn send_log(&self) -> Result<(), ClientError> {
        let delegations = self.delegations();
        let until = delegations.logged();
        if delegations.sent() >= until {
            return Ok(());
        }
        let _one_at_a_time = delegations.sending.lock().await;
        while delegations.sent() < until {
            let batches = delegations.next_batches(|| self.session.number())?;
            let Some(last) = batches.iter().map(|(_, batch)| batch.last).max() else { break };
            let sent = batches.into_iter().map(|(shard, batch)| self.send_batch(shard, batch));
            futures::future::try_join_all(sent).await?;
            if last >= until {
                break;
            }
        }
        Ok(())
    }

    async fn send_batch(&self, shard: ShardId, batch: Batch) -> Result<(), ClientError> {
        let Batch { number, ops, .. } = batch;
        let made: Vec<InodeId> = ops.iter().filter_map(|logged| logged.ino).collect();
        let op = MutateOp::Logged { ops };
        let answer = self.call(shard, self.mutation(number.id, &Cred::ROOT, op)).await?;
        match answer.reply {
            MetaReply::Logged { failed, over } => {
                self.delegations().arrived(shard);
                self.delegations().note_over(shard, over);
                let leased = |grant: &Grant| (grant.mode == LeaseMode::Exclusive).then_some(grant.attr.ino);
                let leased: HashSet<InodeId> = answer.grants.iter().filter_map(leased).collect();
                self.not_leased(made.into_iter().filter(|ino| !leased.contains(ino)).collect());
                match failed.into_iter().next() {
                    None => Ok(()),
                    Some((place, reason)) => {
                        tracing::error!(%shard, place, %reason, "what was done here was refused by its shard");
                        // What is here is not what the shard has.
                        self.lose_delegations(shard);
                        Err(ClientError::LogRefused { shard, failed: 1, reason })
                    }
                }
            }
            MetaReply::Error(MetaError::Posix(Errno::Stale)) => {
                self.lose_delegations(shard);
                self.delegations().take_lost().map_or(Ok(()), Err)
            }
            _ => Err(ClientError::UnexpectedReply { what: "a log" }),
        }
    }

    /// What was made here and of which there is no lease now that its shard has it: there are too many.
    fn not_leased(&self, mut made: Vec<InodeId>) {
        made.retain(|ino| self.delegations().attr(*ino).is_some());
        if made.is_empty() {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            for ino in made {
                if let Err(error) = this.give_back(ino).await {
                    tracing::debug!(%ino, %error, "an inode without a lease is kept for now");
                }
            }
        });
    }

    /// Others may have been at the directories of a shard that were delegated.
    pub(crate) fn lose_delegations(&self, shard: ShardId) {
        self.delegations().lose(shard);
    }

    /// A file is for its shard from now on. Only while its mirror is sealed and its log is sent.
    async fn give_up_file(&self, ino: InodeId) {
        if self.delegations().is_open(ino) {
            self.opens.tell(ino);
            let op = ReadOp::Open { ino, read: false, write: false };
            let call = MetaCall::Read { fs: self.fs, session: self.session.id, cred: Cred::ROOT, op };
            if let Err(error) = self.call(ino.shard(), call).await {
                // A leader that takes over is told with the introduction.
                tracing::warn!(%ino, %error, "the shard was not told that a file is open");
            }
        }
        self.delegations().forget_file(ino);
    }

    /// A directory is for its shard from now on, with all that is in it. Only while its mirror is sealed and its log is
    /// sent.
    async fn give_up_directory(&self, dir: InodeId) {
        for file in self.delegations().files_of(dir) {
            self.give_up_file(file).await;
        }
        if self.delegations().is_open(dir) {
            self.give_up_file(dir).await;
        }
        self.delegations().remove_directory(dir);
    }

    /// Nothing of an inode is left here that its shard does not know, and nothing is done with it here any more.
    pub(crate) async fn give_back(&self, ino: InodeId) -> Result<(), ClientError> {
        let Some(_seal) = self.delegations().seal(ino) else { return Ok(()) };
        self.send_log().await?;
        if self.delegations().has_directory(ino) {
            self.give_up_directory(ino).await;
        } else {
            self.give_up_file(ino).await;
        }
        Ok(())
    }
}

impl Filesystem {
    /// Sends everything done here in delegated directories before this was called; reports what was lost of it, once.
    pub async fn sync_names(&self) -> Result<(), ClientError> {
        self.shards.send_log().await?;
        self.shards.leases.delegations.take_lost().map_or(Ok(()), Err)
    }

    /// How many operations have been done here of which no shard has heard.
    #[must_use]
    pub fn operations_not_sent(&self) -> u64 {
        let delegations = &self.shards.leases.delegations;
        delegations.logged() - delegations.sent()
    }

    /// Sends, for ever, what has been in the log for too long, and what makes it long.
    pub(crate) async fn keep_log_short(self) {
        let delegations = &self.shards.leases.delegations;
        loop {
            match delegations.oldest() {
                None => delegations.due.notified().await,
                Some(oldest) if !delegations.is_long() && oldest.elapsed() < LOG_AGE => {
                    tokio::select! {
                        () = tokio::time::sleep_until(oldest + LOG_AGE) => {}
                        () = delegations.due.notified() => {}
                    }
                }
                Some(_) => {
                    if let Err(error) = self.shards.send_log().await {
                        tracing::warn!(%error, "what was done here cannot be sent, will be tried again");
                        tokio::time::sleep_until(Instant::now() + SEND_PAUSE).await;
                    }
                    self.make_room_in_mirrors().await;
                }
            }
        }
    }

    /// Where very much is kept, files are for their shards again.
    async fn make_room_in_mirrors(&self) {
        for file in self.shards.leases.delegations.too_many() {
            if let Err(error) = self.shards.give_back(file).await {
                return tracing::debug!(%error, "no room was made");
            }
        }
    }
}

/// Whether a mutation may be refused for want of quota.
fn may_add(op: &MutateOp) -> bool {
    matches!(op, MutateOp::Create { .. } | MutateOp::Mkdir { .. } | MutateOp::Commit { .. })
}

/// Whether a mutation changes names: such are kept in order over all directories.
fn is_of_names(op: &MutateOp) -> bool {
    matches!(
        op,
        MutateOp::Create { .. }
            | MutateOp::Mkdir { .. }
            | MutateOp::Unlink { .. }
            | MutateOp::Rmdir { .. }
            | MutateOp::Rename { .. }
            | MutateOp::Link { .. }
    )
}
