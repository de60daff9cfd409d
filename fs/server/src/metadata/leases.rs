//! What sessions may believe of a shard's inodes, as the shard's leader keeps it: the table, and who waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_meta::{Barrier, Input, LeaseTable};
use forebay_types::{FsId, InodeId, OpId, SessionId, ShardId};
use forebay_wire::lease::{Known, LeaseReply, LeaseRequest, Standing};
use forebay_wire::meta::TxnId;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::locks::LockDesk;
use super::{Metadata, Served};

/// How often leases are looked for that have run out.
pub(super) const LAPSE_INTERVAL: Duration = Duration::from_millis(250);

/// Somebody who must not be told of a change yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Told {
    /// Who sent the mutation.
    Mutation(OpId),
    /// The shard that asked for the step.
    Step(TxnId, u32),
}

impl Told {
    /// Who is told of an input. `operation`: the mutation that applying it belonged to.
    pub fn of(input: &Input, operation: Option<OpId>) -> Option<Self> {
        match input {
            Input::Peer(step) => Some(Self::Step(step.txn, step.step)),
            _ => operation.map(Self::Mutation),
        }
    }
}

type Inode = (FsId, InodeId);

/// What an entry has changed.
pub(crate) struct Changes {
    /// Inodes of which its author knows, or is told.
    pub by_author: Vec<Inode>,
    /// Inodes of which the author learns like everybody else.
    pub by_anyone: Vec<Inode>,
    /// The session whose operation it was part of.
    pub author: Option<SessionId>,
    /// Who is to be told.
    pub told: Option<Told>,
}

/// The table, with what may not be told yet.
#[derive(Default)]
pub(crate) struct Desk {
    pub table: LeaseTable,
    /// Locks of programs, which go with their sessions.
    pub locks: LockDesk,
    /// What others have to give up before these are answered, however often they ask.
    unsettled: BTreeMap<Told, Vec<Barrier>>,
    /// What a mutation has changed of what its own session believes, until that is told.
    own_changes: BTreeMap<OpId, BTreeSet<InodeId>>,
}

impl Desk {
    /// Whether there is nothing any more that others must give up before this one is told.
    pub fn may_tell(&mut self, told: Told) -> bool {
        let Some(barriers) = self.unsettled.get_mut(&told) else { return true };
        barriers.retain(|barrier| !self.table.settled(barrier));
        let may = barriers.is_empty();
        if may {
            self.unsettled.remove(&told);
        }
        may
    }

    /// Somebody else has taken a lock that a silent session had: it has to introduce itself, and hears of it then.
    pub fn displaced(&mut self, shard: ShardId, session: SessionId) {
        tracing::info!(%shard, %session, "the session is silent: others have taken locks that it had");
        self.table.end_session(session);
    }

    /// What a mutation has changed of what its session believed. Those before `acknowledged_below` have been answered.
    pub fn take_own_changes(&mut self, id: OpId, acknowledged_below: u64) -> BTreeSet<InodeId> {
        // Kept until it is acknowledged: the answer may be lost, and asked for again.
        let own = self.own_changes.get(&id).cloned().unwrap_or_default();
        let answered = OpId { sequence: 0, ..id }..OpId { sequence: acknowledged_below, ..id };
        let answered: Vec<OpId> = self.own_changes.range(answered).map(|(id, _)| *id).collect();
        answered.into_iter().for_each(|id| drop(self.own_changes.remove(&id)));
        own
    }

    /// Others give up what they believe of these inodes before `told` is answered; `author` is told of what it believes
    /// itself.
    fn change(&mut self, changed: Vec<Inode>, author: Option<SessionId>, told: Option<Told>, now_ns: u64) {
        if let (Some(author), Some(Told::Mutation(id))) = (author, told) {
            let own = changed.iter().filter(|inode| self.table.holds(**inode, author)).map(|(_, ino)| *ino);
            let own: Vec<InodeId> = own.collect();
            if !own.is_empty() {
                self.own_changes.entry(id).or_default().extend(own);
            }
        }
        if let (Some(barrier), Some(told)) = (self.table.changed(changed, author, now_ns), told) {
            self.unsettled.entry(told).or_default().push(barrier);
        }
    }

    fn forget_settled(&mut self) {
        let table = &self.table;
        self.own_changes.retain(|id, _| table.is_member(id.session));
        self.unsettled.retain(|_, barriers| {
            barriers.retain(|barrier| !table.settled(barrier));
            !barriers.is_empty()
        });
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct LeaseDesk {
    desk: Mutex<Desk>,
    news: watch::Sender<()>,
}

impl LeaseDesk {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the desk, and has sessions told where they were asked for leases.
    pub fn with<T>(&self, look: impl FnOnce(&mut Desk) -> T) -> T {
        let mut desk = self.lock();
        let before = desk.table.revocations();
        let found = look(&mut desk);
        let asked = desk.table.revocations() > before;
        drop(desk);
        if asked {
            self.notify();
        }
        found
    }

    /// Tells of every change of the table from now on.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// The table has changed in a way that somebody may wait for.
    pub fn notify(&self) {
        self.news.send_replace(());
    }

    /// The lead has begun or ended: whoever waits for news may have to look for them elsewhere.
    pub fn turned(&self) {
        self.lock().locks.dismiss();
        self.notify();
    }

    /// The lead begins.
    pub fn begin(&self, term: u64, sessions: Vec<SessionId>, now_ns: u64) {
        *self.lock() = Desk { table: LeaseTable::new(term, sessions, now_ns), ..Desk::default() };
        self.notify();
    }

    /// Changes the shard's state while nobody reads, and has others give up what they believe of it. `change` says what
    /// has changed.
    pub fn change<T, E>(&self, now_ns: u64, change: impl FnOnce() -> Result<(T, Changes), E>) -> Result<T, E> {
        self.with(|desk| {
            let (value, Changes { by_author, by_anyone, author, told }) = change()?;
            desk.change(by_author, author, told, now_ns);
            desk.change(by_anyone, None, told, now_ns);
            Ok(value)
        })
    }

    /// A session has ended.
    pub fn end_session(&self, session: SessionId) {
        let mut desk = self.lock();
        desk.table.end_session(session);
        desk.locks.end_session(session);
        drop(desk);
        self.notify();
    }

    /// Ends the leases that have run out, and locks that somebody waits for.
    fn lapse(&self, shard: ShardId, now_ns: u64) -> Vec<SessionId> {
        let mut guard = self.lock();
        let desk = &mut *guard;
        let mut late = desk.table.expire(now_ns);
        let displaced = desk.locks.expire(now_ns, &|session| desk.table.is_silent(session, now_ns));
        for session in displaced {
            desk.displaced(shard, session);
            late.push(session);
        }
        desk.forget_settled();
        drop(guard);
        if !late.is_empty() {
            self.notify();
        }
        late
    }
}

impl Metadata {
    /// Answers a call of the lease service.
    pub async fn lease(&self, request: LeaseRequest, deadline: Duration) -> LeaseReply {
        match request {
            LeaseRequest::Poll { session, shards, wait_ms } => {
                let wait = Duration::from_millis(wait_ms.into()).min(deadline);
                LeaseReply::Standings(self.poll(session, &shards, Instant::now() + wait).await)
            }
            LeaseRequest::Give { session, shard, number, leases } => {
                if let Some(served) = self.table.get(shard) {
                    let mut desk = served.leases.lock();
                    if desk.table.knows(session, number) {
                        leases.iter().for_each(|lease| {
                            desk.table.give(session, (lease.fs, lease.ino), lease.keep, lease.number)
                        });
                    }
                    drop(desk);
                    served.leases.notify();
                }
                LeaseReply::Done
            }
        }
    }

    async fn poll(&self, session: SessionId, shards: &[Known], until: Instant) -> Vec<Standing> {
        let arrived = self.clock.nanos();
        let known: Vec<(Known, Option<Arc<Served>>)> = shards
            .iter()
            .map(|known| {
                let served = self.table.get(known.shard).filter(|served| {
                    let mut desk = served.leases.lock();
                    desk.table.renew(session, known.number, known.seen, arrived)
                });
                (*known, served)
            })
            .collect();
        loop {
            let mut news: FuturesUnordered<_> = FuturesUnordered::new();
            let mut quiet = true;
            for (known, served) in &known {
                let Some(served) = served else {
                    quiet = false;
                    continue;
                };
                // Subscribed before looking: nothing is missed.
                let mut watch = served.leases.watch();
                let standing = served.leases.lock().table.revokes(session, known.number);
                quiet &= standing.is_some_and(|(told, _)| told <= known.seen) && served.lead.get().ready.is_some();
                news.push(async move { watch.changed().await.is_ok() });
            }
            if !quiet || timeout_at(until, news.next()).await.is_err() {
                break;
            }
        }
        let mut standings = Vec::with_capacity(known.len());
        for (known, served) in known {
            standings.push(match served {
                Some(served) => self.standing(session, &known, &served, arrived).await,
                None => Standing::Unknown,
            });
        }
        standings
    }

    /// How the session stands, if this host has led the shard beyond doubt when the session was heard of.
    async fn standing(&self, session: SessionId, known: &Known, served: &Served, arrived: u64) -> Standing {
        let Ok(permit) = served.lead.begin(arrived) else { return Standing::Unknown };
        let standing = served.leases.lock().table.revokes(session, known.number);
        let Some((told, revokes)) = standing else { return Standing::Unknown };
        match served.lead.confirm(permit, self.clock.nanos()).await {
            Ok(()) => Standing::Good { told, revokes },
            Err(_) => Standing::Unknown,
        }
    }

    /// Ends leases that have run out, for ever.
    pub async fn lapse(self: Arc<Self>) {
        let mut timer = tokio::time::interval(LAPSE_INTERVAL);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            for served in self.table.led() {
                for session in served.leases.lapse(served.id, self.clock.nanos()) {
                    tracing::info!(shard = %served.id, %session, "the session is silent: its leases have run out");
                }
            }
        }
    }
}
