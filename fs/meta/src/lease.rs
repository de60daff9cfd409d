//! Which sessions may believe what they were told of which inodes. Volatile, on the shard's leader only.
//!
//! A *shared* lease lets a session keep an inode's attributes, its names if it is a directory, and its bytes if it is
//! a file, until it is told to give the lease back. An *exclusive* one lets it also keep back what it has written, or, of
//! a directory, what it has done there: the directory is *delegated* to it. A lease is good for [`limits::LEASE_MS`] after its session was last heard of here; a session that is silent for
//! longer has none any more, and must introduce itself anew before anything else.
//!
//! Protocol of the leader's shell, all under one lock with the reading and the applying of the shard's state:
//!
//! * before a read is answered: [`LeaseTable::may_read`], until it says so; then [`LeaseTable::share`];
//! * before a mutation is proposed: [`LeaseTable::claim`] for each inode that it names, until all are granted;
//!   [`LeaseTable::unclaim`] after it was applied;
//! * after an entry was applied: [`LeaseTable::changed`] with the inodes it has changed; its answer, and whatever
//!   else would tell of it, waits until [`LeaseTable::settled`];
//! * a new leader begins with a [`LeaseTable::new`] and answers nothing but introductions while it
//!   [`LeaseTable::awaits`] anybody.
//!
//! A session that has been asked to give up what it believes may be told of the change before it has: its kernel may
//! not be able to forget before it has the answer. The change has not ended then.
//!
//! Invariants: while a session has an exclusive lease of an inode no other has any; nobody else is told of a change while
//! somebody's lease still lets it believe what was before; every wait ends when the leases it waits for run out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use forebay_types::{FsId, InodeId, LeaseMode, SessionId, limits};
use forebay_wire::lease::Revoke;

/// An inode of a filesystem.
pub type Inode = (FsId, InodeId);

/// Nanoseconds of a monotonic clock.
type Nanos = u64;

const LEASE_NS: Nanos = limits::LEASE_MS * 1_000_000;
/// A second revocation within this time shows that an inode is in dispute.
const DISPUTE_NS: Nanos = 5_000_000_000;
/// For how long an inode in dispute is not leased, the first time; it doubles with each further dispute, up to five times.
const COOL_DOWN_NS: Nanos = 1_000_000_000;
/// Most leases of one shard.
const MOST_LEASES: usize = 1 << 20;

/// What becomes of a wish for an exclusive lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exclusive {
    /// The session has it.
    Granted,
    /// Others have been asked to give up theirs.
    Wait,
    /// The file is in dispute, or too much is leased: write through.
    Refused,
}

/// An exclusive lease that a session says it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The file.
    pub inode: Inode,
    /// Whether the lease is still good by the session's clock.
    pub good: bool,
    /// Whether the file is as the session knows it.
    pub unchanged: bool,
}

/// Changes that are not to be told of before others have given back their leases.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Barrier {
    number: u64,
    author: Option<SessionId>,
    inodes: Vec<Inode>,
}

/// See the module.
#[derive(Default, Debug)]
pub struct LeaseTable {
    members: BTreeMap<SessionId, Member>,
    inodes: BTreeMap<Inode, Leases>,
    /// Sessions that may have leases of an earlier leader and have not said so yet, and until when they are waited for.
    awaited: BTreeSet<SessionId>,
    awaited_until: Nanos,
    /// The last number given to an introduction.
    introductions: u64,
    /// The last number given to a change.
    changes: u64,
    /// Leases in all.
    held: usize,
    revocations: u64,
    /// When what is not needed any more was last dropped.
    tidied_at: Nanos,
}

#[derive(Debug)]
struct Member {
    /// The session's own number for the introduction that it began with.
    attempt: u64,
    number: u64,
    until: Nanos,
    /// Number of the last of `revokes`.
    told: u64,
    revokes: VecDeque<Revoke>,
    inodes: BTreeSet<Inode>,
}

#[derive(Default, Debug)]
struct Leases {
    holders: BTreeMap<SessionId, Holder>,
    /// Mutations under way that nobody may write behind.
    claims: u32,
    /// When somebody last had to give up a lease of it.
    revoked_at: Option<Nanos>,
    disputes: u32,
    cool_until: Nanos,
}

#[derive(Debug)]
struct Holder {
    mode: LeaseMode,
    /// Absent while it may be kept.
    giving: Option<Giving>,
}

/// A lease that its session was asked for.
#[derive(Clone, Copy, Debug)]
struct Giving {
    /// What may be kept.
    keep: Option<LeaseMode>,
    /// The change that is the reason, or the last one before.
    since: u64,
    /// The revocation's number.
    number: u64,
}

impl Leases {
    fn is_idle(&self, now: Nanos) -> bool {
        self.holders.is_empty()
            && self.claims == 0
            && now >= self.cool_until
            && self.revoked_at.is_none_or(|at| now >= at + DISPUTE_NS)
    }

    /// Somebody has to give up a lease.
    fn note_revocation(&mut self, now: Nanos) {
        match self.revoked_at {
            Some(at) if now < at.max(self.cool_until) + DISPUTE_NS => {
                self.cool_until = now + (COOL_DOWN_NS << self.disputes.min(5));
                self.disputes += 1;
            }
            _ => self.disputes = 0,
        }
        self.revoked_at = Some(now);
    }
}

impl LeaseTable {
    /// The table of the leader of a term. `sessions` may have leases from those before it.
    #[must_use]
    pub fn new(term: u64, sessions: impl IntoIterator<Item = SessionId>, now: Nanos) -> Self {
        Self {
            awaited: sessions.into_iter().collect(),
            awaited_until: now + LEASE_NS,
            // So that no two leaders give the same number.
            introductions: term << 32,
            ..Self::default()
        }
    }

    /// Whether somebody may have leases that are not known here: nothing can be read or changed until then.
    #[must_use]
    pub fn awaits(&self, now: Nanos) -> bool {
        !self.awaited.is_empty() && now < self.awaited_until
    }

    /// Whether others than a session may have leases that are not known here.
    #[must_use]
    pub fn awaits_others(&self, session: SessionId, now: Nanos) -> bool {
        self.awaits(now) && self.awaited.iter().any(|other| *other != session)
    }

    /// Whether a session has not been heard of for longer than its leases are good, or never.
    #[must_use]
    pub fn is_silent(&self, session: SessionId, now: Nanos) -> bool {
        self.members.get(&session).is_none_or(|member| member.until <= now)
    }

    /// A session begins anew here and claims exclusive leases; its number from now on, and those that it gets: what it
    /// has here already; what it had from a leader before, if they are still good; and what nobody has changed since.
    /// It has given up everything else. `None`: not yet, because it claims what others who have not been heard may have; or
    /// because it comes late, and the session has introduced itself with a later `attempt` since.
    pub fn introduce(
        &mut self,
        session: SessionId,
        attempt: u64,
        exclusive: &[Claim],
        now: Nanos,
    ) -> Option<(u64, Vec<Inode>)> {
        if self.members.get(&session).is_some_and(|member| member.attempt >= attempt) {
            return None;
        }
        let early = self.awaits(now) && self.awaited.contains(&session);
        if self.awaits_others(session, now) && exclusive.iter().any(|claim| !claim.good) {
            return None;
        }
        let kept = exclusive.iter().filter(|claim| match self.inodes.get(&claim.inode) {
            Some(leases) if !leases.holders.is_empty() => self.has(claim.inode, session) == Some(LeaseMode::Exclusive),
            leases => claim.unchanged && leases.is_none_or(|leases| leases.claims == 0) || early && claim.good,
        });
        let kept: Vec<Inode> = kept.map(|claim| claim.inode).collect();
        self.drop_member(session);
        self.introductions += 1;
        let member = Member {
            number: self.introductions,
            attempt,
            until: now + LEASE_NS,
            told: 0,
            revokes: VecDeque::new(),
            inodes: BTreeSet::new(),
        };
        self.members.insert(session, member);
        kept.iter().for_each(|inode| self.hold(session, *inode, LeaseMode::Exclusive));
        self.awaited.remove(&session);
        Some((self.introductions, kept))
    }

    /// Whether the session is the one that was given this number.
    #[must_use]
    pub fn knows(&self, session: SessionId, number: u64) -> bool {
        self.members.get(&session).is_some_and(|member| member.number == number)
    }

    /// A session has ended, or need not be waited for.
    pub fn end_session(&mut self, session: SessionId) {
        self.drop_member(session);
        self.awaited.remove(&session);
    }

    /// The session is alive, and knows of everything up to revocation `seen`. False where it has to introduce itself.
    pub fn renew(&mut self, session: SessionId, number: u64, seen: u64, now: Nanos) -> bool {
        let Some(member) = self.members.get_mut(&session).filter(|member| member.number == number) else {
            return false;
        };
        member.until = now + LEASE_NS;
        let first = member.told + 1 - member.revokes.len() as u64;
        let done = (seen + 1).saturating_sub(first).min(member.revokes.len() as u64);
        member.revokes.drain(..done as usize);
        true
    }

    /// What the session has to be told to give up, oldest first, with the number of the last; `None` where it has to
    /// introduce itself.
    #[must_use]
    pub fn revokes(&self, session: SessionId, number: u64) -> Option<(u64, Vec<Revoke>)> {
        let member = self.members.get(&session).filter(|member| member.number == number)?;
        Some((member.told, member.revokes.iter().copied().collect()))
    }

    /// The session has given up its lease, or keeps it as shared, because of a revocation or (0) by itself.
    pub fn give(&mut self, session: SessionId, inode: Inode, keep: Option<LeaseMode>, number: u64) {
        let Some(leases) = self.inodes.get_mut(&inode) else { return };
        let Some(holder) = leases.holders.get_mut(&session) else { return };
        // An answer to an earlier revocation says nothing of a lease that was granted since.
        let asked = holder.giving.map_or(0, |giving| giving.number);
        match (keep, holder.giving) {
            (Some(LeaseMode::Exclusive), _) => {}
            (None, _) if number == asked => self.forget(session, inode),
            (Some(LeaseMode::Shared), Some(Giving { keep: Some(_), .. })) if number == asked => {
                *holder = Holder { mode: LeaseMode::Shared, giving: None };
            }
            // It answers what it was told first, and does not know yet that it is to give up the rest.
            (Some(LeaseMode::Shared), Some(Giving { keep: None, .. })) => holder.mode = LeaseMode::Shared,
            _ => {}
        }
    }

    /// Ends the leases of sessions that have not been heard of for too long; those.
    pub fn expire(&mut self, now: Nanos) -> Vec<SessionId> {
        let late = self.members.iter().filter(|(_, member)| member.until <= now && !member.inodes.is_empty());
        let late: Vec<SessionId> = late.map(|(session, _)| *session).collect();
        late.iter().for_each(|session| self.drop_member(*session));
        if now >= self.tidied_at + LEASE_NS {
            self.tidied_at = now;
            self.inodes.retain(|_, leases| !leases.is_idle(now));
        }
        late
    }

    /// Whether what is stored of an inode may be told to `session` now: nobody else writes behind it or still believes
    /// something older. Where not, those are asked to.
    pub fn may_read(&mut self, inode: Inode, session: SessionId, now: Nanos) -> bool {
        if let Some(writer) = self.writer_beside(inode, session) {
            self.revoke(inode, writer, Some(LeaseMode::Shared), now);
        }
        self.is_true(inode, session)
    }

    /// [`Self::may_read`], asking nobody for anything.
    #[must_use]
    pub fn is_true(&self, inode: Inode, session: SessionId) -> bool {
        let Some(leases) = self.inodes.get(&inode) else { return true };
        let mut others = leases.holders.iter().filter(|(holder, _)| **holder != session);
        others.all(|(_, holder)| holder.mode == LeaseMode::Shared && holder.giving.is_none())
    }

    /// Another session that writes behind.
    fn writer_beside(&self, inode: Inode, session: SessionId) -> Option<SessionId> {
        let mut holders = self.inodes.get(&inode)?.holders.iter();
        holders
            .find(|(holder, state)| **holder != session && state.mode == LeaseMode::Exclusive)
            .map(|(holder, _)| *holder)
    }

    /// Whether the session has itself been asked to give up its lease of the inode.
    #[must_use]
    pub fn is_giving(&self, inode: Inode, session: SessionId) -> bool {
        let holder = self.inodes.get(&inode).and_then(|leases| leases.holders.get(&session));
        holder.is_some_and(|holder| holder.giving.is_some())
    }

    /// A session that is being told of an inode may believe it, in which way; `None` where it may not. Only after
    /// [`Self::may_read`].
    pub fn share(&mut self, inode: Inode, session: SessionId, now: Nanos) -> Option<LeaseMode> {
        let member = self.members.get(&session)?;
        if member.until <= now {
            return None;
        }
        if let Some(leases) = self.inodes.get(&inode) {
            if let Some(holder) = leases.holders.get(&session) {
                return holder.giving.is_none().then_some(holder.mode);
            }
            if now < leases.cool_until || leases.holders.values().any(|holder| holder.giving.is_some()) {
                return None;
            }
        }
        if self.held >= MOST_LEASES {
            return None;
        }
        self.hold(session, inode, LeaseMode::Shared);
        Some(LeaseMode::Shared)
    }

    /// Whether the session has a lease of the inode, or has been asked for it.
    #[must_use]
    pub fn holds(&self, inode: Inode, session: SessionId) -> bool {
        self.inodes.get(&inode).is_some_and(|leases| leases.holders.contains_key(&session))
    }

    /// What the session may believe of an inode that it has changed.
    #[must_use]
    pub fn has(&self, inode: Inode, session: SessionId) -> Option<LeaseMode> {
        let holder = self.inodes.get(&inode)?.holders.get(&session)?;
        holder.giving.is_none().then_some(holder.mode)
    }

    /// A session wants to write behind. With `free`, only if nobody has to give anything up for it; with `must`, even
    /// where the file is in dispute.
    pub fn exclusive(&mut self, inode: Inode, session: SessionId, wish: Wish, now: Nanos) -> Exclusive {
        if self.members.get(&session).is_none_or(|member| member.until <= now) || self.held >= MOST_LEASES {
            return Exclusive::Refused;
        }
        let leases = self.inodes.entry(inode).or_default();
        let cool = now < leases.cool_until && wish != Wish::Must;
        match leases.holders.get(&session) {
            Some(Holder { giving: Some(_), .. }) => return Exclusive::Wait,
            Some(Holder { mode: LeaseMode::Exclusive, .. }) => return Exclusive::Granted,
            _ => {}
        }
        if cool {
            return Exclusive::Refused;
        }
        let others: Vec<SessionId> = leases.holders.keys().copied().filter(|holder| *holder != session).collect();
        if others.is_empty() && leases.claims == 0 {
            self.hold(session, inode, LeaseMode::Exclusive);
            return Exclusive::Granted;
        }
        if wish == Wish::IfFree {
            return Exclusive::Refused;
        }
        if let Some(leases) = self.inodes.get_mut(&inode)
            && leases.holders.iter().any(|(holder, state)| *holder != session && state.giving.is_none())
        {
            leases.note_revocation(now);
        }
        others.into_iter().for_each(|other| self.revoke(inode, other, None, now));
        Exclusive::Wait
    }

    /// Whether a mutation that names the inode may go ahead: nobody else writes behind it. Where so, nobody begins to
    /// until [`Self::unclaim`].
    pub fn claim(&mut self, inode: Inode, session: SessionId, now: Nanos) -> bool {
        self.claim_from(inode, self.writer_beside(inode, session), None, now)
    }

    /// [`Self::claim`] of a directory by another shard: it is delegated to nobody, the author of the step included, who
    /// may know nothing of it. Others go on believing what they know.
    pub fn claim_undelegated(&mut self, inode: Inode, now: Nanos) -> bool {
        let holders = self.inodes.get(&inode).map(|leases| &leases.holders);
        let writer = holders.and_then(|all| all.iter().find(|(_, holder)| holder.mode == LeaseMode::Exclusive));
        self.claim_from(inode, writer.map(|(session, _)| *session), Some(LeaseMode::Shared), now)
    }

    fn claim_from(&mut self, inode: Inode, writer: Option<SessionId>, keep: Option<LeaseMode>, now: Nanos) -> bool {
        let leases = self.inodes.entry(inode).or_default();
        match writer {
            None => {
                leases.claims += 1;
                true
            }
            Some(writer) => {
                if leases.holders.get(&writer).is_some_and(|holder| holder.giving.is_none()) {
                    leases.note_revocation(now);
                }
                self.revoke(inode, writer, keep, now);
                false
            }
        }
    }

    /// Whether the session has an exclusive lease of the inode, asked for or not: what it kept back may still come.
    #[must_use]
    pub fn writes_behind(&self, inode: Inode, session: SessionId) -> bool {
        let holder = self.inodes.get(&inode).and_then(|leases| leases.holders.get(&session));
        holder.is_some_and(|holder| holder.mode == LeaseMode::Exclusive)
    }

    /// A mutation that was let go ahead is over.
    pub fn unclaim(&mut self, inode: Inode) {
        if let Some(leases) = self.inodes.get_mut(&inode) {
            leases.claims = leases.claims.saturating_sub(1);
        }
    }

    /// An entry has changed these inodes; everybody but its author has to give up what they believe. `None` where
    /// nobody else believes anything.
    pub fn changed(&mut self, inodes: Vec<Inode>, author: Option<SessionId>, now: Nanos) -> Option<Barrier> {
        self.changes += 1;
        let number = self.changes;
        let mut concerned = Vec::new();
        for inode in inodes {
            let Some(leases) = self.inodes.get_mut(&inode) else { continue };
            let others: Vec<(SessionId, bool)> = leases
                .holders
                .iter()
                .filter(|(holder, _)| Some(**holder) != author)
                .map(|(holder, state)| (*holder, state.giving.is_none()))
                .collect();
            if others.is_empty() {
                continue;
            }
            if others.iter().any(|(_, new)| *new) {
                leases.note_revocation(now);
            }
            others.into_iter().for_each(|(other, _)| self.revoke(inode, other, None, now));
            concerned.push(inode);
        }
        (!concerned.is_empty()).then_some(Barrier { number, author, inodes: concerned })
    }

    /// Whether a session is known here.
    #[must_use]
    pub fn is_member(&self, session: SessionId) -> bool {
        self.members.contains_key(&session)
    }

    /// Whether nobody believes any more what was before the changes.
    #[must_use]
    pub fn settled(&self, barrier: &Barrier) -> bool {
        let before = |(session, holder): (&SessionId, &Holder)| {
            Some(*session) != barrier.author && holder.giving.is_some_and(|giving| giving.since <= barrier.number)
        };
        barrier.inodes.iter().all(|inode| match self.inodes.get(inode) {
            Some(leases) => !leases.holders.iter().any(before),
            None => true,
        })
    }

    /// Times that a session was asked to give up a lease.
    #[must_use]
    pub fn revocations(&self) -> u64 {
        self.revocations
    }

    /// Leases in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    fn revoke(&mut self, inode: Inode, session: SessionId, keep: Option<LeaseMode>, now: Nanos) {
        let changes = self.changes;
        let Some(leases) = self.inodes.get_mut(&inode) else { return };
        let Some(holder) = leases.holders.get_mut(&session) else { return };
        if holder.giving.is_some_and(|giving| giving.keep.is_none() || keep.is_some()) {
            return;
        }
        let Some(member) = self.members.get_mut(&session) else { return };
        if member.until <= now {
            return self.drop_member(session);
        }
        member.told += 1;
        self.revocations += 1;
        let since = holder.giving.map_or(changes, |giving| giving.since);
        holder.giving = Some(Giving { keep, since, number: member.told });
        member.revokes.push_back(Revoke { fs: inode.0, ino: inode.1, keep, number: member.told });
    }

    fn hold(&mut self, session: SessionId, inode: Inode, mode: LeaseMode) {
        let Some(member) = self.members.get_mut(&session) else { return };
        member.inodes.insert(inode);
        let holders = &mut self.inodes.entry(inode).or_default().holders;
        if holders.insert(session, Holder { mode, giving: None }).is_none() {
            self.held += 1;
        }
    }

    fn forget(&mut self, session: SessionId, inode: Inode) {
        if let Some(member) = self.members.get_mut(&session) {
            member.inodes.remove(&inode);
        }
        if let Some(leases) = self.inodes.get_mut(&inode)
            && leases.holders.remove(&session).is_some()
        {
            self.held -= 1;
            if leases.holders.is_empty() && leases.claims == 0 && leases.revoked_at.is_none() {
                self.inodes.remove(&inode);
            }
        }
    }

    fn drop_member(&mut self, session: SessionId) {
        let Some(member) = self.members.remove(&session) else { return };
        for inode in member.inodes {
            if let Some(leases) = self.inodes.get_mut(&inode)
                && leases.holders.remove(&session).is_some()
            {
                self.held -= 1;
            }
        }
    }
}

/// How much a session wants an exclusive lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Only if nobody has to give anything up for it.
    IfFree,
    /// Unless the file is in dispute.
    Gladly,
    /// In any case: it cannot write without.
    Must,
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
