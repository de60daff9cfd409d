//! How a shard fails, as opposed to how it refuses.

use forebay_env::KvError;
use forebay_types::Errno;
use forebay_wire::meta::MetaError;

/// The shard cannot go on: its store failed or holds what this version did not write. Stop serving the shard; open
/// and recover it again once the store works.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ShardError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] KvError),
    /// A record cannot be read.
    #[error("a {what} cannot be decoded: {reason}; restore the host's metadata from a replica")]
    Corrupt {
        /// Which kind of record.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A record of another version.
    #[error("a {what} has version {found}, which this forebayd does not read; run the version that wrote it")]
    Version {
        /// Which kind of record.
        what: &'static str,
        /// The version found.
        found: u8,
    },
    /// Entries must be applied in order.
    #[error("entry {index} cannot be applied after entry {applied}")]
    OutOfOrder {
        /// The entry given.
        index: u64,
        /// The last one applied.
        applied: u64,
    },
}

impl From<ShardError> for MetaError {
    fn from(error: ShardError) -> Self {
        Self::Storage { reason: error.to_string() }
    }
}

/// Why an operation stopped: it is refused, or the shard is broken.
#[derive(Debug)]
pub(crate) enum Fault {
    Refused(MetaError),
    Broken(ShardError),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Refused(MetaError::Posix(errno))
    }
}

impl From<MetaError> for Fault {
    fn from(error: MetaError) -> Self {
        Self::Refused(error)
    }
}

impl From<ShardError> for Fault {
    fn from(error: ShardError) -> Self {
        Self::Broken(error)
    }
}

impl From<KvError> for Fault {
    fn from(error: KvError) -> Self {
        Self::Broken(ShardError::Store(error))
    }
}

impl From<Fault> for MetaError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(error) => error,
            Fault::Broken(error) => error.into(),
        }
    }
}
