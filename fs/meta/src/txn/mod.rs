//! Operations over two shards or more.
//!
//! The shard that a mutation is sent to drives it: a transaction is a record with a plan (what to do next, by the
//! answer that came) and the one step it waits for. A step is sent until it is answered, and an answer to a step that
//! is not waited for is a copy and ignored. The other side keeps its answers ([`peer`]), so each step happens once.
//! Names that are between two states are held by the transaction and answer `Busy` to everybody else; a transaction
//! that finds something held gives up with `Busy` instead of waiting, so there are no deadlocks.

pub(crate) mod link;
pub(crate) mod mkdir;
pub(crate) mod peer;
pub(crate) mod rename;
pub(crate) mod rmdir;
pub(crate) mod unlink;

use forebay_types::{Errno, FsId, InodeId, ShardId};
use forebay_wire::meta::{MetaError, MetaReply, Mutation, PeerAction, PeerStep, TxnId};
use serde::{Deserialize, Serialize};

use crate::entry::Effect;
use crate::error::Fault;
use crate::key;
use crate::record::TxnRecord;
use crate::session::{self, Outcome};
use crate::tx::Tx;

/// Most transactions a shard drives at a time; more are `Busy`.
const ACTIVE_MAX: u32 = 4096;

/// What a transaction does, and how far it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) enum Plan {
    Mkdir(mkdir::Mkdir),
    Rmdir(rmdir::Rmdir),
    Unlink(unlink::Unlink),
    Link(link::Link),
    Rename(Box<rename::Rename>),
}

/// What a transaction does next.
pub(crate) enum Next {
    /// Ask a shard.
    Ask(ShardId, PeerAction),
    /// It is over, and this is the mutation's answer.
    Finish(MetaReply),
}

/// Takes a number for a new transaction.
pub(crate) fn begin(tx: &mut Tx<'_>) -> Result<TxnId, Fault> {
    let mut counters = tx.counters()?;
    if counters.active_txns >= ACTIVE_MAX {
        return Err(MetaError::Busy.into());
    }
    let id = TxnId { source: tx.me, number: counters.txn };
    counters.txn += 1;
    counters.active_txns += 1;
    tx.put_counters(&counters);
    Ok(id)
}

/// Records a transaction and sends its first step.
pub(crate) fn launch(
    tx: &mut Tx<'_>,
    m: &Mutation,
    id: TxnId,
    plan: Plan,
    (to, action): (ShardId, PeerAction),
) -> Result<Outcome, Fault> {
    let step = PeerStep { txn: id, step: 0, forget_below: 0, fs: m.fs, author: m.id.session, now: tx.now, action };
    send(tx, TxnRecord { fs: m.fs, client: m.id, plan, to, step })?;
    Ok(Outcome::Pending(id.number))
}

fn send(tx: &mut Tx<'_>, mut record: TxnRecord) -> Result<(), Fault> {
    let number = record.step.txn.number;
    let mut counters = tx.counters()?;
    let under_way = (tx.keys.txn(counters.oldest_txn), tx.keys.all(b'T').1);
    let oldest = tx.scan(&under_way, 1)?.first().map_or(number, |(key, _)| key::number(key, 4)).min(number);
    if oldest > counters.oldest_txn {
        counters.oldest_txn = oldest;
        tx.put_counters(&counters);
    }
    record.step.forget_below = oldest;
    record.step.now = tx.now;
    tx.put(tx.keys.txn(number), &record);
    tx.effects.push(Effect::Send { to: record.to, step: record.step });
    Ok(())
}

/// Goes on with a transaction after an answer.
pub(crate) fn advance(tx: &mut Tx<'_>, id: TxnId, step: u32, reply: &MetaReply) -> Result<(), Fault> {
    if matches!(reply, MetaReply::Error(MetaError::NotServed { .. } | MetaError::Storage { .. })) {
        // Not an answer: the step stays in the outbox.
        return Ok(());
    }
    let found: Option<TxnRecord> = tx.get("transaction", &tx.keys.txn(id.number))?;
    let Some(mut record) = found.filter(|r| id.source == tx.me && r.step.step == step) else {
        return Ok(());
    };
    tx.author = Some(record.client.session);
    tx.operation = Some(record.client);
    let held = *reply == MetaReply::Error(Errno::Again.into());
    let reply = if held { &MetaReply::Error(MetaError::Busy) } else { reply };
    let next = match proceed(tx, &mut record, id, reply) {
        Ok(next) => next,
        Err(Fault::Refused(error)) => panic!("{id:?} is refused what it holds: {error}; {record:?}"),
        Err(broken) => return Err(broken),
    };
    match next {
        Next::Ask(to, action) => {
            record.to = to;
            record.step.step += 1;
            record.step.action = action;
            send(tx, record)
        }
        Next::Finish(reply) => {
            tx.delete(tx.keys.txn(id.number));
            let mut counters = tx.counters()?;
            counters.active_txns -= 1;
            tx.put_counters(&counters);
            session::keep(tx, record.client, &reply)?;
            tx.effects.push(Effect::Reply { id: record.client, reply });
            Ok(())
        }
    }
}

/// The inodes whose names or links a transaction may be about to change.
pub(crate) fn inodes(record: &TxnRecord) -> Vec<InodeId> {
    let of_plan = match &record.plan {
        Plan::Mkdir(plan) => vec![plan.ino],
        Plan::Rmdir(plan) => vec![plan.ino],
        Plan::Link(plan) => vec![plan.ino],
        Plan::Rename(plan) => plan.inodes(),
        Plan::Unlink(_) => Vec::new(),
    };
    let of_step = match &record.step.action {
        PeerAction::DropLink { ino, .. } => Some(*ino),
        _ => None,
    };
    of_plan.into_iter().chain(of_step).collect()
}

fn proceed(tx: &mut Tx<'_>, record: &mut TxnRecord, id: TxnId, reply: &MetaReply) -> Result<Next, Fault> {
    let fs: FsId = record.fs;
    match &mut record.plan {
        Plan::Mkdir(plan) => plan.answered(tx, fs, reply),
        Plan::Rmdir(plan) => plan.answered(tx, fs, reply),
        Plan::Unlink(plan) => plan.answered(tx, fs, reply),
        Plan::Link(plan) => plan.answered(tx, fs, reply),
        Plan::Rename(plan) => plan.answered(tx, fs, id, reply),
    }
}
