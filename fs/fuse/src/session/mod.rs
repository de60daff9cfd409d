//! A mount being served: the greeting, the threads that read, the table of what waits.
//!
//! Protocol: [`Session::start`] answers the kernel's INIT, then opens as many lanes as asked for, a thread each.
//! A thread carries a request out as far as it goes without waiting; what waits goes on as a task of the runtime and is
//! looked after by [`requests`]. The session is over when the kernel says so on every lane: after `umount`, an abort
//! through `/sys/fs/fuse/connections`, or the end of the process.
//! Invariants: every request is answered once; every wait but that for a lock ends at a deadline, and every one by
//! a signal; no thread that reads waits for a request, but for room where very many are under way.

mod caller;
mod dispatch;
mod negotiate;
mod notifier;
mod pending;
mod requests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use crate::Filesystem;
use crate::abi::{DecodeError, Dialect, Operation, Reply, decode};
use crate::transport::{Lane, Received, Transport};
use dispatch::{Dispatcher, MOST_REQUESTS};
use requests::Requests;

pub use negotiate::{Agreed, Settings};
pub use notifier::Notifier;
pub use pending::Context;

/// Bytes of a request beside its data.
const REQUEST_FIXED_BYTES: usize = 4096;

/// Why a mount is not served.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The kernel's side failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The kernel's first request cannot be read.
    #[error(transparent)]
    Greeting(#[from] DecodeError),
    /// The kernel's first request is not INIT, or there was none.
    #[error("the kernel does not say hello")]
    NoGreeting,
    /// The kernel speaks a version that is not understood here.
    #[error("the kernel speaks version {major}.{minor} of FUSE, which is too old: version 7.24 (Linux 4.5) is needed")]
    Version {
        /// Its version.
        major: u32,
        /// And minor version.
        minor: u32,
    },
}

/// A mount being served.
pub struct Session {
    /// What was agreed on with the kernel.
    pub agreed: Agreed,
    /// Ends when the mount is over; with an error where it was not the kernel that ended it.
    pub ended: oneshot::Receiver<io::Result<()>>,
    /// Tells the kernel of changes.
    pub notifier: Notifier,
    /// Requests under way.
    pub in_flight: InFlight,
}

/// Requests under way.
#[derive(Clone)]
pub struct InFlight(Arc<Semaphore>);

impl InFlight {
    /// Waits until none is, at most `timeout`; whether that was so. Those that wait for locks do not count.
    pub async fn drain(&self, timeout: Duration) -> bool {
        matches!(tokio::time::timeout(timeout, self.0.acquire_many(MOST_REQUESTS)).await, Ok(Ok(_)))
    }
}

impl Session {
    /// Serves a mount; requests that wait do so on `runtime`. Blocks until the kernel has been greeted.
    pub fn start<F: Filesystem>(
        mut transport: impl Transport,
        filesystem: Arc<F>,
        settings: Settings,
        runtime: Handle,
    ) -> Result<Self, SessionError> {
        let failed = |what| move |source| SessionError::Io { what, source };
        let buffer_bytes = settings.request_bytes as usize + REQUEST_FIXED_BYTES;
        let mut first = transport.first(buffer_bytes).map_err(failed("the device cannot be read"))?;
        let agreed = greet(&mut *first, &settings)?;
        let more = settings.readers.saturating_sub(1);
        let mut lanes = transport.more(more, buffer_bytes).map_err(failed("the device cannot be cloned"))?;
        lanes.push(first);
        let notifier = Notifier::start(&transport.notices()).map_err(failed("no thread for notices"))?;
        let requests = Requests::new(settings.timeout);
        let watcher = (requests.clone(), filesystem.clone());
        let dispatcher = Arc::new(Dispatcher::new(filesystem, requests.clone(), runtime, agreed.dialect()));
        let in_flight = InFlight(dispatcher.room());
        let (end, ended) = oneshot::channel();
        let over =
            Arc::new(End { requests, lanes: AtomicUsize::new(lanes.len()), end: std::sync::Mutex::new(Some(end)) });
        thread("fuse-watch", move || watcher.0.watch(|| watcher.1.progress()))?;
        for mut lane in lanes {
            let (dispatcher, over) = (dispatcher.clone(), over.clone());
            thread("fuse-reader", move || over.lane(dispatcher.serve(&mut *lane)))?;
        }
        Ok(Self { agreed, ended, notifier, in_flight })
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), SessionError> {
    let started = std::thread::Builder::new().name(name.into()).spawn(run);
    started.map(drop).map_err(|source| SessionError::Io { what: "no thread to serve with", source })
}

/// Answers the kernel's first request.
fn greet(lane: &mut dyn Lane, settings: &Settings) -> Result<Agreed, SessionError> {
    let failed = |source| SessionError::Io { what: "the kernel's greeting", source };
    let Received::Request(bytes, ticket) = lane.receive().map_err(failed)? else {
        return Err(SessionError::NoGreeting);
    };
    let request = decode(bytes, Dialect::default())?;
    let Operation::Init(kernel) = request.operation else { return Err(SessionError::NoGreeting) };
    match negotiate::agree(&kernel, settings) {
        Some((agreed, reply)) => {
            ticket.answer(Ok(Reply::Init(reply))).map_err(failed)?;
            tracing::debug!(?agreed, offered = kernel.flags, "greeted");
            Ok(agreed)
        }
        None => {
            // What is said to a kernel that will not be served matters to nobody.
            let _ = ticket.answer(Err(Errno::EPROTO));
            Err(SessionError::Version { major: kernel.major, minor: kernel.minor })
        }
    }
}

/// The end of a session, which is that of its last lane.
struct End {
    requests: Arc<Requests>,
    lanes: AtomicUsize,
    end: std::sync::Mutex<Option<oneshot::Sender<io::Result<()>>>>,
}

impl End {
    fn lane(&self, result: io::Result<()>) {
        let last = self.lanes.fetch_sub(1, Ordering::AcqRel) == 1;
        if !last && result.is_ok() {
            return;
        }
        if last {
            self.requests.end();
        }
        let end = self.end.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(end) = end {
            // Nobody is there to hear it only when the daemon is ending anyway.
            let _ = end.send(result);
        }
    }
}
