//! Leases that go out with answers.

use forebay_meta::{Exclusive, Wish};
use forebay_types::{FsId, InodeId, LeaseMode, SessionId};
use forebay_wire::meta::Grant;

use crate::metadata::AnyShard;
use crate::metadata::leases::Desk;

/// Leases that go out with an answer.
pub(super) struct Granting<'a> {
    shard: &'a AnyShard,
    pub desk: &'a mut Desk,
    now: u64,
    fs: FsId,
    to: SessionId,
    pub grants: Vec<Grant>,
}

impl<'a> Granting<'a> {
    pub fn new(shard: &'a AnyShard, desk: &'a mut Desk, now: u64, fs: FsId, to: SessionId) -> Self {
        Self { shard, desk, now, fs, to, grants: Vec::new() }
    }

    fn add(&mut self, ino: InodeId, mode: Option<LeaseMode>) -> bool {
        let Some(mode) = mode else { return false };
        match self.shard.attr(self.fs, ino) {
            Ok(Some(attr)) => {
                self.grants.push(Grant { attr, mode });
                true
            }
            // Gone since: there is nothing to believe.
            Ok(None) => {
                self.desk.table.give(self.to, (self.fs, ino), None, 0);
                false
            }
            Err(error) => {
                tracing::error!(%ino, %error, "attributes cannot be read");
                false
            }
        }
    }

    /// What it has already; whether it has.
    pub fn renewed(&mut self, ino: InodeId) -> bool {
        let mode = self.desk.table.has((self.fs, ino), self.to);
        self.add(ino, mode)
    }

    /// The right to believe; not of an inode of another shard.
    pub fn shared(&mut self, ino: InodeId) {
        if ino.shard() == self.shard.id() && self.desk.table.may_read((self.fs, ino), self.to, self.now) {
            let mode = self.desk.table.share((self.fs, ino), self.to, self.now);
            self.add(ino, mode);
        }
    }

    /// The right to write behind, if that is in nobody's way; else to believe.
    pub fn exclusive(&mut self, ino: InodeId) {
        let inode = (self.fs, ino);
        if self.desk.table.exclusive(inode, self.to, Wish::IfFree, self.now) == Exclusive::Granted {
            self.add(ino, Some(LeaseMode::Exclusive));
        } else {
            self.shared(ino);
        }
    }
}
