//! The unix socket that users ask: one JSON line in, one JSON line out.
//!
//! Who asks is taken from the socket, never from the message. Lines, connections and every wait are bounded.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forebay_wire::stager::{JobStatus, Refusal, StagerCall, StagerReply, StagerRequest, VERSION, WaitFor};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::check;
use crate::daemon::{Caller, Handle, Question, Told};
use crate::perform::Performer;
use crate::reached::reached;

/// Most callers at once.
const CALLERS: usize = 256;
/// Longest line, in bytes: a script of the greatest size with every character escaped.
const LINE_MAX_BYTES: u64 = 8 << 20;
/// Longest time a caller may take to send its line or take its answer.
const CALLER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time a caller may wait for a job in one call.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest time a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(300);

/// A socket that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon answers on it.
    #[error("{path} is served by another forebay-stagerd: stop it first, or give this one another --socket")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Anything else.
    #[error("{path} cannot be made: {source}")]
    Failed {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The server.
pub struct Server {
    listener: UnixListener,
    handle: Handle,
    performer: Arc<Performer>,
}

fn refused(exit_code: u8, code: &str, text: impl Into<String>) -> StagerReply {
    StagerReply::Refused(Refusal { exit_code, code: code.into(), text: text.into() })
}

impl Server {
    /// Listens on `path`, open to every user. A socket left by a daemon that is gone is replaced.
    pub fn bind(path: &Path, handle: Handle, performer: Arc<Performer>) -> Result<Self, BindError> {
        let failed = |source| BindError::Failed { path: path.into(), source };
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(BindError::InUse { path: path.into() });
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(failed)?;
        Ok(Self { listener, handle, performer })
    }

    /// Serves until dropped.
    pub async fn run(self) {
        let slots = Arc::new(Semaphore::new(CALLERS));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors: those in use must end before another can come.
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (handle, performer, slots) = (self.handle.clone(), self.performer.clone(), slots.clone());
            tokio::spawn(async move {
                let reply = |slot: bool| async move {
                    if slot { answer(&handle, &performer, stream).await } else { turn_away(stream).await }
                };
                let slot = slots.try_acquire();
                let _ = reply(slot.is_ok()).await;
            });
        }
    }
}

async fn turn_away(mut stream: UnixStream) -> std::io::Result<()> {
    send(&mut stream, &refused(8, "E-BUSY", "the stager has as many callers as it may; try again")).await
}

async fn send(stream: &mut UnixStream, reply: &StagerReply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(CALLER_TIMEOUT, stream.write_all(&line)).await?
}

async fn answer(handle: &Handle, performer: &Performer, mut stream: UnixStream) -> std::io::Result<()> {
    let peer = stream.peer_cred()?;
    let mut line = Vec::new();
    {
        let mut reader = BufReader::new((&mut stream).take(LINE_MAX_BYTES + 1));
        timeout(CALLER_TIMEOUT, reader.read_until(b'\n', &mut line)).await??;
    }
    let reply = if line.len() as u64 > LINE_MAX_BYTES {
        refused(2, "E-CALL-SIZE", format!("a request is at most {LINE_MAX_BYTES} bytes"))
    } else {
        match read_call(&line) {
            Err(reply) => *reply,
            Ok(request) => {
                let gone = watch_hangup(&stream);
                tokio::select! {
                    reply = serve(handle, performer, (peer.uid(), peer.gid()), request) => reply,
                    () = gone => return Ok(()),
                }
            }
        }
    };
    send(&mut stream, &reply).await
}

/// Completes when the caller has closed its end, so that nobody is waited for in vain.
async fn watch_hangup(stream: &UnixStream) {
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut [0; 64]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn read_call(line: &[u8]) -> Result<StagerRequest, Box<StagerReply>> {
    // The version is looked at first: another version may have requests that are not known here.
    let call: serde_json::Value = serde_json::from_slice(line)
        .map_err(|error| Box::new(refused(2, "E-CALL-MALFORMED", format!("the request is not JSON: {error}"))))?;
    let version = call.get("version").and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(VERSION)) {
        let theirs = version.map_or("none".into(), |version| version.to_string());
        let text = format!(
            "the caller speaks version {theirs} of the stager's protocol, this stager {VERSION}: use the same release of Forebay"
        );
        return Err(Box::new(refused(9, "E-CALL-VERSION", text)));
    }
    serde_json::from_value::<StagerCall>(call)
        .map(|call| call.request)
        .map_err(|error| Box::new(refused(2, "E-CALL-MALFORMED", format!("the request is not understood: {error}"))))
}

async fn serve(handle: &Handle, performer: &Performer, (uid, gid): (u32, u32), request: StagerRequest) -> StagerReply {
    let caller = Caller { uid };
    let question = match request {
        StagerRequest::Ping => return StagerReply::Pong { version: env!("CARGO_PKG_VERSION").into() },
        StagerRequest::Check { script } => {
            return match timeout(CHECK_TIMEOUT, check::check(performer, &script, uid, gid)).await {
                Ok(report) => StagerReply::Checked(report),
                Err(_) => refused(7, "E-CHECK-TIMEOUT", "the sources did not answer in time; try again"),
            };
        }
        StagerRequest::Wait { job, until, timeout_ms } => return wait(handle, caller, job, until, timeout_ms).await,
        StagerRequest::Status { job } => return said(handle.ask(caller, Question::Status(job)).await, false),
        StagerRequest::Report { job } => Question::Report(job),
        StagerRequest::Retry { job } => Question::Retry(job),
        StagerRequest::Cancel { job } => Question::Cancel(job),
    };
    said(handle.ask(caller, question).await, true)
}

fn said(told: Option<Told>, one: bool) -> StagerReply {
    match told {
        None => refused(8, "E-STOPPING", "the stager is stopping; try again"),
        Some(Told::Refused(refusal)) => StagerReply::Refused(refusal),
        Some(Told::Report(report)) => StagerReply::Report(*report),
        Some(Told::Jobs(mut jobs)) if one && jobs.len() == 1 => StagerReply::Job(jobs.remove(0)),
        Some(Told::Jobs(jobs)) => StagerReply::Jobs(jobs),
    }
}

async fn wait(handle: &Handle, caller: Caller, job: u32, until: WaitFor, timeout_ms: u64) -> StagerReply {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms).min(WAIT_MAX);
    let mut changes = handle.changes();
    loop {
        changes.mark_unchanged();
        let reply = said(handle.ask(caller, Question::Status(Some(job))).await, true);
        let done = |status: &JobStatus| reached(status, until).is_some();
        match &reply {
            StagerReply::Job(status) if !done(status) => {}
            _ => return reply,
        }
        match timeout_at(deadline, changes.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return reply,
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
