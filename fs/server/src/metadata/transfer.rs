//! A shard's whole state on its way to a replica that is too far behind for the log.
//!
//! The sender's side reads the state as of one moment on a thread of its own, a few pages ahead of whoever asks; a
//! transfer that is not asked for is dropped. The receiver's side writes the rows beside the state it has
//! ([`Staging`]) and hands the driver the whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as sync};
use std::time::Duration;

use bytes::Bytes;
use forebay_client::Cluster;
use forebay_env::Kv;
use forebay_meta::{Export, Staging};
use forebay_net::call_raft;
use forebay_types::ShardId;
use forebay_wire::raft::{RaftReply, RaftRequest};
use tokio::time::Instant;

/// Bytes of a page.
const PAGE_BYTES: usize = 512 << 10;
/// Pages read ahead.
const AHEAD: usize = 2;
/// A transfer that nobody asks for is dropped after this long.
const IDLE: Duration = Duration::from_secs(30);
/// Most transfers at once: each keeps the store from forgetting what it reads.
const TRANSFERS: usize = 8;
/// How long the sender may take for one page.
const TIMEOUT: Duration = Duration::from_secs(10);

type Row = (Bytes, Bytes);

struct Page {
    rows: Vec<Row>,
    end: bool,
}

struct Transfer {
    shard: ShardId,
    pages: Arc<Mutex<Pages>>,
    asked: Instant,
}

/// Pages as they are read. Locked until a page is whole, so that two who ask for the same get the same.
struct Pages {
    reader: sync::Receiver<Result<Page, String>>,
    /// The page last given, which may be asked for again.
    last: Option<(u32, RaftReply)>,
    next: u32,
}

impl Pages {
    fn page(&mut self, page: u32) -> RaftReply {
        let refused = |reason: &str| RaftReply::Refused { reason: reason.into() };
        match &self.last {
            Some((number, reply)) if *number == page => return reply.clone(),
            _ if self.next != page => return refused("that page is gone"),
            _ => {}
        }
        match self.reader.recv_timeout(TIMEOUT) {
            Ok(Ok(Page { rows, end })) => {
                let reply = RaftReply::Rows { rows, end };
                (self.last, self.next) = (Some((page, reply.clone())), page + 1);
                reply
            }
            Ok(Err(reason)) => refused(&reason),
            Err(error) => refused(&error.to_string()),
        }
    }
}

/// Transfers from this host.
#[derive(Default)]
pub(super) struct Transfers {
    table: Mutex<BTreeMap<u64, Transfer>>,
    next: AtomicU64,
}

impl Transfers {
    /// Begins a transfer.
    pub fn open(&self, shard: ShardId, export: Export<Arc<dyn Kv>>) -> RaftReply {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, transfer| transfer.asked.elapsed() < IDLE);
        if table.len() >= TRANSFERS {
            return RaftReply::Refused { reason: format!("{TRANSFERS} states are on their way already") };
        }
        let (pages, reader) = sync::sync_channel(AHEAD);
        let spawned = std::thread::Builder::new().name("state-export".into()).spawn(move || read(&export, &pages));
        if let Err(error) = spawned {
            return RaftReply::Refused { reason: format!("no thread: {error}") };
        }
        let transfer = self.next.fetch_add(1, Ordering::Relaxed);
        let pages = Arc::new(Mutex::new(Pages { reader, last: None, next: 0 }));
        table.insert(transfer, Transfer { shard, pages, asked: Instant::now() });
        RaftReply::State { transfer }
    }

    /// The shard of a transfer.
    pub fn shard(&self, id: u64) -> Option<ShardId> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).get(&id).map(|transfer| transfer.shard)
    }

    /// A page of a transfer: the next one, or the last one again.
    pub async fn page(&self, id: u64, page: u32) -> RaftReply {
        let refused = |reason: &str| RaftReply::Refused { reason: reason.into() };
        let pages = {
            let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(transfer) = table.get_mut(&id) else { return refused("there is no such transfer any more") };
            transfer.asked = Instant::now();
            transfer.pages.clone()
        };
        // The reading thread may be busy with the store. It goes on when nobody waits any more, and no page is lost.
        let read = tokio::task::spawn_blocking(move || pages.lock().unwrap_or_else(PoisonError::into_inner).page(page));
        read.await.unwrap_or_else(|error| refused(&error.to_string()))
    }
}

/// Reads everything, page by page; ends early when the transfer is dropped.
fn read(export: &Export<Arc<dyn Kv>>, pages: &sync::SyncSender<Result<Page, String>>) {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let visited = export.visit(&mut |key, value| {
        bytes += key.len() + value.len() + 16;
        rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        if bytes < PAGE_BYTES {
            return true;
        }
        bytes = 0;
        pages.send(Ok(Page { rows: std::mem::take(&mut rows), end: false })).is_ok()
    });
    // Refused where nobody waits any more.
    let _ = pages.send(visited.map(|()| Page { rows, end: true }).map_err(|error| error.to_string()));
}

/// Fetches the state of a shard from the host at `address`.
pub(super) async fn fetch(client: &Cluster, address: &str, shard: ShardId, kv: Arc<dyn Kv>) -> Result<Staging, String> {
    let peer = client.peer(address);
    let ask = async |request: RaftRequest| match call_raft(&peer, &request, TIMEOUT).await {
        Ok(RaftReply::Refused { reason }) => Err(reason),
        Ok(reply) => Ok(reply),
        Err(error) => Err(error.to_string()),
    };
    let RaftReply::State { transfer } = ask(RaftRequest::OpenState { shard }).await? else {
        return Err("the transfer was answered by something else".into());
    };
    let store = kv.clone();
    let staging = blocking(move || Staging::begin(&store, shard)).await?;
    for page in 0.. {
        let RaftReply::Rows { rows, end } = ask(RaftRequest::NextRows { transfer, page }).await? else {
            return Err("a page was answered by something else".into());
        };
        let store = kv.clone();
        let rows = rows.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec()));
        blocking(move || staging.receive(&store, rows)).await?;
        if end {
            break;
        }
    }
    Ok(staging)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, forebay_meta::ShardError> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
