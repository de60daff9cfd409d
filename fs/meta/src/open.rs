//! Which sessions have which inodes open. Volatile: after a restart clients say again what they have open
//! ([`OpenTable::reopen`]), and orphans are reaped only once they had the time to.

use std::collections::BTreeMap;

use forebay_types::{FsId, InodeId, SessionId};

#[derive(Default, Debug, Clone, Copy)]
struct Handle {
    count: u32,
    write: bool,
}

/// Open inodes of one shard.
#[derive(Default, Debug)]
pub struct OpenTable {
    open: BTreeMap<(FsId, InodeId), BTreeMap<SessionId, Handle>>,
    closed: Vec<(FsId, InodeId)>,
}

impl OpenTable {
    /// Nothing is open.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A session that lost its connection says that it has an inode open `count` times.
    pub fn reopen(&mut self, fs: FsId, session: SessionId, ino: InodeId, count: u32, write: bool) {
        if count > 0 {
            self.open.entry((fs, ino)).or_default().insert(session, Handle { count, write });
        }
    }

    /// Whether anybody has the inode open.
    #[must_use]
    pub fn is_open(&self, fs: FsId, ino: InodeId) -> bool {
        self.open.contains_key(&(fs, ino))
    }

    /// Whether the session has the inode open, in whatever way.
    #[must_use]
    pub fn holds(&self, fs: FsId, session: SessionId, ino: InodeId) -> bool {
        self.handle(fs, session, ino).is_some()
    }

    /// Whether the session has the inode open for writing.
    #[must_use]
    pub fn holds_for_write(&self, fs: FsId, session: SessionId, ino: InodeId) -> bool {
        self.handle(fs, session, ino).is_some_and(|h| h.write)
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
    }

    /// The session has made the inode and has it open for writing ([`crate::Effect::Opened`]).
    pub fn opened(&mut self, fs: FsId, session: SessionId, ino: InodeId) {
        self.open(fs, session, ino, true);
    }

    pub(crate) fn open(&mut self, fs: FsId, session: SessionId, ino: InodeId, write: bool) {
        let handle = self.open.entry((fs, ino)).or_default().entry(session).or_default();
        handle.count += 1;
        handle.write |= write;
    }

    pub(crate) fn close(&mut self, fs: FsId, session: SessionId, ino: InodeId) {
        let Some(sessions) = self.open.get_mut(&(fs, ino)) else { return };
        if let Some(handle) = sessions.get_mut(&session) {
            handle.count -= 1;
            if handle.count == 0 {
                sessions.remove(&session);
            }
        }
        if sessions.is_empty() {
            self.open.remove(&(fs, ino));
            self.closed.push((fs, ino));
        }
    }

    /// Inodes whose last `Open` has ended since this was last asked.
    pub(crate) fn take_closed(&mut self) -> Vec<(FsId, InodeId)> {
        let mut closed = std::mem::take(&mut self.closed);
        closed.retain(|(fs, ino)| !self.is_open(*fs, *ino));
        closed
    }

    fn handle(&self, fs: FsId, session: SessionId, ino: InodeId) -> Option<&Handle> {
        self.open.get(&(fs, ino)).and_then(|sessions| sessions.get(&session))
    }
}
