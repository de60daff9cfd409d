//! Quotas: their definitions, which shard 0 keeps, and the budgets that they are enforced by.
//!
//! Each shard counts what it has of every owner, and lets nobody grow beyond the *budget* that it was given of the owner's
//! quota. Who leads shard 0 shares quotas out: it asks each shard what is used and wanted, takes back what is not
//! needed and gives it where it is, so that all budgets together are never more than the quota.

use forebay_types::{InodeId, OverSince, Owner, Quota, Space};
use serde::{Deserialize, Serialize};

/// How much more a shard may have of what is counted: bytes, or inodes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Allowance {
    /// The most that the shard may have.
    pub up_to: u64,
    /// Whether there is no more to be had: beyond it is [`Errno::Quota`](forebay_types::Errno::Quota); otherwise the
    /// caller is to ask again shortly.
    pub is_last: bool,
}

/// What a shard may have of an owner; what is absent is not limited.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct Budget {
    /// Bytes.
    pub bytes: Option<Allowance>,
    /// Inodes.
    pub inodes: Option<Allowance>,
}

/// A quota, as shard 0 has it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct QuotaState {
    /// Whose.
    pub owner: Owner,
    /// What it may use; absent where the quota was removed and budgets are not all taken back yet.
    pub quota: Option<Quota>,
    /// Since when it is beyond its soft limits.
    pub over: OverSince,
    /// Of a directory: whether all that is below it counts for it.
    pub is_whole: bool,
}

/// What a shard has of an owner.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct OwnerUsage {
    /// What it has.
    pub used: Space,
    /// What it may have, with the number of that decision; none where the owner has no quota as far as the shard knows.
    pub budget: Option<(u64, Budget)>,
    /// What callers wanted it to have of late and it could not for want of budget; zero of what nobody wanted.
    pub wanted: Space,
}

/// Changes to quotas (superuser only).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum QuotaChange {
    /// Give an owner a quota, or another one. Sent to shard 0.
    Set {
        /// Whose.
        owner: Owner,
        /// What it may use.
        quota: Quota,
    },
    /// Say that all below a directory counts for it. Sent to shard 0.
    Whole {
        /// The directory.
        owner: Owner,
    },
    /// An owner is to have no quota any more. Sent to shard 0.
    Unset {
        /// Whose.
        owner: Owner,
    },
    /// Since when an owner is beyond its soft limits. Sent to shard 0.
    Over {
        /// Who.
        owner: Owner,
        /// Since when.
        over: OverSince,
    },
    /// No shard has a budget any more of a quota that was removed. Sent to shard 0.
    Forget {
        /// Whose.
        owner: Owner,
    },
    /// What this shard may have of an owner from now on: refused with [`Errno::Again`](forebay_types::Errno::Again) where
    /// somebody else has decided since.
    Share {
        /// Whose.
        owner: Owner,
        /// The number of the decision that it follows; 0 where there was none.
        after: u64,
        /// What it may have; none to take the quota away.
        budget: Option<Budget>,
    },
    /// An inode is to count for another directory's quota than before; nothing happens where it does so already, and it
    /// is refused with [`Errno::Exists`](forebay_types::Errno::Exists) where it counts for a third one.
    Assign {
        /// The inode.
        ino: InodeId,
        /// The directory that it counts for, if any.
        from: Option<InodeId>,
        /// The directory that it is to count for, if any.
        to: Option<InodeId>,
    },
}
