//! Reads, answered from what is applied.

use forebay_meta::{Exclusive, OpenTable, Wish};
use forebay_types::{Errno, FileKind, InodeId, Timestamp};
use forebay_wire::meta::{MetaAnswer, MetaError, MetaReply, ReadOp};

use super::Reader;
use super::grants::Granting;
use crate::metadata::AnyShard;
use crate::metadata::leases::Desk;

/// Answers a read from what is applied, if that may be told now.
pub(super) fn read_now(
    shard: &AnyShard,
    opens: &mut OpenTable,
    desk: &mut Desk,
    (now, wall): (u64, Timestamp),
    by: &Reader<'_>,
    op: &ReadOp,
) -> Option<MetaAnswer> {
    let here = |ino: &InodeId| ino.shard() == shard.id();
    if let Some(ino) = told_of(op).filter(here) {
        let inode = (by.fs, ino);
        // Whoever gives up what it believes of a file may wait for pages that are being read, so for this.
        let late = matches!(op, ReadOp::Extents { .. }) && desk.table.is_giving(inode, by.session);
        if !late && !desk.table.may_read(inode, by.session, now) {
            return None;
        }
    }
    if let ReadOp::Delegate { dir } = op
        && here(dir)
    {
        let found = shard.read(by.fs, by.session, by.cred, op, opens);
        if let MetaReply::Error(_) = found {
            return Some(found.into());
        }
        match desk.table.exclusive((by.fs, *dir), by.session, Wish::Gladly, now) {
            Exclusive::Granted => {}
            Exclusive::Wait => return None,
            Exclusive::Refused => return Some(MetaReply::Error(Errno::Again.into()).into()),
        }
    }
    if let ReadOp::Exclusive { ino, must } = op
        && here(ino)
    {
        let wish = if *must { Wish::Must } else { Wish::Gladly };
        if desk.table.exclusive((by.fs, *ino), by.session, wish, now) == Exclusive::Wait {
            return None;
        }
    }
    let mut reply = shard.read(by.fs, by.session, by.cred, op, opens);
    let mut grants = Granting::new(shard, desk, now, by.fs, by.session);
    match (&mut reply, op) {
        (MetaReply::Entry { ino, attr: Some(_), .. }, ReadOp::Lookup { parent, .. }) => {
            if !grants.desk.table.may_read((by.fs, *ino), by.session, now) {
                return None;
            }
            grants.shared(*parent);
            grants.shared(*ino);
        }
        (
            MetaReply::Entry { .. } | MetaReply::Error(MetaError::Posix(Errno::NoEntry)),
            ReadOp::Lookup { parent, .. },
        ) => {
            grants.shared(*parent);
        }
        (MetaReply::Error(_), _) => {}
        (MetaReply::Entries { entries, .. }, ReadOp::ReadDir { dir, .. }) => {
            grants.shared(*dir);
            for entry in entries {
                let inode = (by.fs, entry.ino);
                // What somebody else has not said yet is asked for on its own.
                entry.attr = entry.attr.take().filter(|_| grants.desk.table.is_true(inode, by.session));
                if entry.attr.is_some() {
                    grants.shared(entry.ino);
                }
            }
        }
        (MetaReply::Attr(attr), ReadOp::Open { ino, write: true, .. }) if attr.kind == FileKind::Regular => {
            grants.exclusive(*ino);
        }
        (MetaReply::Delegated(delegated), ReadOp::Delegate { dir }) => {
            delegated.now = wall;
            grants.exclusive(*dir);
        }
        (_, ReadOp::Close { .. } | ReadOp::Statfs | ReadOp::Introduce { .. } | ReadOp::Fsck(_)) => {}
        _ => told_of(op).into_iter().for_each(|ino| grants.shared(ino)),
    }
    let grants = grants.grants;
    Some(MetaAnswer { reply, grants, stale: Vec::new() })
}

/// The inode that a read tells of by what it names.
fn told_of(op: &ReadOp) -> Option<InodeId> {
    op.inode().filter(|_| !matches!(op, ReadOp::Close { .. }))
}
