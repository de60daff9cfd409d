use std::collections::BTreeMap;

/// A later one each time.
fn attempt() -> u64 {
    static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1
}

use forebay_types::{FsId, InodeId, LeaseMode, SessionId, ShardId, limits};
use proptest::prelude::*;

use super::*;

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);
const SECOND: Nanos = 1_000_000_000;

fn inode(n: u64) -> Inode {
    (FsId(1), InodeId::new(ShardId(0), n))
}

fn good(n: u64) -> Claim {
    Claim { inode: inode(n), good: true, unchanged: false }
}

fn two() -> (LeaseTable, u64, u64) {
    let mut table = LeaseTable::default();
    let (a, b) = (table.introduce(A, attempt(), &[], 0).unwrap().0, table.introduce(B, attempt(), &[], 0).unwrap().0);
    (table, a, b)
}

/// The number of the session's last revocation.
fn last(table: &LeaseTable, session: SessionId) -> u64 {
    table.members[&session].told
}

#[test]
fn an_answer_to_an_old_revocation_takes_nothing_that_was_granted_since() {
    let (mut table, _, _) = two();
    let i = inode(1);
    assert_eq!(table.share(i, B, 0), Some(LeaseMode::Shared));
    table.changed(vec![i], Some(A), 0);
    table.give(B, i, None, 1);
    assert_eq!(table.share(i, B, 0), Some(LeaseMode::Shared));
    table.give(B, i, None, 1);
    assert_eq!(table.has(i, B), Some(LeaseMode::Shared));
}

#[test]
fn a_change_is_told_once_others_have_given_up_what_they_believed() {
    let (mut table, _, b) = two();
    let i = inode(1);
    assert!(table.may_read(i, B, 0));
    assert_eq!(table.share(i, B, 0), Some(LeaseMode::Shared));
    assert!(table.claim(i, A, 0));
    let barrier = table.changed(vec![i], Some(A), 0).expect("B believes");
    table.unclaim(i);
    assert!(!table.settled(&barrier));
    // Nor may a third be told.
    assert!(!table.may_read(i, SessionId(3), 0));
    let (told, revokes) = table.revokes(B, b).expect("B is known");
    assert_eq!((told, revokes.len(), revokes[0].keep), (1, 1, None));
    table.give(B, i, None, last(&table, B));
    assert!(table.settled(&barrier));
    assert!(table.may_read(i, SessionId(3), 0));
    assert!(table.renew(B, b, 1, 0));
    assert_eq!(table.revokes(B, b), Some((1, vec![])));
}

#[test]
fn a_reader_makes_the_writer_write_back_and_both_share() {
    let (mut table, a, _) = two();
    let i = inode(1);
    assert_eq!(table.exclusive(i, A, Wish::IfFree, 0), Exclusive::Granted);
    assert!(!table.may_read(i, B, 0));
    assert_eq!(table.revokes(A, a).unwrap().1[0].keep, Some(LeaseMode::Shared));
    table.give(A, i, Some(LeaseMode::Shared), 1);
    assert!(table.may_read(i, B, 0));
    assert_eq!(table.share(i, B, 0), Some(LeaseMode::Shared));
    assert_eq!(table.has(i, A), Some(LeaseMode::Shared));
}

#[test]
fn a_mutation_of_another_waits_for_the_writer() {
    let (mut table, _, _) = two();
    let i = inode(1);
    assert_eq!(table.exclusive(i, A, Wish::Gladly, 0), Exclusive::Granted);
    assert!(!table.claim(i, B, 0));
    assert!(table.claim(i, A, 0), "its own go ahead");
    table.unclaim(i);
    table.give(A, i, None, last(&table, A));
    assert!(table.claim(i, B, 0));
    assert_eq!(table.exclusive(i, A, Wish::Must, 0), Exclusive::Wait, "not while the mutation is under way");
    table.unclaim(i);
    assert_eq!(table.exclusive(i, A, Wish::Must, 0), Exclusive::Granted);
}

#[test]
fn a_silent_session_holds_others_up_for_no_longer_than_its_lease() {
    let (mut table, a, _) = two();
    let i = inode(1);
    assert_eq!(table.exclusive(i, A, Wish::IfFree, 0), Exclusive::Granted);
    assert!(table.renew(A, a, 0, 2 * SECOND));
    let end = 2 * SECOND + limits::LEASE_MS * 1_000_000;
    assert!(!table.may_read(i, B, end - 1));
    assert!(table.expire(end - 1).is_empty());
    assert_eq!(table.expire(end), [A]);
    assert!(table.may_read(i, B, end));
    assert!(!table.knows(A, a), "it has to introduce itself");
    assert!(!table.renew(A, a, 0, end));
    assert_eq!(table.revokes(A, a), None);
}

#[test]
fn a_new_leader_waits_for_those_who_may_have_leases() {
    let mut table = LeaseTable::new(1, [A, B], 0);
    assert!(table.awaits(SECOND));
    table.introduce(A, attempt(), &[good(1)], SECOND);
    assert!(table.awaits(SECOND));
    table.introduce(B, attempt(), &[], SECOND);
    assert!(!table.awaits(SECOND));
    assert_eq!(table.has(inode(1), A), Some(LeaseMode::Exclusive));
    // Its answer may have been lost: it keeps what it has.
    assert_eq!(table.introduce(A, attempt(), &[good(1), good(3)], SECOND).unwrap().1, [inode(1)]);
    // Late claims of what others may have got since are not believed.
    table.introduce(B, attempt(), &[good(2)], SECOND);
    assert_eq!(table.has(inode(2), B), None);
    let silent = LeaseTable::new(1, [A], 0);
    assert!(!silent.awaits(limits::LEASE_MS * 1_000_000));
}

#[test]
fn a_lease_that_ran_out_is_had_again_where_nobody_else_was_at_the_file() {
    let late = |unchanged| Claim { good: false, unchanged, ..good(1) };
    let mut table = LeaseTable::new(1, [], 0);
    assert_eq!(table.introduce(A, attempt(), &[late(true)], 0).unwrap().1, [inode(1)]);
    assert_eq!(table.introduce(A, attempt(), &[late(false)], 0).unwrap().1, [inode(1)], "it has it already");
    assert_eq!(table.introduce(B, attempt(), &[late(true)], 0).unwrap().1, []);
    let mut table = LeaseTable::new(1, [], 0);
    assert_eq!(table.introduce(A, attempt(), &[late(false)], 0).unwrap().1, []);
    // Another may have it, and say so yet.
    let mut table = LeaseTable::new(1, [A, B], 0);
    assert_eq!(table.introduce(A, attempt(), &[late(true)], 0), None);
    assert_eq!(table.introduce(B, attempt(), &[good(1)], 0).unwrap().1, [inode(1)]);
    assert_eq!(table.introduce(A, attempt(), &[late(true)], 0).unwrap().1, []);
}

#[test]
fn an_inode_in_dispute_is_not_leased_for_a_while() {
    let (mut table, _, _) = two();
    let i = inode(1);
    for round in 0..2 {
        let now = round * SECOND / 10;
        assert_eq!(table.share(i, B, now), Some(LeaseMode::Shared));
        table.changed(vec![i], Some(A), now);
        table.give(B, i, None, last(&table, B));
    }
    assert_eq!(table.share(i, B, SECOND / 2), None);
    assert_eq!(table.exclusive(i, A, Wish::Gladly, SECOND / 2), Exclusive::Refused);
    assert_eq!(table.exclusive(i, A, Wish::Must, SECOND / 2), Exclusive::Granted);
    table.give(A, i, None, 0);
    assert_eq!(table.share(i, B, 2 * SECOND), Some(LeaseMode::Shared));
    table.give(B, i, None, 0);
    table.expire(60 * SECOND);
    assert!(table.inodes.is_empty(), "what was in dispute long ago is forgotten");
}

#[derive(Clone, Debug)]
enum Step {
    Read(u64, u64),
    Change(u64, u64),
    Exclusive(u64, u64, bool),
    WriteBehind(u64, u64),
    Poll(u64),
    Sleep(u64),
    Failover,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (session, inode) = (1..4_u64, 1..3_u64);
    let step = prop_oneof![
        4 => (session.clone(), inode.clone()).prop_map(|(s, i)| Step::Read(s, i)),
        3 => (session.clone(), inode.clone()).prop_map(|(s, i)| Step::Change(s, i)),
        2 => (session.clone(), inode.clone(), any::<bool>()).prop_map(|(s, i, must)| Step::Exclusive(s, i, must)),
        2 => (session.clone(), inode).prop_map(|(s, i)| Step::WriteBehind(s, i)),
        4 => session.prop_map(Step::Poll),
        1 => (0..6_u64).prop_map(Step::Sleep),
        1 => Just(Step::Failover),
    ];
    proptest::collection::vec(step, 1..80)
}

/// A client as the protocol wants it to be.
#[derive(Default)]
struct Client {
    number: u64,
    seen: u64,
    good_until: Nanos,
    believes: BTreeMap<Inode, (LeaseMode, u64)>,
    /// Written behind: how much is to be added to the stored value.
    dirty: BTreeMap<Inode, u64>,
}

#[derive(Default)]
struct World {
    table: LeaseTable,
    now: Nanos,
    term: u64,
    clients: BTreeMap<SessionId, Client>,
    stored: BTreeMap<Inode, u64>,
    /// What has been answered to somebody: the least that everybody must see.
    told: BTreeMap<Inode, u64>,
    barriers: Vec<(Barrier, Inode, u64)>,
}

/// A client's share of a lease: less than the server's, for clocks that run apart.
const CLIENT_LEASE: Nanos = limits::LEASE_MS * 900_000;

impl World {
    fn valid(&self, session: SessionId) -> bool {
        self.clients.get(&session).is_some_and(|client| self.now < client.good_until)
    }

    /// Makes sure that the client is known; gives up what it has where it was not.
    fn introduced(&mut self, session: SessionId) -> bool {
        let valid = self.valid(session);
        let client = self.clients.entry(session).or_default();
        if client.number == 0 || !self.table.knows(session, client.number) {
            client.believes.retain(|_, (mode, _)| *mode == LeaseMode::Exclusive);
            let stored = &self.stored;
            let claim = |(inode, (_, value)): (&Inode, &(LeaseMode, u64))| Claim {
                inode: *inode,
                good: valid,
                unchanged: stored.get(inode).copied().unwrap_or(0) == *value,
            };
            let exclusive: Vec<Claim> = client.believes.iter().map(claim).collect();
            let Some((number, _)) = self.table.introduce(session, attempt(), &exclusive, self.now) else {
                return false;
            };
            client.number = number;
            client.believes.retain(|inode, _| self.table.has(*inode, session) == Some(LeaseMode::Exclusive));
            client.dirty.retain(|inode, _| client.believes.contains_key(inode));
            client.seen = 0;
            client.good_until = self.now + CLIENT_LEASE;
        }
        true
    }

    fn change(&mut self, session: SessionId, inode: Inode, by: u64) -> bool {
        if !self.table.claim(inode, session, self.now) {
            return false;
        }
        let value = self.stored.entry(inode).or_default();
        *value += by;
        let value = *value;
        let barrier = self.table.changed(vec![inode], Some(session), self.now);
        self.table.unclaim(inode);
        match barrier {
            Some(barrier) => self.barriers.push((barrier, inode, value)),
            None => self.tell(inode, value),
        }
        let mode = self.table.has(inode, session);
        let client = self.clients.get_mut(&session).unwrap();
        match mode {
            Some(mode) => client.believes.insert(inode, (mode, value)),
            None => client.believes.remove(&inode),
        };
        true
    }

    fn tell(&mut self, inode: Inode, value: u64) {
        let told = self.told.entry(inode).or_default();
        *told = value.max(*told);
    }

    fn write_back(&mut self, session: SessionId, inode: Inode) {
        if let Some(by) = self.clients.get_mut(&session).unwrap().dirty.remove(&inode) {
            assert!(self.change(session, inode, by), "who writes behind is not held up");
        }
    }

    fn poll(&mut self, session: SessionId) {
        if !self.introduced(session) {
            return;
        }
        let (number, seen) = (self.clients[&session].number, self.clients[&session].seen);
        assert!(self.table.renew(session, number, seen, self.now), "introduced");
        let (told, revokes) = self.table.revokes(session, number).expect("introduced");
        for revoke in revokes {
            let inode = (revoke.fs, revoke.ino);
            self.write_back(session, inode);
            let client = self.clients.get_mut(&session).unwrap();
            let keep = match (revoke.keep, client.believes.get_mut(&inode)) {
                (Some(_), Some((mode, _))) => {
                    *mode = LeaseMode::Shared;
                    Some(LeaseMode::Shared)
                }
                _ => {
                    client.believes.remove(&inode);
                    None
                }
            };
            self.table.give(session, inode, keep, revoke.number);
        }
        let client = self.clients.get_mut(&session).unwrap();
        client.seen = told;
        client.good_until = self.now + CLIENT_LEASE;
    }

    fn step(&mut self, step: &Step) {
        let active = |step: &Step| match step {
            Step::Read(s, _) | Step::Change(s, _) | Step::Exclusive(s, ..) | Step::WriteBehind(s, _) => {
                Some(SessionId(*s))
            }
            _ => None,
        };
        if let Some(session) = active(step)
            && (!self.introduced(session) || self.table.awaits(self.now))
        {
            return;
        }
        match *step {
            Step::Read(s, i) => {
                let (session, inode) = (SessionId(s), inode(i));
                if self.table.may_read(inode, session, self.now) {
                    let value = self.stored.get(&inode).copied().unwrap_or(0);
                    let own = self.clients[&session].dirty.get(&inode).copied().unwrap_or(0);
                    // Who is about to give up what it believes may be told already: the change has not ended.
                    if !self.table.is_giving(inode, session) {
                        self.tell(inode, value);
                    }
                    if let Some(mode) = self.table.share(inode, session, self.now) {
                        self.clients.get_mut(&session).unwrap().believes.insert(inode, (mode, value));
                    }
                    assert!(
                        own == 0
                            || self.table.has(inode, session) == Some(LeaseMode::Exclusive)
                            || !self.valid(session)
                            || self.table.is_giving(inode, session)
                    );
                }
            }
            Step::Change(s, i) => {
                let (session, inode) = (SessionId(s), inode(i));
                self.write_back(session, inode);
                self.change(session, inode, 1);
            }
            Step::Exclusive(s, i, must) => {
                let wish = if must { Wish::Must } else { Wish::Gladly };
                let (session, inode) = (SessionId(s), inode(i));
                if self.table.exclusive(inode, session, wish, self.now) == Exclusive::Granted {
                    let value = self.stored.get(&inode).copied().unwrap_or(0);
                    let client = self.clients.get_mut(&session).unwrap();
                    client.believes.insert(inode, (LeaseMode::Exclusive, value));
                }
            }
            Step::WriteBehind(s, i) => {
                let (session, inode) = (SessionId(s), inode(i));
                let valid = self.valid(session);
                let client = self.clients.get_mut(&session).unwrap();
                if valid && matches!(client.believes.get(&inode), Some((LeaseMode::Exclusive, _))) {
                    *client.dirty.entry(inode).or_default() += 1;
                }
            }
            Step::Poll(s) => self.poll(SessionId(s)),
            Step::Sleep(seconds) => {
                self.now += seconds * SECOND;
                self.table.expire(self.now);
            }
            Step::Failover => {
                let sessions: Vec<SessionId> = self.clients.keys().copied().collect();
                // Whoever waits for an answer asks again; what was to be told is stored, and told once all are heard.
                self.term += 1;
                let table = LeaseTable::new(self.term, sessions, self.now);
                self.table = table;
                self.barriers.clear();
            }
        }
        let settled: Vec<(Inode, u64)> =
            self.barriers.extract_if(.., |(barrier, ..)| self.table.settled(barrier)).map(|(_, i, v)| (i, v)).collect();
        settled.into_iter().for_each(|(inode, value)| self.tell(inode, value));
    }

    fn check(&self) {
        for (session, client) in &self.clients {
            if !self.valid(*session) {
                continue;
            }
            for (inode, (mode, value)) in &client.believes {
                let told = self.told.get(inode).copied().unwrap_or(0);
                assert!(*value >= told, "{session} believes {value} of {inode:?}, {told} has been told");
                if *mode == LeaseMode::Exclusive {
                    let others = self.clients.iter().filter(|(other, _)| *other != session && self.valid(**other));
                    for (other, client) in others {
                        assert!(
                            !client.believes.contains_key(inode),
                            "{session} writes behind {inode:?}, {other} believes"
                        );
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever the order of things, nobody believes less than anybody was told, and nobody writes behind what another
    /// believes; and when every session polls, or falls silent, nothing is waited for any more.
    #[test]
    fn beliefs_are_true_and_every_wait_ends(steps in steps()) {
        let mut world = World::default();
        for step in &steps {
            world.step(step);
            world.check();
        }
        // Whoever has to wait for others to be heard does so for a lease's time at most.
        world.step(&Step::Sleep(limits::LEASE_MS / 1000));
        for _ in 0..3 {
            for session in 1..4 {
                world.step(&Step::Poll(session));
                world.check();
            }
        }
        prop_assert!(world.barriers.is_empty());
        for n in 1..3 {
            prop_assert!(world.table.may_read(inode(n), SessionId(9), world.now)
                || world.table.inodes[&inode(n)].holders.values().any(|h| h.mode == LeaseMode::Exclusive));
        }
        world.step(&Step::Sleep(100));
        world.step(&Step::Sleep(100));
        prop_assert!(world.table.is_empty());
        prop_assert!(world.table.inodes.is_empty());
    }
}

#[test]
fn an_introduction_that_comes_late_changes_nothing() {
    let mut table = LeaseTable::default();
    let (first, second) = (attempt(), attempt());
    let (number, _) = table.introduce(A, second, &[], 0).unwrap();
    assert_eq!(table.introduce(A, first, &[], 0), None);
    assert_eq!(table.introduce(A, second, &[], 0), None, "sent twice");
    assert!(table.knows(A, number));
    let (next, _) = table.introduce(A, attempt(), &[], 0).unwrap();
    assert!(table.knows(A, next) && !table.knows(A, number));
}
