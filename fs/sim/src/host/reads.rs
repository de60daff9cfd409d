//! What a leader may tell now, and what may be believed of it: the twin of `read_now` and `Granting` in `server`'s
//! `metadata/calls.rs`.

use forebay_meta::{Exclusive, Wish};
use forebay_types::{Cred, Errno, FileKind, FsId, InodeId, LeaseMode, SessionId};
use forebay_wire::meta::{Grant, MetaAnswer, MetaError, MetaReply, ReadOp};

use super::replica::Replica;
use super::touch::told_of;
use crate::faults::Sabotage;

/// Answers a read from what is applied, if that may be told now.
pub(super) fn read_now(
    replica: &mut Replica,
    (fs, session): (FsId, SessionId),
    cred: &Cred,
    op: &ReadOp,
    now: u64,
    sabotage: Option<Sabotage>,
) -> Option<MetaAnswer> {
    let shard = replica.id;
    if let Some(ino) = told_of(op).filter(|ino| ino.shard() == shard)
        && !replica.desk.table.may_read((fs, ino), session, now)
    {
        return None;
    }
    let mut reply = replica.shard.read(fs, session, cred, op, &mut replica.opens);
    let mut grants = Granting::new(replica, now, fs, session, sabotage);
    match (&mut reply, op) {
        (MetaReply::Entry { ino, attr: Some(_), .. }, ReadOp::Lookup { parent, .. }) => {
            if !grants.replica.desk.table.may_read((fs, *ino), session, now) {
                return None;
            }
            grants.shared(*parent);
            grants.shared(*ino);
        }
        (
            MetaReply::Entry { .. } | MetaReply::Error(MetaError::Posix(Errno::NoEntry)),
            ReadOp::Lookup { parent, .. },
        ) => grants.shared(*parent),
        (MetaReply::Error(_), _) => {}
        (MetaReply::Entries { entries, .. }, ReadOp::ReadDir { dir, .. }) => {
            grants.shared(*dir);
            for entry in entries {
                // What somebody else has not said yet is asked for on its own.
                let inode = (fs, entry.ino);
                entry.attr = entry.attr.take().filter(|_| grants.replica.desk.table.is_true(inode, session));
                if entry.attr.is_some() {
                    grants.shared(entry.ino);
                }
            }
        }
        (MetaReply::Attr(attr), ReadOp::Open { ino, write: true, .. }) if attr.kind == FileKind::Regular => {
            grants.exclusive(*ino);
        }
        (_, ReadOp::Close { .. } | ReadOp::Introduce { .. }) => {}
        _ => told_of(op).into_iter().for_each(|ino| grants.shared(ino)),
    }
    Some(MetaAnswer { grants: grants.grants, reply, stale: Vec::new() })
}

/// Leases that go out with an answer.
pub(super) struct Granting<'a> {
    pub replica: &'a mut Replica,
    pub grants: Vec<Grant>,
    now: u64,
    fs: FsId,
    to: SessionId,
    sabotage: Option<Sabotage>,
}

impl<'a> Granting<'a> {
    pub fn new(replica: &'a mut Replica, now: u64, fs: FsId, to: SessionId, sabotage: Option<Sabotage>) -> Self {
        Self { replica, grants: Vec::new(), now, fs, to, sabotage }
    }

    fn add(&mut self, ino: InodeId, mode: Option<LeaseMode>) -> bool {
        let Some(mode) = mode else { return false };
        match self.replica.shard.attr(self.fs, ino).expect("the store works") {
            Some(attr) => {
                self.grants.push(Grant { attr, mode });
                true
            }
            // Gone since: there is nothing to believe.
            None => {
                self.replica.desk.table.give(self.to, (self.fs, ino), None, 0);
                false
            }
        }
    }

    /// What it has already; whether it has.
    pub fn renewed(&mut self, ino: InodeId) -> bool {
        let mode = self.replica.desk.table.has((self.fs, ino), self.to);
        self.add(ino, mode)
    }

    /// The right to believe; not of an inode of another shard.
    pub fn shared(&mut self, ino: InodeId) {
        let (inode, table) = ((self.fs, ino), &mut self.replica.desk.table);
        if ino.shard() == self.replica.id && table.may_read(inode, self.to, self.now) {
            let mode = table.share(inode, self.to, self.now);
            self.add(ino, mode);
        }
    }

    /// The right to write behind, if that is in nobody's way; else to believe.
    pub fn exclusive(&mut self, ino: InodeId) {
        let granted = self.replica.desk.table.exclusive((self.fs, ino), self.to, Wish::IfFree, self.now);
        if granted == Exclusive::Granted || self.sabotage == Some(Sabotage::SharedExclusives) {
            self.add(ino, Some(LeaseMode::Exclusive));
        } else {
            self.shared(ino);
        }
    }
}
