//! Where records survive: one key a job in a key-value store.
//!
//! Invariants: a step's records are flushed in one batch before any of its effects is performed; a record is one
//! version byte and JSON, and a version that is not known is an error, never skipped.

use std::sync::Arc;

use forebay_env::{Batch, Durability, Kv, KvError};

use crate::core::{Effect, JobKey, RECORD_VERSION, Record};

const PREFIX: &[u8] = b"job/";
const PREFIX_END: &[u8] = b"job0";
const PAGE: usize = 1024;

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] KvError),
    /// A record of another version.
    #[error(
        "journal record {key} has format {found}, this program knows {RECORD_VERSION}: use the program that wrote it"
    )]
    Version {
        /// The record's key.
        key: String,
        /// Its version.
        found: u8,
    },
    /// A record that cannot be read.
    #[error("journal record {key} is damaged: {reason}; move the journal directory away to start from Slurm alone")]
    Damaged {
        /// The record's key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The journal.
pub struct Journal {
    kv: Arc<dyn Kv>,
}

fn key_of(key: &JobKey) -> Vec<u8> {
    let mut out = PREFIX.to_vec();
    out.extend_from_slice(key.cluster.as_bytes());
    out.push(0);
    out.extend_from_slice(&key.job.to_be_bytes());
    out.extend_from_slice(&key.submit_s.to_be_bytes());
    out
}

fn decode(key: &[u8], value: &[u8]) -> Result<Record, JournalError> {
    let name = || String::from_utf8_lossy(key).escape_default().to_string();
    match value.split_first() {
        Some((&RECORD_VERSION, json)) => serde_json::from_slice(json)
            .map_err(|error| JournalError::Damaged { key: name(), reason: error.to_string() }),
        Some((&found, _)) => Err(JournalError::Version { key: name(), found }),
        None => Err(JournalError::Damaged { key: name(), reason: "it is empty".into() }),
    }
}

impl Journal {
    /// A journal in a store.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        Self { kv }
    }

    /// Every record.
    pub fn load(&self) -> Result<Vec<Record>, JournalError> {
        let mut records = Vec::new();
        let mut from = PREFIX.to_vec();
        loop {
            let page = self.kv.scan(&from, PREFIX_END, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(records) };
            from = last.clone();
            from.push(0);
            for (key, value) in &page {
                records.push(decode(key, value)?);
            }
        }
    }

    /// Makes the journal effects of a step durable, all or none.
    pub fn write(&self, effects: &[Effect]) -> Result<(), JournalError> {
        let mut batch = Batch::default();
        for effect in effects {
            match effect {
                Effect::Journal(record) => {
                    let mut value = vec![RECORD_VERSION];
                    serde_json::to_writer(&mut value, record).map_err(|error| JournalError::Damaged {
                        key: record.key.to_string(),
                        reason: error.to_string(),
                    })?;
                    batch.put(key_of(&record.key), value);
                }
                Effect::Forget(key) => batch.delete(key_of(key)),
                Effect::Perform { .. } | Effect::CancelTask(_) => {}
            }
        }
        if batch.is_empty() { Ok(()) } else { Ok(self.kv.write(batch, Durability::Flushed)?) }
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
