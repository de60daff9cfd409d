//! A request under way: who asked, who answers, and whether it is to be broken off.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use nix::errno::Errno;
use tokio::sync::Notify;

use crate::abi::{Caller, Header, NodeId, Opcode, Operation, Reply};
use crate::transport::Ticket;

/// A request under way.
pub(super) struct Pending {
    pub header: Header,
    pub since: Instant,
    /// It waits for another process's lock, not for a server.
    pub waits_for_lock: bool,
    /// It may move much data.
    pub moves_data: bool,
    /// When its caller had a signal.
    pub interrupted: OnceLock<Instant>,
    /// Kept until it is answered.
    held: Mutex<Vec<Box<dyn Send>>>,
    /// Whoever takes it answers.
    ticket: Mutex<Option<Ticket>>,
    /// Why it is to be broken off; 0 while it is not.
    broken: AtomicI32,
    /// When that was.
    broken_at: OnceLock<Instant>,
    wake: Notify,
}

impl Pending {
    pub fn new(header: Header, operation: &Operation, ticket: Ticket) -> Arc<Self> {
        Arc::new(Self {
            header,
            since: Instant::now(),
            waits_for_lock: operation.waits_for_a_lock(),
            moves_data: operation.moves_data(),
            interrupted: OnceLock::new(),
            held: Mutex::default(),
            ticket: Mutex::new(Some(ticket)),
            broken: AtomicI32::new(0),
            broken_at: OnceLock::new(),
            wake: Notify::new(),
        })
    }

    pub fn pid(&self) -> u32 {
        self.header.caller.pid
    }

    /// Answers, unless that has been done.
    pub fn answer(&self, answer: Result<Reply, Errno>) {
        let Some(ticket) = self.ticket.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let Header { opcode, unique, node, .. } = self.header;
        match ticket.answer(answer).map_err(|error| (error.raw_os_error(), error)) {
            // The mount ended, or was aborted, before its answer came.
            Ok(()) | Err((Some(nix::libc::ENOENT | nix::libc::ENODEV | nix::libc::EPERM), _)) => {}
            Err((_, error)) => tracing::error!(?opcode, unique, node = node.0, %error, "the kernel refuses an answer"),
        }
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        drop(held);
    }

    /// Whether nobody has answered yet.
    pub fn is_open(&self) -> bool {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Breaks it off: whoever carries it out stops, and answers this.
    pub fn break_off(&self, errno: Errno) {
        if self.broken.compare_exchange(0, errno as i32, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // Only the first to come here sets it.
            let _ = self.broken_at.set(Instant::now());
            self.wake.notify_waiters();
        }
    }

    /// What it was broken off with, and when.
    pub fn broken(&self) -> Option<(Errno, Instant)> {
        let errno = self.broken.load(Ordering::Acquire);
        (errno != 0).then(|| (Errno::from_raw(errno), self.broken_at.get().copied().unwrap_or(self.since)))
    }

    /// Ends when it is broken off, with the error to answer.
    pub async fn until_broken(&self) -> Errno {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            // Listen first, look then: what comes between is heard.
            woken.as_mut().enable();
            if let Some((errno, _)) = self.broken() {
                return errno;
            }
            woken.await;
        }
    }
}

/// What a filesystem knows of the request it carries out.
#[derive(Clone)]
pub struct Context {
    pub(super) pending: Arc<Pending>,
}

impl Context {
    /// Who asks.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.pending.header.caller
    }

    /// What is asked.
    #[must_use]
    pub fn opcode(&self) -> Opcode {
        self.pending.header.opcode
    }

    /// What it is about.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.pending.header.node
    }

    /// Number of the request.
    #[must_use]
    pub fn unique(&self) -> u64 {
        self.pending.header.unique
    }

    /// Keeps something until the kernel has been given the answer: for what must not happen before that.
    pub fn hold(&self, guard: impl Send + 'static) {
        self.pending.held.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(guard));
    }

    /// Ends when the request is broken off; the method's future is dropped soon after. For what must be told so and
    /// cannot tell by being dropped.
    pub async fn broken_off(&self) {
        self.pending.until_broken().await;
    }
}
