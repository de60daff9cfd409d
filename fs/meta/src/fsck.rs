//! The rules a shard's tables obey, checked one by one.

use std::collections::{BTreeMap, BTreeSet};

use forebay_env::{Kv, Pair};
use forebay_types::{FileKind, FsId, InodeId, Location, StripeId, Timestamp};
use forebay_wire::meta::TxnId;

use crate::dir::FIRST_COOKIE;
use crate::error::{Fault, ShardError};
use crate::key;
use crate::record::{CookieRecord, Dentry, ExtentRecord, Inode, StripeRecord, StripeState, TxnRecord, Usage, decode};
use crate::shard::Shard;
use crate::tx::Tx;

/// A rule that does not hold. None is ever found in a shard that only `apply` has written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Finding {
    /// A name leads nowhere.
    #[error("{fs}: a name in {dir} leads to {ino}, which does not exist")]
    DanglingName {
        /// The filesystem.
        fs: FsId,
        /// The directory.
        dir: InodeId,
        /// The inode.
        ino: InodeId,
    },
    /// A name is in a directory that does not exist, or is not a directory.
    #[error("{fs}: {dir} has names but is no directory")]
    NamesOfNothing {
        /// The filesystem.
        fs: FsId,
        /// The directory.
        dir: InodeId,
    },
    /// A name and its cookie disagree.
    #[error("{fs}: the entries of {dir} by name and by cookie differ")]
    CookieMismatch {
        /// The filesystem.
        fs: FsId,
        /// The directory.
        dir: InodeId,
    },
    /// A count in an inode is wrong.
    #[error("{fs}: {ino} says {what} is {said}, it is {found}")]
    Count {
        /// The filesystem.
        fs: FsId,
        /// The inode.
        ino: InodeId,
        /// Which count.
        what: &'static str,
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
    /// Extents overlap, are empty, pass the file's end, or belong to nothing.
    #[error("{fs}: {ino} has a bad extent at {offset}")]
    BadExtent {
        /// The filesystem.
        fs: FsId,
        /// The inode.
        ino: InodeId,
        /// The extent's first byte.
        offset: u64,
    },
    /// A stripe's record does not fit what extents name.
    #[error("{stripe} says {said} live bytes, extents name {found}")]
    StripeLive {
        /// The stripe.
        stripe: StripeId,
        /// What its record says; none where there is no record.
        said: u64,
        /// What was counted.
        found: u64,
    },
    /// A stripe's state does not fit its bytes or its listings.
    #[error("{stripe} is in a state that does not fit")]
    StripeState {
        /// The stripe.
        stripe: StripeId,
    },
    /// The filesystem's usage in this shard is wrong.
    #[error("{fs}: usage says {said_inodes} inodes and {said_bytes} bytes, found {found_inodes} and {found_bytes}")]
    Usage {
        /// The filesystem.
        fs: FsId,
        /// Inodes said.
        said_inodes: u64,
        /// Bytes said.
        said_bytes: u64,
        /// Inodes found.
        found_inodes: u64,
        /// Bytes found.
        found_bytes: u64,
    },
    /// A name is held by a transaction of this shard that does not exist.
    #[error("{fs}: a name in {dir} is held by {txn:?}, which is over")]
    LostIntent {
        /// The filesystem.
        fs: FsId,
        /// The directory.
        dir: InodeId,
        /// The transaction.
        txn: TxnId,
    },
    /// The number of transactions under way is wrong.
    #[error("{said} transactions are said to be under way, found {found}")]
    Transactions {
        /// What the counter says.
        said: u32,
        /// What was found.
        found: u32,
    },
}

#[derive(Default)]
struct Counted {
    names: u64,
    subdirs: u64,
    links: u64,
    bytes: u64,
    cold: u64,
}

type Inodes = BTreeMap<(FsId, InodeId), Inode>;

struct Check<'a> {
    tx: Tx<'a>,
    inodes: Inodes,
    counted: BTreeMap<(FsId, InodeId), Counted>,
    live: BTreeMap<StripeId, u64>,
    findings: Vec<Finding>,
}

impl<K: Kv> Shard<K> {
    /// Checks every rule that one shard can check by itself. Reads everything: for tests and for a stopped shard.
    pub fn fsck(&self) -> Result<Vec<Finding>, ShardError> {
        let tx = self.view(Timestamp::default());
        let mut check =
            Check { tx, inodes: Inodes::new(), counted: BTreeMap::new(), live: BTreeMap::new(), findings: Vec::new() };
        match check.run() {
            Ok(()) => Ok(check.findings),
            Err(Fault::Broken(error)) => Err(error),
            Err(Fault::Refused(error)) => {
                Err(ShardError::Corrupt { what: "shard", reason: format!("a check was refused: {error}") })
            }
        }
    }
}

impl Check<'_> {
    fn table(&self, table: u8) -> Result<Vec<Pair>, Fault> {
        self.tx.scan(&self.tx.keys.all(table), usize::MAX / 2)
    }

    fn run(&mut self) -> Result<(), Fault> {
        for (key, value) in self.table(b'I')? {
            self.inodes.insert((key::fs_of(&key), key::ino_of(&key)), decode("inode", &value)?);
        }
        self.names()?;
        self.extents()?;
        self.inodes()?;
        self.stripes()?;
        self.transactions()
    }

    fn names(&mut self) -> Result<(), Fault> {
        let mut by_cookie = BTreeMap::new();
        for (key, value) in self.table(b'K')? {
            let record: CookieRecord = decode("directory entry", &value)?;
            by_cookie.insert((key::fs_of(&key), key::ino_of(&key), key::number(&key, 16)), record);
        }
        for (key, value) in self.table(b'D')? {
            let (fs, dir) = (key::fs_of(&key), key::ino_of(&key));
            let dentry: Dentry = decode("dentry", &value)?;
            let known = self.inodes.get(&(fs, dir)).filter(|inode| inode.is_dir());
            if known.is_none_or(|inode| dentry.cookie >= inode.next_cookie || dentry.cookie < FIRST_COOKIE) {
                self.findings.push(Finding::NamesOfNothing { fs, dir });
            }
            let want = CookieRecord { name: key[16..].to_vec().into(), ino: dentry.ino, kind: dentry.kind };
            if by_cookie.remove(&(fs, dir, dentry.cookie)) != Some(want) {
                self.findings.push(Finding::CookieMismatch { fs, dir });
            }
            let counted = self.counted.entry((fs, dir)).or_default();
            counted.names += 1;
            counted.subdirs += u64::from(dentry.kind == FileKind::Directory);
            if dentry.ino.shard() == self.tx.me {
                // A name that a transaction is moving may be there twice for a moment: where it was, and where it goes.
                let held = self.tx.get_raw(&self.tx.keys.intent(fs, dir, &key[16..]))?.is_some();
                self.counted.entry((fs, dentry.ino)).or_default().links += u64::from(!held);
                if self.inodes.get(&(fs, dentry.ino)).is_none_or(|inode| inode.attr.kind != dentry.kind) {
                    self.findings.push(Finding::DanglingName { fs, dir, ino: dentry.ino });
                }
            }
        }
        for (fs, dir, _) in by_cookie.into_keys() {
            self.findings.push(Finding::CookieMismatch { fs, dir });
        }
        Ok(())
    }

    fn extents(&mut self) -> Result<(), Fault> {
        let mut last = (FsId(0), InodeId(0), 0);
        for (key, value) in self.table(b'E')? {
            let (fs, ino, offset) = (key::fs_of(&key), key::ino_of(&key), key::number(&key, 16));
            let record: ExtentRecord = decode("extent", &value)?;
            let size = self.inodes.get(&(fs, ino)).map(|inode| inode.attr.size);
            let end = offset + record.len;
            let overlaps = (last.0, last.1) == (fs, ino) && offset < last.2;
            if record.len == 0 || overlaps || record.location == Location::Hole || size.is_none_or(|size| end > size) {
                self.findings.push(Finding::BadExtent { fs, ino, offset });
            }
            last = (fs, ino, end);
            let counted = self.counted.entry((fs, ino)).or_default();
            counted.bytes += record.len;
            match record.location {
                Location::Object(_) => counted.cold += record.len,
                Location::Stripe(at) => *self.live.entry(at.stripe).or_default() += record.len,
                Location::Hole | Location::Inline(_) => {}
            }
        }
        Ok(())
    }

    fn inodes(&mut self) -> Result<(), Fault> {
        let orphans: BTreeSet<_> = self.table(b'O')?.iter().map(|(k, _)| (key::fs_of(k), key::ino_of(k))).collect();
        let mut usage: BTreeMap<FsId, Usage> = BTreeMap::new();
        let none = Counted::default();
        for (&(fs, ino), inode) in &self.inodes {
            let counted = self.counted.get(&(fs, ino)).unwrap_or(&none);
            let attr = &inode.attr;
            let used = usage.entry(fs).or_default();
            used.inodes += 1;
            used.bytes += attr.allocated_bytes;
            let mut counts = vec![
                ("allocated bytes", attr.allocated_bytes, counted.bytes),
                ("cold bytes", attr.cold_bytes, counted.cold),
            ];
            if inode.is_dir() {
                counts.push(("names", attr.size, counted.names));
                let want = if attr.nlink == 0 { 0 } else { 2 + counted.subdirs };
                counts.push(("links", u64::from(attr.nlink), want));
            } else if u64::from(attr.nlink) < counted.links {
                // More are names in other shards.
                counts.push(("links", u64::from(attr.nlink), counted.links));
            }
            let wrong = counts.into_iter().filter(|(_, said, found)| said != found);
            self.findings.extend(wrong.map(|(what, said, found)| Finding::Count { fs, ino, what, said, found }));
            let listed = orphans.contains(&(fs, ino));
            if listed != (attr.nlink == 0) {
                self.findings.push(Finding::Orphan { fs, ino, listed });
            }
        }
        for (fs, ino) in orphans {
            if !self.inodes.contains_key(&(fs, ino)) {
                self.findings.push(Finding::Orphan { fs, ino, listed: true });
            }
        }
        for (key, value) in self.table(b'F')? {
            let (fs, said): (FsId, Usage) = (key::fs_of(&key), decode("usage", &value)?);
            let found = usage.remove(&fs).unwrap_or_default();
            self.compare_usage(fs, said, found);
        }
        for (fs, found) in usage {
            self.compare_usage(fs, Usage::default(), found);
        }
        Ok(())
    }

    fn compare_usage(&mut self, fs: FsId, said: Usage, found: Usage) {
        if said != found {
            self.findings.push(Finding::Usage {
                fs,
                said_inodes: said.inodes,
                said_bytes: said.bytes,
                found_inodes: found.inodes,
                found_bytes: found.bytes,
            });
        }
    }

    fn stripes(&mut self) -> Result<(), Fault> {
        let mut garbage: BTreeSet<_> = self.table(b'G')?.into_iter().map(|(key, _)| key).collect();
        let mut uncommitted: BTreeSet<_> = self.table(b'U')?.into_iter().map(|(key, _)| key).collect();
        for (key, value) in self.table(b'S')? {
            let stripe = key::stripe_of(&key);
            let record: StripeRecord = decode("stripe", &value)?;
            let found = self.live.remove(&stripe).unwrap_or(0);
            if record.live_bytes != found {
                self.findings.push(Finding::StripeLive { stripe, said: record.live_bytes, found });
            }
            let fits = match record.state {
                StripeState::Allocated => {
                    found == 0 && uncommitted.remove(&self.tx.keys.uncommitted(record.session, stripe))
                }
                StripeState::Live => found > 0,
                StripeState::Garbage(at) => found == 0 && garbage.remove(&self.tx.keys.garbage(at, stripe)),
            };
            if !fits {
                self.findings.push(Finding::StripeState { stripe });
            }
        }
        for (stripe, found) in std::mem::take(&mut self.live) {
            self.findings.push(Finding::StripeLive { stripe, said: 0, found });
        }
        let left = garbage.iter().chain(&uncommitted);
        self.findings.extend(left.map(|key| Finding::StripeState { stripe: key::stripe_of(key) }));
        Ok(())
    }

    fn transactions(&mut self) -> Result<(), Fault> {
        let mut active = BTreeSet::new();
        for (_, value) in self.table(b'T')? {
            let record: TxnRecord = decode("transaction", &value)?;
            active.insert(record.step.txn);
        }
        let said = self.tx.counters()?.active_txns;
        if said as usize != active.len() {
            self.findings.push(Finding::Transactions { said, found: active.len() as u32 });
        }
        for (key, value) in self.table(b'N')? {
            let txn: TxnId = decode("intent", &value)?;
            if txn.source == self.tx.me && !active.contains(&txn) {
                self.findings.push(Finding::LostIntent { fs: key::fs_of(&key), dir: key::ino_of(&key), txn });
            }
        }
        Ok(())
    }
}
