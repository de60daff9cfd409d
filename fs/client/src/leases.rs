//! Leases: what this client may believe, and giving it back when somebody else needs it.
//!
//! One task asks every host that leads shards this session has introduced itself to what has to be given up, which also
//! keeps the leases good. Giving up has an order: nothing new is answered from what was believed; what was written
//! behind is written back; whoever passed the belief on ([`Beholder`]) takes it back; then the leader is told.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forebay_cache::{LeaseCache, Target, Ticket};
use forebay_net::call_lease;
use forebay_types::{Attr, Errno, FsId, HostId, InodeId, LeaseMode, ShardId, limits};
use forebay_wire::lease::{Given, Known, LeaseReply, LeaseRequest, Revoke, Standing};
use forebay_wire::meta::MetaAnswer;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ClientError;
use crate::delegation::Delegations;
use crate::filesystem::Filesystem;

/// A client believes a lease for this part of its time only: clocks run apart.
const GOOD: Duration = Duration::from_millis(limits::LEASE_MS / 10 * 9);
/// Longest time a host keeps a poll; several fit into the time of a lease.
const POLL_WAIT: Duration = Duration::from_millis(2_500);
/// How much longer an answer to a poll may take before the host counts as silent.
const POLL_SLACK: Duration = Duration::from_millis(1_000);
/// Pause before a poll that failed is sent again.
const POLL_PAUSE: Duration = Duration::from_millis(50);
/// Most inodes believed before some are given up.
const MOST_BELIEFS: usize = 1 << 18;
/// How many are given up then.
const GIVEN_UP_AT_ONCE: usize = 1 << 12;
/// Inodes given up side by side: for each, others may have to forget it first.
const AT_ONCE: usize = 256;

/// Somebody to whom this client has passed on what it believes: the kernel, behind a mount.
pub trait Beholder: Send + Sync {
    /// An inode is not believed any more. Ends when nothing of it is believed there either: neither attributes nor, for a
    /// directory, names, nor, for a file, bytes.
    fn forget(&self, ino: InodeId) -> BoxFuture<'_, ()>;
    /// Whether it has checked that a caller may search a directory before it asks for a name.
    fn checks_permissions(&self) -> bool;
}

/// See the module.
pub(crate) struct Leases {
    core: Mutex<LeaseCache>,
    base: Instant,
    beholder: OnceLock<Arc<dyn Beholder>>,
    /// One introduction to a shard at a time.
    introductions: Mutex<HashMap<ShardId, Arc<tokio::sync::Mutex<()>>>>,
    /// Introductions sent so far.
    attempts: AtomicU64,
    /// There is another shard to ask about.
    changed: Notify,
    /// What is done here in directories of which there are exclusive leases.
    pub delegations: Arc<Delegations>,
}

impl Default for Leases {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Leases {
    /// Nothing is believed; with `delegate`, directories are asked for.
    pub fn new(delegate: bool) -> Self {
        Self {
            delegations: Arc::new(Delegations::new(delegate)),
            core: Mutex::default(),
            base: Instant::now(),
            beholder: OnceLock::new(),
            introductions: Mutex::default(),
            attempts: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// A number for an introduction, greater than those of all before.
    pub fn next_attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn lock(&self) -> MutexGuard<'_, LeaseCache> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    /// Until when what a leader grants that hears of us now is good.
    pub fn good_until(&self) -> u64 {
        self.now() + GOOD.as_nanos() as u64
    }

    pub fn set_beholder(&self, beholder: Arc<dyn Beholder>) {
        // Set once, before anything is passed on.
        let _ = self.beholder.set(beholder);
    }

    /// The right to introduce this session to a shard's leader.
    pub async fn introduction(&self, shard: ShardId) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.introductions.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(shard).or_default().clone()
        };
        lock.lock_owned().await
    }

    /// The session is known to a shard's leader by a number, with these of its exclusive leases. False where something
    /// else is believed still, which has to be given up first.
    pub fn introduced(&self, shard: ShardId, number: u64, kept: &[InodeId], good_until: u64) -> bool {
        let mut core = self.lock();
        if !core.shared(shard).is_empty() {
            return false;
        }
        core.introduced(shard, number, kept, good_until);
        drop(core);
        self.changed.notify_one();
        true
    }

    /// An introduction to a shard's leader begins. Until when the leases were good.
    pub fn begin_introduction(&self, shard: ShardId) -> u64 {
        self.lock().begin_introduction(shard)
    }

    /// Gives up everything believed of a shard but what is written behind.
    pub async fn give_up_shared(&self, shard: ShardId) {
        let shared = self.lock().shared(shard);
        let give_up = |ino| async move {
            self.lock().give_up(ino, None);
            self.forget(ino).await;
        };
        futures::stream::iter(shared).for_each_concurrent(AT_ONCE, give_up).await;
    }

    /// Takes in what an answer grants.
    pub fn learn(&self, ticket: Ticket, number: u64, answer: &MetaAnswer) {
        let mut core = self.lock();
        for grant in &answer.grants {
            core.learn(ticket, number, &grant.attr, grant.mode);
        }
        for ino in &answer.stale {
            core.give_up(*ino, None);
        }
    }

    /// Whether leases of a shard are good.
    pub fn is_good(&self, shard: ShardId) -> bool {
        self.lock().is_good(shard, self.now())
    }

    /// Attributes that are believed.
    pub fn attr(&self, ino: InodeId) -> Option<Attr> {
        match self.delegations.attr(ino) {
            Some(attr) => self.is_good(ino.shard()).then_some(attr),
            None => self.lock().attr(ino, self.now()).copied(),
        }
    }

    /// What may be done with an inode.
    pub fn mode(&self, ino: InodeId) -> Option<LeaseMode> {
        if self.delegations.has_file(ino) && self.is_good(ino.shard()) {
            return Some(LeaseMode::Exclusive);
        }
        self.lock().mode(ino, self.now())
    }

    /// What a name stands for, where that is believed; those of delegated directories are asked for where they are.
    pub fn name(&self, dir: InodeId, name: &[u8]) -> Option<Target> {
        if self.delegations.has_directory(dir) {
            return None;
        }
        self.lock().name(dir, name, self.now())
    }

    /// Whether whoever asks checks permissions itself.
    pub fn others_check(&self) -> bool {
        self.beholder.get().is_some_and(|beholder| beholder.checks_permissions())
    }

    /// This client has changed an inode in a shard that does not say how.
    pub fn changed_elsewhere(&self, ino: InodeId) {
        self.lock().give_up(ino, None);
    }

    /// What this client passed on is believed no more.
    pub async fn forget(&self, ino: InodeId) {
        if let Some(beholder) = self.beholder.get() {
            beholder.forget(ino).await;
        }
    }

    /// This client changes a name, until what is returned is told how it ended, or dropped.
    pub fn change(self: &Arc<Self>, dir: InodeId, name: &[u8]) -> Change {
        let name = Bytes::copy_from_slice(name);
        self.lock().begin_change(dir, &name);
        Change { leases: self.clone(), dir, name, ended: None }
    }
}

/// A name that is being changed.
pub(crate) struct Change {
    leases: Arc<Leases>,
    dir: InodeId,
    name: Bytes,
    ended: Option<Target>,
}

impl Change {
    /// It stands for this now.
    pub fn becomes(mut self, target: Target) {
        self.ended = Some(target);
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.leases.lock().end_change(self.dir, &self.name, self.ended.take());
    }
}

/// What a host was asked about, and what came of it.
type Polled = (HostId, Vec<Known>, u64, Option<Vec<Standing>>);

/// Polls under way, by host.
#[derive(Default)]
struct Polls {
    tasks: JoinSet<Polled>,
    under_way: BTreeMap<HostId, (Vec<(ShardId, u64)>, tokio::task::AbortHandle)>,
}

impl Filesystem {
    /// Whoever is shown what this client believes, told when it does not any more. Only the first counts.
    pub fn set_beholder(&self, beholder: Arc<dyn Beholder>) {
        self.shards.leases.set_beholder(beholder);
    }

    /// For how long these attributes may be believed without asking again; zero where others are.
    #[must_use]
    pub fn believes(&self, attr: &Attr) -> Duration {
        let leases = &self.shards.leases;
        let same = leases.attr(attr.ino).is_some_and(|believed| believed.version == attr.version);
        if same { Duration::from_nanos(leases.lock().good_for(attr.ino.shard(), leases.now())) } else { Duration::ZERO }
    }

    /// For how long it may be believed what a name stands for; zero where something else is.
    #[must_use]
    pub fn believes_name(&self, dir: InodeId, name: &[u8], target: Target) -> Duration {
        let leases = &self.shards.leases;
        let (core, now) = (leases.lock(), leases.now());
        let same = core.name(dir, name, now) == Some(target);
        if same { Duration::from_nanos(core.good_for(dir.shard(), now)) } else { Duration::ZERO }
    }

    /// An inode's attributes as its shard has them, where they are believed.
    #[must_use]
    pub fn believed(&self, ino: InodeId) -> Option<Attr> {
        self.shards.leases.attr(ino)
    }

    /// Keeps leases good and gives back what is asked for, for ever.
    pub(crate) async fn keep_leases(self) {
        let mut polls = Polls::default();
        loop {
            self.start_polls(&mut polls).await;
            let leases = &self.shards.leases;
            let end = leases.lock().next_end(leases.now());
            let end = end.map(|end| leases.base + Duration::from_nanos(end));
            tokio::select! {
                polled = polls.tasks.join_next(), if !polls.tasks.is_empty() => {
                    if let Some(Ok(polled)) = polled {
                        polls.under_way.remove(&polled.0);
                        self.heard_of(polled).await;
                    }
                }
                () = leases.changed.notified() => {}
                () = tokio::time::sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => self.lapse().await,
            }
            self.make_room();
        }
    }

    /// Asks every host about the shards that it leads and is not asked about yet.
    async fn start_polls(&self, polls: &mut Polls) {
        let Ok(map) = self.shards.cluster.map().await else { return };
        let mut wanted: BTreeMap<HostId, Vec<Known>> = BTreeMap::new();
        for (shard, number, seen) in self.shards.leases.lock().standings() {
            if let Some(host) = self.shards.cluster.leader(&map, shard) {
                wanted.entry(host.id).or_default().push(Known { shard, number, seen });
            }
        }
        for (host, mut known) in wanted {
            known.sort_unstable_by_key(|known| known.shard);
            let about: Vec<(ShardId, u64)> = known.iter().map(|known| (known.shard, known.number)).collect();
            match polls.under_way.get(&host) {
                Some((same, _)) if *same == about => continue,
                Some((_, old)) => old.abort(),
                None => {}
            }
            let Some(peer) = self.shards.cluster.host(&map, host) else { continue };
            let (session, good_until) = (self.session(), self.shards.leases.good_until());
            let task = polls.tasks.spawn(async move {
                let wait_ms = POLL_WAIT.as_millis() as u32;
                let request = LeaseRequest::Poll { session, shards: known.clone(), wait_ms };
                match call_lease(&peer, &request, POLL_WAIT + POLL_SLACK).await {
                    Ok(LeaseReply::Standings(standings)) if standings.len() == known.len() => {
                        (host, known, good_until, Some(standings))
                    }
                    failed => {
                        tracing::debug!(%host, ?failed, "a poll for leases failed");
                        tokio::time::sleep(POLL_PAUSE).await;
                        (host, known, good_until, None)
                    }
                }
            });
            polls.under_way.insert(host, (about, task));
        }
    }

    async fn heard_of(&self, (host, known, good_until, standings): Polled) {
        let Some(standings) = standings else {
            // Whoever leads these shards now is found by asking for any of them.
            if let Ok(map) = self.shards.cluster.map().await {
                known.iter().for_each(|known| self.shards.cluster.not_leader(&map, known.shard, host, None));
            }
            known.iter().for_each(|known| self.introduce_again(known));
            return;
        };
        for (known, standing) in known.iter().zip(standings) {
            match standing {
                Standing::Good { told, revokes } => {
                    self.shards.leases.lock().renewed(known.shard, known.number, told, good_until);
                    if !revokes.is_empty() {
                        tokio::spawn(self.clone().give_back(known.shard, known.number, revokes));
                    }
                }
                Standing::Unknown => self.introduce_again(known),
            }
        }
    }

    /// Finds the leader of a shard, which may be a new one, and introduces this session to it.
    fn introduce_again(&self, known: &Known) {
        let (this, known) = (self.clone(), *known);
        tokio::spawn(async move {
            if let Err(error) = this.shards.introduce(known.shard, known.number).await {
                tracing::debug!(shard = %known.shard, %error, "not introduced to the shard's leader");
            }
        });
    }

    /// Gives back what a leader asks for.
    async fn give_back(self, shard: ShardId, number: u64, revokes: Vec<Revoke>) {
        let this = &self;
        let give = |revoke: Revoke| async move {
            let Revoke { fs, ino, keep, number: revocation } = revoke;
            this.stop_believing(ino, keep).await;
            this.tell_given(shard, number, vec![Given { fs, ino, keep, number: revocation }]).await;
        };
        futures::stream::iter(revokes).for_each_concurrent(AT_ONCE, give).await;
    }

    /// Stops believing an inode: nothing of it is left here or at the beholder, but what may be kept.
    async fn stop_believing(&self, ino: InodeId, keep: Option<LeaseMode>) {
        let before = self.shards.leases.lock().give_up(ino, keep);
        if self.shards.leases.delegations.has_file(ino)
            && let Err(error) = self.settle(ino).await
        {
            self.not_written_back(ino, error);
        }
        if let Err(error) = self.shards.give_back(ino).await {
            tracing::warn!(%ino, %error, "what was done here was not sent before others were let at it");
            self.shards.lose_delegations(ino.shard());
        }
        // Only what is written behind: two nodes that write through must not wait for each other here.
        if before == Some(LeaseMode::Exclusive)
            && let Err(error) = self.settle(ino).await
        {
            self.not_written_back(ino, error);
        }
        if keep.is_none() {
            self.shards.leases.forget(ino).await;
        }
    }

    fn not_written_back(&self, ino: InodeId, error: ClientError) {
        if matches!(error, ClientError::Posix(Errno::NoEntry)) {
            // Deleted, and nobody has it open.
            return self.files.drop_dirty(ino);
        }
        tracing::warn!(%ino, %error, "bytes were not written back before others were let at the file");
        if let Some(file) = self.files.find(ino) {
            file.lock().error = Some(error);
        }
    }

    /// Tells a leader, until it has heard or knows this session by another number.
    async fn tell_given(&self, shard: ShardId, number: u64, leases: Vec<Given>) {
        let request = LeaseRequest::Give { session: self.session(), shard, number, leases };
        let until = Instant::now() + GOOD;
        while Instant::now() < until && self.shards.leases.lock().number(shard) == number {
            let Ok(map) = self.shards.cluster.map().await else { return };
            let Some(host) = self.shards.cluster.leader(&map, shard) else { return };
            let peer = self.shards.cluster.peer(&host.address);
            match call_lease(&peer, &request, POLL_SLACK).await {
                Ok(_) => return,
                Err(error) => tracing::debug!(%shard, %error, "a lease was not given back yet"),
            }
            tokio::time::sleep(POLL_PAUSE).await;
        }
    }

    /// Takes back what was believed of shards whose leases have run out: nobody there has heard of us for too long.
    async fn lapse(&self) {
        let leases = &self.shards.leases;
        let late = leases.lock().lapse(leases.now());
        for shard in late {
            tracing::info!(%shard, "leases have run out: the shard's leader was not reached");
            leases.give_up_shared(shard).await;
            // What is written behind stays until a leader says whether anybody else was at the file meanwhile.
            let behind = leases.lock().exclusive(shard);
            for (ino, _) in behind {
                leases.forget(ino).await;
            }
        }
    }

    fn make_room(&self) {
        let given: Vec<InodeId> = {
            let core = self.shards.leases.lock();
            if core.len() < MOST_BELIEFS { Vec::new() } else { core.some(GIVEN_UP_AT_ONCE) }
        };
        if given.is_empty() {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let mut by_shard: BTreeMap<ShardId, Vec<InodeId>> = BTreeMap::new();
            given.into_iter().for_each(|ino| by_shard.entry(ino.shard()).or_default().push(ino));
            for (shard, inodes) in by_shard {
                this.give_up_freely(shard, inodes).await;
            }
        });
    }

    async fn give_up_freely(&self, shard: ShardId, inodes: Vec<InodeId>) {
        let number = self.shards.leases.lock().number(shard);
        let stop = |ino| self.stop_believing(ino, None);
        futures::stream::iter(inodes.clone()).for_each_concurrent(AT_ONCE, stop).await;
        let fs: FsId = self.id();
        let given = inodes.iter().map(|&ino| Given { fs, ino, keep: None, number: 0 }).collect();
        self.tell_given(shard, number, given).await;
        // What was granted while the leader had not heard of it yet is not held there any more.
        futures::stream::iter(inodes).for_each_concurrent(AT_ONCE, stop).await;
    }
}
