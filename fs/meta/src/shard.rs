//! A shard: prepare and apply.

use forebay_env::{Batch, Durability, Kv, Prefixed, Visitor};
use forebay_types::{Attr, FileKind, FsId, InodeId, LogPosition, SessionId, ShardId, StripeId, Timestamp};
use forebay_wire::meta::{MetaError, MetaReply, MutateOp, Mutation, PeerAction, PeerStep, QuotaState};

use crate::entry::{Applied, Entry, Input};
use crate::error::{Fault, ShardError};
use crate::fsck::Watch;
use crate::key::{self, Keys, Slot};
use crate::open::OpenTable;
use crate::placement::Placement;
use crate::quota::{self, Enforce};
use crate::receipt::ReceiptKey;
use crate::record::{Dentry, Inode, SessionRecord, TxnRecord, decode};
use crate::tx::Tx;
use crate::{ops, session, stripes, txn};

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
    keys: Keys,
    applied: LogPosition,
    watch: Watch,
}

pub(crate) fn encode_position(at: LogPosition) -> Vec<u8> {
    [at.index.to_be_bytes(), at.term.to_be_bytes()].concat()
}

pub(crate) fn decode_position(bytes: &[u8]) -> LogPosition {
    LogPosition { index: key::number(bytes, 0), term: key::number(bytes, 8) }
}

impl<K: Kv> Shard<K> {
    /// Opens a shard over a store, which may be empty.
    pub fn open(kv: K, config: ShardConfig) -> Result<Self, ShardError> {
        let keys = Keys(slot(&kv, config.shard)?, config.shard);
        let applied = kv.get(&keys.applied())?.map_or(LogPosition::default(), |bytes| decode_position(&bytes));
        Ok(Self { kv, config, keys, applied, watch: Watch::default() })
    }

    /// Which shard this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.config.shard
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> LogPosition {
        self.applied
    }

    /// The group's members as of [`Self::applied`], as given to [`Self::set_members`]; `None` where there are none.
    pub fn members(&self) -> Result<Option<Vec<u8>>, ShardError> {
        Ok(self.kv.get(&self.keys.members())?)
    }

    /// Writes of a replica that has never applied anything and whose group begins at `at` with these members.
    #[must_use]
    pub fn first_batch(shard: ShardId, at: LogPosition, members: Vec<u8>) -> Batch {
        let keys = Keys(Slot::FIRST, shard);
        let mut batch = Batch::default();
        batch.put(keys.applied(), encode_position(at));
        batch.put(keys.members(), members);
        batch
    }

    /// The part of the store that holds the cluster group's state; only shard 0's has any. Its core may read it, and
    /// change it with [`Input::Cluster`].
    pub fn cluster_state(&self) -> Prefixed<&K> {
        Prefixed::new(&self.kv, self.keys.cluster(b""))
    }

    /// Everything a new replica needs, to be read beside the shard's own work.
    pub fn export(&self) -> Export<K>
    where
        K: Clone,
    {
        Export { kv: self.kv.clone(), keys: self.keys }
    }

    /// Keys of the cluster group's state as they are in the store: for the first batch of a new cluster.
    #[must_use]
    pub fn first_cluster_state(batch: Batch) -> Batch {
        let keys = Keys(Slot::FIRST, ShardId(0));
        Batch { writes: batch.writes.into_iter().map(|(key, value)| (keys.cluster(&key), value)).collect() }
    }

    /// Decides everything about an input that the shard's state does not. Refuses only what cannot be decided; a
    /// refusal changes nothing and may be asked again with the same name.
    ///
    /// Until [`OpenTable::settle`] is called with the entry, the inode it may remove cannot be opened.
    pub fn prepare(
        &self,
        now: Timestamp,
        placement: &dyn Placement,
        opens: &mut OpenTable,
        mut input: Input,
    ) -> Result<Entry, MetaError> {
        if let Input::Mutate(mutation) = &input {
            opens.need_introduced(self.config.shard, mutation.id.session)?;
        }
        let mut entry = Entry {
            now,
            closed: Vec::new(),
            held: false,
            placements: Vec::new(),
            input: Input::Erased { stripes: Vec::new() },
        };
        match &mut input {
            Input::Mutate(mutation) => self.prepare_mutation(mutation, placement, opens, &mut entry)?,
            Input::Peer(PeerStep { fs, action: PeerAction::DropLink { ino, .. }, .. }) => {
                entry.closed.extend((!opens.is_open(*fs, *ino)).then_some(*ino));
            }
            Input::Reap { fs, ino } if opens.is_open(*fs, *ino) => return Err(MetaError::Busy),
            Input::Peer(_)
            | Input::Join { .. }
            | Input::Answer { .. }
            | Input::Reap { .. }
            | Input::Erased { .. }
            | Input::Cluster { .. } => {}
        }
        entry.input = input;
        opens.begin(&entry);
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
            MutateOp::Logged { ops } => {
                for logged in ops {
                    let Some((parent, name)) = victim(&logged.op) else { continue };
                    entry.closed.extend(self.closed(fs, (parent, name), opens, entry.now)?);
                }
                None
            }
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
            op => victim(op),
        };
        if let Some(victim) = victim {
            entry.closed.extend(self.closed(fs, victim, opens, entry.now)?);
        }
        Ok(())
    }

    /// What has a name, where nobody has it open.
    fn closed(
        &self,
        fs: FsId,
        (dir, name): (InodeId, &[u8]),
        opens: &OpenTable,
        now: Timestamp,
    ) -> Result<Option<InodeId>, MetaError> {
        let found: Option<Dentry> = self.view(now).get("dentry", &self.keys.dentry(fs, dir, name))?;
        Ok(found.map(|dentry| dentry.ino).filter(|ino| !opens.is_open(fs, *ino)))
    }

    /// Applies the next entry of the log: the only way state changes. What it writes is buffered and survives a crash
    /// at the latest with the next flushed batch; until then the log must have the entry, to apply it again.
    pub fn apply(&mut self, at: LogPosition, entry: &Entry) -> Result<Applied, ShardError> {
        self.expect_next(at)?;
        let mut tx = self.view(entry.now);
        tx.closed = entry.closed.iter().copied().collect();
        tx.held = entry.held;
        let reply = run(&mut tx, entry)?;
        let effects = std::mem::take(&mut tx.effects);
        let named = std::mem::take(&mut tx.named);
        let (changed, author, operation) = (tx.changed(), tx.author, tx.operation);
        tx.put_raw(tx.keys.applied(), encode_position(at));
        let batch = tx.into_batch();
        self.kv.write(batch, Durability::Buffered)?;
        self.applied = at;
        self.watch.note(&named);
        Ok(Applied { reply, effects, changed, author, operation })
    }

    /// Passes over an entry of the log that says nothing to the shard but, where there are any, its new members.
    pub fn set_members(&mut self, at: LogPosition, members: Option<Vec<u8>>) -> Result<(), ShardError> {
        self.expect_next(at)?;
        let mut batch = Batch::default();
        if let Some(members) = members {
            batch.put(self.keys.members(), members);
        }
        batch.put(self.keys.applied(), encode_position(at));
        self.kv.write(batch, Durability::Buffered)?;
        self.applied = at;
        Ok(())
    }

    fn expect_next(&self, at: LogPosition) -> Result<(), ShardError> {
        if at.index == self.applied.index + 1 {
            return Ok(());
        }
        Err(ShardError::OutOfOrder { index: at.index, applied: self.applied.index })
    }

    /// Steps that other shards have not answered yet, oldest first, at most `limit`: to be sent after a restart, and
    /// again where an answer does not come.
    pub fn outbox(&self, limit: usize) -> Result<Vec<(ShardId, PeerStep)>, ShardError> {
        let (start, end) = self.keys.all(b'T');
        let page = self.kv.scan(&start, &end, limit)?;
        page.iter().map(|(_, bytes)| decode("transaction", bytes).map(|t: TxnRecord| (t.to, t.step))).collect()
    }

    /// Stripes that nothing names and whose grace is over at `now`, at most `limit`. Erase their chunks, then submit
    /// [`Input::Erased`].
    pub fn garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<StripeId>, ShardError> {
        let (start, end) = self.keys.garbage_until(now);
        Ok(self.kv.scan(&start, &end, limit)?.iter().map(|(key, _)| key::stripe_of(key)).collect())
    }

    /// Inodes without a name, after the one given, at most `limit`.
    pub fn orphans(&self, after: Option<(FsId, InodeId)>, limit: usize) -> Result<Vec<(FsId, InodeId)>, ShardError> {
        let (mut start, end) = self.keys.all(b'O');
        if let Some((fs, ino)) = after {
            start = key::after(&self.keys.orphan(fs, ino));
        }
        Ok(self.kv.scan(&start, &end, limit)?.iter().map(|(key, _)| (key::fs_of(key), key::ino_of(key))).collect())
    }

    /// Quotas of all filesystems (shard 0).
    pub fn quotas(&self) -> Result<Vec<(FsId, QuotaState)>, ShardError> {
        let (start, end) = self.keys.all(b'Y');
        let rows = self.kv.scan(&start, &end, usize::MAX)?;
        rows.iter().map(|(key, value)| Ok((key::fs_of(key), decode("quota", value)?))).collect()
    }

    /// Sessions that have changed something here and have not ended.
    pub fn sessions(&self) -> Result<Vec<SessionId>, ShardError> {
        let (start, end) = self.keys.all(b'Z');
        let mut live = Vec::new();
        for (key, bytes) in self.kv.scan(&start, &end, usize::MAX)? {
            let session: SessionRecord = decode("session", &bytes)?;
            live.extend((!session.ended).then(|| SessionId(key::number(&key, key.len() - 8))));
        }
        Ok(live)
    }

    /// Sessions that may have leases here and have not ended.
    pub fn joined(&self) -> Result<Vec<SessionId>, ShardError> {
        let (start, end) = self.keys.all(b'Z');
        let mut joined = Vec::new();
        for (key, bytes) in self.kv.scan(&start, &end, usize::MAX)? {
            let session: SessionRecord = decode("session", &bytes)?;
            let counts = session.joined && !session.ended;
            joined.extend(counts.then(|| SessionId(key::number(&key, key.len() - 8))));
        }
        Ok(joined)
    }

    /// Whether a session may have leases here, as far as the log has been applied; `None` where it has ended.
    pub fn has_joined(&self, session: SessionId) -> Result<Option<bool>, ShardError> {
        let record = self.kv.get(&self.keys.session(session))?;
        let record: SessionRecord = record.map(|bytes| decode("session", &bytes)).transpose()?.unwrap_or_default();
        Ok((!record.ended).then_some(record.joined))
    }

    /// Attributes of an inode of this shard, if it is there.
    pub fn attr(&self, fs: FsId, ino: InodeId) -> Result<Option<Attr>, ShardError> {
        let bytes = self.kv.get(&self.keys.inode(fs, ino))?;
        bytes.map(|bytes| decode("inode", &bytes).map(|inode: Inode| inode.attr)).transpose()
    }

    /// What has a name, whether or not a transaction is at it.
    pub fn find(&self, fs: FsId, dir: InodeId, name: &[u8]) -> Result<Option<(InodeId, FileKind)>, ShardError> {
        let bytes = self.kv.get(&self.keys.dentry(fs, dir, name))?;
        bytes.map(|bytes| decode("dentry", &bytes).map(|found: Dentry| (found.ino, found.kind))).transpose()
    }

    /// Whether an inode has lost its last name but is still there.
    pub fn is_orphan(&self, fs: FsId, ino: InodeId) -> Result<bool, ShardError> {
        Ok(self.kv.get(&self.keys.orphan(fs, ino))?.is_some())
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

    /// What a check has asked to be noticed.
    pub(crate) fn watched(&self) -> &Watch {
        &self.watch
    }

    /// Notices from now on which of these inodes are given names here, for [`Self::look`] to tell; ends what was watched
    /// before. It is not part of the state: a shard that is opened again watches nothing.
    pub fn watch(&mut self, number: u64, fs: FsId, inodes: impl IntoIterator<Item = InodeId>) {
        self.watch = Watch::new(number, fs, inodes);
    }

    /// The filesystems that have inodes here.
    pub(crate) fn filesystems(&self) -> Result<Vec<FsId>, ShardError> {
        let (mut start, end) = self.keys.all(b'I');
        let mut found = Vec::new();
        while let Some((key, _)) = self.kv.scan(&start, &end, 1)?.first() {
            let fs = key::fs_of(key);
            found.push(fs);
            start = key::after(&key[..8]);
        }
        Ok(found)
    }

    pub(crate) fn view(&self, now: Timestamp) -> Tx<'_> {
        Tx::new(&self.kv, self.keys, self.config.shard_count, now)
    }
}

/// The slot a shard's state is in.
pub(crate) fn slot(kv: &dyn Kv, shard: ShardId) -> Result<Slot, ShardError> {
    match kv.get(&key::slot_in_use(shard))?.as_deref() {
        None => Ok(Slot::FIRST),
        Some(b"m") => Ok(Slot::M),
        Some(b"n") => Ok(Slot::N),
        Some(other) => {
            Err(ShardError::Corrupt { what: "slot of a shard", reason: format!("there is no slot {other:?}") })
        }
    }
}

/// A shard's whole state, for another replica.
#[derive(Debug)]
pub struct Export<K> {
    kv: K,
    keys: Keys,
}

impl<K: Kv> Export<K> {
    /// Which shard it is of.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.keys.1
    }

    /// Visits every key and value as of the moment of the call, keys without the part that differs between replicas.
    /// Ends when `visit` says false.
    pub fn visit(&self, visit: &mut Visitor<'_>) -> Result<(), ShardError> {
        let (start, end) = self.keys.everything();
        let skip = start.len();
        Ok(self.kv.visit(&start, &end, &mut |key, value| visit(&key[skip..], value))?)
    }
}

/// The name that a mutation takes from what has it.
fn victim(op: &MutateOp) -> Option<(InodeId, &[u8])> {
    match op {
        MutateOp::Unlink { parent, name } | MutateOp::Rmdir { parent, name } => Some((*parent, name)),
        MutateOp::Rename { new_parent, new_name, .. } => Some((*new_parent, new_name)),
        _ => None,
    }
}

fn run(tx: &mut Tx<'_>, entry: &Entry) -> Result<Option<MetaReply>, ShardError> {
    let before = tx.savepoint();
    tx.author = match &entry.input {
        Input::Mutate(mutation) => Some(mutation.id.session),
        Input::Peer(step) => Some(step.author),
        _ => None,
    };
    if let Input::Mutate(mutation) = &entry.input {
        tx.operation = Some(mutation.id);
    }
    let result = match &entry.input {
        Input::Mutate(mutation) => session::once(tx, mutation, &entry.placements),
        Input::Peer(step) => txn::peer::answer(tx, step).map(Some),
        Input::Answer { txn, step, reply } => txn::advance(tx, *txn, *step, reply)
            .and_then(|()| quota::settle(tx, Enforce::No))
            .map(|()| Some(MetaReply::Done)),
        Input::Reap { fs, ino } => {
            let reaped = ops::reap::apply(tx, *fs, *ino);
            reaped.and_then(|reply| quota::settle(tx, Enforce::No).map(|()| Some(reply)))
        }
        Input::Erased { stripes } => stripes::erased(tx, stripes).map(|()| Some(MetaReply::Done)),
        Input::Join { session } => session::join(tx, *session).map(Some),
        Input::Cluster { writes } => {
            for (key, value) in writes {
                let key = tx.keys.cluster(key);
                match value {
                    Some(value) => tx.put_raw(key, value.to_vec()),
                    None => tx.delete(key),
                }
            }
            Ok(Some(MetaReply::Done))
        }
    };
    let settled = result.and_then(|reply| stripes::settle(tx).map(|()| reply));
    let wanted = tx.wanted.take();
    let reply = match settled {
        Ok(reply) => reply,
        Err(Fault::Refused(error)) => {
            tx.rollback(before);
            Some(MetaReply::Error(error))
        }
        Err(Fault::Broken(error)) => return Err(error),
    };
    tx.effects.extend(wanted);
    Ok(reply)
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
