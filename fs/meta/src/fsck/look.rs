//! How single inodes, transactions and holds are at this moment, and what has been given names meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use forebay_env::Kv;
use forebay_types::{FsId, InodeId, Timestamp};
use forebay_wire::meta::{FsckHold, FsckRead, FsckSeen, Held, InodeFacts, TxnId};
use serde::de::DeserializeOwned;

use crate::error::ShardError;
use crate::record::{Inode, TxnRecord, decode};
use crate::shard::Shard;
use crate::tx::Tx;
use crate::txn;

/// Inodes that a check watches, and whether they have been given a name since.
#[derive(Default, Debug)]
pub(crate) struct Watch {
    number: u64,
    inodes: BTreeMap<(FsId, InodeId), bool>,
}

impl Watch {
    pub fn new(number: u64, fs: FsId, inodes: impl IntoIterator<Item = InodeId>) -> Self {
        let inodes = inodes.into_iter().take(FsckRead::INODES_MAX);
        Self { number, inodes: inodes.map(|ino| ((fs, ino), false)).collect() }
    }

    pub fn note(&mut self, named: &[(FsId, InodeId)]) {
        if self.inodes.is_empty() {
            return;
        }
        for inode in named {
            if let Some(watched) = self.inodes.get_mut(inode) {
                *watched = true;
            }
        }
    }

    fn named(&self, number: u64, fs: FsId) -> Option<Vec<InodeId>> {
        let of_fs = || self.inodes.iter().filter(|((of, _), named)| *of == fs && **named);
        (self.number == number && number != 0).then(|| of_fs().map(|((_, ino), _)| *ino).collect())
    }
}

pub(super) fn facts(ino: InodeId, inode: &Inode) -> InodeFacts {
    let attr = &inode.attr;
    InodeFacts { ino, kind: attr.kind, nlink: attr.nlink, version: attr.version, parent: inode.parent }
}

/// What a row says; nothing where it cannot be read, which the examination finds.
pub(super) fn readable<T: DeserializeOwned>(tx: &Tx<'_>, key: &[u8]) -> Result<Option<T>, ShardError> {
    match tx.get_raw(key) {
        Ok(found) => Ok(found.and_then(|bytes| decode("row", &bytes).ok())),
        Err(crate::error::Fault::Broken(error)) => Err(error),
        Err(crate::error::Fault::Refused(error)) => {
            Err(ShardError::Corrupt { what: "row", reason: format!("reading it was refused: {error}") })
        }
    }
}

impl<K: Kv> Shard<K> {
    /// Answers [`FsckRead::Look`] for the watch `number`.
    pub fn look(
        &self,
        number: u64,
        fs: FsId,
        inodes: &[InodeId],
        moving: &[InodeId],
        (txns, holds): (&[u64], &[FsckHold]),
    ) -> Result<FsckSeen, ShardError> {
        let tx = self.view(Timestamp::default());
        let mut seen = FsckSeen { named: self.watched().named(number, fs), ..FsckSeen::default() };
        for ino in inodes.iter().take(FsckRead::INODES_MAX) {
            let found: Option<Inode> = readable(&tx, &tx.keys.inode(fs, *ino))?;
            seen.inodes.extend(found.map(|inode| facts(*ino, &inode)));
        }
        let wanted: BTreeSet<InodeId> = moving.iter().copied().collect();
        let asked: BTreeSet<u64> = txns.iter().copied().collect();
        for (number, record) in self.transactions()? {
            seen.txns.extend(asked.contains(&number).then_some(number));
            let of = record.map(|record| if record.fs == fs { txn::inodes(&record) } else { Vec::new() });
            // One that cannot be read may be about anything.
            let of = of.unwrap_or_else(|| moving.to_vec());
            seen.moving.extend(of.into_iter().filter(|ino| wanted.contains(ino)));
        }
        for hold in holds.iter().take(FsckRead::INODES_MAX) {
            if holder(&tx, hold)? == Some(hold.txn) {
                seen.holds.push(hold.clone());
            }
        }
        Ok(seen)
    }
}

/// The transaction that holds something.
pub(super) fn holder(tx: &Tx<'_>, hold: &FsckHold) -> Result<Option<TxnId>, ShardError> {
    match &hold.what {
        Held::Name { dir, name } => readable(tx, &tx.keys.intent(hold.fs, *dir, name)),
        Held::Moves => readable(tx, &tx.keys.moving(hold.fs)),
        Held::Directory { ino } => {
            let inode: Option<Inode> = readable(tx, &tx.keys.inode(hold.fs, *ino))?;
            Ok(inode.and_then(|inode| inode.dying))
        }
    }
}

impl<K: Kv> Shard<K> {
    /// Transactions under way, with what they do where that can be read.
    fn transactions(&self) -> Result<Vec<(u64, Option<TxnRecord>)>, ShardError> {
        let tx = self.view(Timestamp::default());
        let page = match tx.scan(&tx.keys.all(b'T'), usize::MAX / 2) {
            Ok(page) => page,
            Err(crate::error::Fault::Broken(error)) => return Err(error),
            Err(crate::error::Fault::Refused(_)) => Vec::new(),
        };
        Ok(page.iter().map(|(key, value)| (crate::key::number(key, 4), decode("transaction", value).ok())).collect())
    }
}
