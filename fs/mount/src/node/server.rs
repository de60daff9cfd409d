//! The socket: one JSON line in, one out.

use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_wire::node::{NodeCall, NodeReply, VERSION};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::MountError;
use crate::node::Service;

/// Longest request, in bytes: a job's nodes are named in it.
const REQUEST_MAX_BYTES: u64 = 4 << 20;
/// How long a caller may take to say what it wants, and to take the answer.
const CALLER_TIMEOUT: Duration = Duration::from_secs(5);
/// Callers served at once; further ones wait in the kernel.
const MOST_CALLERS: usize = 64;
/// How long the daemon of a mount that is gone may take to end, and how often it is looked for. Nobody says when.
const PREDECESSOR: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The socket, bound; it is removed when this is dropped.
pub struct Listener {
    path: PathBuf,
    socket: StdListener,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::info!(path = %self.path.display(), %error, "socket not removed");
        }
    }
}

impl Listener {
    /// Binds the socket, taking the place of one that nobody serves any more. One that is served is waited for a
    /// while: umount returns before the daemon of the mount that was has ended.
    pub fn bind(path: &Path) -> Result<Self, MountError> {
        let until = Instant::now() + PREDECESSOR;
        loop {
            match Self::bind_now(path) {
                Err(MountError::SocketTaken { .. }) if Instant::now() < until => std::thread::sleep(LOOK_AGAIN),
                result => return result,
            }
        }
    }

    fn bind_now(path: &Path) -> Result<Self, MountError> {
        let failed = |source| MountError::Socket { socket: path.into(), source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(MountError::SocketTaken { socket: path.into() }),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let socket = StdListener::bind(path).map_err(failed)?;
        let listener = Self { path: path.into(), socket };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        listener.socket.set_nonblocking(true).map_err(failed)?;
        Ok(listener)
    }

    /// Serves until dropped.
    pub async fn serve(self, service: Arc<Service>) -> io::Result<()> {
        let socket = UnixListener::from_std(self.socket.try_clone()?)?;
        let callers = Arc::new(Semaphore::new(MOST_CALLERS));
        loop {
            let Ok(permit) = callers.clone().acquire_owned().await else { return Ok(()) };
            let stream = match socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors: those in use must end before another can come.
                    tracing::warn!(%error, "a caller was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let service = service.clone();
            tokio::spawn(async move {
                if let Err(error) = converse(stream, service).await {
                    tracing::info!(%error, "a caller went away");
                }
                drop(permit);
            });
        }
    }
}

/// Hears one request and answers it.
async fn converse(mut stream: UnixStream, service: Arc<Service>) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let reply = if uid != 0 {
        NodeReply::Error { text: format!("only root may ask this, not user {uid}") }
    } else {
        match hear(&mut stream).await? {
            // Somebody who only wanted to know whether anybody is here.
            None => return Ok(()),
            Some(Ok(call)) => service.answer(call.request).await,
            Some(Err(text)) => NodeReply::Error { text },
        }
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    timeout(CALLER_TIMEOUT, stream.write_all(&line)).await??;
    stream.shutdown().await
}

/// One request; `None` where the caller hangs up without a word.
async fn hear(stream: &mut UnixStream) -> io::Result<Option<Result<NodeCall, String>>> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(REQUEST_MAX_BYTES));
    timeout(CALLER_TIMEOUT, reader.read_until(b'\n', &mut line)).await??;
    Ok((!line.is_empty()).then(|| understand(&line)))
}

/// Reads a request, its version first: what else another version says may make no sense to us.
fn understand(line: &[u8]) -> Result<NodeCall, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let not_json = |error: serde_json::Error| format!("the request is not one JSON object on a line: {error}");
    let theirs = serde_json::from_slice::<Versioned>(line).map_err(not_json)?.version;
    if theirs != VERSION {
        return Err(format!(
            "the caller speaks version {theirs} of this protocol, the client {VERSION}: install both of one release"
        ));
    }
    serde_json::from_slice(line).map_err(not_json)
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
