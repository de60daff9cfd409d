//! Which sessions have which inodes open. Volatile, on the shard's leader only.
//!
//! A new leader does not know what is open: until it is told that everybody had the time to say so
//! ([`OpenTable::complete`]), every inode counts as open. A session says what it has open with its first call
//! ([`ReadOp::Introduce`](forebay_wire::meta::ReadOp::Introduce)) and is refused everything else until then.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{FsId, InodeId, SessionId, ShardId};
use forebay_wire::meta::{MetaError, OpenInode};

use crate::entry::{Entry, Input};

/// The session of what hosts do by themselves: it has nothing open.
const OWN: SessionId = SessionId(0);

type Inode = (FsId, InodeId);

/// Open inodes of one shard.
#[derive(Default, Debug)]
pub struct OpenTable {
    /// Sessions that have the inode open, and whether for writing. A session's second `Open` changes nothing but that:
    /// clients count for themselves.
    open: BTreeMap<Inode, BTreeMap<SessionId, bool>>,
    closed: Vec<Inode>,
    /// Inodes that entries on their way may remove, with the number of such entries.
    closing: BTreeMap<Inode, u32>,
    /// Sessions that have said what they have open; absent where there was nothing to say.
    introduced: Option<BTreeSet<SessionId>>,
    /// Whether there may be sessions that have not.
    incomplete: bool,
}

impl OpenTable {
    /// Nothing is open, and nobody has anything to say about it: the table of a shard's first leader.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The table of a leader that others were before.
    #[must_use]
    pub fn after_failover() -> Self {
        Self { introduced: Some(BTreeSet::new()), incomplete: true, ..Self::default() }
    }

    /// Every session has introduced itself or ended.
    pub fn complete(&mut self) {
        self.incomplete = false;
    }

    /// A session says what it has open. Said twice, the first counts: it may have closed some since.
    pub fn introduce(&mut self, fs: FsId, session: SessionId, inodes: &[OpenInode]) {
        let Some(introduced) = &mut self.introduced else { return };
        if !introduced.insert(session) {
            return;
        }
        for OpenInode { ino, write } in inodes {
            self.open(fs, session, *ino, *write);
        }
    }

    /// Refuses a session that has not introduced itself.
    pub(crate) fn need_introduced(&self, shard: ShardId, session: SessionId) -> Result<(), MetaError> {
        match &self.introduced {
            Some(introduced) if session != OWN && !introduced.contains(&session) => {
                Err(MetaError::NotIntroduced { shard })
            }
            _ => Ok(()),
        }
    }

    /// Whether anybody has the inode open, or may have.
    #[must_use]
    pub fn is_open(&self, fs: FsId, ino: InodeId) -> bool {
        self.incomplete || self.open.contains_key(&(fs, ino))
    }

    /// Whether the session has the inode open, in whatever way.
    #[must_use]
    pub fn holds(&self, fs: FsId, session: SessionId, ino: InodeId) -> bool {
        self.mode(fs, session, ino).is_some()
    }

    /// Whether the session has the inode open for writing.
    #[must_use]
    pub fn holds_for_write(&self, fs: FsId, session: SessionId, ino: InodeId) -> bool {
        self.mode(fs, session, ino) == Some(true)
    }

    /// Forgets all that a session has open.
    pub fn end_session(&mut self, session: SessionId) {
        let closed = &mut self.closed;
        self.open.retain(|inode, sessions| {
            sessions.remove(&session);
            if sessions.is_empty() {
                closed.push(*inode);
            }
            !sessions.is_empty()
        });
        if let Some(introduced) = &mut self.introduced {
            introduced.remove(&session);
        }
    }

    /// An entry is on its way: what it may remove cannot be opened.
    pub(crate) fn begin(&mut self, entry: &Entry) {
        for inode in removed_by(entry) {
            *self.closing.entry(inode).or_default() += 1;
        }
    }

    /// An entry has been applied, or will never be.
    pub fn settle(&mut self, entry: &Entry) {
        for inode in removed_by(entry) {
            let Some(count) = self.closing.get_mut(&inode) else { continue };
            *count -= 1;
            if *count == 0 {
                self.closing.remove(&inode);
            }
        }
    }

    /// Whether an entry on its way may remove the inode.
    pub(crate) fn is_closing(&self, fs: FsId, ino: InodeId) -> bool {
        self.closing.contains_key(&(fs, ino))
    }

    /// The session has made the inode and has it open for writing ([`crate::Effect::Opened`]).
    pub fn opened(&mut self, fs: FsId, session: SessionId, ino: InodeId) {
        self.open(fs, session, ino, true);
    }

    pub(crate) fn open(&mut self, fs: FsId, session: SessionId, ino: InodeId, write: bool) {
        *self.open.entry((fs, ino)).or_default().entry(session).or_default() |= write;
    }

    pub(crate) fn close(&mut self, fs: FsId, session: SessionId, ino: InodeId) {
        let Some(sessions) = self.open.get_mut(&(fs, ino)) else { return };
        sessions.remove(&session);
        if sessions.is_empty() {
            self.open.remove(&(fs, ino));
            self.closed.push((fs, ino));
        }
    }

    /// Inodes whose last `Open` has ended since this was last asked.
    pub(crate) fn take_closed(&mut self) -> Vec<Inode> {
        if self.incomplete {
            return Vec::new();
        }
        let mut closed = std::mem::take(&mut self.closed);
        closed.retain(|(fs, ino)| !self.is_open(*fs, *ino));
        closed
    }

    fn mode(&self, fs: FsId, session: SessionId, ino: InodeId) -> Option<bool> {
        self.open.get(&(fs, ino)).and_then(|sessions| sessions.get(&session)).copied()
    }
}

/// The inodes that applying an entry may remove for good.
fn removed_by(entry: &Entry) -> Vec<Inode> {
    let (fs, inodes) = match &entry.input {
        Input::Reap { fs, ino } => (*fs, std::slice::from_ref(ino)),
        Input::Mutate(mutation) => (mutation.fs, entry.closed.as_slice()),
        Input::Peer(step) => (step.fs, entry.closed.as_slice()),
        Input::Answer { .. } | Input::Join { .. } | Input::Erased { .. } | Input::Cluster { .. } => return Vec::new(),
    };
    inodes.iter().map(|ino| (fs, *ino)).collect()
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
