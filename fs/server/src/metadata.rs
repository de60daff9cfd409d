//! The metadata shards of a host.
//!
//! One thread drives them all: it takes what has arrived, prepares an entry for each, writes the entries of all shards
//! as one batch with one flush, applies them in order, and answers. While it flushes, the next batch gathers. Reads are
//! answered beside it from applied state.

mod outbox;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use forebay_env::Kv;
use forebay_meta::{Input, OpenTable, ReceiptKey, Shard, ShardConfig, ShardError};
use forebay_types::{Cred, FsId, OpId, SessionId, ShardId, StripeId};
use forebay_wire::meta::{MetaCall, MetaError, MetaReply, MetaRequest, MutateOp, Mutation, ReadOp};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::peers::SharedMap;
use crate::placement::MapPlacement;
use writer::{Work, Writer};

/// Most inputs that wait for the writer; senders wait beyond that.
const QUEUE: usize = 4096;
/// Orphans are left alone for this long after a start, so that clients can say what they have open.
const ORPHAN_GRACE: Duration = Duration::from_secs(45);
/// Sequence numbers of the host's own mutations are nanoseconds; answers older than this are forgotten.
const OWN_ANSWERS_KEPT_NS: u64 = 60_000_000_000;

pub(crate) type AnyShard = Shard<Arc<dyn Kv>>;

/// A shard and which of its inodes are open. The table is locked from the preparation of an entry to its application,
/// so that nobody opens a file that is being removed.
pub(crate) struct Served {
    pub shard: RwLock<AnyShard>,
    pub opens: Arc<tokio::sync::Mutex<OpenTable>>,
}

/// The shards a host serves.
pub(crate) struct Metadata {
    shards: BTreeMap<ShardId, Arc<Served>>,
    sessions: Mutex<BTreeMap<SessionId, ()>>,
    queue: mpsc::Sender<Work>,
    clock: Arc<Clock>,
    map: SharedMap,
    writer: Mutex<Option<(Arc<AtomicBool>, JoinHandle<()>)>>,
}

/// What the shards need from their host.
pub(crate) struct Setup {
    pub kv: Arc<dyn Kv>,
    pub clock: Arc<Clock>,
    pub map: SharedMap,
    pub client: forebay_client::Cluster,
    pub receipt_key: ReceiptKey,
}

impl Metadata {
    /// Opens and recovers shards, and starts to serve them. Ends when the last handle is dropped.
    pub fn start(ids: Vec<ShardId>, setup: Setup) -> Result<Arc<Self>, ShardError> {
        let mut shards = BTreeMap::new();
        for shard in ids {
            let shard_count = setup.map.get().shards.len() as u16;
            let config = ShardConfig { shard, shard_count, receipt_key: setup.receipt_key.clone() };
            let mut opened = Shard::open(setup.kv.clone(), config)?;
            let replayed = opened.recover()?;
            tracing::debug!(%shard, replayed, "shard recovered");
            let served = Served { shard: RwLock::new(opened), opens: Arc::default() };
            shards.insert(shard, Arc::new(served));
        }
        let (queue, inbox) = mpsc::channel(QUEUE);
        let this = Arc::new(Self {
            shards,
            sessions: Mutex::default(),
            queue,
            clock: setup.clock.clone(),
            map: setup.map.clone(),
            writer: Mutex::new(None),
        });
        this.learn_sessions()?;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            shards: this.shards.clone(),
            kv: setup.kv,
            clock: setup.clock,
            placement: MapPlacement::new(setup.map),
            waiting: BTreeMap::new(),
            stop: stop.clone(),
            outbox: outbox::Outbox::new(this.queue.downgrade(), setup.client, tokio::runtime::Handle::current()),
        };
        let thread = std::thread::Builder::new()
            .name("metadata".into())
            .spawn(move || writer.run(inbox))
            .map_err(|e| ShardError::Store(forebay_env::KvError { reason: format!("no thread: {e}") }))?;
        *this.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some((stop, thread));
        Ok(this)
    }

    fn learn_sessions(&self) -> Result<(), ShardError> {
        for served in self.shards.values() {
            for session in read_lock(&served.shard).sessions()? {
                self.note_session(session);
            }
        }
        Ok(())
    }

    fn note_session(&self, session: SessionId) {
        if session.0 != 0 {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).entry(session).or_default();
        }
    }

    /// Sessions that some shard here remembers.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Answers a call.
    pub async fn handle(&self, request: MetaRequest, deadline: Duration) -> MetaReply {
        let not_served = MetaReply::Error(MetaError::NotServed { shard: request.shard, epoch: self.map.epoch() });
        let Some(served) = self.shards.get(&request.shard) else { return not_served };
        let input = match request.call {
            MetaCall::Read { fs, session, cred, op } => return self.read(served, fs, session, &cred, op).await,
            MetaCall::Mutate(mutation) => {
                self.note_session(mutation.id.session);
                Input::Mutate(mutation)
            }
            MetaCall::Peer(step) => Input::Peer(step),
        };
        match tokio::time::timeout(deadline, self.submit(request.shard, input)).await {
            Ok(reply) => reply,
            // Nobody waits for the answer any more; a retry finds it.
            Err(_) => MetaReply::Error(MetaError::Busy),
        }
    }

    async fn read(&self, served: &Served, fs: FsId, session: SessionId, cred: &Cred, op: ReadOp) -> MetaReply {
        let needs_opens = matches!(op, ReadOp::Open { .. } | ReadOp::Close { .. });
        if !needs_opens {
            let shard = read_lock(&served.shard);
            return shard.read(fs, session, cred, &op, &mut OpenTable::new());
        }
        self.note_session(session);
        let mut opens = served.opens.lock().await;
        let (reply, reaps, id) = {
            let shard = read_lock(&served.shard);
            let reply = shard.read(fs, session, cred, &op, &mut opens);
            (reply, shard.reaps(&mut opens), shard.id())
        };
        drop(opens);
        self.reap(id, reaps);
        reply
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
                let _ = queue.send(Work { shard, input, reply: None }).await;
            });
        }
    }

    async fn submit(&self, shard: ShardId, input: Input) -> MetaReply {
        let (reply, answer) = oneshot::channel();
        let stopped = || MetaReply::Error(MetaError::Storage { reason: "the shard is not served any more".into() });
        if self.queue.send(Work { shard, input, reply: Some(reply) }).await.is_err() {
            return stopped();
        }
        answer.await.unwrap_or_else(|_| stopped())
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

    /// Makes the root directory of a filesystem, where it is missing. Only for the host of shard 0.
    pub async fn make_root(&self, fs: FsId) -> Result<(), MetaError> {
        match self.own(ShardId(0), fs, MutateOp::MakeRoot).await {
            MetaReply::Error(error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Tells every shard that a session has ended.
    pub fn end_session(self: &Arc<Self>, session: SessionId) {
        let this = self.clone();
        tokio::spawn(async move {
            for (&shard, served) in &this.shards {
                let op = MutateOp::EndSession { session };
                if let MetaReply::Error(error) = this.own(shard, FsId(0), op).await {
                    tracing::error!(%shard, %session, %error, "a session cannot be ended, will be tried again");
                    return;
                }
                let mut opens = served.opens.lock().await;
                opens.end_session(session);
                let reaps = read_lock(&served.shard).reaps(&mut opens);
                drop(opens);
                this.reap(shard, reaps);
            }
            this.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
            tracing::info!(%session, "session ended");
        });
    }

    /// Stripes that may be erased now, by shard, at most `limit` of each.
    pub fn garbage(&self, limit: usize) -> Vec<(ShardId, Vec<StripeId>)> {
        let now = self.clock.wall();
        let list = |served: &Served| read_lock(&served.shard).garbage(now, limit);
        self.shards
            .iter()
            .filter_map(|(&shard, served)| match list(served) {
                Ok(stripes) if stripes.is_empty() => None,
                Ok(stripes) => Some((shard, stripes)),
                Err(error) => {
                    tracing::error!(%shard, %error, "garbage cannot be listed");
                    None
                }
            })
            .collect()
    }

    /// Nothing is left of these stripes.
    pub async fn erased(&self, shard: ShardId, stripes: Vec<StripeId>) {
        if let MetaReply::Error(error) = self.submit(shard, Input::Erased { stripes }).await {
            tracing::error!(%shard, %error, "erased stripes cannot be forgotten");
        }
    }

    /// Once clients had the time to say what they have open after a restart: removes what nobody has.
    pub async fn reap_old_orphans(self: Arc<Self>) {
        tokio::time::sleep(ORPHAN_GRACE).await;
        for (&shard, served) in &self.shards {
            let mut after = None;
            loop {
                let page = read_lock(&served.shard).orphans(after, 256);
                let Ok(page) = page else { break };
                let Some(&last) = page.last() else { break };
                after = Some(last);
                for (fs, ino) in page {
                    self.submit(shard, Input::Reap { fs, ino }).await;
                }
            }
        }
    }
}

/// The store is closed when the last handle has gone, before the process may end: so the writer, which has one, is
/// waited for. It ends after the batch it is at.
impl Drop for Metadata {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some((stop, thread)) = writer else { return };
        stop.store(true, Ordering::Release);
        // Wakes it where it waits; where the queue is full it does not wait.
        let input = Input::Erased { stripes: Vec::new() };
        let _ = self.queue.try_send(Work { shard: ShardId(u16::MAX), input, reply: None });
        if thread.join().is_err() {
            tracing::error!("the metadata writer panicked");
        }
    }
}

pub(crate) fn read_lock(shard: &RwLock<AnyShard>) -> std::sync::RwLockReadGuard<'_, AnyShard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}
