//! Requests that wait, and what ends their waiting: a signal for the caller, the caller's end, the deadline.
//!
//! Protocol: the dispatcher adds a request that does not answer at once and removes it when it has been answered. An
//! INTERRUPT can come by another lane than its request, so before it too: the number is kept and counts when the
//! request is added. One thread looks after all that wait, four times a second, and sleeps while none does.
//!
//! When a request is broken off:
//! * a wait for a lock: by every signal;
//! * else by a signal that ends its caller or asks it to end, at once; by another one, after [`GRACE`] without an
//!   answer, as fail-overs take less than that;
//! * FLUSH of a caller that is ending already, which no signal reaches, or that closes its files because a signal has
//!   asked it to end: after [`GRACE`] once for all its files. Writing back goes on without it;
//! * all but waits for locks: at the deadline. For what moves data it counts from the last sign of progress,
//!   [`LONGEST`] deadlines at most.
//!
//! Who carries a request out is told to stop and answers; if nobody has a moment later, the answer goes out from here,
//! so that no defect above holds a caller for ever.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::caller::{self, Urgency};
use super::pending::Pending;
use crate::abi::Opcode;

/// Patience after a signal that is not urgent, and with callers that are ending.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long a caller that was asked to end may be closing its files.
const CLOSING: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// How old a read is before its caller is looked at, signal or not.
const READ_LOOK: Duration = Duration::from_secs(1);
/// How much later than its own deadlines a filesystem is broken off.
const MARGIN: Duration = Duration::from_secs(1);
/// Deadlines that a request may take while it makes progress.
const LONGEST: u32 = 10;
/// Interrupts kept whose request has not been seen. Far more than there are threads between a read and a look here.
const EARLY_MAX: usize = 1024;
/// Callers known to be ending, before all are forgotten.
const ENDING_MAX: usize = 4096;

/// Requests that wait.
pub(super) struct Requests {
    table: Mutex<Table>,
    /// There is something to look after again.
    busy: Condvar,
    timeout: Duration,
    /// The log has been told that deadlines pass, and none has been kept since.
    told: AtomicBool,
}

#[derive(Default)]
struct Table {
    waiting: HashMap<u64, Arc<Pending>>,
    early: VecDeque<u64>,
    /// Callers whose FLUSH waited while they were ending, since when.
    ending: HashMap<u32, Instant>,
    /// Callers whose requests were broken off because they were asked to end.
    asked_to_end: HashMap<u32, Instant>,
    asleep: bool,
    over: bool,
}

impl Requests {
    pub fn new(timeout: Duration) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), busy: Condvar::new(), timeout, told: AtomicBool::new(false) })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request that waits.
    pub fn add(&self, request: &Arc<Pending>) {
        let mut table = self.lock();
        table.waiting.insert(request.header.unique, request.clone());
        let early = table.early.iter().position(|unique| *unique == request.header.unique);
        if let Some(place) = early {
            table.early.remove(place);
        }
        let out_of_patience = request.header.opcode == Opcode::Flush
            && table.ending.get(&request.pid()).is_some_and(|since| since.elapsed() >= GRACE);
        if std::mem::replace(&mut table.asleep, false) {
            self.busy.notify_one();
        }
        drop(table);
        if out_of_patience {
            request.break_off(Errno::EINTR);
        } else if early.is_some() {
            self.signalled(request);
        }
    }

    /// Removes one that has been answered.
    pub fn remove(&self, request: &Pending) {
        self.lock().waiting.remove(&request.header.unique);
        if self.told.load(Ordering::Relaxed) && request.broken().is_none() {
            self.told.store(false, Ordering::Relaxed);
        }
    }

    /// A signal has come for who waits for request `unique`.
    pub fn interrupt(&self, unique: u64) {
        let mut table = self.lock();
        match table.waiting.get(&unique).cloned() {
            Some(request) => {
                drop(table);
                self.signalled(&request);
            }
            None => {
                if table.early.len() >= EARLY_MAX {
                    table.early.pop_front();
                }
                table.early.push_back(unique);
            }
        }
    }

    /// Ends [`Self::watch`].
    pub fn end(&self) {
        self.lock().over = true;
        self.busy.notify_one();
    }

    /// Looks after what waits until [`Self::end`]. `progress` changes while servers answer.
    pub fn watch(&self, progress: impl Fn() -> u64) {
        let (mut seen, mut progress_at) = (progress(), Instant::now());
        loop {
            let mut table = self.lock();
            while table.waiting.is_empty() && !table.over {
                table.asleep = true;
                table = self.busy.wait(table).unwrap_or_else(PoisonError::into_inner);
            }
            table.asleep = false;
            if !table.over {
                table = self.busy.wait_timeout(table, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            }
            if table.over {
                return;
            }
            let waiting: Vec<Arc<Pending>> = table.waiting.values().cloned().collect();
            drop(table);
            let now = Instant::now();
            let current = progress();
            if current != seen {
                (seen, progress_at) = (current, now);
            }
            waiting.iter().for_each(|request| self.look(request, now, progress_at));
        }
    }

    fn look(&self, request: &Pending, now: Instant, progress_at: Instant) {
        if let Some((errno, at)) = request.broken() {
            if now.saturating_duration_since(at) >= LOOK && request.is_open() {
                tracing::error!(opcode = ?request.header.opcode, unique = request.header.unique, "did not stop");
                request.answer(Err(errno));
            }
            return;
        }
        if let Some(at) = request.interrupted.get() {
            if caller::urgency(request.pid()) == Urgency::Now {
                return self.end_for_signal(request);
            }
            if now.saturating_duration_since(*at) >= GRACE {
                return request.break_off(Errno::EINTR);
            }
        }
        // Nobody waits for read-ahead itself, so no signal is told; but who reads waits for its pages.
        let read_ahead =
            request.header.opcode == Opcode::Read && now.saturating_duration_since(request.since) >= READ_LOOK;
        if read_ahead && request.pid() != 0 && caller::urgency(request.pid()) == Urgency::Now {
            return request.break_off(Errno::EINTR);
        }
        if request.header.opcode == Opcode::Flush && self.is_out_of_patience(request.pid(), now) {
            return request.break_off(Errno::EINTR);
        }
        if !request.waits_for_lock && now >= self.deadline(request, progress_at) {
            self.tell(request);
            request.break_off(late(request.header.opcode));
        }
    }

    /// Whether a caller has been ending for too long.
    fn is_out_of_patience(&self, pid: u32, now: Instant) -> bool {
        if pid == 0 {
            return false;
        }
        let mut table = self.lock();
        let asked = |at: &Instant| now.saturating_duration_since(*at) < CLOSING;
        if !table.asked_to_end.get(&pid).is_some_and(asked) && !caller::is_ending(pid) {
            return false;
        }
        if table.ending.len() >= ENDING_MAX {
            table.ending.clear();
        }
        let since = *table.ending.entry(pid).or_insert(now);
        now.saturating_duration_since(since) >= GRACE
    }

    /// The caller of a request has had a signal.
    fn signalled(&self, request: &Pending) {
        // A second signal for one request is not told.
        let _ = request.interrupted.set(Instant::now());
        if caller::urgency(request.pid()) == Urgency::Now {
            self.end_for_signal(request);
        } else if request.waits_for_lock {
            request.break_off(Errno::EINTR);
        }
    }

    /// Breaks off a request whose caller is asked to end: what it does next is to close its files.
    fn end_for_signal(&self, request: &Pending) {
        let mut table = self.lock();
        if table.asked_to_end.len() >= ENDING_MAX {
            table.asked_to_end.clear();
        }
        table.asked_to_end.insert(request.pid(), Instant::now());
        drop(table);
        request.break_off(Errno::EINTR);
    }

    fn deadline(&self, request: &Pending, progress_at: Instant) -> Instant {
        let from_start = request.since + self.timeout;
        if !request.moves_data {
            return from_start + MARGIN;
        }
        from_start.max(progress_at + self.timeout).min(request.since + self.timeout * LONGEST) + MARGIN
    }

    /// Once, until a request has been answered in time again.
    fn tell(&self, request: &Pending) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let (opcode, node, pid) = (request.header.opcode, request.header.node.0, request.pid());
            let seconds = self.timeout.as_secs();
            tracing::warn!(?opcode, node, pid, seconds, "no answer within the mount's timeo: requests fail");
        }
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }
}

/// What a request that is late is answered: closing and syncing can fail with `EIO` only.
fn late(opcode: Opcode) -> Errno {
    match opcode {
        Opcode::Flush | Opcode::Release | Opcode::Fsync | Opcode::FsyncDir | Opcode::SyncFs => Errno::EIO,
        _ => Errno::ETIMEDOUT,
    }
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
