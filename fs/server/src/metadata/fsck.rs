//! Questions of a check (`forebay fsck`) to a shard that this host leads.
//!
//! A shard is examined as of one moment by a thread of its own, a few pages ahead of whoever asks; writes go on meanwhile.
//! An examination that is not asked for is dropped, and one that is asked for at another leader has to begin anew.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as sync};
use std::time::Duration;

use forebay_env::Kv;
use forebay_meta::Export;
use forebay_meta::fsck::Scope;
use forebay_types::{Errno, FsId, InodeId, ShardId};
use forebay_wire::meta::{FsckPage, FsckRead, FsckReply, MetaError, MetaReply, Part};
use tokio::time::Instant;

use super::calls::Reader;
use super::{Metadata, Served, read_lock};

/// Pages read ahead.
const AHEAD: usize = 2;
/// An examination that nobody asks for is dropped after this long.
const IDLE: Duration = Duration::from_secs(30);
/// One that has been given to its end is kept for this long, for who asks for its last page again.
const ENDED: Duration = Duration::from_secs(5);
/// Most examinations at once: each keeps the store from forgetting what it reads.
const CHECKS: usize = 32;
/// How long a page is waited for before the answer is an empty one: less than clients wait for a leader.
const PATIENCE: Duration = Duration::from_millis(700);

/// An examination on its way.
struct Check {
    pages: sync::Receiver<Result<FsckPage, String>>,
    /// The page last given, which may be asked for again.
    last: Option<(u32, MetaReply)>,
    next: u32,
    /// Whether that was the last one of all.
    ended: Arc<AtomicBool>,
}

impl Check {
    /// A page; may wait for the reading thread.
    fn page(&mut self, page: u32) -> MetaReply {
        match &self.last {
            Some((number, reply)) if *number == page => return reply.clone(),
            _ if self.next != page => return MetaReply::Error(Errno::Stale.into()),
            _ => {}
        }
        let found = match self.pages.recv_timeout(PATIENCE) {
            Ok(Ok(found)) => found,
            Ok(Err(reason)) => return MetaReply::Error(MetaError::Storage { reason }),
            Err(sync::RecvTimeoutError::Timeout) => FsckPage::default(),
            Err(sync::RecvTimeoutError::Disconnected) => return MetaReply::Error(Errno::Stale.into()),
        };
        self.ended.store(found.end, Ordering::Relaxed);
        let reply = MetaReply::Fsck(Box::new(FsckReply::Page(found)));
        self.last = Some((page, reply.clone()));
        self.next = page + 1;
        reply
    }
}

struct Asked {
    check: Arc<Mutex<Check>>,
    at: Instant,
    ended: Arc<AtomicBool>,
}

impl Asked {
    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Examinations under way on this host.
#[derive(Default)]
pub(super) struct Checks(Mutex<BTreeMap<(ShardId, u64), Asked>>);

impl Checks {
    /// An examination that was begun.
    fn find(&self, shard: ShardId, number: u64) -> Option<Arc<Mutex<Check>>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = table.get_mut(&(shard, number))?;
        found.at = Instant::now();
        Some(found.check.clone())
    }

    fn begin(&self, number: u64, export: Export<Arc<dyn Kv>>, scope: Scope) -> Result<Arc<Mutex<Check>>, MetaError> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, asked| asked.at.elapsed() < if asked.has_ended() { ENDED } else { IDLE });
        if table.values().filter(|asked| !asked.has_ended()).count() >= CHECKS {
            return Err(MetaError::Busy);
        }
        let shard = export.shard();
        let (sender, pages) = sync::sync_channel(AHEAD);
        let examine = move || {
            let examined = export.examine(&scope, &mut |page| sender.send(Ok(page)).is_ok());
            if let Err(error) = examined {
                // Refused where nobody waits any more.
                let _ = sender.send(Err(error.to_string()));
            }
        };
        let spawned = std::thread::Builder::new().name("fsck".into()).spawn(examine);
        if let Err(error) = spawned {
            return Err(MetaError::Storage { reason: format!("no thread: {error}") });
        }
        let ended = Arc::new(AtomicBool::new(false));
        let check = Arc::new(Mutex::new(Check { pages, last: None, next: 0, ended: ended.clone() }));
        table.insert((shard, number), Asked { check: check.clone(), at: Instant::now(), ended });
        Ok(check)
    }
}

impl Metadata {
    /// Answers a question of a check; the superuser's only.
    pub(super) async fn fsck(&self, served: &Served, by: &Reader<'_>, question: FsckRead) -> MetaReply {
        if by.cred.uid != 0 {
            return MetaReply::Error(Errno::NotPermitted.into());
        }
        let permit = match served.lead.begin(self.clock.nanos()) {
            Ok(permit) => permit,
            Err(leader) => return self.not_served(served.id, leader),
        };
        let fs = by.fs;
        let reply = match question {
            FsckRead::Examine { check, page, part, only } => {
                self.examine(served, fs, (check, page), (part, only)).await
            }
            FsckRead::Watch { watch, inodes } => {
                served.shard.write().unwrap_or_else(PoisonError::into_inner).watch(watch, fs, inodes);
                MetaReply::Fsck(Box::new(FsckReply::Watching))
            }
            FsckRead::Look { watch, inodes, moving, txns, holds } => {
                let seen = read_lock(&served.shard).look(watch, fs, &inodes, &moving, (&txns, &holds));
                match seen {
                    Ok(seen) => MetaReply::Fsck(Box::new(FsckReply::Seen(seen))),
                    Err(error) => MetaReply::Error(error.into()),
                }
            }
        };
        match served.lead.confirm(permit, self.clock.nanos()).await {
            Ok(()) => reply,
            Err(leader) => self.not_served(served.id, leader),
        }
    }

    async fn examine(
        &self,
        served: &Served,
        fs: FsId,
        (check, page): (u64, u32),
        (part, only): (Part, Vec<InodeId>),
    ) -> MetaReply {
        let found = match self.checks.find(served.id, check) {
            Some(found) => found,
            None if page > 0 => return MetaReply::Error(Errno::Stale.into()),
            None => {
                let scope = Scope { fs: Some(fs), part, only: only.into_iter().take(FsckRead::INODES_MAX).collect() };
                let export = read_lock(&served.shard).export();
                match self.checks.begin(check, export, scope) {
                    Ok(begun) => begun,
                    Err(refused) => return MetaReply::Error(refused),
                }
            }
        };
        let read = tokio::task::spawn_blocking(move || found.lock().unwrap_or_else(PoisonError::into_inner).page(page));
        read.await.unwrap_or_else(|error| MetaReply::Error(MetaError::Storage { reason: error.to_string() }))
    }
}
