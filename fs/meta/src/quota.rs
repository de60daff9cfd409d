//! Quotas: what every owner has in this shard is counted, and nobody grows beyond the budget it has here.
//!
//! Counting is done once at the end of each change, by what it has made of inodes, so that no operation can forget it.
//! What a budget does not allow is refused as a whole: with [`Errno::Quota`] where nothing more is to be had, else with
//! [`MetaError::Busy`], and the shell is told how much was wanted ([`Effect::Wanted`]) so that it can be had.
//! Operations of a client's log ([`MutateOp::Logged`]) are not refused, because the client has told their callers that
//! they are done; it hears whose budget is used up with the answer, and sends everything of theirs to the shard from then
//! on. So an owner's use passes its limit by no more than the logs of that moment, each at most as long as a client lets it
//! get. Moving bytes between drives and cold tiers, and counting for another directory, is not refused either.
//!
//! [`share`] decides who gets how much.

pub(crate) mod share;

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{Errno, FsId, Owner, Space};
use forebay_wire::meta::{Allowance, Budget, MetaError, MutateOp, OwnerUsage, QuotaChange};
use serde::{Deserialize, Serialize};

use crate::entry::Effect;
use crate::error::{Fault, ShardError};
use crate::key;
use crate::record::{Inode, decode};
use crate::tx::Tx;

/// A budget, and the number of the decision.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct BudgetRecord {
    pub number: u64,
    pub budget: Budget,
}

/// What is done about budgets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Enforce {
    /// Nobody grows beyond them.
    Yes,
    /// They do not count.
    No,
    /// Nor do they, and what is there may be wrong: it is counted as far as it can be, and anew by the repair that ends it.
    Mend,
}

/// Whether budgets count for a mutation.
pub(crate) fn enforced(op: &MutateOp) -> Enforce {
    match op {
        MutateOp::Repair(_) => Enforce::Mend,
        MutateOp::Logged { .. } | MutateOp::Exchange { .. } | MutateOp::Quota(_) => Enforce::No,
        _ => Enforce::Yes,
    }
}

/// What an inode takes of its owners' quotas.
pub(crate) fn space(inode: &Inode) -> Space {
    Space { bytes: inode.attr.allocated_bytes.saturating_sub(inode.attr.cold_bytes), inodes: 1 }
}

/// Whom an inode counts for.
pub(crate) fn owners(inode: &Inode) -> impl Iterator<Item = Owner> {
    let attr = &inode.attr;
    [Owner::User(attr.uid), Owner::Group(attr.gid)].into_iter().chain(inode.quota_dir.map(Owner::Directory))
}

#[derive(Clone, Copy, Default)]
struct Change {
    bytes: i64,
    inodes: i64,
}

impl Change {
    fn add(&mut self, space: Space, sign: i64) {
        self.bytes += sign * space.bytes as i64;
        self.inodes += sign * space.inodes as i64;
    }

    fn grows(self) -> bool {
        self.bytes > 0 || self.inodes > 0
    }
}

type Changes = BTreeMap<(FsId, Owner), Change>;

/// What has become of inodes since the entry began.
fn changes(tx: &Tx<'_>, enforce: Enforce) -> Result<Changes, ShardError> {
    let mut changes = Changes::new();
    tx.changed_rows(&tx.keys.all(b'I'), |key, before, after| {
        let fs = key::fs_of(key);
        for (bytes, sign) in [(before, -1), (after, 1)] {
            let Some(bytes) = bytes else { continue };
            let inode: Inode = match decode("inode", bytes) {
                Err(_) if enforce == Enforce::Mend => continue,
                inode => inode?,
            };
            for owner in owners(&inode) {
                changes.entry((fs, owner)).or_default().add(space(&inode), sign);
            }
        }
        Ok(())
    })?;
    changes.retain(|_, change| (change.bytes, change.inodes) != (0, 0));
    Ok(changes)
}

/// Counts what the entry has changed; called once for each, at its end.
pub(crate) fn settle(tx: &mut Tx<'_>, enforce: Enforce) -> Result<(), Fault> {
    for ((fs, owner), change) in changes(tx, enforce)? {
        let key = tx.keys.owner(fs, owner);
        let before: Space = match tx.get("owner's usage", &key) {
            Err(Fault::Broken(_)) if enforce == Enforce::Mend => continue,
            before => before?.unwrap_or_default(),
        };
        // Where it was wrong it stays so until a check finds it.
        let after = Space {
            bytes: before.bytes.saturating_add_signed(change.bytes),
            inodes: before.inodes.saturating_add_signed(change.inodes),
        };
        if enforce == Enforce::Yes && change.grows() {
            need_room(tx, fs, owner, &change, after)?;
        }
        if after == Space::default() {
            tx.delete(key);
        } else {
            tx.put(key, &after);
        }
    }
    Ok(())
}

fn need_room(tx: &mut Tx<'_>, fs: FsId, owner: Owner, change: &Change, after: Space) -> Result<(), Fault> {
    let Some(BudgetRecord { budget, .. }) = budget(tx, fs, owner)? else { return Ok(()) };
    let beyond = |after: u64, change: i64, allowance: Option<Allowance>| {
        allowance.filter(|allowance| change > 0 && after > allowance.up_to)
    };
    let bytes = beyond(after.bytes, change.bytes, budget.bytes);
    let inodes = beyond(after.inodes, change.inodes, budget.inodes);
    if bytes.is_none() && inodes.is_none() {
        return Ok(());
    }
    // Of both, so that what is there of one is not given elsewhere while the other is waited for.
    let grown = |change: i64, after: u64| if change > 0 { after } else { 0 };
    let wanted = Space { bytes: grown(change.bytes, after.bytes), inodes: grown(change.inodes, after.inodes) };
    tx.wanted = Some(Effect::Wanted { fs, owner, wanted });
    let is_last = [bytes, inodes].into_iter().flatten().any(|allowance| allowance.is_last);
    Err(if is_last { Errno::Quota.into() } else { MetaError::Busy.into() })
}

pub(crate) fn budget(tx: &Tx<'_>, fs: FsId, owner: Owner) -> Result<Option<BudgetRecord>, Fault> {
    tx.get("budget", &tx.keys.budget(fs, owner))
}

/// What this shard has of an owner. Nothing is known here of what was wanted.
pub(crate) fn usage(tx: &Tx<'_>, fs: FsId, owner: Owner) -> Result<OwnerUsage, Fault> {
    let used = tx.get("owner's usage", &tx.keys.owner(fs, owner))?.unwrap_or_default();
    let budget = budget(tx, fs, owner)?.map(|record| (record.number, record.budget));
    Ok(OwnerUsage { used, budget, wanted: Space::default() })
}

/// Those of some owners who may not grow: what they have is more than their budget, or there is none left.
pub(crate) fn over(tx: &Tx<'_>, fs: FsId, owners: impl Iterator<Item = Owner>) -> Result<Vec<Owner>, Fault> {
    let mut over = Vec::new();
    for owner in owners {
        if is_full(&usage(tx, fs, owner)?, Change::default()) {
            over.push(owner);
        }
    }
    Ok(over)
}

/// Whether an owner is to be refused more, with what is being added counted in.
fn is_full(usage: &OwnerUsage, change: Change) -> bool {
    let Some((_, budget)) = usage.budget else { return false };
    let full = |used: u64, change: i64, allowance: Option<Allowance>| {
        allowance.is_some_and(|a| a.is_last || used.saturating_add_signed(change) >= a.up_to)
    };
    full(usage.used.bytes, change.bytes, budget.bytes) || full(usage.used.inodes, change.inodes, budget.inodes)
}

/// Those who grow by what was changed and may not, as far as a log is concerned.
pub(crate) fn over_by_growth(tx: &Tx<'_>, fs: FsId) -> Result<Vec<Owner>, Fault> {
    let mut over = Vec::new();
    for ((of, owner), change) in changes(tx, Enforce::No)? {
        if of == fs && change.grows() && is_full(&usage(tx, fs, owner)?, change) {
            over.push(owner);
        }
    }
    Ok(over)
}

/// Whether one of some owners grows by the entry.
pub(crate) fn grows_any(tx: &Tx<'_>, owners: &BTreeSet<Owner>) -> Result<bool, ShardError> {
    if owners.is_empty() {
        return Ok(false);
    }
    Ok(changes(tx, Enforce::No)?.iter().any(|((_, owner), change)| owners.contains(owner) && change.grows()))
}

/// Whether an inode may go where things count for `into`: as itself, or as something that can count there from now on.
pub(crate) fn need_same(quota_dir: Option<forebay_types::InodeId>, into: &Inode) -> Result<(), Errno> {
    if quota_dir == into.quota_dir { Ok(()) } else { Err(Errno::CrossDevice) }
}

/// The shard that quotas are defined in.
pub(crate) fn is_of_definitions(change: &QuotaChange) -> bool {
    !matches!(change, QuotaChange::Share { .. } | QuotaChange::Assign { .. })
}
