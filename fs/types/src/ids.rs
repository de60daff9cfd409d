//! Identifiers. Every id is a newtype over an integer whose layout is written here and nowhere else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// A storage host: one `forebayd`, one failure domain.
    HostId(u32), "host-"
);
id!(
    /// A drive of a host, unique in the cluster and never reused.
    DriveId(u32), "drive-"
);
id!(
    /// A placement group: an ordered list of k+m drives in distinct failure domains.
    PgId(u32), "pg-"
);
id!(
    /// A metadata shard: a slice of the namespace with a log of its own. At most [`limits::MAX_SHARDS`] exist.
    ShardId(u16), "shard-"
);
id!(
    /// A filesystem of the cluster: a root directory and a policy. Every metadata key carries it.
    FsId(u32), "fs-"
);
id!(
    /// A cold tier attached to a filesystem.
    TierId(u32), "tier-"
);
id!(
    /// The version of the cluster map. Every request and reply carries the sender's.
    Epoch(u64), "epoch-"
);
id!(
    /// One client's registration with the cluster. Never reused.
    SessionId(u64), "session-"
);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A place in the log of a metadata shard.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default, Debug)]
pub struct LogPosition {
    /// Index of an entry, from 1; 0 for the place before the first.
    pub index: u64,
    /// The term the entry was proposed in.
    pub term: u64,
}

/// An inode number within a filesystem. The low [`limits::SHARD_BITS`] bits name the metadata shard that holds the
/// inode; the rest is that shard's counter, starting at 1, so no inode number is zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct InodeId(pub u64);

impl InodeId {
    /// The inode that is the `counter`-th allocated by `shard`.
    #[must_use]
    pub fn new(shard: ShardId, counter: u64) -> Self {
        Self((counter << limits::SHARD_BITS) | u64::from(shard.0))
    }

    /// The root directory of every filesystem: the first inode of shard 0.
    pub const ROOT: Self = Self(1 << limits::SHARD_BITS);

    /// The metadata shard that holds this inode.
    #[must_use]
    pub fn shard(self) -> ShardId {
        ShardId((self.0 & ((1 << limits::SHARD_BITS) - 1)) as u16)
    }

    /// The shard's counter value this inode was allocated with.
    #[must_use]
    pub fn counter(self) -> u64 {
        self.0 >> limits::SHARD_BITS
    }
}

impl fmt::Display for InodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ino-{}", self.0)
    }
}

impl fmt::Debug for InodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a stripe is cut: `data` chunks of user bytes and `parity` chunks, any `data` of which rebuild the rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Geometry {
    /// Number of data chunks, k, at least 1.
    pub data: u8,
    /// Number of parity chunks, m; 0 means no redundancy.
    pub parity: u8,
}

impl Geometry {
    /// k+m: chunks in a stripe, and drives in a placement group.
    #[must_use]
    pub fn width(self) -> usize {
        usize::from(self.data) + usize::from(self.parity)
    }

    /// Chunks that must be durable before a stripe may be committed: k+1, or k where there is no parity.
    #[must_use]
    pub fn write_quorum(self) -> usize {
        usize::from(self.data) + usize::from(self.parity.min(1))
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data, self.parity)
    }
}

impl fmt::Debug for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Geometry {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || format!("erasure code '{s}' is not of the form K+M, as in 4+2 (K from 1 to 32, M from 0 to 8)");
        let (k, m) = s.split_once('+').ok_or_else(bad)?;
        let data: u8 = k.trim().parse().map_err(|_| bad())?;
        let parity: u8 = m.trim().parse().map_err(|_| bad())?;
        if !(1..=32).contains(&data) || parity > 8 {
            return Err(bad());
        }
        Ok(Self { data, parity })
    }
}

/// What the bytes of a stripe have in common: how long they are expected to live. Drives fill segments per class, so
/// bytes that die together lie together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug, Default)]
#[repr(u8)]
pub enum LifetimeClass {
    /// A job's scratch: dies when the job's references end.
    Job = 0,
    /// A dataset recalled from a cold tier: dies when it is evicted.
    Dataset = 1,
    /// Everything else.
    #[default]
    LongLived = 2,
}

impl LifetimeClass {
    /// Every class, in the order of its number.
    pub const ALL: [Self; 3] = [Self::Job, Self::Dataset, Self::LongLived];

    /// The class of a number, `None` where no class has it.
    #[must_use]
    pub fn from_u8(n: u8) -> Option<Self> {
        Self::ALL.get(usize::from(n)).copied()
    }
}

/// A stripe. The id itself says where the stripe is, so locating one needs no table:
/// bits 127..96 placement group, 95..80 metadata shard that allocated it, 79..72 lifetime class, 71..64 zero,
/// 63..0 the shard's sequence number (starting at 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StripeId(pub u128);

impl StripeId {
    /// Packs a stripe id.
    #[must_use]
    pub fn new(pg: PgId, shard: ShardId, class: LifetimeClass, sequence: u64) -> Self {
        Self(
            (u128::from(pg.0) << 96)
                | (u128::from(shard.0) << 80)
                | (u128::from(class as u8) << 72)
                | u128::from(sequence),
        )
    }

    /// The placement group whose drives hold the stripe's chunks.
    #[must_use]
    pub fn pg(self) -> PgId {
        PgId((self.0 >> 96) as u32)
    }

    /// The metadata shard that allocated the stripe and accounts for its live bytes.
    #[must_use]
    pub fn shard(self) -> ShardId {
        ShardId((self.0 >> 80) as u16)
    }

    /// The lifetime class; a number no class has reads as long-lived.
    #[must_use]
    pub fn class(self) -> LifetimeClass {
        LifetimeClass::from_u8((self.0 >> 72) as u8).unwrap_or_default()
    }

    /// The shard's sequence number.
    #[must_use]
    pub fn sequence(self) -> u64 {
        self.0 as u64
    }

    /// Sixteen bytes, big-endian, so that byte order is id order.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The inverse of [`Self::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for StripeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stripe-{}.{}.{}", self.pg().0, self.shard().0, self.sequence())
    }
}

impl fmt::Debug for StripeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one mutation for ever: a retry carries the same id and gets the first answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct OpId {
    /// The session that asks.
    pub session: SessionId,
    /// That session's own number for the mutation, never reused within the session, starting at 1.
    pub sequence: u64,
}

/// Sixteen random bytes that name a cluster, a drive's identity or a transfer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Names of nothing: what an unformed drive carries.
    pub const NIL: Self = Self([0; 16]);
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || format!("'{s}' is not 32 hexadecimal digits");
        if s.len() != 32 || !s.is_ascii() {
            return Err(bad());
        }
        let mut out = [0; 16];
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&s[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(out))
    }
}

/// A piece of tier work (import, recall, evict, export), chosen by whoever asks: asking again with the same id joins
/// the running task instead of starting another.
pub type TaskId = Uuid;

#[cfg(test)]
#[path = "ids_tests.rs"]
mod tests;
