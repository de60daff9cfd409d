//! The metadata shards of a host: replicas of Raft groups, one thread that drives them all ([`driver`]).
//!
//! Mutations go to the thread and are answered once they are committed and applied. Reads are answered beside it from
//! applied state, by the shard's leader only ([`lead`]). Neither is answered while somebody may still believe otherwise
//! ([`leases`]); [`calls`] has the order of it all. Locks of programs are kept beside ([`locks`]).

mod calls;
mod driver;
mod fsck;
mod lead;
mod leases;
mod locks;
mod outbox;
mod pulse;
mod replica;
mod transfer;
mod transport;
mod wants;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use forebay_consensus::{FIRST, Group, encode_members};
use forebay_env::{Batch, Kv, KvError};
use forebay_meta::{Input, ReceiptKey, Shard, ShardConfig, ShardError};
use forebay_types::{Cred, FsId, HostId, OpId, SessionId, ShardId, StripeId, Timestamp};
use forebay_wire::cluster::{ReplicaStatus, UnwantedReplica};
use forebay_wire::map::ClusterMap;
use forebay_wire::meta::{MetaError, MetaReply, MutateOp, Mutation};
use forebay_wire::raft::{Members, RaftReply, RaftRequest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::peers::SharedMap;
use crate::placement::MapPlacement;
use driver::{Driver, Work};
use pulse::Pulse;
pub(crate) use replica::Served;

/// Time between the ticks of all groups.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// The least time that passes between two ticks that count.
pub(crate) const TICK_LEAST: Duration = Duration::from_millis(45);
/// Most inputs that wait for the driver; senders wait beyond that.
const QUEUE: usize = 4096;
/// A new leader leaves orphans alone for this long, so that clients can say what they have open: more than the time
/// between two signs of life of a client.
const INTRODUCTIONS: Duration = Duration::from_secs(45);
/// How often orphans are looked for that nothing else removes.
const SWEEP: Duration = Duration::from_secs(600);
/// Sequence numbers of the host's own mutations are nanoseconds; answers older than this are forgotten. Hosts' clocks
/// may differ by as much.
const OWN_ANSWERS_KEPT_NS: u64 = 60_000_000_000;

pub(crate) type AnyShard = Shard<Arc<dyn Kv>>;
/// Called with a shard that this host has begun to lead.
pub(crate) type TookOver = Box<dyn Fn(ShardId) + Send>;

/// The replicas of a host; grows as shards move here.
#[derive(Clone, Default)]
pub(crate) struct Table(Arc<RwLock<BTreeMap<ShardId, Arc<Served>>>>);

impl Table {
    fn get(&self, shard: ShardId) -> Option<Arc<Served>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    fn all(&self) -> Vec<Arc<Served>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Those that this host leads.
    fn led(&self) -> Vec<Arc<Served>> {
        self.all().into_iter().filter(|served| served.lead.get().ready.is_some()).collect()
    }

    fn add(&self, served: Arc<Served>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(served.id, served);
    }

    fn remove(&self, shard: ShardId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&shard);
    }

    fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// See the module.
pub(crate) struct Metadata {
    table: Table,
    sessions: Mutex<BTreeSet<SessionId>>,
    queue: mpsc::Sender<Work>,
    clock: Arc<Clock>,
    map: SharedMap,
    transfers: transfer::Transfers,
    checks: fsck::Checks,
    pulse: Arc<Pulse>,
    driver: Mutex<Option<JoinHandle<()>>>,
}

/// What the replicas need from their host.
pub(crate) struct Setup {
    pub me: HostId,
    pub kv: Arc<dyn Kv>,
    pub clock: Arc<Clock>,
    pub map: SharedMap,
    pub client: forebay_client::Cluster,
    pub receipt_key: ReceiptKey,
    pub took_over: TookOver,
    /// Where election timeouts are drawn from.
    pub seed: u64,
}

/// Writes with which a host's replicas of a new cluster begin, the same on every host.
pub(crate) fn first_batch(map: &ClusterMap, me: HostId) -> Batch {
    let mut batch = Batch::default();
    for shard in map.shards.iter().filter(|shard| shard.replicas.contains(&me)) {
        let members = Members { voters: shard.replicas.clone(), learners: Vec::new() };
        batch.writes.extend(Group::<Arc<dyn Kv>>::first_batch(shard.id).writes);
        batch.writes.extend(AnyShard::first_batch(shard.id, FIRST, encode_members(&members)).writes);
        if shard.id == ShardId(0) {
            let state = forebay_cluster::Cluster::first_batch(map);
            batch.writes.extend(AnyShard::first_cluster_state(state).writes);
        }
    }
    batch
}

impl Metadata {
    /// Opens the replicas that are here, and those that the map gives this host, and begins to drive them. Ends when the
    /// last handle is dropped.
    pub fn start(setup: Setup) -> Result<Arc<Self>, ShardError> {
        let map = setup.map.get();
        let (table, mut replicas) = (Table::default(), BTreeMap::new());
        for shard in &map.shards {
            if !Group::exists(&setup.kv, shard.id).map_err(|e| ShardError::Store(KvError { reason: e.to_string() }))? {
                // What an erasure that was interrupted has left.
                forebay_meta::erase(&*setup.kv, shard.id)?;
                if !shard.replicas.contains(&setup.me) {
                    continue;
                }
            }
            let shard_count = map.shards.len() as u16;
            let config = ShardConfig { shard: shard.id, shard_count, receipt_key: setup.receipt_key.clone() };
            let preferred = shard.replicas.first() == Some(&setup.me);
            let replica = replica::Replica::open(setup.kv.clone(), config, setup.me, preferred)?;
            table.add(replica.served.clone());
            replicas.insert(shard.id, replica);
        }
        let (queue, inbox) = mpsc::channel(QUEUE);
        let pulse = Arc::new(Pulse::new());
        let runtime = tokio::runtime::Handle::current();
        let driver = Driver {
            me: setup.me,
            table: table.clone(),
            replicas,
            kv: setup.kv,
            clock: setup.clock.clone(),
            map: setup.map.clone(),
            receipt_key: setup.receipt_key,
            placement: MapPlacement::new(setup.map.clone()),
            client: setup.client.clone(),
            outbox: outbox::Outbox::new(queue.downgrade(), setup.client.clone(), runtime.clone()),
            transport: transport::Transport::new(transport::Sender {
                map: setup.map.clone(),
                client: setup.client,
                back: queue.downgrade(),
                pulse: pulse.clone(),
                runtime: runtime.clone(),
            }),
            pulse: pulse.clone(),
            erasing: BTreeSet::new(),
            took_over: setup.took_over,
            runtime: runtime.clone(),
            queue: queue.downgrade(),
            ticks: 0,
            last_tick_ns: 0,
            dice: setup.seed | 1,
        };
        runtime.spawn(tick(queue.downgrade()));
        let thread = std::thread::Builder::new()
            .name("metadata".into())
            .spawn(move || driver.run(inbox))
            .map_err(|e| ShardError::Store(KvError { reason: format!("no thread: {e}") }))?;
        Ok(Arc::new(Self {
            table,
            sessions: Mutex::default(),
            queue,
            clock: setup.clock,
            map: setup.map,
            transfers: transfer::Transfers::default(),
            checks: fsck::Checks::default(),
            pulse,
            driver: Mutex::new(Some(thread)),
        }))
    }

    /// How the replicas stand.
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        self.table.all().iter().map(|served| served.status()).collect()
    }

    /// How long flushes, and answers of other hosts, took of late, in microseconds.
    pub fn pulse(&self) -> (u32, Vec<(HostId, u32)>) {
        (self.pulse.flush_us(), self.pulse.answers_us())
    }

    /// The cluster group says that a replica here is no member of its group any more.
    pub async fn unwanted(&self, replica: UnwantedReplica) {
        // Refused only while the host stops; it is said again after every sign of life.
        let _ = self.queue.send(Work::Unwanted(replica)).await;
    }

    /// The term in which this host leads the shard, if it does.
    pub fn leads(&self, shard: ShardId) -> Option<u64> {
        self.table.get(shard)?.lead.get().ready
    }

    /// The shards' time.
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Who leads the shard, as far as this host knows.
    pub fn leader(&self, shard: ShardId) -> Option<HostId> {
        self.table.get(shard)?.lead.get().leader
    }

    /// Runs `read` on a shard this host leads; `None` where it does not lead it beyond doubt.
    pub async fn read_led<T>(&self, shard: ShardId, read: impl FnOnce(&AnyShard) -> T) -> Option<T> {
        let served = self.table.get(shard)?;
        let permit = served.lead.begin(self.clock.nanos()).ok()?;
        let value = read(&read_lock(&served.shard));
        served.lead.confirm(permit, self.clock.nanos()).await.ok()?;
        Some(value)
    }

    fn note_session(&self, session: SessionId) {
        if session.0 != 0 {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(session);
        }
    }

    /// Sessions that the shards this host leads remember.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn not_served(&self, shard: ShardId, leader: Option<HostId>) -> MetaReply {
        MetaReply::Error(MetaError::NotServed { shard, epoch: self.map.epoch(), leader })
    }

    fn reap(&self, shard: ShardId, reaps: Result<Vec<Input>, ShardError>) {
        let inputs = reaps.unwrap_or_else(|error| {
            tracing::error!(%shard, %error, "orphans cannot be listed");
            Vec::new()
        });
        for input in inputs {
            let queue = self.queue.clone();
            tokio::spawn(async move {
                // Whoever closed the file does not wait for this; nobody reads the answer.
                let _ = queue.send(Work::Input { shard, input, waiter: None }).await;
            });
        }
    }

    /// Has the shard's leader, which must be here, carry an input out.
    pub async fn submit(&self, shard: ShardId, input: Input) -> MetaReply {
        let (reply, answer) = oneshot::channel();
        let stopped = || MetaReply::Error(MetaError::Storage { reason: "the shard is not served any more".into() });
        if self.queue.send(Work::Input { shard, input, waiter: Some(reply) }).await.is_err() {
            return stopped();
        }
        answer.await.unwrap_or_else(|_| stopped())
    }

    /// Messages and transfers between replicas.
    pub async fn raft(&self, from: &str, request: RaftRequest) -> RaftReply {
        match request {
            RaftRequest::Messages(messages) => match self.queue.send(Work::Messages(messages)).await {
                Ok(()) => RaftReply::Taken,
                Err(_) => RaftReply::Refused { reason: "this host serves no metadata any more".into() },
            },
            RaftRequest::OpenState { shard } => match self.table.get(shard) {
                Some(served) => {
                    let export = read_lock(&served.shard).export();
                    tracing::info!(%shard, to = from, "sending the shard's state");
                    self.transfers.open(shard, export)
                }
                None => RaftReply::Refused { reason: format!("there is no replica of {shard} here") },
            },
            RaftRequest::NextRows { transfer, page } => {
                let by = self.map.get().hosts.iter().find(|host| host.name == from).map(|host| host.id);
                if let (Some(by), Some(shard)) = (by, self.transfers.shard(transfer)) {
                    // Where there is no room, the word of the next page will do.
                    let _ = self.queue.try_send(Work::FetchGoesOn { shard, by });
                }
                self.transfers.page(transfer, page).await
            }
        }
    }

    async fn own(&self, shard: ShardId, fs: FsId, op: MutateOp) -> MetaReply {
        let sequence = self.clock.wall().as_nanos() as u64;
        let mutation = Mutation {
            fs,
            id: OpId { session: SessionId(0), sequence },
            acknowledged_below: sequence.saturating_sub(OWN_ANSWERS_KEPT_NS),
            cred: Cred::ROOT,
            op,
        };
        self.submit(shard, Input::Mutate(Box::new(mutation))).await
    }

    /// Makes the root directory of a filesystem, where it is missing. Only for the leader of shard 0.
    pub async fn make_root(&self, fs: FsId) -> Result<(), MetaError> {
        match self.own(ShardId(0), fs, MutateOp::MakeRoot).await {
            MetaReply::Error(error) => Err(error),
            _ => Ok(()),
        }
    }

    /// What a new leader has to do beside its thread: learn of the shard's sessions, and after a while remove what
    /// nobody has open.
    pub async fn settle_in(self: Arc<Self>, shard: ShardId) {
        let Some(served) = self.table.get(shard) else { return };
        let Some(term) = served.lead.get().ready else { return };
        let sessions = read_lock(&served.shard).sessions();
        match sessions {
            Ok(sessions) => sessions.into_iter().for_each(|session| self.note_session(session)),
            Err(error) => tracing::error!(%shard, %error, "sessions cannot be listed"),
        }
        let since = Instant::now();
        loop {
            tokio::time::sleep_until(since + INTRODUCTIONS).await;
            if served.lead.get().ready != Some(term) {
                return;
            }
            served.opens().complete();
            self.sweep(&served).await;
            tokio::time::sleep(SWEEP).await;
        }
    }

    /// Removes the orphans that nobody has open.
    async fn sweep(&self, served: &Served) {
        let mut after = None;
        loop {
            let page = read_lock(&served.shard).orphans(after, 256);
            let page = match page {
                Ok(page) => page,
                Err(error) => return tracing::error!(shard = %served.id, %error, "orphans cannot be listed"),
            };
            let Some(&last) = page.last() else { return };
            after = Some(last);
            for (fs, ino) in page {
                self.submit(served.id, Input::Reap { fs, ino }).await;
            }
        }
    }

    /// Tells the shards that are led from here that a session has ended.
    pub fn end_session(self: &Arc<Self>, session: SessionId) {
        let this = self.clone();
        tokio::spawn(async move {
            for served in this.table.led() {
                let op = MutateOp::EndSession { session };
                match this.own(served.id, FsId(0), op).await {
                    // The next leader is told with its next heartbeat.
                    MetaReply::Error(MetaError::NotServed { .. } | MetaError::Busy) => return,
                    MetaReply::Error(error) => {
                        tracing::error!(shard = %served.id, %session, %error, "a session cannot be ended");
                        return;
                    }
                    _ => {}
                }
                let reaps = {
                    let mut opens = served.opens();
                    opens.end_session(session);
                    read_lock(&served.shard).reaps(&mut opens)
                };
                served.leases.end_session(session);
                this.reap(served.id, reaps);
            }
            this.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
            tracing::info!(%session, "session ended");
        });
    }

    /// Stripes that may be erased now, by shard, at most `limit` of each.
    pub fn garbage(&self, limit: usize) -> Vec<(ShardId, Vec<StripeId>)> {
        let now = self.clock.wall();
        let mut all = Vec::new();
        for served in self.table.led() {
            let garbage = read_lock(&served.shard).garbage(now, limit);
            match garbage {
                Ok(stripes) if stripes.is_empty() => {}
                Ok(stripes) => all.push((served.id, stripes)),
                Err(error) => tracing::error!(shard = %served.id, %error, "garbage cannot be listed"),
            }
        }
        all
    }

    /// Nothing is left of these stripes.
    pub async fn erased(&self, shard: ShardId, stripes: Vec<StripeId>) {
        if let MetaReply::Error(error) = self.submit(shard, Input::Erased { stripes }).await {
            // Another leader lists them again, and what is not there is erased at once.
            tracing::debug!(%shard, %error, "erased stripes are not forgotten yet");
        }
    }
}

/// Lets time pass for the driver, until it ends.
async fn tick(queue: mpsc::WeakSender<Work>) {
    let mut timer = tokio::time::interval(TICK);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let Some(queue) = queue.upgrade() else { return };
        if queue.send(Work::Tick).await.is_err() {
            return;
        }
    }
}

/// The store is closed when the last handle has gone, before the process may end: so the driver, which has one, is
/// waited for. It ends after the turn it is at.
impl Drop for Metadata {
    fn drop(&mut self) {
        let driver = self.driver.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = driver else { return };
        let mut stop = Work::Stop;
        // The driver takes works out all the time, so there is room soon, unless it has ended.
        while let Err(mpsc::error::TrySendError::Full(back)) = self.queue.try_send(stop) {
            stop = back;
            std::thread::yield_now();
        }
        if thread.join().is_err() {
            tracing::error!("the metadata driver panicked");
        }
    }
}

pub(crate) fn read_lock(shard: &RwLock<AnyShard>) -> std::sync::RwLockReadGuard<'_, AnyShard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}
