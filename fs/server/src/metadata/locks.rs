//! Locks of programs, as the leader of their files' shard keeps them: the book, and who waits on this host to hear.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_meta::{LockBook, LockCaller, WaitId};
use forebay_types::{FileLock, FsId, InodeId, SessionId};
use forebay_wire::lock::{LockCall, LockReply, LockRequest};
use forebay_wire::meta::MetaError;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Metadata;

/// The book, with those that wait for it.
#[derive(Default)]
pub(crate) struct LockDesk {
    book: LockBook,
    /// Calls that are answered when the wait is over; more than one only where an answer was lost.
    listening: BTreeMap<WaitId, Vec<oneshot::Sender<()>>>,
}

impl LockDesk {
    /// These have their locks now.
    fn tell(&mut self, gone_on: Vec<WaitId>) {
        for id in gone_on {
            for call in self.listening.remove(&id).unwrap_or_default() {
                // Whoever asked may have stopped waiting, and asks again.
                let _ = call.send(());
            }
        }
    }

    /// Has every call look again: this host leads the shard no more.
    pub fn dismiss(&mut self) {
        self.listening.clear();
    }

    /// A session begins anew; its locks that are lost.
    pub fn introduce(
        &mut self,
        fs: FsId,
        session: SessionId,
        locks: &[(InodeId, FileLock)],
    ) -> Vec<(InodeId, FileLock)> {
        let (lost, gone_on) = self.book.introduce(fs, session, locks);
        self.tell(gone_on);
        lost
    }

    /// A session has ended.
    pub fn end_session(&mut self, session: SessionId) {
        let gone_on = self.book.end_session(session);
        self.tell(gone_on);
        self.listening.retain(|(of, _), _| *of != session);
    }

    /// Ends what silent sessions hold others up with; those that have lost locks.
    pub fn expire(&mut self, now_ns: u64, is_silent: &dyn Fn(SessionId) -> bool) -> Vec<SessionId> {
        let (gone_on, displaced) = self.book.expire(now_ns, is_silent);
        self.tell(gone_on);
        self.listening.retain(|_, calls| {
            calls.retain(|call| !call.is_closed());
            !calls.is_empty()
        });
        displaced
    }

    /// A call is told when its wait is over.
    fn listen(&mut self, id: WaitId) -> oneshot::Receiver<()> {
        let (call, over) = oneshot::channel();
        self.listening.entry(id).or_default().push(call);
        over
    }
}

impl Metadata {
    /// Answers a call of the lock service.
    pub async fn lock(&self, request: LockRequest, deadline: Duration) -> LockReply {
        let LockRequest { shard, fs, session, number, op, answered_below, call } = request;
        let refuse = |leader| LockReply::Error(MetaError::NotServed { shard, epoch: self.map.epoch(), leader });
        let Some(served) = self.table.get(shard) else { return refuse(None) };
        let permit = match served.lead.begin(self.clock.nanos()) {
            Ok(permit) => permit,
            Err(leader) => return refuse(leader),
        };
        self.note_session(session);
        let by = LockCaller { fs, session, op, answered_below };
        let wait = match &call {
            LockCall::Wait { wait, wait_ms, .. } => Some((*wait, Duration::from_millis((*wait_ms).into()))),
            _ => None,
        };
        let until = Instant::now() + wait.map_or(deadline, |(_, wait)| wait.min(deadline));
        let reply = loop {
            let (reply, over, displaced) = served.leases.with(|desk| {
                if let Err(error) = self.admit(&served, desk, session, number) {
                    return (LockReply::Error(error), None, false);
                }
                let now_ns = self.clock.nanos();
                let table = &desk.table;
                let outcome = desk.locks.book.call(&by, &call, now_ns, &|session| table.is_silent(session, now_ns));
                desk.locks.tell(outcome.gone_on);
                outcome.displaced.iter().for_each(|session| desk.displaced(served.id, *session));
                let waits = wait.filter(|_| outcome.reply == LockReply::Waits);
                let over = waits.map(|(wait, _)| desk.locks.listen((session, wait)));
                (outcome.reply, over, !outcome.displaced.is_empty())
            });
            if displaced {
                served.leases.notify();
            }
            let Some(over) = over else { break reply };
            if timeout_at(until, over).await.is_err() || served.lead.get().ready.is_none() {
                break reply;
            }
        };
        match served.lead.confirm(permit, self.clock.nanos()).await {
            Ok(()) => reply,
            Err(leader) => refuse(leader),
        }
    }
}
