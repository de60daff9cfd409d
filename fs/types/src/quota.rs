//! Quotas: who is limited, to what, and what is used.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{InodeId, Timestamp};

/// Whom space is counted for. A file counts for its user, its group and, where there is one, the innermost directory
/// above it that has a quota.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum Owner {
    /// A user, by uid.
    User(u32),
    /// A group, by gid.
    Group(u32),
    /// A directory with all that is below it, but for directories there that have quotas of their own.
    Directory(InodeId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "user {uid}"),
            Self::Group(gid) => write!(f, "group {gid}"),
            Self::Directory(ino) => write!(f, "directory {ino}"),
        }
    }
}

/// Bytes and inodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, Debug)]
pub struct Space {
    /// Bytes on drives or in metadata: not holes, and not what is only in a cold tier.
    pub bytes: u64,
    /// Files, directories and everything else with an inode.
    pub inodes: u64,
}

impl Space {
    /// Both, added.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), inodes: self.inodes.saturating_add(other.inodes) }
    }
}

/// Most bytes and most inodes; what is absent has no limit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct Limits {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Inodes.
    pub inodes: Option<u64>,
}

/// Since when an owner has used more than its soft limit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct OverSince {
    /// Of bytes.
    pub bytes: Option<Timestamp>,
    /// Of inodes.
    pub inodes: Option<Timestamp>,
}

/// What an owner may use.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct Quota {
    /// Never more than this.
    pub hard: Limits,
    /// Not more than this for longer than `grace_secs`; then nothing can be added until less is used.
    pub soft: Limits,
    /// In seconds.
    pub grace_secs: u32,
}

/// How long the soft limit may be passed where nothing else was said, in seconds: a week, as in the quota tools of
/// Linux.
pub const DEFAULT_GRACE_SECS: u32 = 7 * 24 * 3600;

impl Quota {
    /// The limits that hold at `now`: a soft one that was passed for too long is a hard one.
    #[must_use]
    pub fn in_force(&self, over: &OverSince, now: Timestamp) -> Limits {
        let ended = |since: Option<Timestamp>| {
            since.is_some_and(|since| now.secs.saturating_sub(since.secs) >= i64::from(self.grace_secs))
        };
        let least = |hard: Option<u64>, soft: Option<u64>, ended: bool| match soft.filter(|_| ended) {
            Some(soft) => Some(hard.map_or(soft, |hard| hard.min(soft))),
            None => hard,
        };
        Limits {
            bytes: least(self.hard.bytes, self.soft.bytes, ended(over.bytes)),
            inodes: least(self.hard.inodes, self.soft.inodes, ended(over.inodes)),
        }
    }

    /// Since when the soft limits are passed, given what is used now and what was so before.
    #[must_use]
    pub fn over(&self, used: Space, before: &OverSince, now: Timestamp) -> OverSince {
        let since = |used: u64, soft: Option<u64>, before: Option<Timestamp>| {
            soft.filter(|soft| used > *soft).map(|_| before.unwrap_or(now))
        };
        OverSince {
            bytes: since(used.bytes, self.soft.bytes, before.bytes),
            inodes: since(used.inodes, self.soft.inodes, before.inodes),
        }
    }
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
