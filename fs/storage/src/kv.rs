//! The key-value door over RocksDB.
//!
//! One database a directory, one write-ahead log: a buffered batch goes into the log without a flush, a flushed one
//! flushes the log, and the log is replayed as a prefix, which is the door's contract. Concurrent flushed writes share
//! flushes (RocksDB's write groups).

use std::path::{Path, PathBuf};

use forebay_env::{Batch, Durability, Kv, KvError, Pair, Visitor};
use rocksdb::{DB, DBCompressionType, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};

/// A database directory that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{path} is in use by another process: stop it first (one daemon a directory)", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Anything else RocksDB says.
    #[error("{path}: {reason}", path = path.display())]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What RocksDB said.
        reason: String,
    },
}

/// A RocksDB database.
pub struct RocksKv {
    db: DB,
}

impl RocksKv {
    /// Opens the database in `path`, creating it where there is none.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(16 << 20);
        options.set_max_write_buffer_number(3);
        options.set_max_total_wal_size(128 << 20);
        options.set_max_background_jobs(2);
        options.set_keep_log_file_num(2);
        options.set_bytes_per_sync(1 << 20);
        options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
        let db = DB::open(&options, path).map_err(|e| {
            let reason = e.into_string();
            if reason.contains("LOCK") && (reason.contains("lock") || reason.contains("Resource temporarily")) {
                OpenError::InUse { path: path.into() }
            } else {
                OpenError::Failed { path: path.into(), reason }
            }
        })?;
        Ok(Self { db })
    }

    fn read_range(start: &[u8], end: &[u8]) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(start);
        options.set_iterate_upper_bound(end);
        options
    }
}

fn failed(error: rocksdb::Error) -> KvError {
    KvError { reason: error.into_string() }
}

impl Kv for RocksKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.db.get(key).map_err(failed)
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        if start >= end {
            return Ok(Vec::new());
        }
        self.db
            .iterator_opt(IteratorMode::Start, Self::read_range(start, end))
            .take(limit)
            .map(|item| item.map(|(key, value)| (key.into_vec(), value.into_vec())).map_err(failed))
            .collect()
    }

    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Pair>, KvError> {
        if start >= end {
            return Ok(None);
        }
        self.db
            .iterator_opt(IteratorMode::End, Self::read_range(start, end))
            .next()
            .transpose()
            .map(|item| item.map(|(key, value)| (key.into_vec(), value.into_vec())))
            .map_err(failed)
    }

    fn visit(&self, start: &[u8], end: &[u8], visit: &mut Visitor<'_>) -> Result<(), KvError> {
        if start >= end {
            return Ok(());
        }
        // An iterator sees the database as it was when it was made.
        for item in self.db.iterator_opt(IteratorMode::Start, Self::read_range(start, end)) {
            let (key, value) = item.map_err(failed)?;
            if !visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        let mut writes = WriteBatch::default();
        for (key, value) in &batch.writes {
            match value {
                Some(value) => writes.put(key, value),
                None => writes.delete(key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Flushed);
        self.db.write_opt(writes, &options).map_err(failed)
    }
}

#[cfg(test)]
#[path = "kv_tests.rs"]
mod tests;
