//! Directories that are delegated to this client: what is done in them is done here at once, and said to their shards
//! later, in order.
//!
//! What this client has of them is in a [`Mirror`] for each shard; what the shards have not heard of is in its log. An
//! inode that is here is never asked of or changed at its shard before everything logged has been sent. A mirror is
//! *sealed* while its shard changes something that is in it, and while something of it is given back: whoever wants to
//! change anything waits. It can be read all the time: what is under way then has not ended.
//!
//! What is to be sent next is in [`backlog`], sending in [`crate::log`].

mod backlog;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_meta::{Mirror, Run};
use forebay_types::{Attr, Cred, FsId, InodeId, SessionId, ShardId, Timestamp};
use forebay_wire::meta::{Delegated, LoggedOp, MetaReply, MutateOp, ReadOp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub(crate) use backlog::Batch;

use crate::ClientError;

/// A log with this many operations is sent without waiting for it to get old.
pub(crate) const SEND_AT_OPS: usize = 512;
/// Who adds to a log of this many operations waits until it is shorter.
const WAIT_AT_OPS: usize = 8 * SEND_AT_OPS;
/// For how long a directory that was not delegated is not asked for again.
const REFUSED_FOR: Duration = Duration::from_secs(2);
/// Files are forgotten where a mirror takes more memory than this.
const MIRROR_MAX_BYTES: usize = 64 << 20;

/// What can be said here of what was asked.
pub(crate) enum Here {
    /// This.
    Answer(MetaReply),
    /// Nothing: the shard knows more, or as much.
    Nothing,
    /// Nothing, and the shard does not know everything yet: send the log first.
    AfterSending,
    /// It is sealed: when `news` come, ask again.
    Sealed,
    /// Numbers for new inodes are needed.
    NeedsNumbers,
    /// The log is long: send it first.
    Full,
}

struct OfShard {
    mirror: Mirror,
    /// The shard's time when it was last told, and when that was.
    clock: (Timestamp, Instant),
    /// Numbers that may be given.
    numbers: std::ops::Range<u64>,
    log: Vec<(u64, LoggedOp)>,
    on_its_way: Option<Batch>,
    seals: u32,
}

impl OfShard {
    fn now(&self) -> Timestamp {
        let (then, at) = self.clock;
        then.plus(at.elapsed())
    }

    fn is_pending(&self) -> bool {
        !self.log.is_empty() || self.on_its_way.is_some()
    }
}

#[derive(Default)]
struct State {
    shards: HashMap<ShardId, OfShard>,
    /// Operations logged so far; the last one's place in the log.
    logged: u64,
    /// Everything up to this place has been sent, or is lost.
    sent: u64,
    oldest: Option<Instant>,
    refused: HashMap<InodeId, Instant>,
    /// What was lost of the log, until somebody is told.
    lost: Option<ClientError>,
}

/// See the module.
pub(crate) struct Delegations {
    /// Whether directories are asked for at all.
    wanted: bool,
    state: Mutex<State>,
    /// A seal is broken.
    news: watch::Sender<()>,
    /// One at a time sends.
    pub sending: tokio::sync::Mutex<()>,
    /// The log should be sent soon.
    pub due: Notify,
}

/// Keeps everybody from changing what is here of a shard until it is dropped.
pub(crate) struct Seal {
    of: Arc<Delegations>,
    shard: ShardId,
}

impl Drop for Seal {
    fn drop(&mut self) {
        {
            let mut state = self.of.lock();
            if let Some(shard) = state.shards.get_mut(&self.shard) {
                shard.seals = shard.seals.saturating_sub(1);
            }
        }
        self.of.news.send_replace(());
    }
}

/// The inodes that a mutation names.
pub(crate) fn named(op: &MutateOp) -> Vec<InodeId> {
    match op {
        MutateOp::Create { parent, .. }
        | MutateOp::Mkdir { parent, .. }
        | MutateOp::Unlink { parent, .. }
        | MutateOp::Rmdir { parent, .. }
        | MutateOp::Tmpfile { parent, .. } => vec![*parent],
        MutateOp::Rename { parent, new_parent, .. } => vec![*parent, *new_parent],
        MutateOp::Link { ino, parent, .. } => vec![*ino, *parent],
        MutateOp::CopyRange { from, to, .. } => vec![*from, *to],
        MutateOp::SetAttr { ino, .. }
        | MutateOp::SetXattr { ino, .. }
        | MutateOp::RemoveXattr { ino, .. }
        | MutateOp::Commit { ino, .. }
        | MutateOp::Exchange { ino, .. }
        | MutateOp::Fallocate { ino, .. }
        | MutateOp::Accessed { ino, .. } => vec![*ino],
        MutateOp::Repair(repair) => repair.inodes(),
        MutateOp::MakeRoot
        | MutateOp::AllocateStripes { .. }
        | MutateOp::EndSession { .. }
        | MutateOp::ReserveInodes { .. }
        | MutateOp::Logged { .. } => Vec::new(),
    }
}

/// The inode that a read is about.
fn about(op: &ReadOp) -> Option<InodeId> {
    match op {
        ReadOp::Lookup { parent: ino, .. }
        | ReadOp::ReadDir { dir: ino, .. }
        | ReadOp::GetAttr { ino }
        | ReadOp::ReadLink { ino }
        | ReadOp::GetXattr { ino, .. }
        | ReadOp::ListXattr { ino }
        | ReadOp::Open { ino, .. }
        | ReadOp::Close { ino }
        | ReadOp::Extents { ino, .. }
        | ReadOp::Exclusive { ino, .. } => Some(*ino),
        ReadOp::Statfs | ReadOp::Introduce { .. } | ReadOp::Delegate { .. } | ReadOp::Fsck(_) => None,
    }
}

impl Delegations {
    /// Nothing is delegated; with `wanted`, directories are asked for.
    pub fn new(wanted: bool) -> Self {
        let (state, news) = (Mutex::default(), watch::Sender::default());
        Self { wanted, state, news, sending: tokio::sync::Mutex::default(), due: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells when seals are broken, from now on.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Attributes of an inode that is here.
    pub fn attr(&self, ino: InodeId) -> Option<Attr> {
        self.lock().shards.get(&ino.shard())?.mirror.attr(ino)
    }

    /// Whether a directory is delegated.
    pub fn has_directory(&self, dir: InodeId) -> bool {
        self.lock().shards.get(&dir.shard()).is_some_and(|shard| shard.mirror.has_directory(dir))
    }

    /// Whether a file is here.
    pub fn has_file(&self, ino: InodeId) -> bool {
        let state = self.lock();
        let shard = state.shards.get(&ino.shard());
        shard.is_some_and(|shard| shard.mirror.knows(ino) && !shard.mirror.has_directory(ino))
    }

    /// Answers a read from here. `good`: the leases of the shard are. `held`: the session has the inode open.
    pub fn read(&self, good: bool, held: bool, cred: &Cred, op: &ReadOp) -> Here {
        let Some(ino) = about(op) else { return Here::Nothing };
        let mut state = self.lock();
        let Some(shard) = state.shards.get_mut(&ino.shard()) else { return Here::Nothing };
        if !shard.mirror.knows(ino) {
            return Here::Nothing;
        }
        // Who has a directory open may list it, whatever has become of its mode.
        let cred = if held && matches!(op, ReadOp::ReadDir { .. }) { &Cred::ROOT } else { cred };
        match if good { shard.mirror.read(cred, op) } else { None } {
            Some(reply) => Here::Answer(reply),
            None if shard.is_pending() => Here::AfterSending,
            None => Here::Nothing,
        }
    }

    /// Carries a mutation out here.
    pub fn run(&self, good: bool, cred: &Cred, op: &MutateOp) -> Here {
        let names = named(op);
        let Some(first) = names.first() else { return Here::Nothing };
        let mut state = self.lock();
        let logged = state.logged;
        let Some(shard) = state.shards.get_mut(&first.shard()) else { return Here::Nothing };
        if !good || !names.iter().any(|ino| shard.mirror.knows(*ino)) {
            return Here::Nothing;
        }
        if shard.seals > 0 {
            return Here::Sealed;
        }
        if shard.log.len() >= WAIT_AT_OPS {
            return Here::Full;
        }
        let number = (!shard.numbers.is_empty()).then(|| InodeId::new(first.shard(), shard.numbers.start));
        let now = shard.now();
        match shard.mirror.run(now, number, cred, op) {
            Run::Elsewhere => Here::Nothing,
            Run::NeedsNumber => Here::NeedsNumbers,
            Run::Done(reply, None) => Here::Answer(reply),
            Run::Done(reply, Some(done)) => {
                if done.ino.is_some() {
                    shard.numbers.start += 1;
                }
                shard.log.push((logged + 1, *done));
                let long = shard.log.len() >= SEND_AT_OPS;
                state.logged += 1;
                if state.oldest.is_none() {
                    state.oldest = Some(Instant::now());
                    self.due.notify_one();
                }
                if long {
                    self.due.notify_one();
                }
                Here::Answer(reply)
            }
        }
    }

    /// Whether a directory that something is about to be made in should be asked for.
    pub fn is_wanted(&self, op: &MutateOp) -> Option<InodeId> {
        let MutateOp::Create { parent, content: None, .. } = op else { return None };
        if !self.wanted || self.has_directory(*parent) {
            return None;
        }
        let mut state = self.lock();
        let now = Instant::now();
        if state.refused.len() > 1024 {
            state.refused.retain(|_, until| *until > now);
        }
        state.refused.get(parent).is_none_or(|until| *until <= now).then_some(*parent)
    }

    /// A directory was not delegated.
    pub fn refused(&self, dir: InodeId) {
        self.lock().refused.insert(dir, Instant::now() + REFUSED_FOR);
    }

    /// A directory is delegated. Not where something of it is here already.
    pub fn add(&self, fs: FsId, session: SessionId, dir: InodeId, shards: u16, delegated: &Delegated) {
        let mut state = self.lock();
        let new = || OfShard {
            mirror: Mirror::new(fs, session, dir.shard(), shards),
            clock: (delegated.now, Instant::now()),
            numbers: 0..0,
            log: Vec::new(),
            on_its_way: None,
            seals: 0,
        };
        let shard = state.shards.entry(dir.shard()).or_insert_with(new);
        if shard.mirror.has_directory(dir) {
            return;
        }
        shard.clock = (delegated.now, Instant::now());
        if let Err(error) = shard.mirror.add_directory(delegated) {
            tracing::error!(%dir, %error, "a directory cannot be taken over");
        }
    }

    /// Numbers were set aside.
    pub fn add_numbers(&self, first: InodeId, count: u32) {
        if let Some(shard) = self.lock().shards.get_mut(&first.shard()) {
            shard.numbers = first.counter()..first.counter() + u64::from(count);
        }
    }

    /// Keeps everybody from changing what is here of an inode's shard, if the inode is here.
    pub fn seal(self: &Arc<Self>, ino: InodeId) -> Option<Seal> {
        let mut state = self.lock();
        let shard = state.shards.get_mut(&ino.shard()).filter(|shard| shard.mirror.knows(ino))?;
        shard.seals += 1;
        Some(Seal { of: self.clone(), shard: ino.shard() })
    }

    /// Files here that lose something by a mutation at the shard: those it names, and those that lose their name.
    pub fn files_in_the_way(&self, op: &MutateOp) -> Vec<InodeId> {
        let state = self.lock();
        let behind = |dir: &InodeId, name: &[u8]| {
            let mirror = &state.shards.get(&dir.shard())?.mirror;
            mirror.find(*dir, name)
        };
        let mut files = named(op);
        match op {
            MutateOp::Unlink { parent, name } => files.extend(behind(parent, name)),
            MutateOp::Rename { parent, name, new_parent, new_name, .. } => {
                files.extend(behind(parent, name).into_iter().chain(behind(new_parent, new_name)));
            }
            _ => {}
        }
        files.retain(|ino| {
            let shard = state.shards.get(&ino.shard());
            shard.is_some_and(|shard| shard.mirror.knows(*ino) && !shard.mirror.has_directory(*ino))
        });
        files
    }

    /// Files of a directory that are here.
    pub fn files_of(&self, dir: InodeId) -> Vec<InodeId> {
        let state = self.lock();
        let files = state.shards.get(&dir.shard()).map(|shard| shard.mirror.files_of(dir));
        files.and_then(Result::ok).unwrap_or_default()
    }

    /// Whether a file was opened here.
    pub fn is_open(&self, ino: InodeId) -> bool {
        self.lock().shards.get(&ino.shard()).is_some_and(|shard| shard.mirror.is_open(ino))
    }

    /// A file is for its shard from now on. Only after the log was sent.
    pub fn forget_file(&self, ino: InodeId) {
        if let Some(shard) = self.lock().shards.get_mut(&ino.shard()) {
            shard.mirror.forget_file(ino);
        }
    }

    /// A directory is not delegated any more. Only after the log was sent, and what is open was told.
    pub fn remove_directory(&self, dir: InodeId) {
        if let Some(shard) = self.lock().shards.get_mut(&dir.shard()) {
            shard.mirror.remove_directory(dir);
        }
    }

    /// The shard has changed a name of a sealed directory; false where that is not understood here.
    pub fn follow(&self, op: &MutateOp, reply: &MetaReply, dir: &Attr) -> bool {
        let mut state = self.lock();
        let Some(shard) = state.shards.get_mut(&dir.ino.shard()) else { return false };
        let followed = match (op, reply) {
            (MutateOp::Mkdir { name, .. }, MetaReply::Entry { ino, kind, .. }) => {
                shard.mirror.name_made(dir, name, *ino, *kind)
            }
            (MutateOp::Unlink { name, .. } | MutateOp::Rmdir { name, .. }, MetaReply::Done) => {
                shard.mirror.name_removed(dir, name)
            }
            _ => return false,
        };
        followed.inspect_err(|error| tracing::error!(dir = %dir.ino, %error, "a change cannot be followed")).is_ok()
    }

    /// What was lost of the log and nobody has been told of yet.
    pub fn take_lost(&self) -> Option<ClientError> {
        self.lock().lost.take()
    }

    /// Files that may be forgotten where there are too many: everything logged has been sent.
    pub fn too_many(&self) -> Vec<InodeId> {
        let state = self.lock();
        let large =
            state.shards.values().filter(|shard| shard.mirror.bytes() > MIRROR_MAX_BYTES && !shard.is_pending());
        let mut files = Vec::new();
        for shard in large {
            for dir in shard.mirror.directories() {
                files.extend(shard.mirror.files_of(dir).unwrap_or_default());
            }
        }
        files
    }

    /// Nothing of a shard is delegated any more, and what it had not heard of is lost.
    pub fn lose(&self, shard: ShardId) {
        let mut state = self.lock();
        let Some(lost) = state.shards.remove(&shard) else { return };
        let ops = lost.log.len() + lost.on_its_way.map_or(0, |batch| batch.ops.len());
        if ops > 0 {
            tracing::error!(%shard, ops, "a delegation was lost with operations that were not sent");
            state.lost = Some(ClientError::DelegationLost { ops: ops as u64 });
        }
        state.settle_sent();
        drop(state);
        self.news.send_replace(());
    }
}
