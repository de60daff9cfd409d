//! Locks of a shard's files with the sessions whose programs have them.
//!
//! Calls are numbered by their session. What a call came to is kept until the session has the answer, so a repeated one
//! changes nothing, however late it comes: an old attempt at a lock does not take it after it was given back.
//!
//! A session that has been silent for longer than its leases are good keeps its locks until somebody else wants one
//! that is in the way: then they are *displaced*, and its next introduction is told that they are lost. A session that
//! introduces itself has the locks that it names and that are not in anybody's way; a leader that is new knows no
//! others.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{Errno, FileLock, FsId, InodeId, LockKind, LockSpan, SessionId, limits};
use forebay_wire::lock::{LockCall, LockRefusal, LockReply};
use forebay_wire::meta::MetaError;

use super::{Asked, LockTable, WaitId};
use crate::lease::Inode;

/// Nanoseconds of a monotonic clock.
type Nanos = u64;

/// Who waits and has not asked again for so long has lost its place.
const SILENT_NS: Nanos = limits::LEASE_MS * 1_000_000;
/// Most answers kept for one session.
const MOST_ANSWERS: usize = 1 << 16;

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockCaller {
    /// The filesystem.
    pub fs: FsId,
    /// The session.
    pub session: SessionId,
    /// The call's number.
    pub op: u64,
    /// No call of the session with a number below this is waited for any more.
    pub answered_below: u64,
}

/// What became of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LockOutcome {
    /// Its answer.
    pub reply: LockReply,
    /// Who waits no longer, but has the lock.
    pub gone_on: Vec<WaitId>,
    /// Sessions that have lost locks: they must introduce themselves anew.
    pub displaced: Vec<SessionId>,
}

/// See the module.
#[derive(Clone, Default, Debug)]
pub struct LockBook {
    table: LockTable,
    members: BTreeMap<SessionId, Member>,
}

#[derive(Clone, Default, Debug)]
struct Member {
    /// What its calls came to, by their numbers.
    answers: BTreeMap<u64, LockReply>,
    answered_below: u64,
    /// By the names it has given them; also those that have ended well and that it has not been told of.
    waits: BTreeMap<u64, Wait>,
    displaced: Vec<(Inode, FileLock)>,
    /// It is silent, and nobody who waited then waits for it any more.
    passed_by: bool,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    inode: Inode,
    heard: Nanos,
    granted: bool,
}

impl LockOutcome {
    fn only(reply: LockReply) -> Self {
        Self { reply, gone_on: Vec::new(), displaced: Vec::new() }
    }
}

impl LockBook {
    /// Carries a call out; the same again for one that waits is harmless. `is_silent`: whether a session has not been
    /// heard of for longer than its leases are good.
    pub fn call(
        &mut self,
        by: &LockCaller,
        call: &LockCall,
        now: Nanos,
        is_silent: &dyn Fn(SessionId) -> bool,
    ) -> LockOutcome {
        if !is_sound(call) {
            return LockOutcome::only(LockReply::Error(MetaError::Posix(Errno::Invalid)));
        }
        if let LockCall::Test { ino, lock } = call {
            let lock = FileLock { session: by.session, ..*lock };
            let mut others = self.table.in_the_way((by.fs, *ino), lock).filter(|held| !is_silent(held.session));
            return LockOutcome::only(LockReply::InTheWay(others.next().copied()));
        }
        let member = self.members.entry(by.session).or_default();
        if by.op < member.answered_below {
            // Nobody waits for the answer.
            return LockOutcome::only(LockReply::Error(MetaError::Busy));
        }
        if by.answered_below > member.answered_below {
            member.answered_below = by.answered_below;
            member.answers = member.answers.split_off(&by.answered_below);
        }
        if let Some(reply) = member.answers.get(&by.op) {
            return LockOutcome::only(reply.clone());
        }
        if member.answers.len() >= MOST_ANSWERS {
            return LockOutcome::only(LockReply::Error(MetaError::Busy));
        }
        let outcome = self.carry_out(by, call, now, is_silent);
        if outcome.reply != LockReply::Waits
            && let Some(member) = self.members.get_mut(&by.session)
        {
            member.answers.insert(by.op, outcome.reply.clone());
        }
        outcome
    }

    fn carry_out(
        &mut self,
        by: &LockCaller,
        call: &LockCall,
        now: Nanos,
        is_silent: &dyn Fn(SessionId) -> bool,
    ) -> LockOutcome {
        let own = |lock: &FileLock| FileLock { session: by.session, ..*lock };
        let mut displaced = Vec::new();
        let (reply, mut gone_on) = match *call {
            // It changes nothing.
            LockCall::Test { .. } => (LockReply::Done, Vec::new()),
            LockCall::Try { ino, ref lock } => {
                let (inode, lock) = ((by.fs, ino), own(lock));
                displaced = self.displace(inode, &lock, is_silent);
                match self.table.try_lock(inode, lock) {
                    Ok(gone_on) => (LockReply::Held, gone_on),
                    Err(refusal) => (LockReply::Refused(refusal), Vec::new()),
                }
            }
            LockCall::Wait { ino, ref lock, wait, overtakes, .. } => {
                let (inode, lock) = ((by.fs, ino), own(lock));
                displaced = self.displace(inode, &lock, is_silent);
                self.wait((by.session, wait), lock, Wait { inode, heard: now, granted: false }, overtakes)
            }
            LockCall::Withdraw { ino, ref lock, wait, asked, ref before } => {
                let before: Vec<FileLock> = before.iter().map(own).filter(|lock| lock.first <= lock.last).collect();
                self.withdraw((by.fs, ino), &own(lock), (wait, asked), &before)
            }
            LockCall::Unlock { ino, span } => {
                (LockReply::Done, self.table.unlock((by.fs, ino), &LockSpan { session: by.session, ..span }))
            }
            LockCall::Close { ino, handle, flock } => {
                let (inode, session) = ((by.fs, ino), by.session);
                let mut gone_on = self.table.close(inode, session, handle);
                if let Some(owner) = flock {
                    let span = LockSpan { session, kind: LockKind::Flock, owner, first: 0, last: u64::MAX };
                    gone_on.extend(self.table.unlock(inode, &span));
                }
                (LockReply::Done, gone_on)
            }
        };
        self.note_granted(&mut gone_on);
        LockOutcome { reply, gone_on, displaced }
    }

    /// Begins to wait, or goes on.
    fn wait(&mut self, id: WaitId, lock: FileLock, begun: Wait, overtakes: bool) -> (LockReply, Vec<WaitId>) {
        let Some(waits) = self.members.get_mut(&id.0).map(|member| &mut member.waits) else {
            return (LockReply::Error(MetaError::Busy), Vec::new());
        };
        if let Some(known) = waits.get_mut(&id.1).filter(|known| !known.granted) {
            known.heard = begun.heard;
            let gone_on = if overtakes { self.table.overtake(known.inode, id) } else { Vec::new() };
            if !gone_on.contains(&id) {
                return (LockReply::Waits, gone_on);
            }
            waits.remove(&id.1);
            return (LockReply::Held, gone_on);
        }
        // One that was let go on has the lock already, unless its owner has given it back since: then it was asked for
        // after that.
        waits.remove(&id.1);
        match self.table.lock(begun.inode, id, lock, overtakes) {
            Ok(Asked::Held(gone_on)) => (LockReply::Held, gone_on),
            Ok(Asked::Waits(gone_on)) => {
                waits.insert(id.1, begun);
                (LockReply::Waits, gone_on)
            }
            Err(refusal) => (LockReply::Refused(refusal), Vec::new()),
        }
    }

    /// Nobody wants a lock any more.
    fn withdraw(
        &mut self,
        inode: Inode,
        lock: &FileLock,
        (wait, asked): (u64, u64),
        before: &[FileLock],
    ) -> (LockReply, Vec<WaitId>) {
        let Some(member) = self.members.get_mut(&lock.session) else { return (LockReply::Done, Vec::new()) };
        let wait_of = member.waits.remove(&wait);
        if wait_of.is_some_and(|wait| !wait.granted) {
            member.answers.insert(asked, LockReply::Done);
            return (LockReply::Done, self.table.withdraw(inode, (lock.session, wait)));
        }
        if wait_of.is_none() && asked >= member.answered_below {
            match member.answers.get(&asked) {
                Some(LockReply::Held) => {}
                Some(_) => return (LockReply::Done, Vec::new()),
                None => {
                    // It comes yet, to nothing.
                    member.answers.insert(asked, LockReply::Done);
                    return (LockReply::Done, Vec::new());
                }
            }
        }
        // It was had, or may have been, and nobody has heard of it.
        member.answers.insert(asked, LockReply::Done);
        let (whole, gone_on) = self.table.restore(inode, &lock.span(), before);
        (if whole { LockReply::Done } else { LockReply::Refused(LockRefusal::Conflict) }, gone_on)
    }

    /// Those who go on have not been told yet.
    fn note_granted(&mut self, gone_on: &mut Vec<WaitId>) {
        gone_on.retain(|(session, wait)| {
            let waits = self.members.get_mut(session).map(|member| &mut member.waits);
            waits.and_then(|waits| waits.get_mut(wait)).map(|wait| wait.granted = true).is_some()
        });
    }

    /// Takes away what silent sessions hold that is in the way of a lock; those sessions.
    fn displace(&mut self, inode: Inode, lock: &FileLock, is_silent: &dyn Fn(SessionId) -> bool) -> Vec<SessionId> {
        let goes = |held: &FileLock| held.session != lock.session && is_silent(held.session);
        if !self.table.in_the_way(inode, *lock).any(goes) {
            return Vec::new();
        }
        let (taken, mut gone_on) = self.table.take_away(inode, |held| held.conflicts(lock) && goes(held));
        self.note_granted(&mut gone_on);
        self.note_displaced(inode, taken)
    }

    fn note_displaced(&mut self, inode: Inode, taken: Vec<FileLock>) -> Vec<SessionId> {
        let sessions: BTreeSet<SessionId> = taken.iter().map(|held| held.session).collect();
        for held in taken {
            self.members.entry(held.session).or_default().displaced.push((inode, held));
        }
        sessions.into_iter().collect()
    }

    /// A session begins anew: these are its locks, but those that it has lost, and it waits for none. Those lost, and who
    /// goes on now.
    pub fn introduce(
        &mut self,
        fs: FsId,
        session: SessionId,
        locks: &[(InodeId, FileLock)],
    ) -> (Vec<(InodeId, FileLock)>, Vec<WaitId>) {
        let member = self.members.entry(session).or_default();
        let before = std::mem::take(member);
        member.answered_below = before.answered_below;
        let files = self.table.files_of(session);
        let mut claims: BTreeMap<Inode, Vec<FileLock>> = files.into_iter().map(|inode| (inode, Vec::new())).collect();
        let (mut lost, mut gone_on) = (Vec::new(), Vec::new());
        for (ino, lock) in locks.iter().filter(|(_, lock)| lock.first <= lock.last) {
            let (inode, lock) = ((fs, *ino), FileLock { session, ..*lock });
            let gone = |(of, gone): &(Inode, FileLock)| *of == inode && gone.same_owner(&lock) && gone.overlaps(&lock);
            if before.displaced.iter().any(gone) {
                lost.push((*ino, lock));
            } else {
                claims.entry(inode).or_default().push(lock);
            }
        }
        for (inode, locks) in claims {
            let (refused, others) = self.table.replace(inode, session, &locks);
            lost.extend(refused.into_iter().map(|lock| (inode.1, lock)));
            gone_on.extend(others);
        }
        self.note_granted(&mut gone_on);
        (lost, gone_on)
    }

    /// A session has ended. Returns who goes on now.
    pub fn end_session(&mut self, session: SessionId) -> Vec<WaitId> {
        self.members.remove(&session);
        let files = self.table.files_of(session);
        let mut gone_on: Vec<WaitId> =
            files.into_iter().flat_map(|inode| self.table.replace(inode, session, &[]).1).collect();
        self.note_granted(&mut gone_on);
        gone_on
    }

    /// Nobody waits for a silent session, and who does not ask any more waits no longer. Who goes on now, and sessions
    /// that have lost locks.
    pub fn expire(&mut self, now: Nanos, is_silent: &dyn Fn(SessionId) -> bool) -> (Vec<WaitId>, Vec<SessionId>) {
        let (mut gone_on, mut displaced) = (Vec::new(), Vec::new());
        let mut newly_silent = Vec::new();
        for (session, member) in &mut self.members {
            let silent = is_silent(*session);
            if silent && !member.passed_by {
                newly_silent.push(*session);
            }
            member.passed_by = silent;
            // What one was given that has not heard of it stays: it withdraws or asks again, or introduces itself.
            let late = |wait: &Wait| !wait.granted && (silent || now >= wait.heard + SILENT_NS);
            for (name, wait) in member.waits.extract_if(.., |_, wait| late(wait)) {
                gone_on.extend(self.table.withdraw(wait.inode, (*session, name)));
            }
        }
        for session in newly_silent {
            for inode in self.table.files_of(session) {
                let wanted = self.table.waited_for(inode);
                let in_the_way =
                    |held: &FileLock| held.session == session && wanted.iter().any(|lock| lock.conflicts(held));
                let (taken, others) = self.table.take_away(inode, in_the_way);
                gone_on.extend(others);
                displaced.extend(self.note_displaced(inode, taken));
            }
        }
        self.note_granted(&mut gone_on);
        (gone_on, displaced)
    }

    /// Whether nobody holds a lock or waits for one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

/// Whether the locks that a call names are of bytes.
fn is_sound(call: &LockCall) -> bool {
    match call {
        LockCall::Test { lock, .. }
        | LockCall::Try { lock, .. }
        | LockCall::Wait { lock, .. }
        | LockCall::Withdraw { lock, .. } => lock.first <= lock.last,
        LockCall::Unlock { span, .. } => span.first <= span.last,
        LockCall::Close { .. } => true,
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
