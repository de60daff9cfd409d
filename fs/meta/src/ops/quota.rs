//! Define quotas, share them out, and let inodes count for them.

use forebay_types::{Errno, FileKind, FsId, InodeId, OverSince, Owner};
use forebay_wire::meta::{Budget, MetaReply, Mutation, QuotaChange, QuotaState};

use crate::dir;
use crate::error::Fault;
use crate::quota::{self, BudgetRecord};
use crate::tx::Tx;

pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation, change: &QuotaChange) -> Result<MetaReply, Fault> {
    if m.cred.uid != 0 {
        return Err(Errno::NotPermitted.into());
    }
    if quota::is_of_definitions(change) {
        tx.local(InodeId::ROOT)?;
    }
    let fs = m.fs;
    match *change {
        QuotaChange::Set { owner, quota } => {
            let known = find(tx, fs, owner)?.filter(|state| state.quota.is_some());
            let over = known.map_or(OverSince::default(), |state| state.over);
            // What was below a directory when it was given its quota may have to be told first.
            let is_whole = known.map_or(!matches!(owner, Owner::Directory(_)), |state| state.is_whole);
            put(tx, fs, &QuotaState { owner, quota: Some(quota), over, is_whole });
        }
        QuotaChange::Whole { owner } => alter(tx, fs, owner, |state| state.is_whole = true)?,
        QuotaChange::Over { owner, over } => alter(tx, fs, owner, |state| state.over = over)?,
        QuotaChange::Unset { owner } => alter(tx, fs, owner, |state| state.quota = None)?,
        QuotaChange::Forget { owner } => {
            // Not where it was given a new one meanwhile.
            if find(tx, fs, owner)?.is_some_and(|state| state.quota.is_none()) {
                tx.delete(tx.keys.quota(fs, owner));
            }
        }
        QuotaChange::Share { owner, after, budget } => share(tx, fs, owner, after, budget)?,
        QuotaChange::Assign { ino, from, to } => assign(tx, fs, ino, from, to)?,
    }
    Ok(MetaReply::Done)
}

fn find(tx: &Tx<'_>, fs: FsId, owner: Owner) -> Result<Option<QuotaState>, Fault> {
    tx.get("quota", &tx.keys.quota(fs, owner))
}

fn put(tx: &mut Tx<'_>, fs: FsId, state: &QuotaState) {
    tx.put(tx.keys.quota(fs, state.owner), state);
}

fn alter(tx: &mut Tx<'_>, fs: FsId, owner: Owner, change: impl FnOnce(&mut QuotaState)) -> Result<(), Fault> {
    let mut state = find(tx, fs, owner)?.ok_or(Errno::NoEntry)?;
    change(&mut state);
    put(tx, fs, &state);
    Ok(())
}

fn share(tx: &mut Tx<'_>, fs: FsId, owner: Owner, after: u64, budget: Option<Budget>) -> Result<(), Fault> {
    let known = quota::budget(tx, fs, owner)?;
    if known.map_or(0, |record| record.number) != after {
        return Err(Errno::Again.into());
    }
    let key = tx.keys.budget(fs, owner);
    match budget {
        Some(budget) => tx.put(key, &BudgetRecord { number: after + 1, budget }),
        None => tx.delete(key),
    }
    Ok(())
}

fn assign(tx: &mut Tx<'_>, fs: FsId, ino: InodeId, from: Option<InodeId>, to: Option<InodeId>) -> Result<(), Fault> {
    let mut inode = dir::need_inode(tx, fs, ino)?;
    if inode.quota_dir == to {
        return Ok(());
    }
    if inode.quota_dir != from {
        return Err(Errno::Exists.into());
    }
    if to == Some(ino) && inode.attr.kind != FileKind::Directory {
        return Err(Errno::NotDirectory.into());
    }
    inode.quota_dir = to;
    tx.put_inode(fs, &mut inode);
    Ok(())
}
