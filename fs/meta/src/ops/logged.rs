//! Do what a client has done by itself in directories that are delegated to it.

use forebay_types::Errno;
use forebay_wire::meta::{LoggedOp, MetaError, MetaReply, MutateOp, Mutation};

use crate::error::Fault;
use crate::quota;
use crate::session::Outcome;
use crate::tx::Tx;

/// Whether an operation can be in a client's log at all: it is whole within one shard and one entry.
pub(crate) fn is_loggable(op: &MutateOp) -> bool {
    match op {
        MutateOp::Create { content, .. } => content.is_none(),
        MutateOp::Commit { receipts, .. } => receipts.is_empty(),
        MutateOp::Mkdir { .. }
        | MutateOp::Rmdir { .. }
        | MutateOp::Unlink { .. }
        | MutateOp::Rename { .. }
        | MutateOp::SetAttr { .. }
        | MutateOp::SetXattr { .. }
        | MutateOp::RemoveXattr { .. }
        | MutateOp::Accessed { .. } => true,
        _ => false,
    }
}

/// Each operation is carried out or refused by itself, as it was when the client did it.
pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation, ops: &[LoggedOp]) -> Result<MetaReply, Fault> {
    let now = tx.now;
    let mut failed = Vec::new();
    for (place, logged) in (0..).zip(ops) {
        let before = tx.savepoint();
        tx.now = logged.now.min(now);
        if let Err(fault) = one(tx, m, logged) {
            tx.rollback(before);
            match fault {
                Fault::Refused(error) => failed.push((place, error)),
                Fault::Broken(error) => return Err(Fault::Broken(error)),
            }
        }
    }
    tx.now = now;
    Ok(MetaReply::Logged { failed, over: quota::over_by_growth(tx, m.fs)? })
}

fn one(tx: &mut Tx<'_>, m: &Mutation, logged: &LoggedOp) -> Result<(), Fault> {
    if !is_loggable(&logged.op) {
        return Err(Errno::Invalid.into());
    }
    if let Some(ino) = logged.ino {
        // Of those that were set aside, and not used yet.
        tx.local(ino)?;
        if ino.counter() >= tx.counters()?.inode || tx.inode(m.fs, ino)?.is_some() {
            return Err(Errno::Stale.into());
        }
    }
    tx.given = logged.ino;
    let LoggedOp { cred, op, .. } = logged.clone();
    let m = Mutation { fs: m.fs, id: m.id, acknowledged_below: m.acknowledged_below, cred, op };
    let outcome = super::mutate(tx, &m, &[]);
    tx.given = None;
    match outcome? {
        // What was made here nobody else has seen, let alone opened.
        Outcome::Done(MetaReply::Entry { ino, created: true, .. }) => drop(tx.closed.insert(ino)),
        Outcome::Done(_) => {}
        // It turned out to be another shard's business too, so it cannot have been the client's.
        Outcome::Pending(_) => return Err(MetaError::Posix(Errno::Stale).into()),
    }
    Ok(())
}
