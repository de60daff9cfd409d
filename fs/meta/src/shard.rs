//! A shard: prepare, log, apply.

use forebay_env::{Batch, Durability, Kv};
use forebay_types::{FileKind, FsId, InodeId, SessionId, ShardId, StripeId, Timestamp};
use forebay_wire::meta::{MetaError, MetaReply, MutateOp, Mutation, PeerAction, PeerStep};

use crate::entry::{Applied, Entry, Input};
use crate::error::{Fault, ShardError};
use crate::key::{self, Keys};
use crate::open::OpenTable;
use crate::placement::Placement;
use crate::receipt::ReceiptKey;
use crate::record::{Dentry, SessionRecord, TxnRecord, decode};
use crate::tx::Tx;
use crate::{ops, session, stripes, txn};

/// Most log entries [`Shard::truncate_log`] removes at once.
const TRUNCATE_MAX: u64 = 4096;

/// What a shard has to know that its state does not say.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Which shard it is.
    pub shard: ShardId,
    /// How many the cluster has; never changes.
    pub shard_count: u16,
    /// Key of the cluster's receipts.
    pub receipt_key: ReceiptKey,
}

/// A slice of the namespace. See the crate's documentation for the order in which to call.
pub struct Shard<K: Kv> {
    kv: K,
    config: ShardConfig,
    applied: u64,
    first_log: u64,
}

impl<K: Kv> Shard<K> {
    /// Opens a shard over a store, which may be empty. Call [`Self::recover`] before anything else.
    pub fn open(kv: K, config: ShardConfig) -> Result<Self, ShardError> {
        let keys = Keys(config.shard);
        let applied = kv.get(&keys.applied())?.map_or(0, |bytes| key::number(&bytes, 0));
        let (start, end) = keys.all(b'L');
        let first_log = kv.scan(&start, &end, 1)?.first().map_or(applied + 1, |(key, _)| key::number(key, 4));
        Ok(Self { kv, config, applied, first_log })
    }

    /// Which shard this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.config.shard
    }

    /// Index of the last entry applied; 0 where there is none.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Decides everything about an input that the shard's state does not. Refuses only what cannot be decided; a
    /// refusal changes nothing and may be asked again with the same name.
    ///
    /// No `Open` may be read between this and the entry's `apply`.
    pub fn prepare(
        &self,
        now: Timestamp,
        placement: &dyn Placement,
        opens: &OpenTable,
        mut input: Input,
    ) -> Result<Entry, MetaError> {
        let mut entry = Entry {
            now,
            closed: None,
            held: false,
            placements: Vec::new(),
            input: Input::Erased { stripes: Vec::new() },
        };
        match &mut input {
            Input::Mutate(mutation) => self.prepare_mutation(mutation, placement, opens, &mut entry)?,
            Input::Peer(PeerStep { fs, action: PeerAction::DropLink { ino, .. }, .. }) => {
                entry.closed = (!opens.is_open(*fs, *ino)).then_some(*ino);
            }
            Input::Reap { fs, ino } if opens.is_open(*fs, *ino) => return Err(MetaError::Busy),
            Input::Peer(_) | Input::Answer { .. } | Input::Reap { .. } | Input::Erased { .. } => {}
        }
        entry.input = input;
        Ok(entry)
    }

    fn prepare_mutation(
        &self,
        mutation: &mut Mutation,
        placement: &dyn Placement,
        opens: &OpenTable,
        entry: &mut Entry,
    ) -> Result<(), MetaError> {
        let (fs, session) = (mutation.fs, mutation.id.session);
        let victim = match &mut mutation.op {
            MutateOp::AllocateStripes { count, class } => {
                let count = (*count).min(forebay_types::limits::STRIPES_PER_ALLOCATION);
                entry.placements = placement.pick(count, *class)?;
                None
            }
            MutateOp::Commit { ino, receipts, .. } | MutateOp::Exchange { ino, receipts, .. } => {
                let key = &self.config.receipt_key;
                receipts.retain(|receipt| key.check_receipt(receipt));
                entry.held = opens.holds(fs, session, *ino);
                None
            }
            MutateOp::SetAttr { ino, .. } | MutateOp::Fallocate { ino, .. } => {
                entry.held = opens.holds_for_write(fs, session, *ino);
                None
            }
            MutateOp::CopyRange { from, to, .. } => {
                entry.held = opens.holds(fs, session, *from) && opens.holds_for_write(fs, session, *to);
                None
            }
            MutateOp::Accessed { ino, .. } => {
                entry.held = opens.holds(fs, session, *ino);
                None
            }
            MutateOp::Unlink { parent, name } | MutateOp::Rmdir { parent, name } => Some((*parent, name.clone())),
            MutateOp::Rename { new_parent, new_name, .. } => Some((*new_parent, new_name.clone())),
            _ => None,
        };
        if let Some((parent, name)) = victim {
            let found: Option<Dentry> = self.view(entry.now).get("dentry", &self.keys().dentry(fs, parent, &name))?;
            entry.closed = found.map(|d| d.ino).filter(|ino| !opens.is_open(fs, *ino));
        }
        Ok(())
    }

    /// Adds entries to a batch, as the log's entries from `first_index` on (the index after the last one appended).
    /// The caller writes the batch flushed, and only then applies them.
    pub fn append(&self, batch: &mut Batch, first_index: u64, entries: &[Entry]) {
        for (index, entry) in (first_index..).zip(entries) {
            batch.put(self.keys().log(index), entry.encode());
        }
    }

    /// Applies the next entry: the only way state changes. What it writes is buffered and survives a crash at the
    /// latest with the next flushed batch; until then [`Self::recover`] does it again from the log.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Result<Applied, ShardError> {
        if index != self.applied + 1 {
            return Err(ShardError::OutOfOrder { index, applied: self.applied });
        }
        let mut tx = self.view(entry.now);
        tx.closed = entry.closed;
        tx.held = entry.held;
        let reply = run(&mut tx, entry)?;
        let effects = std::mem::take(&mut tx.effects);
        tx.put_raw(tx.keys.applied(), index.to_be_bytes().to_vec());
        let batch = tx.into_batch();
        self.kv.write(batch, Durability::Buffered)?;
        self.applied = index;
        Ok(Applied { reply, effects })
    }

    /// Applies what the log has and the state has not. Returns how many entries that were; their replies and effects
    /// are to be had from retries, [`Self::outbox`] and [`Self::orphans`].
    pub fn recover(&mut self) -> Result<u64, ShardError> {
        let from = self.applied;
        loop {
            let (start, end) = (self.keys().log(self.applied + 1), self.keys().all(b'L').1);
            let page = self.kv.scan(&start, &end, 256)?;
            if page.is_empty() {
                return Ok(self.applied - from);
            }
            for (key, bytes) in page {
                self.apply(key::number(&key, 4), &Entry::decode(&bytes)?)?;
            }
        }
    }

    /// Adds to a batch the removal of log entries up to `upto`, as far as they are applied and at most 4096 of them.
    /// Any batch written later than the `apply` will do, as a store loses no batch before a later one.
    pub fn truncate_log(&mut self, batch: &mut Batch, upto: u64) {
        let end = upto.min(self.applied).min(self.first_log + TRUNCATE_MAX - 1);
        for index in self.first_log..=end {
            batch.delete(self.keys().log(index));
        }
        self.first_log = self.first_log.max(end + 1);
    }

    /// Steps that other shards have not answered yet, oldest first, at most `limit`: to be sent after a restart, and
    /// again where an answer does not come.
    pub fn outbox(&self, limit: usize) -> Result<Vec<(ShardId, PeerStep)>, ShardError> {
        let (start, end) = self.keys().all(b'T');
        let page = self.kv.scan(&start, &end, limit)?;
        page.iter().map(|(_, bytes)| decode("transaction", bytes).map(|t: TxnRecord| (t.to, t.step))).collect()
    }

    /// Stripes that nothing names and whose grace is over at `now`, at most `limit`. Erase their chunks, then submit
    /// [`Input::Erased`].
    pub fn garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<StripeId>, ShardError> {
        let (start, end) = self.keys().garbage_until(now);
        Ok(self.kv.scan(&start, &end, limit)?.iter().map(|(key, _)| key::stripe_of(key)).collect())
    }

    /// Inodes without a name, after the one given, at most `limit`.
    pub fn orphans(&self, after: Option<(FsId, InodeId)>, limit: usize) -> Result<Vec<(FsId, InodeId)>, ShardError> {
        let (mut start, end) = self.keys().all(b'O');
        if let Some((fs, ino)) = after {
            start = key::after(&self.keys().orphan(fs, ino));
        }
        Ok(self.kv.scan(&start, &end, limit)?.iter().map(|(key, _)| (key::fs_of(key), key::ino_of(key))).collect())
    }

    /// Sessions that have changed something here and have not ended.
    pub fn sessions(&self) -> Result<Vec<SessionId>, ShardError> {
        let (start, end) = self.keys().all(b'Z');
        let mut live = Vec::new();
        for (key, bytes) in self.kv.scan(&start, &end, usize::MAX)? {
            let session: SessionRecord = decode("session", &bytes)?;
            live.extend((!session.ended).then(|| SessionId(key::number(&key, key.len() - 8))));
        }
        Ok(live)
    }

    /// Whether an inode has lost its last name but is still there.
    pub fn is_orphan(&self, fs: FsId, ino: InodeId) -> Result<bool, ShardError> {
        Ok(self.kv.get(&self.keys().orphan(fs, ino))?.is_some())
    }

    /// The inputs that remove orphans whose last `Open` has ended since this was last called. Call it after `Close`
    /// and after [`OpenTable::end_session`].
    pub fn reaps(&self, opens: &mut OpenTable) -> Result<Vec<Input>, ShardError> {
        let mut reaps = Vec::new();
        for (fs, ino) in opens.take_closed() {
            if self.is_orphan(fs, ino)? {
                reaps.push(Input::Reap { fs, ino });
            }
        }
        Ok(reaps)
    }

    pub(crate) fn view(&self, now: Timestamp) -> Tx<'_> {
        Tx::new(&self.kv, self.config.shard, self.config.shard_count, now)
    }

    fn keys(&self) -> Keys {
        Keys(self.config.shard)
    }
}

fn run(tx: &mut Tx<'_>, entry: &Entry) -> Result<Option<MetaReply>, ShardError> {
    let before = tx.savepoint();
    let result = match &entry.input {
        Input::Mutate(mutation) => session::once(tx, mutation, &entry.placements),
        Input::Peer(step) => txn::peer::answer(tx, step).map(Some),
        Input::Answer { txn, step, reply } => txn::advance(tx, *txn, *step, reply).map(|()| Some(MetaReply::Done)),
        Input::Reap { fs, ino } => ops::reap::apply(tx, *fs, *ino).map(Some),
        Input::Erased { stripes } => stripes::erased(tx, stripes).map(|()| Some(MetaReply::Done)),
    };
    let settled = result.and_then(|reply| stripes::settle(tx).map(|()| reply));
    match settled {
        Ok(reply) => Ok(reply),
        Err(Fault::Refused(error)) => {
            tx.rollback(before);
            Ok(Some(MetaReply::Error(error)))
        }
        Err(Fault::Broken(error)) => Err(error),
    }
}

/// The shard a new directory goes to: spread by a hash, so that the directories of one job do not share a shard.
pub(crate) fn shard_of_directory(parent: InodeId, name: &[u8], counter: u64, shard_count: u16) -> ShardId {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parent.0.to_be_bytes().iter().chain(name).chain(&counter.to_be_bytes()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    ShardId((hash % u64::from(shard_count.max(1))) as u16)
}

/// Whether a kind of inode may have extents.
pub(crate) fn has_extents(kind: FileKind) -> bool {
    kind == FileKind::Regular
}
