//! Exactly-once: a mutation's answer is kept under its name until its session has said that it has it.

use forebay_types::{Errno, Geometry, OpId, PgId, SessionId};
use forebay_wire::meta::{MetaError, MetaReply, MutateOp, Mutation};

use crate::entry::Effect;
use crate::error::Fault;
use crate::ops;
use crate::quota;
use crate::record::{ReplyRecord, SessionRecord};
use crate::stripes;
use crate::tx::Tx;

/// How far an operation got with its own entry.
pub(crate) enum Outcome {
    Done(MetaReply),
    /// The transaction of this number goes on.
    Pending(u64),
}

pub(crate) fn load(tx: &Tx<'_>, session: SessionId) -> Result<SessionRecord, Fault> {
    Ok(tx.get("session", &tx.keys.session(session))?.unwrap_or_default())
}

/// Applies a mutation, unless it was applied before. `None`: its transaction goes on.
pub(crate) fn once(
    tx: &mut Tx<'_>,
    mutation: &Mutation,
    placements: &[(PgId, Geometry)],
) -> Result<Option<MetaReply>, Fault> {
    let id = mutation.id;
    let mut session = load(tx, id.session)?;
    if session.ended {
        let again = matches!(mutation.op, MutateOp::EndSession { session } if session == id.session);
        let reply = if again { MetaReply::Done } else { MetaReply::Error(MetaError::SessionEnded(id.session)) };
        return Ok(Some(reply));
    }
    if mutation.acknowledged_below > session.acknowledged_below {
        // From where the last such deletion ended: a store is slow to pass over what it has deleted.
        let start = OpId { sequence: session.acknowledged_below, ..id };
        let end = OpId { sequence: mutation.acknowledged_below, ..id };
        session.acknowledged_below = mutation.acknowledged_below;
        tx.put(tx.keys.session(id.session), &session);
        tx.delete_all(&(tx.keys.reply(start), tx.keys.reply(end)))?;
    }
    if id.sequence < session.acknowledged_below {
        // A copy that was long under way: the session has the answer already.
        return Ok(Some(MetaReply::Error(Errno::Stale.into())));
    }
    match tx.get("reply", &tx.keys.reply(id))? {
        Some(ReplyRecord::Done(reply)) => {
            open_again(tx, mutation, &reply);
            return Ok(Some(reply));
        }
        Some(ReplyRecord::Pending(_)) => return Ok(None),
        None => {}
    }
    let before = tx.savepoint();
    let outcome = ops::mutate(tx, mutation, placements);
    let settled = outcome.and_then(|outcome| quota::settle(tx, quota::enforced(&mutation.op)).map(|()| outcome));
    match settled {
        Ok(Outcome::Done(reply)) => {
            keep(tx, id, &reply)?;
            Ok(Some(reply))
        }
        Ok(Outcome::Pending(number)) => {
            tx.put(tx.keys.reply(id), &ReplyRecord::Pending(number));
            Ok(None)
        }
        Err(Fault::Refused(error)) => {
            tx.rollback(before);
            if let (MetaError::Posix(Errno::Quota), MutateOp::Commit { extents, .. }) = (&error, &mutation.op) {
                stripes::give_up(tx, id.session, extents)?;
            }
            let reply = MetaReply::Error(error);
            keep(tx, id, &reply)?;
            Ok(Some(reply))
        }
        Err(broken) => Err(broken),
    }
}

/// A session that has not ended may have leases from now on.
pub(crate) fn join(tx: &mut Tx<'_>, id: SessionId) -> Result<MetaReply, Fault> {
    let mut session = load(tx, id)?;
    if session.ended {
        return Err(MetaError::SessionEnded(id).into());
    }
    session.joined = true;
    tx.put(tx.keys.session(id), &session);
    Ok(MetaReply::Done)
}

/// A file that was made open is open again: the leader that answers now may not be the one that made it.
fn open_again(tx: &mut Tx<'_>, mutation: &Mutation, reply: &MetaReply) {
    let opens = matches!(mutation.op, MutateOp::Create { open: true, .. } | MutateOp::Tmpfile { .. });
    if let MetaReply::Entry { ino, created: true, .. } = reply
        && opens
    {
        tx.effects.push(Effect::Opened { fs: mutation.fs, session: mutation.id.session, ino: *ino });
    }
}

/// Keeps an answer; one that asks to be asked again is forgotten instead, and so is one that nobody waits for.
pub(crate) fn keep(tx: &mut Tx<'_>, id: OpId, reply: &MetaReply) -> Result<(), Fault> {
    let session = load(tx, id.session)?;
    let again = matches!(reply, MetaReply::Error(MetaError::Busy | MetaError::NotServed { .. }));
    let key = tx.keys.reply(id);
    if again || session.ended || id.sequence < session.acknowledged_below {
        tx.delete(key);
    } else {
        tx.put(key, &ReplyRecord::Done(reply.clone()));
    }
    Ok(())
}
