//! Clients' sessions: who has mounted, and who has gone silent.
//!
//! A session that has not been renewed for [`SESSION_TIMEOUT_MS`] has ended, for good: its id is never given again.
//! The table is stored, so that a restart of the cluster group ends nobody's session: everyone gets a full timeout.

use std::collections::BTreeMap;

use forebay_env::Batch;
use forebay_types::SessionId;
use serde::{Deserialize, Serialize};

/// A session not renewed for this long has ended, in milliseconds. Clients renew at a third of it.
pub const SESSION_TIMEOUT_MS: u64 = 30_000;

/// Key of the next session id.
pub(crate) const NEXT_KEY: &[u8] = b"c/next-session";
/// Prefix of the keys of sessions.
pub(crate) const PREFIX: &[u8] = b"c/session/";

/// What is stored of a session.
#[derive(Clone, Serialize, Deserialize, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub client: String,
    pub fs: String,
}

#[derive(Debug)]
struct Live {
    stored: Stored,
    renewed_ms: u64,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    live: BTreeMap<SessionId, Live>,
    next: u64,
}

fn key(session: SessionId) -> Vec<u8> {
    [PREFIX, &session.0.to_be_bytes()].concat()
}

impl Sessions {
    /// The table as stored, every session renewed now.
    pub fn load(now_ms: u64, next: Option<Vec<u8>>, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).ok();
        let live = rows
            .into_iter()
            .filter_map(|(key, value)| {
                let id = number(key.strip_prefix(PREFIX)?)?;
                let stored = forebay_wire::decode(&value).ok()?;
                Some((SessionId(id), Live { stored, renewed_ms: now_ms }))
            })
            .collect();
        Self { live, next: next.and_then(|bytes| number(&bytes)).unwrap_or(1) }
    }

    pub fn open(&mut self, now_ms: u64, client: String, fs: String, stores: &mut Batch) -> SessionId {
        let id = SessionId(self.next.max(1));
        self.next = id.0 + 1;
        let stored = Stored { client, fs };
        stores.put(NEXT_KEY, self.next.to_be_bytes());
        stores.put(key(id), forebay_wire::encode(&stored));
        self.live.insert(id, Live { stored, renewed_ms: now_ms });
        id
    }

    /// Whether the session was alive.
    pub fn renew(&mut self, now_ms: u64, id: SessionId) -> bool {
        match self.live.get_mut(&id) {
            Some(session) => {
                session.renewed_ms = now_ms;
                true
            }
            None => false,
        }
    }

    pub fn close(&mut self, id: SessionId, stores: &mut Batch) {
        if self.live.remove(&id).is_some() {
            stores.delete(key(id));
        }
    }

    pub fn expire(&mut self, now_ms: u64, stores: &mut Batch) {
        let silent = |session: &Live| now_ms.saturating_sub(session.renewed_ms) > SESSION_TIMEOUT_MS;
        let ended: Vec<SessionId> = self.live.iter().filter(|(_, s)| silent(s)).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|id| self.close(id, stores));
    }

    pub fn is_live(&self, id: SessionId) -> bool {
        self.live.contains_key(&id)
    }

    pub fn list(&self, now_ms: u64) -> Vec<(SessionId, String, String, u64)> {
        self.live
            .iter()
            .map(|(id, s)| (*id, s.stored.client.clone(), s.stored.fs.clone(), now_ms.saturating_sub(s.renewed_ms)))
            .collect()
    }

    pub fn next_deadline(&self) -> Option<u64> {
        self.live.values().map(|session| session.renewed_ms + SESSION_TIMEOUT_MS + 1).min()
    }
}
