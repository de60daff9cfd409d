//! Quotas: setting them, what is used of them, and letting a tree count for one.

use forebay_types::{Cred, Errno, FileKind, InodeId, Owner, Quota, ShardId, Space, Statfs, limits};
use forebay_wire::meta::{MetaReply, MutateOp, OwnerUsage, QuotaChange, QuotaState, ReadOp};
use futures::StreamExt;

use crate::ClientError;
use crate::filesystem::Filesystem;

/// Inodes of a tree that are told at once whom they count for.
const ASSIGNED_AT_ONCE: usize = 64;
/// Names of a directory in one answer.
const NAMES_AT_ONCE: u32 = 1024;

impl Filesystem {
    /// All quotas, in the order of their owners.
    pub async fn quotas(&self) -> Result<Vec<QuotaState>, ClientError> {
        let mut all: Vec<QuotaState> = Vec::new();
        loop {
            let after = all.last().map(|state| state.owner);
            let op = ReadOp::Quotas { after, limit: limits::OWNERS_PER_MESSAGE as u32 };
            match self.shards.read(ShardId(0), &Cred::ROOT, op).await? {
                MetaReply::Quotas(page) if page.is_empty() => return Ok(all),
                MetaReply::Quotas(page) => all.extend(page),
                _ => return Err(ClientError::UnexpectedReply { what: "Quotas" }),
            }
        }
    }

    /// What a shard has of owners, in their order. At most [`limits::OWNERS_PER_MESSAGE`] of them.
    pub async fn owner_usage_in(&self, shard: ShardId, owners: &[Owner]) -> Result<Vec<OwnerUsage>, ClientError> {
        let op = ReadOp::OwnerUsage { owners: owners.to_vec() };
        match self.shards.read(shard, &Cred::ROOT, op).await? {
            MetaReply::OwnerUsage(usage) if usage.len() == owners.len() => Ok(usage),
            _ => Err(ClientError::UnexpectedReply { what: "OwnerUsage" }),
        }
    }

    /// What owners have in all shards together, in their order, and whether every shard limits them.
    pub async fn owner_usage(&self, owners: &[Owner]) -> Result<Vec<(Space, bool)>, ClientError> {
        let map = self.shards.cluster.map().await?;
        let mut all = vec![(Space::default(), true); owners.len()];
        for (owners, all) in owners.chunks(limits::OWNERS_PER_MESSAGE).zip(all.chunks_mut(limits::OWNERS_PER_MESSAGE)) {
            let asked = map.shards.iter().map(|shard| self.owner_usage_in(shard.id, owners));
            for shard in futures::future::try_join_all(asked).await? {
                for ((space, limited), usage) in all.iter_mut().zip(shard) {
                    *space = space.plus(usage.used);
                    *limited &= usage.budget.is_some();
                }
            }
        }
        Ok(all)
    }

    /// What a directory's quota leaves of a filesystem's space: its hard limits, or the soft ones where there are no others.
    pub(crate) async fn within_quota(&self, dir: InodeId, all: Statfs) -> Result<Statfs, ClientError> {
        let owner = Owner::Directory(dir);
        let before = dir.0.checked_sub(1).map(|before| Owner::Directory(InodeId(before)));
        let op = ReadOp::Quotas { after: before, limit: 1 };
        let MetaReply::Quotas(found) = self.shards.read(ShardId(0), &Cred::ROOT, op).await? else {
            return Err(ClientError::UnexpectedReply { what: "Quotas" });
        };
        let quota = found.first().filter(|state| state.owner == owner).and_then(|state| state.quota);
        let Some(quota) = quota else { return Ok(all) };
        let used = self.owner_usage(&[owner]).await?.first().map_or(Space::default(), |(used, _)| *used);
        let mut left = all;
        if let Some(bytes) = quota.hard.bytes.or(quota.soft.bytes) {
            left.total_bytes = all.total_bytes.min(bytes);
            left.free_bytes = all.free_bytes.min(bytes.saturating_sub(used.bytes));
        }
        left.used_inodes = used.inodes;
        left.free_inodes = quota.hard.inodes.or(quota.soft.inodes).map(|inodes| inodes.saturating_sub(used.inodes));
        Ok(left)
    }

    /// Everybody who has anything, in order, with what that is.
    pub async fn owners(&self) -> Result<Vec<(Owner, Space)>, ClientError> {
        let map = self.shards.cluster.map().await?;
        let mut all = std::collections::BTreeMap::new();
        for shard in &map.shards {
            let mut after = None;
            loop {
                let op = ReadOp::Owners { after, limit: limits::OWNERS_PER_MESSAGE as u32 };
                let MetaReply::Owners(page) = self.shards.read(shard.id, &Cred::ROOT, op).await? else {
                    return Err(ClientError::UnexpectedReply { what: "Owners" });
                };
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                for (owner, space) in page {
                    let sum: &mut Space = all.entry(owner).or_default();
                    *sum = sum.plus(space);
                }
            }
        }
        Ok(all.into_iter().collect())
    }

    /// Changes a definition.
    pub async fn change_quota(&self, change: QuotaChange) -> Result<(), ClientError> {
        self.share_quota(ShardId(0), change).await
    }

    /// Tells a shard what it may have of an owner: [`Errno::Again`] where that is not the newest decision.
    pub async fn share_quota(&self, shard: ShardId, change: QuotaChange) -> Result<(), ClientError> {
        match self.shards.mutate(shard, &Cred::ROOT, MutateOp::Quota(change)).await? {
            MetaReply::Done => Ok(()),
            _ => Err(ClientError::UnexpectedReply { what: "Quota" }),
        }
    }

    /// Gives a directory a quota, and lets all that is below it count for it, but for what is below directories with
    /// quotas of their own. `above`: the directory whose quota it counts for by now. Returns how many inodes were told.
    /// Interrupted, it can be done again.
    pub async fn set_directory_quota(
        &self,
        dir: InodeId,
        above: Option<InodeId>,
        quota: Quota,
    ) -> Result<u64, ClientError> {
        let owner = Owner::Directory(dir);
        self.change_quota(QuotaChange::Set { owner, quota }).await?;
        let told = self.assign_tree(dir, above, Some(dir)).await?;
        self.change_quota(QuotaChange::Whole { owner }).await?;
        Ok(told)
    }

    /// Takes a directory's quota away; what is below it counts for `above` again, the innermost directory above it that
    /// has one.
    pub async fn unset_directory_quota(&self, dir: InodeId, above: Option<InodeId>) -> Result<u64, ClientError> {
        let told = self.assign_tree(dir, Some(dir), above).await?;
        self.change_quota(QuotaChange::Unset { owner: Owner::Directory(dir) }).await?;
        Ok(told)
    }

    /// Lets a tree count for another quota: a directory first, then what is in it, so that what is made meanwhile is
    /// right from the start.
    async fn assign_tree(&self, root: InodeId, from: Option<InodeId>, to: Option<InodeId>) -> Result<u64, ClientError> {
        let mut told = 0;
        let mut todo = vec![root];
        while let Some(dir) = todo.pop() {
            if !self.assign(dir, from, to).await? {
                continue;
            }
            told += 1;
            let mut after = 0;
            loop {
                let page = match self.readdir(&Cred::ROOT, dir, after, NAMES_AT_ONCE, false).await {
                    // Gone since.
                    Err(ClientError::Posix(Errno::NoEntry)) => break,
                    page => page?,
                };
                let (entries, end) = page;
                let Some(last) = entries.last() else { break };
                after = last.cookie;
                let others = entries.iter().filter(|entry| !matches!(&entry.name[..], b"." | b".."));
                let (dirs, files): (Vec<_>, Vec<_>) = others.partition(|entry| entry.kind == FileKind::Directory);
                todo.extend(dirs.iter().map(|entry| entry.ino));
                let files: Vec<InodeId> = files.iter().map(|entry| entry.ino).collect();
                let assigned = files.into_iter().map(|ino| self.assign(ino, from, to));
                let mut assigned = futures::stream::iter(assigned).buffer_unordered(ASSIGNED_AT_ONCE);
                while let Some(done) = assigned.next().await {
                    told += u64::from(done?);
                }
                if end {
                    break;
                }
            }
        }
        Ok(told)
    }

    /// Lets an inode count for another quota; whether it does now: not where it is gone or counts for a third one.
    async fn assign(&self, ino: InodeId, from: Option<InodeId>, to: Option<InodeId>) -> Result<bool, ClientError> {
        match self.share_quota(ino.shard(), QuotaChange::Assign { ino, from, to }).await {
            Ok(()) => Ok(true),
            Err(ClientError::Posix(Errno::Exists | Errno::NoEntry)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
