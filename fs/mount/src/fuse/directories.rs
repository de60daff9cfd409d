//! Reading directories.
//!
//! An open directory keeps the entries it was last told, because a shard tells more at once than the kernel takes.
//! They are asked for again when the reader goes back, so a rewound directory is a fresh one.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_fuse::abi::Caller;
use forebay_types::{Cred, Errno, InodeId};
use forebay_wire::meta::DirEntry;

use crate::fuse::{Ops, Outcome};

/// Entries asked for at once, with their attributes: who lists a directory often looks at what is in it.
const BATCH: u32 = 1024;

/// Directories that are open.
#[derive(Default)]
pub(super) struct Listings {
    last: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Listing>>>,
}

/// An open directory.
struct Listing {
    /// Who opened it: reading is checked as theirs, whoever has the descriptor by now.
    cred: Cred,
    known: tokio::sync::Mutex<Known>,
}

/// Entries known: all that come after a cookie, as far as they go.
#[derive(Default)]
struct Known {
    after: u64,
    entries: VecDeque<DirEntry>,
    /// Whether nothing comes after them.
    end: bool,
}

impl Known {
    /// Forgets what comes before `after`, or everything where it does not hold the place after it.
    fn go_to(&mut self, after: u64) {
        let last = self.entries.back().map_or(self.after, |entry| entry.cookie);
        if after == 0 || after < self.after || after > last {
            *self = Self { after, ..Self::default() };
        }
        while self.entries.front().is_some_and(|entry| entry.cookie <= after) {
            self.entries.pop_front();
        }
        self.after = after;
    }
}

impl Listings {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Listing>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a directory; the number is its handle.
    fn open(&self, cred: Cred) -> u64 {
        let handle = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock().insert(handle, Arc::new(Listing { cred, known: tokio::sync::Mutex::default() }));
        handle
    }

    /// Closes one.
    pub fn close(&self, handle: u64) {
        self.lock().remove(&handle);
    }
}

impl Ops {
    /// `opendir`. The kernel has checked that the caller may.
    pub(super) fn open_directory(&self, caller: Caller) -> u64 {
        self.listings.open(self.cred(caller))
    }

    /// Entries after a cookie, at least one unless there are no more.
    pub(super) async fn read_directory(&self, handle: u64, dir: InodeId, after: u64) -> Outcome<Vec<DirEntry>> {
        let listing = self.listings.lock().get(&handle).cloned().ok_or(Errno::BadHandle)?;
        let mut known = listing.known.lock().await;
        known.go_to(after);
        if known.entries.is_empty() && !known.end {
            let (entries, end) = self.fs.readdir(&listing.cred, dir, after, BATCH, true).await?;
            known.end = end || entries.is_empty();
            known.entries = entries.into();
        }
        Ok(known.entries.iter().cloned().collect())
    }
}

#[cfg(test)]
#[path = "directories_tests.rs"]
mod tests;
