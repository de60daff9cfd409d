use forebay_types::{LockMode, LockSet, ShardId};
use proptest::prelude::*;

use super::*;

const FS: FsId = FsId(1);
const CLIENTS: u64 = 3;
const FILES: u64 = 2;
const OWNERS: u64 = 3;
const ALL: u64 = u64::MAX;

fn ino(n: u64) -> InodeId {
    InodeId::new(ShardId(0), n + 1)
}

fn lock(client: u64, owner: u64, (first, last): (u64, u64), mode: LockMode) -> FileLock {
    let (session, kind) = (SessionId(client), LockKind::Posix);
    FileLock { session, kind, owner, handle: owner * 10, first, last, mode, pid: owner as u32 }
}

fn exclusive(client: u64) -> FileLock {
    lock(client, 1, (0, ALL), LockMode::Exclusive)
}

fn by(client: u64, op: u64) -> LockCaller {
    LockCaller { fs: FS, session: SessionId(client), op, answered_below: op }
}

fn awake(_: SessionId) -> bool {
    false
}

fn call(book: &mut LockBook, caller: LockCaller, call: LockCall) -> LockReply {
    book.call(&caller, &call, 0, &awake).reply
}

fn waits(lock: FileLock, wait: u64) -> LockCall {
    LockCall::Wait { ino: ino(0), lock, wait, overtakes: false, wait_ms: 0 }
}

fn unlock(lock: FileLock) -> LockCall {
    LockCall::Unlock { ino: ino(0), span: lock.span() }
}

#[test]
fn an_attempt_that_comes_late_takes_nothing() {
    let mut book = LockBook::default();
    let take = LockCall::Try { ino: ino(0), lock: exclusive(1) };
    assert_eq!(call(&mut book, by(1, 1), take.clone()), LockReply::Held);
    assert_eq!(call(&mut book, LockCaller { answered_below: 1, ..by(1, 2) }, unlock(exclusive(1))), LockReply::Done);
    assert_eq!(call(&mut book, by(1, 1), take.clone()), LockReply::Held, "as it was answered before");
    assert!(book.is_empty());
    call(&mut book, by(1, 3), unlock(exclusive(1)));
    call(&mut book, by(1, 2), take);
    assert!(book.is_empty());
}

#[test]
fn who_waits_keeps_its_place_between_calls_and_is_told_once() {
    let mut book = LockBook::default();
    assert_eq!(call(&mut book, by(1, 1), waits(exclusive(1), 1)), LockReply::Held);
    assert_eq!(call(&mut book, by(2, 1), waits(exclusive(2), 1)), LockReply::Waits);
    assert_eq!(call(&mut book, by(3, 1), waits(exclusive(3), 1)), LockReply::Waits);
    assert_eq!(call(&mut book, by(2, 2), waits(exclusive(2), 1)), LockReply::Waits);
    let outcome = book.call(&by(1, 2), &unlock(exclusive(1)), 0, &awake);
    assert_eq!(outcome.gone_on, [(SessionId(2), 1)]);
    // The answer is lost, and asked for again.
    assert_eq!(call(&mut book, by(2, 2), waits(exclusive(2), 1)), LockReply::Held);
    assert_eq!(call(&mut book, by(2, 2), waits(exclusive(2), 1)), LockReply::Held);
    assert_eq!(call(&mut book, by(3, 2), waits(exclusive(3), 1)), LockReply::Waits);
}

#[test]
fn who_withdraws_has_what_it_had_before_whether_or_not_it_was_let_go_on() {
    let mut book = LockBook::default();
    let shared = |client| lock(client, 1, (0, 9), LockMode::Shared);
    for client in [1, 2] {
        assert_eq!(call(&mut book, by(client, 1), waits(shared(client), 1)), LockReply::Held);
    }
    for let_go_on in [false, true] {
        let op = if let_go_on { 4 } else { 2 };
        assert_eq!(call(&mut book, by(1, op), waits(exclusive(1), op)), LockReply::Waits);
        if let_go_on {
            assert_eq!(book.call(&by(2, 2), &unlock(shared(2)), 0, &awake).gone_on, [(SessionId(1), op)]);
        }
        let before = vec![shared(1)];
        let withdraw = LockCall::Withdraw { ino: ino(0), lock: exclusive(1), wait: op, asked: op, before };
        assert_eq!(call(&mut book, by(1, op + 1), withdraw), LockReply::Done);
    }
    let over_it = |first, last| LockCall::Test { ino: ino(0), lock: lock(3, 1, (first, last), LockMode::Exclusive) };
    assert_eq!(call(&mut book, by(3, 1), over_it(0, 0)), LockReply::InTheWay(Some(shared(1))));
    assert_eq!(call(&mut book, by(3, 1), over_it(10, ALL)), LockReply::InTheWay(None));
}

#[test]
fn a_silent_session_keeps_its_locks_until_somebody_wants_them_and_is_told_that_they_are_lost() {
    let mut book = LockBook::default();
    let here = |lock| LockCall::Try { ino: ino(0), lock };
    assert_eq!(call(&mut book, by(1, 1), here(exclusive(1))), LockReply::Held);
    let there = LockCall::Try { ino: ino(1), lock: exclusive(1) };
    assert_eq!(call(&mut book, by(1, 2), there), LockReply::Held);
    let silent = |session| session == SessionId(1);
    let outcome = book.call(&by(2, 1), &here(exclusive(2)), 0, &silent);
    assert_eq!((outcome.reply, outcome.displaced), (LockReply::Held, vec![SessionId(1)]));
    // Though nobody has it now, somebody had.
    call(&mut book, by(2, 2), unlock(exclusive(2)));
    let claims = [(ino(0), exclusive(1)), (ino(1), exclusive(1))];
    assert_eq!(book.introduce(FS, SessionId(1), &claims).0, [(ino(0), exclusive(1))]);
    let test = LockCall::Test { ino: ino(1), lock: exclusive(2) };
    assert_eq!(call(&mut book, by(2, 3), test), LockReply::InTheWay(Some(exclusive(1))));
}

#[test]
fn who_waits_and_does_not_ask_any_more_loses_its_place() {
    let mut book = LockBook::default();
    assert_eq!(call(&mut book, by(1, 1), waits(exclusive(1), 1)), LockReply::Held);
    assert_eq!(call(&mut book, by(2, 1), waits(exclusive(2), 1)), LockReply::Waits);
    let shared = lock(3, 1, (0, ALL), LockMode::Shared);
    assert_eq!(book.call(&by(3, 1), &waits(shared, 1), SILENT_NS, &awake).reply, LockReply::Waits);
    book.expire(SILENT_NS, &awake);
    let outcome = book.call(&by(1, 2), &unlock(exclusive(1)), SILENT_NS, &awake);
    assert_eq!(outcome.gone_on, [(SessionId(3), 1)]);
}

/// A client: what its programs hold and wait for, as it knows.
#[derive(Default)]
struct Client {
    held: BTreeMap<u64, LockSet>,
    /// By name: file, lock, and the last call that asked.
    waits: BTreeMap<u64, (u64, FileLock, u64)>,
    op: u64,
    silent: bool,
    /// It must introduce itself before anything else.
    unknown: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Lock { client: u64, file: u64, lock: FileLock, wait: bool },
    Unlock { client: u64, file: u64, lock: FileLock },
    Close { client: u64, file: u64, owner: u64 },
    Poll(u64, usize),
    Withdraw(u64, usize),
    Silence(u64),
    Return(u64),
    Expire,
    Failover(u64),
    Repeat(usize),
}

struct World {
    book: LockBook,
    clients: BTreeMap<u64, Client>,
    calls: Vec<(LockCaller, LockCall)>,
}

impl World {
    fn new() -> Self {
        let clients = (1..=CLIENTS).map(|n| (n, Client::default())).collect();
        Self { book: LockBook::default(), clients, calls: Vec::new() }
    }

    fn is_silent(&self) -> impl Fn(SessionId) -> bool + use<> {
        let silent: BTreeSet<u64> = self.clients.iter().filter(|(_, c)| c.silent).map(|(n, _)| *n).collect();
        move |session| silent.contains(&session.0)
    }

    fn ask(&mut self, client: u64, call: LockCall) -> (u64, LockReply) {
        let silent = self.is_silent();
        let from = self.clients.get_mut(&client).unwrap();
        assert!(!from.silent && !from.unknown);
        from.op += 1;
        let caller = by(client, from.op);
        self.calls.push((caller, call.clone()));
        let outcome = self.book.call(&caller, &call, 0, &silent);
        self.must_return(&outcome.displaced);
        (caller.op, outcome.reply)
    }

    fn must_return(&mut self, displaced: &[SessionId]) {
        for session in displaced {
            let client = self.clients.get_mut(&session.0).unwrap();
            assert!(client.silent);
            client.unknown = true;
        }
    }

    fn introduce(&mut self, n: u64) {
        let client = self.clients.get_mut(&n).unwrap();
        client.unknown = false;
        let locks: Vec<(InodeId, FileLock)> =
            client.held.iter().flat_map(|(file, set)| set.iter().map(|lock| (ino(*file), *lock))).collect();
        for (of, lock) in self.book.introduce(FS, SessionId(n), &locks).0 {
            let (_, set) = client.held.iter_mut().find(|(file, _)| ino(**file) == of).unwrap();
            set.clear(&lock.span());
        }
        self.calls.retain(|(caller, _)| caller.session != SessionId(n));
    }

    /// Programs of one thread each: who waits does nothing else.
    fn is_free(&self, client: u64, owner: u64) -> bool {
        let client = &self.clients[&client];
        !client.silent && !client.unknown && client.waits.values().all(|(_, lock, _)| lock.owner != owner)
    }

    fn note(&mut self, client: u64, file: u64, wait: Option<(u64, u64)>, lock: FileLock, reply: &LockReply) {
        let client = self.clients.get_mut(&client).unwrap();
        if let Some((name, _)) = wait {
            client.waits.remove(&name);
        }
        match (reply, wait) {
            (LockReply::Held, _) => client.held.entry(file).or_default().hold(lock),
            (LockReply::Waits, Some((name, op))) => drop(client.waits.insert(name, (file, lock, op))),
            (LockReply::Refused(_), _) => {}
            other => panic!("{other:?}"),
        }
    }

    fn lock(&mut self, client: u64, file: u64, lock: FileLock, wait: Option<u64>) {
        let Some(name) = wait else {
            let (_, reply) = self.ask(client, LockCall::Try { ino: ino(file), lock });
            return self.note(client, file, None, lock, &reply);
        };
        if lock.kind == LockKind::Flock {
            self.clients.get_mut(&client).unwrap().held.entry(file).or_default().clear(&lock.span());
        }
        let call = LockCall::Wait { ino: ino(file), lock, wait: name, overtakes: name % 3 == 0, wait_ms: 0 };
        let (op, reply) = self.ask(client, call);
        self.note(client, file, Some((name, op)), lock, &reply);
    }

    fn withdraw(&mut self, client: u64, name: u64) {
        let state = self.clients.get_mut(&client).unwrap();
        let (file, lock, asked) = state.waits.remove(&name).unwrap();
        let before = state.held.entry(file).or_default().within(&lock.span());
        let (_, reply) = self.ask(client, LockCall::Withdraw { ino: ino(file), lock, wait: name, asked, before });
        if reply != LockReply::Done {
            self.clients.get_mut(&client).unwrap().held.entry(file).or_default().clear(&lock.span());
        }
    }

    fn close(&mut self, client: u64, file: u64, owner: u64) {
        let held = self.clients.get_mut(&client).unwrap().held.entry(file).or_default();
        held.retain(|held| held.handle != owner * 10);
        self.ask(client, LockCall::Close { ino: ino(file), handle: owner * 10, flock: Some(owner) });
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Lock { client, file, lock, wait } if self.is_free(client, lock.owner) => {
                let name = wait.then(|| self.clients[&client].op + 1);
                self.lock(client, file, lock, name);
            }
            Step::Unlock { client, file, lock } if self.is_free(client, lock.owner) => {
                self.clients.get_mut(&client).unwrap().held.entry(file).or_default().clear(&lock.span());
                self.ask(client, LockCall::Unlock { ino: ino(file), span: lock.span() });
            }
            Step::Close { client, file, owner } if self.is_free(client, owner) => self.close(client, file, owner),
            Step::Poll(client, place) | Step::Withdraw(client, place) => {
                let state = &self.clients[&client];
                let Some((&name, &(file, lock, _))) = state.waits.iter().nth(place) else { return };
                match step {
                    _ if state.silent || state.unknown => {}
                    Step::Poll(..) => self.lock(client, file, lock, Some(name)),
                    _ => self.withdraw(client, name),
                }
            }
            Step::Silence(client) => self.clients.get_mut(&client).unwrap().silent = true,
            Step::Return(client) => {
                let state = self.clients.get_mut(&client).unwrap();
                state.silent = false;
                if state.unknown {
                    self.introduce(client);
                }
            }
            Step::Expire => {
                let displaced = self.book.expire(0, &self.is_silent()).1;
                self.must_return(&displaced);
            }
            Step::Failover(first) => {
                self.book = LockBook::default();
                for n in (first..=CLIENTS).chain(1..first) {
                    self.clients.get_mut(&n).unwrap().unknown = true;
                    if !self.clients[&n].silent {
                        self.introduce(n);
                    }
                }
            }
            Step::Repeat(place) => {
                let Some((caller, call)) = self.calls.get(place).cloned() else { return };
                if self.clients[&caller.session.0].unknown {
                    return;
                }
                // Its answer, if any, reaches nobody.
                let before = self.book.clone();
                let silent = self.is_silent();
                let displaced = self.book.call(&caller, &call, 0, &silent).displaced;
                self.must_return(&displaced);
                let unchanged = |n: &u64| self.believed_by(&before, *n) == self.believed_by(&self.book, *n);
                let reached = |n: &&u64| !silent(SessionId(**n));
                assert!(self.clients.keys().filter(reached).all(unchanged), "{call:?} counted twice");
            }
            Step::Lock { .. } | Step::Unlock { .. } | Step::Close { .. } => {}
        }
    }

    /// What the book says a client's owners hold, byte by byte, without those who wait.
    fn believed_by(&self, book: &LockBook, client: u64) -> BTreeMap<(u64, LockKind, u64, u64), LockMode> {
        let files = (0..FILES).map(|file| {
            let all = [LockKind::Posix, LockKind::Flock].map(|kind| FileLock { kind, ..exclusive(CLIENTS + 1) });
            let held = all.into_iter().flat_map(|all| book.table.in_the_way((FS, ino(file)), all));
            (file, held.filter(|held| held.session == SessionId(client)).copied().collect::<Vec<_>>())
        });
        let free = |held: &FileLock| self.clients[&client].waits.values().all(|(_, lock, _)| lock.owner != held.owner);
        files.flat_map(|(file, held)| bytes(file, held.iter().filter(|held| free(held)))).collect()
    }

    fn known_by(&self, client: u64) -> BTreeMap<(u64, LockKind, u64, u64), LockMode> {
        let client = &self.clients[&client];
        let free = |held: &&FileLock| client.waits.values().all(|(_, lock, _)| lock.owner != held.owner);
        client.held.iter().flat_map(|(file, set)| bytes(*file, set.iter().filter(free))).collect()
    }

    fn check(&self) {
        self.book.table.check_invariants();
        let reached: Vec<u64> = self.clients.iter().filter(|(_, c)| !c.silent).map(|(n, _)| *n).collect();
        for n in &reached {
            assert_eq!(self.believed_by(&self.book, *n), self.known_by(*n), "client {n} believes something else");
        }
        let held = |n: &u64| self.clients[n].held.iter().flat_map(|(file, set)| set.iter().map(|lock| (*file, *lock)));
        let all: Vec<(u64, FileLock)> = reached.iter().flat_map(held).collect();
        for (file, one) in &all {
            assert!(all.iter().all(|(of, other)| of != file || !one.conflicts(other)), "{one:?} is held by two");
        }
    }

    /// Everybody returns and gives back all it has, again and again, until nobody waits.
    fn drain(&mut self) {
        for n in 1..=CLIENTS {
            self.step(Step::Return(n));
        }
        for round in 0.. {
            for n in 1..=CLIENTS {
                (0..8).rev().for_each(|place| self.step(Step::Poll(n, place)));
                for file in 0..FILES {
                    (1..=OWNERS).for_each(|owner| self.close(n, file, owner));
                }
            }
            self.check();
            if self.clients.values().all(|client| client.waits.is_empty()) {
                break;
            }
            assert!(round < 60, "somebody waits for nobody");
        }
        for n in 1..=CLIENTS {
            for file in 0..FILES {
                (1..=OWNERS).for_each(|owner| self.close(n, file, owner));
            }
        }
        assert!(self.book.is_empty());
    }
}

/// Bytes 0 to 9, and one for all beyond.
fn bytes<'a>(file: u64, held: impl Iterator<Item = &'a FileLock>) -> Vec<((u64, LockKind, u64, u64), LockMode)> {
    let byte = |held: &FileLock| {
        let at = |byte: u64| held.first <= byte && byte <= held.last;
        let (kind, owner, mode) = (held.kind, held.owner, held.mode);
        (0..10)
            .chain([ALL])
            .filter(|byte| at(*byte))
            .map(move |byte| ((file, kind, owner, byte), mode))
            .collect::<Vec<_>>()
    };
    held.flat_map(byte).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 1..=CLIENTS;
    let file = 0..FILES;
    let any_lock = (client.clone(), 1..=OWNERS, 0..8_u64, 0..8_u64, any::<bool>(), any::<bool>()).prop_map(
        |(client, owner, a, b, alone, whole)| {
            let mode = if alone { LockMode::Exclusive } else { LockMode::Shared };
            let kind = if whole { LockKind::Flock } else { LockKind::Posix };
            let range = if whole { (0, ALL) } else { (a.min(b), a.max(b)) };
            (client, FileLock { kind, ..lock(client, owner, range, mode) })
        },
    );
    let step = prop_oneof![
        6 => (any_lock.clone(), file.clone(), any::<bool>())
            .prop_map(|((client, lock), file, wait)| Step::Lock { client, file, lock, wait }),
        3 => (any_lock, file.clone()).prop_map(|((client, lock), file)| Step::Unlock { client, file, lock }),
        1 => (client.clone(), file, 1..=OWNERS).prop_map(|(client, file, owner)| Step::Close { client, file, owner }),
        3 => (client.clone(), 0..4_usize).prop_map(|(client, place)| Step::Poll(client, place)),
        2 => (client.clone(), 0..4_usize).prop_map(|(client, place)| Step::Withdraw(client, place)),
        1 => client.clone().prop_map(Step::Silence),
        2 => client.clone().prop_map(Step::Return),
        1 => Just(Step::Expire),
        1 => client.prop_map(Step::Failover),
        2 => (0..40_usize).prop_map(Step::Repeat),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    /// Whatever is done, however often, and whoever is silent or dies meanwhile: no two believe they have locks that
    /// conflict, everybody has what it believes it has, and nobody waits for nothing.
    #[test]
    fn locks_are_of_those_who_believe_they_have_them(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        world.drain();
    }
}
