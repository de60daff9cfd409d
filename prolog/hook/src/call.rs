//! One question to the node's client daemon, within a deadline.
//!
//! Protocol: see [`forebay_wire::node`]. Connect, send, and receive each wait at most for what is left of the budget;
//! a socket that is not there, or that nobody listens on, is answered at once.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forebay_wire::node::{NodeCall, NodeReply, NodeRequest, VERSION};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;
use nix::unistd::geteuid;

/// Longest reply that is read, in bytes.
pub const MAX_REPLY_BYTES: usize = 1 << 20;

/// When a hook must be done.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Instant,
    budget: Duration,
}

impl Deadline {
    /// Starts the clock.
    #[must_use]
    pub fn start(budget: Duration) -> Self {
        Self { start: Instant::now(), budget }
    }

    /// The whole budget, in milliseconds.
    #[must_use]
    pub fn budget_ms(self) -> u64 {
        u64::try_from(self.budget.as_millis()).unwrap_or(u64::MAX)
    }

    /// What the daemon may use: a tenth is kept so that its own, better, account of a delay arrives in time.
    #[must_use]
    pub fn daemon_budget_ms(self) -> u64 {
        self.budget_ms() - self.budget_ms() / 10
    }

    /// What is left; `None` when nothing is.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        self.budget.checked_sub(self.start.elapsed()).filter(|left| !left.is_zero())
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens on the socket.
    #[error("no Forebay client at {}: {source}; start it (systemctl start forebay-client) or look into its log", socket.display())]
    Away {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The budget is over.
    #[error("the Forebay client at {} did not answer within {budget_ms} ms; look into its log", socket.display())]
    Late {
        /// The socket.
        socket: PathBuf,
        /// The budget, in milliseconds.
        budget_ms: u64,
    },
    /// Somebody listens who is neither root nor us.
    #[error("{} belongs to a process of user {uid}, not of root: it is not asked; find out who put it there", socket.display())]
    Stranger {
        /// The socket.
        socket: PathBuf,
        /// Who listens.
        uid: u32,
    },
    /// The connection broke.
    #[error("connection to the Forebay client at {} broke: {source}; look into its log", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What came back is no reply.
    #[error("the Forebay client at {} answered {reason}; install client and hooks of one version", socket.display())]
    Garbled {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Asks `request` at `socket`. A reply of another kind than the request's is for the caller to judge;
/// [`NodeReply::Error`] comes back as [`CallError::Garbled`].
pub fn call(socket: &Path, request: NodeRequest, deadline: Deadline) -> Result<NodeReply, CallError> {
    let garbled = |reason: String| CallError::Garbled { socket: socket.to_owned(), reason };
    let mut stream = connect(socket, deadline)?;
    let mut line = serde_json::to_vec(&NodeCall { version: VERSION, request }).map_err(|e| garbled(e.to_string()))?;
    line.push(b'\n');
    send(&mut stream, &line, socket, deadline)?;
    let reply = receive(&mut stream, socket, deadline)?;
    match serde_json::from_slice(&reply) {
        Ok(NodeReply::Error { text }) => Err(garbled(format!("that the question is wrong ({text})"))),
        Ok(reply) => Ok(reply),
        Err(e) => Err(garbled(format!("what is no reply ({e})"))),
    }
}

fn late(socket: &Path, deadline: Deadline) -> CallError {
    CallError::Late { socket: socket.to_owned(), budget_ms: deadline.budget_ms() }
}

fn remaining(socket: &Path, deadline: Deadline) -> Result<Duration, CallError> {
    deadline.remaining().ok_or_else(|| late(socket, deadline))
}

/// Turns a kernel error into ours: timeouts are lateness.
fn broken(source: io::Error, socket: &Path, deadline: Deadline) -> CallError {
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(socket, deadline),
        _ => CallError::Broken { socket: socket.to_owned(), source },
    }
}

/// Connects with the send timeout set beforehand: a full backlog makes connect wait, too.
fn connect(socket: &Path, deadline: Deadline) -> Result<UnixStream, CallError> {
    let away = |e: nix::Error| match e {
        nix::Error::EAGAIN | nix::Error::EINPROGRESS => late(socket, deadline),
        e => CallError::Away { socket: socket.to_owned(), source: e.into() },
    };
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(away)?;
    let left = remaining(socket, deadline)?;
    let limit = TimeVal::new(left.as_secs() as i64, left.subsec_micros().max(1).into());
    socket::setsockopt(&fd, sockopt::SendTimeout, &limit).map_err(away)?;
    socket::connect(fd.as_raw_fd(), &UnixAddr::new(socket).map_err(away)?).map_err(away)?;
    let peer = socket::getsockopt(&fd, sockopt::PeerCredentials).map_err(away)?;
    if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
        return Err(CallError::Stranger { socket: socket.to_owned(), uid: peer.uid() });
    }
    Ok(UnixStream::from(fd))
}

fn send(stream: &mut UnixStream, mut bytes: &[u8], socket: &Path, deadline: Deadline) -> Result<(), CallError> {
    while !bytes.is_empty() {
        let left = remaining(socket, deadline)?;
        stream.set_write_timeout(Some(left)).map_err(|e| broken(e, socket, deadline))?;
        match stream.write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(broken(e, socket, deadline)),
        }
    }
    Ok(())
}

/// Reads one line, without its newline.
fn receive(stream: &mut UnixStream, socket: &Path, deadline: Deadline) -> Result<Vec<u8>, CallError> {
    let garbled = |reason: String| CallError::Garbled { socket: socket.to_owned(), reason };
    let mut reply = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let left = remaining(socket, deadline)?;
        stream.set_read_timeout(Some(left)).map_err(|e| broken(e, socket, deadline))?;
        match stream.read(&mut chunk) {
            Ok(0) => return Err(garbled(format!("{} bytes without a newline and hung up", reply.len()))),
            Ok(len) => {
                let end = chunk[..len].iter().position(|b| *b == b'\n');
                reply.extend_from_slice(&chunk[..end.unwrap_or(len)]);
                if reply.len() > MAX_REPLY_BYTES {
                    return Err(garbled(format!("more than {MAX_REPLY_BYTES} bytes")));
                }
                if end.is_some() {
                    return Ok(reply);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(broken(e, socket, deadline)),
        }
    }
}
