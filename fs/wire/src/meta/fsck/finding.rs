//! What a check finds.

use std::fmt;

use bytes::Bytes;
use forebay_types::{FileKind, FsId, InodeId, Owner, ShardId, Space, StripeId};
use serde::{Deserialize, Serialize};

use super::{FsckHold, Held};

/// A rule that does not hold. None is ever found where only `apply` has written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug, thiserror::Error)]
pub enum Finding {
    /// A row that cannot be read, or that does not belong where it is.
    #[error("{shard}: a row of table {:?} cannot be read or does not belong there", char::from(key.first().copied().unwrap_or(b'?')))]
    Unreadable {
        /// The shard.
        shard: ShardId,
        /// The row's key, from its table's letter on.
        key: Bytes,
    },
    /// A name leads nowhere.
    #[error("{fs}: the name {} in {dir} leads to {ino}, which does not exist", shown(name))]
    DanglingName {
        /// The filesystem.
        fs: FsId,
        /// The directory.
        dir: InodeId,
        /// The name.
        name: Bytes,
        /// The inode.
        ino: InodeId,
    },
    /// A name says that its inode is something else than it is.
    #[error("{fs}: the name {} in {dir} says that {ino} is of another kind than {kind:?}", shown(name))]
    WrongKind {
        /// The filesystem.
        fs: FsId,
        /// The directory.
        dir: InodeId,
        /// The name.
        name: Bytes,
        /// The inode.
        ino: InodeId,
        /// What it is.
        kind: FileKind,
    },
    /// A directory has more than its one name.
    #[error("{fs}: the directory {ino} has another name: {} in {dir}", shown(name))]
    ExtraName {
        /// The filesystem.
        fs: FsId,
        /// The directory of the name that is too much.
        dir: InodeId,
        /// That name.
        name: Bytes,
        /// The directory with two names.
        ino: InodeId,
    },
    /// An inode that is alive has no name.
    #[error("{fs}: no name leads to {ino} ({kind:?})")]
    Unreachable {
        /// The filesystem.
        fs: FsId,
        /// The inode.
        ino: InodeId,
        /// What it is.
        kind: FileKind,
    },
    /// Directories that are in each other, so that no path leads there.
    #[error("{fs}: the directory {ino} is in itself, by way of {parent}")]
    Cycle {
        /// The filesystem.
        fs: FsId,
        /// The one of them with the smallest number.
        ino: InodeId,
        /// Where it says that it is.
        parent: InodeId,
    },
    /// A directory says that it is elsewhere than its name is.
    #[error("{fs}: the directory {ino} is in {found}, but its '..' is {said}")]
    WrongParent {
        /// The filesystem.
        fs: FsId,
        /// The directory.
        ino: InodeId,
        /// What it says.
        said: InodeId,
        /// Where its name is.
        found: InodeId,
    },
    /// A file's links are not its names, or a directory that has a name says that it has been removed.
    #[error("{fs}: {ino} says that it has {said} links, its names are {found}")]
    Links {
        /// The filesystem.
        fs: FsId,
        /// The inode.
        ino: InodeId,
        /// What it says.
        said: u32,
        /// Names found, over all shards.
        found: u32,
    },
    /// There are names in what does not exist, or is not a directory.
    #[error("{fs}: {dir} has names but is no directory")]
    NamesOfNothing {
        /// The filesystem.
        fs: FsId,
        /// The directory.
        dir: InodeId,
    },
    /// A directory's two tables, by name and by place, disagree.
    #[error("{fs}: the entries of {dir} by name and by cookie differ")]
    CookieMismatch {
        /// The filesystem.
        fs: FsId,
        /// The directory.
        dir: InodeId,
    },
    /// A number in an inode is wrong.
    #[error("{fs}: {ino} says {what} {said}, it is {found}")]
    Count {
        /// The filesystem.
        fs: FsId,
        /// The inode.
        ino: InodeId,
        /// Which number.
        what: Quantity,
        /// What it says.
        said: u64,
        /// What was counted.
        found: u64,
    },
    /// An inode without names is not among the orphans, or the other way round.
    #[error("{fs}: {ino} is {} listed as an orphan", if *listed { "wrongly" } else { "not" })]
    Orphan {
        /// The filesystem.
        fs: FsId,
        /// The inode.
        ino: InodeId,
        /// Whether it is listed.
        listed: bool,
    },
    /// Extents overlap, are empty, pass the file's end, or belong to nothing: the file may have lost bytes.
    #[error("{fs}: {ino} is damaged: bad extent at byte {offset}")]
    BadExtent {
        /// The filesystem.
        fs: FsId,
        /// The inode.
        ino: InodeId,
        /// The extent's first byte.
        offset: u64,
    },
    /// A stripe's record does not fit what extents name.
    #[error("{stripe} in {shard} says {said} live bytes, extents name {found}")]
    StripeLive {
        /// The shard.
        shard: ShardId,
        /// The stripe.
        stripe: StripeId,
        /// What its record says; none where there is no record.
        said: u64,
        /// What was counted.
        found: u64,
    },
    /// A stripe's state does not fit its bytes or its listings.
    #[error("{stripe} in {shard} is in a state that does not fit")]
    StripeState {
        /// The shard.
        shard: ShardId,
        /// The stripe.
        stripe: StripeId,
    },
    /// The filesystem's usage in a shard is wrong.
    #[error(
        "{fs} in {shard}: usage says {said_inodes} inodes and {said_bytes} bytes, found {found_inodes} and {found_bytes}"
    )]
    Usage {
        /// The filesystem.
        fs: FsId,
        /// The shard.
        shard: ShardId,
        /// Inodes said.
        said_inodes: u64,
        /// Bytes said.
        said_bytes: u64,
        /// Inodes found.
        found_inodes: u64,
        /// Bytes found.
        found_bytes: u64,
    },
    /// What is counted for an owner in a shard is wrong.
    #[error("{fs} in {shard}: {owner} is said to have {} inodes and {} bytes, found {} and {}", said.inodes, said.bytes, found.inodes, found.bytes)]
    Owner {
        /// The filesystem.
        fs: FsId,
        /// The shard.
        shard: ShardId,
        /// Whose.
        owner: Owner,
        /// What is said.
        said: Space,
        /// What was found.
        found: Space,
    },
    /// Something is held by a transaction that is over.
    #[error("{}: {} is held by transaction {} of {}, which is over", .0.fs, held(&.0.what), .0.txn.number, .0.txn.source)]
    LostHold(FsckHold),
    /// A counter of a shard is wrong.
    #[error("{shard}: the counter of {what} says {said}, found {found}")]
    Counter {
        /// The shard.
        shard: ShardId,
        /// Which counter.
        what: CounterOf,
        /// What it says.
        said: u64,
        /// What was found: for numbers, the least that is not in use; for transactions under way, how many there are.
        found: u64,
    },
}

impl Finding {
    /// The inode that it is about, where it is about one; of a name, the directory that the name is in.
    #[must_use]
    pub fn inode(&self) -> Option<InodeId> {
        match self {
            Self::DanglingName { dir: ino, .. }
            | Self::WrongKind { dir: ino, .. }
            | Self::ExtraName { dir: ino, .. }
            | Self::Unreachable { ino, .. }
            | Self::Cycle { ino, .. }
            | Self::WrongParent { ino, .. }
            | Self::Links { ino, .. }
            | Self::NamesOfNothing { dir: ino, .. }
            | Self::CookieMismatch { dir: ino, .. }
            | Self::Count { ino, .. }
            | Self::Orphan { ino, .. }
            | Self::BadExtent { ino, .. } => Some(*ino),
            Self::LostHold(FsckHold { what: Held::Name { dir: ino, .. } | Held::Directory { ino }, .. }) => Some(*ino),
            Self::Unreadable { .. }
            | Self::StripeLive { .. }
            | Self::StripeState { .. }
            | Self::Usage { .. }
            | Self::Owner { .. }
            | Self::LostHold(_)
            | Self::Counter { .. } => None,
        }
    }

    /// The name that it is about, in the directory [`Self::inode`].
    #[must_use]
    pub fn name(&self) -> Option<&Bytes> {
        match self {
            Self::DanglingName { name, .. } | Self::WrongKind { name, .. } | Self::ExtraName { name, .. } => Some(name),
            Self::LostHold(FsckHold { what: Held::Name { name, .. }, .. }) => Some(name),
            _ => None,
        }
    }
}

/// A number that an inode keeps of what belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub enum Quantity {
    /// Bytes that its extents cover.
    Allocated,
    /// Of those, bytes in a cold tier only.
    Cold,
    /// Names in a directory.
    Names,
    /// Links of a directory: 2 and one for each directory in it.
    Links,
    /// The place that a directory's next name gets, which is above those of all others.
    NextCookie,
    /// Its own number.
    Number,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allocated => "allocated bytes",
            Self::Cold => "cold bytes",
            Self::Names => "names",
            Self::Links => "links",
            Self::NextCookie => "next cookie",
            Self::Number => "inode number",
        })
    }
}

/// What a shard counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub enum CounterOf {
    /// Inode numbers.
    Inodes,
    /// Stripe numbers.
    Stripes,
    /// Transaction numbers.
    Transactions,
    /// Transactions under way.
    Active,
    /// The number below which no transaction is under way.
    Oldest,
}

impl fmt::Display for CounterOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inodes => "inode numbers",
            Self::Stripes => "stripe numbers",
            Self::Transactions => "transaction numbers",
            Self::Active => "transactions under way",
            Self::Oldest => "the oldest transaction",
        })
    }
}

fn shown(name: &[u8]) -> String {
    format!("'{}'", name.escape_ascii())
}

fn held(what: &Held) -> String {
    match what {
        Held::Name { dir, name } => format!("the name {} in {dir}", shown(name)),
        Held::Directory { ino } => format!("the directory {ino}"),
        Held::Moves => "the right to move directories".into(),
    }
}
