//! Asking the daemon, from a program without a runtime.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forebay_wire::node::{NodeCall, NodeReply, NodeRequest, VERSION};

/// Longest reply, in bytes.
const REPLY_MAX_BYTES: u64 = 1 << 20;

/// Why the daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum NodeCallError {
    /// Nobody listens.
    #[error("no Forebay client at {}: {source}; is the filesystem mounted here?", socket.display())]
    Away {
        /// The socket.
        socket: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The conversation broke, or took too long.
    #[error("the Forebay client at {} did not answer: {source}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The answer makes no sense.
    #[error("the Forebay client at {} answered what is no reply ({reason}): install both of one release", socket.display())]
    Garbled {
        /// The socket.
        socket: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Asks the daemon behind a socket, and waits at most `timeout`. Blocks.
pub fn node_call(socket: &Path, request: NodeRequest, timeout: Duration) -> Result<NodeReply, NodeCallError> {
    let away = |source| NodeCallError::Away { socket: socket.into(), source };
    let broken = |source| NodeCallError::Broken { socket: socket.into(), source };
    let garbled = |reason: String| NodeCallError::Garbled { socket: socket.into(), reason };
    let until = Instant::now() + timeout;
    let mut stream = UnixStream::connect(socket).map_err(away)?;
    let left = |until: Instant| Some(until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
    let mut line =
        serde_json::to_vec(&NodeCall { version: VERSION, request }).map_err(|error| garbled(error.to_string()))?;
    line.push(b'\n');
    stream.set_write_timeout(left(until)).map_err(broken)?;
    stream.write_all(&line).map_err(broken)?;
    stream.set_read_timeout(left(until)).map_err(broken)?;
    let mut reply = Vec::new();
    BufReader::new(stream.take(REPLY_MAX_BYTES)).read_until(b'\n', &mut reply).map_err(broken)?;
    serde_json::from_slice(&reply).map_err(|error| garbled(error.to_string()))
}
