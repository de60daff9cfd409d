//! Where everything is in the store.
//!
//! All replicas of a host share one store. Every key begins with the slot (`m` or `n`), the shard (2 bytes), and a table
//! letter. All numbers are big-endian, so byte order is numeric order.
//!
//! A replica's state is in one of two slots; a state received from another replica is written into the other one, and
//! the key `l`, shard (2 bytes), which names the slot in use, changes over in the batch that also changes the log.
//!
//! | table | rest of the key | value |
//! |---|---|---|
//! | `A` | | index and term of the last entry applied (8 + 8 bytes) |
//! | `B` | | the group's members, as consensus encodes them |
//! | `C` | | counters |
//! | `D` | fs 4, directory 8, name | dentry |
//! | `E` | fs 4, inode 8, offset 8 | length and location of an extent; never a hole |
//! | `F` | fs 4 | inodes and bytes in use |
//! | `G` | time 8 + 4, stripe 16 | nothing: the stripe may be erased from that time on |
//! | `I` | fs 4, inode 8 | inode |
//! | `K` | fs 4, directory 8, cookie 8 | name, inode and kind |
//! | `M` | fs 4 | transaction that moves a directory (shard 0) |
//! | `N` | fs 4, directory 8, name | transaction that keeps others off the name |
//! | `O` | fs 4, inode 8 | nothing: the inode has no name any more |
//! | `P` | session 8, sequence 8 | answer to a mutation, or the transaction that will give it |
//! | `Q` | source shard 2, number 8, step 4 | answer to another shard's step |
//! | `R` | source shard 2 | number below which that shard's transactions are forgotten (8 bytes) |
//! | `S` | stripe 16 | stripe |
//! | `T` | number 8 | transaction this shard drives |
//! | `U` | session 8, stripe 16 | nothing: the session allocated the stripe and has not committed it |
//! | `V` | fs 4, owner 9 | what the owner has in this shard |
//! | `W` | fs 4, owner 9 | what the owner may have in this shard |
//! | `X` | fs 4, inode 8, name | extended attribute's value |
//! | `Y` | fs 4, owner 9 | the owner's quota (shard 0) |
//! | `Z` | session 8 | session |
//! | `c` | any | state of the cluster group (shard 0), which its core knows |
//!
//! An owner is a letter (`d`, `g`, `u`) and a number of 8 bytes. Values begin with a version byte (4) and go on in postcard, but for `A`, `B`, `R` and `c`.

use forebay_types::{FsId, InodeId, OpId, Owner, SessionId, ShardId, StripeId, Timestamp};
use forebay_wire::meta::TxnId;

/// One of the two places a replica's state can be in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Slot {
    M = b'm',
    N = b'n',
}

impl Slot {
    /// The slot of a state that came from nobody.
    pub const FIRST: Self = Self::M;

    pub fn other(self) -> Self {
        match self {
            Self::M => Self::N,
            Self::N => Self::M,
        }
    }
}

/// The key that names the slot in use.
pub(crate) fn slot_in_use(shard: ShardId) -> Vec<u8> {
    let mut key = vec![b'l'];
    key.extend_from_slice(&shard.0.to_be_bytes());
    key
}

/// Makes the keys of one shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys(pub Slot, pub ShardId);

/// A first key, and the first key after the range.
pub(crate) type Range = (Vec<u8>, Vec<u8>);

impl Keys {
    fn table(self, table: u8, parts: &[&[u8]]) -> Vec<u8> {
        let mut key = Vec::with_capacity(4 + parts.iter().map(|p| p.len()).sum::<usize>());
        key.push(self.0 as u8);
        key.extend_from_slice(&self.1.0.to_be_bytes());
        key.push(table);
        for part in parts {
            key.extend_from_slice(part);
        }
        key
    }

    fn inode_table(self, table: u8, fs: FsId, ino: InodeId, rest: &[u8]) -> Vec<u8> {
        self.table(table, &[&fs.0.to_be_bytes(), &ino.0.to_be_bytes(), rest])
    }

    pub fn applied(self) -> Vec<u8> {
        self.table(b'A', &[])
    }
    pub fn members(self) -> Vec<u8> {
        self.table(b'B', &[])
    }
    pub fn cluster(self, key: &[u8]) -> Vec<u8> {
        self.table(b'c', &[key])
    }
    pub fn counters(self) -> Vec<u8> {
        self.table(b'C', &[])
    }
    pub fn dentry(self, fs: FsId, dir: InodeId, name: &[u8]) -> Vec<u8> {
        self.inode_table(b'D', fs, dir, name)
    }
    pub fn extent(self, fs: FsId, ino: InodeId, offset: u64) -> Vec<u8> {
        self.inode_table(b'E', fs, ino, &offset.to_be_bytes())
    }
    pub fn usage(self, fs: FsId) -> Vec<u8> {
        self.table(b'F', &[&fs.0.to_be_bytes()])
    }
    pub fn garbage(self, at: Timestamp, stripe: StripeId) -> Vec<u8> {
        self.table(b'G', &[&order(at), &stripe.to_bytes()])
    }
    /// All garbage whose time has come by `now`.
    pub fn garbage_until(self, now: Timestamp) -> Range {
        let mut end = self.table(b'G', &[&order(now)]);
        end.extend_from_slice(&[0xff; 17]);
        (self.table(b'G', &[]), end)
    }
    pub fn inode(self, fs: FsId, ino: InodeId) -> Vec<u8> {
        self.inode_table(b'I', fs, ino, &[])
    }
    pub fn cookie(self, fs: FsId, dir: InodeId, cookie: u64) -> Vec<u8> {
        self.inode_table(b'K', fs, dir, &cookie.to_be_bytes())
    }
    pub fn moving(self, fs: FsId) -> Vec<u8> {
        self.table(b'M', &[&fs.0.to_be_bytes()])
    }
    pub fn intent(self, fs: FsId, dir: InodeId, name: &[u8]) -> Vec<u8> {
        self.inode_table(b'N', fs, dir, name)
    }
    pub fn orphan(self, fs: FsId, ino: InodeId) -> Vec<u8> {
        self.inode_table(b'O', fs, ino, &[])
    }
    pub fn reply(self, id: OpId) -> Vec<u8> {
        self.table(b'P', &[&id.session.0.to_be_bytes(), &id.sequence.to_be_bytes()])
    }
    pub fn answer(self, txn: TxnId, step: u32) -> Vec<u8> {
        self.table(b'Q', &[&txn.source.0.to_be_bytes(), &txn.number.to_be_bytes(), &step.to_be_bytes()])
    }
    pub fn forgotten(self, source: ShardId) -> Vec<u8> {
        self.table(b'R', &[&source.0.to_be_bytes()])
    }
    pub fn stripe(self, stripe: StripeId) -> Vec<u8> {
        self.table(b'S', &[&stripe.to_bytes()])
    }
    pub fn txn(self, number: u64) -> Vec<u8> {
        self.table(b'T', &[&number.to_be_bytes()])
    }
    pub fn uncommitted(self, session: SessionId, stripe: StripeId) -> Vec<u8> {
        self.table(b'U', &[&session.0.to_be_bytes(), &stripe.to_bytes()])
    }
    fn owner_table(self, table: u8, fs: FsId, owner: Owner) -> Vec<u8> {
        let (kind, number) = match owner {
            Owner::Directory(ino) => (b'd', ino.0),
            Owner::Group(gid) => (b'g', u64::from(gid)),
            Owner::User(uid) => (b'u', u64::from(uid)),
        };
        self.table(table, &[&fs.0.to_be_bytes(), &[kind], &number.to_be_bytes()])
    }
    pub fn owner(self, fs: FsId, owner: Owner) -> Vec<u8> {
        self.owner_table(b'V', fs, owner)
    }
    pub fn budget(self, fs: FsId, owner: Owner) -> Vec<u8> {
        self.owner_table(b'W', fs, owner)
    }
    pub fn quota(self, fs: FsId, owner: Owner) -> Vec<u8> {
        self.owner_table(b'Y', fs, owner)
    }
    /// All keys of a table that belong to a filesystem.
    pub fn of_fs(self, table: u8, fs: FsId) -> Range {
        let start = self.table(table, &[&fs.0.to_be_bytes()]);
        let end = after(&start);
        (start, end)
    }
    pub fn xattr(self, fs: FsId, ino: InodeId, name: &[u8]) -> Vec<u8> {
        self.inode_table(b'X', fs, ino, name)
    }
    pub fn session(self, session: SessionId) -> Vec<u8> {
        self.table(b'Z', &[&session.0.to_be_bytes()])
    }

    /// All keys of the shard in this slot.
    pub fn everything(self) -> Range {
        let mut start = vec![self.0 as u8];
        start.extend_from_slice(&self.1.0.to_be_bytes());
        let end = after(&start);
        (start, end)
    }
    /// All keys of a table.
    pub fn all(self, table: u8) -> Range {
        (self.table(table, &[]), self.table(table + 1, &[]))
    }
    /// All keys of a table that belong to an inode.
    pub fn of_inode(self, table: u8, fs: FsId, ino: InodeId) -> Range {
        let start = self.inode_table(table, fs, ino, &[]);
        let end = after(&start);
        (start, end)
    }
    /// All keys of a table that belong to a session.
    pub fn of_session(self, table: u8, session: SessionId) -> Range {
        let start = self.table(table, &[&session.0.to_be_bytes()]);
        let end = after(&start);
        (start, end)
    }
}

/// The first key after all that begin with `prefix`.
pub(crate) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < 0xff {
            *last += 1;
            break;
        }
        end.pop();
    }
    end
}

/// A time as twelve bytes whose order is that of time, before 1970 too.
fn order(at: Timestamp) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&((at.secs as u64) ^ (1 << 63)).to_be_bytes());
    bytes[8..].copy_from_slice(&at.nanos.to_be_bytes());
    bytes
}

/// The big-endian number at `at` in a key; 0 where the key is too short.
pub(crate) fn number(key: &[u8], at: usize) -> u64 {
    key.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// The filesystem in a key of a table of inodes.
pub(crate) fn fs_of(key: &[u8]) -> FsId {
    FsId(key.get(4..8).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes))
}

/// The owner in a key of a table of owners; none where the key is of no owner.
pub(crate) fn owner_of(key: &[u8]) -> Option<Owner> {
    owner_at(key.get(8..)?)
}

/// The owner in the nine bytes that say who it is.
pub(crate) fn owner_at(bytes: &[u8]) -> Option<Owner> {
    let number = number(bytes, 1);
    match bytes.first()? {
        b'd' => Some(Owner::Directory(InodeId(number))),
        b'g' => Some(Owner::Group(u32::try_from(number).ok()?)),
        b'u' => Some(Owner::User(u32::try_from(number).ok()?)),
        _ => None,
    }
}

/// The inode in a key of a table of inodes.
pub(crate) fn ino_of(key: &[u8]) -> InodeId {
    InodeId(number(key, 8))
}

/// The stripe at the end of a key.
pub(crate) fn stripe_of(key: &[u8]) -> StripeId {
    let tail = key.len().saturating_sub(16);
    StripeId::from_bytes(key[tail..].try_into().unwrap_or_default())
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
