//! What an inode is known not to have.
//!
//! The kernel asks for access control lists at every check of a permission that mode bits alone do not grant, and for
//! file capabilities before a first write: for nearly every inode the answer is that there are none. Attributes say so,
//! and names and attributes have no lifetime in the kernel: it has just been told them when it asks. So the answer is as
//! old as what the kernel goes by in the same check, and costs nobody a round trip. The shard checks permissions by
//! itself in any case.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_types::{Attr, InodeId};

/// How long attributes answer for what they say is not there.
const LIFE: Duration = Duration::from_secs(1);
/// Inodes kept before all are forgotten.
const MOST_INODES: usize = 8192;

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    acl: bool,
    capability: bool,
}

/// What attributes told lately say is not there.
#[derive(Default)]
pub(super) struct Absent {
    seen: Mutex<HashMap<InodeId, Seen>>,
}

impl Absent {
    /// The kernel is being told these attributes.
    pub fn told(&self, attr: &Attr) {
        let mut seen = self.lock();
        if seen.len() >= MOST_INODES {
            seen.clear();
        }
        seen.insert(attr.ino, Seen { at: Instant::now(), acl: attr.acl, capability: attr.capability });
    }

    /// An attribute of the inode has been set or removed.
    pub fn changed(&self, ino: InodeId) {
        self.lock().remove(&ino);
    }

    /// Whether the inode has no access control lists.
    pub fn lacks_lists(&self, ino: InodeId) -> bool {
        self.fresh(ino).is_some_and(|seen| !seen.acl)
    }

    /// Whether the inode has no file capabilities.
    pub fn lacks_capability(&self, ino: InodeId) -> bool {
        self.fresh(ino).is_some_and(|seen| !seen.capability)
    }

    fn fresh(&self, ino: InodeId) -> Option<Seen> {
        self.lock().get(&ino).filter(|seen| seen.at.elapsed() < LIFE).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InodeId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
