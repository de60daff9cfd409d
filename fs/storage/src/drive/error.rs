//! What can go wrong with a drive, when it is opened and when it is used.

use std::io;
use std::path::PathBuf;

use forebay_drive::{LayoutError, SuperblockError};
use forebay_types::{Epoch, StripeId, Uuid};

/// Why a drive could not be created or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has the drive open.
    #[error("drive {} is in use by {}: stop that forebayd first", path.display(), holder(*process))]
    InUse {
        /// The drive.
        path: PathBuf,
        /// The process that has it, where the kernel tells.
        process: Option<u32>,
    },
    /// There already is something at the path.
    #[error("{} already exists: choose another path, or remove it if nothing in it is needed", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// There is nothing at the path.
    #[error("drive {} does not exist: check the path and that its disk is mounted", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Neither superblock can be used.
    #[error("drive {}: {reason}: {}", path.display(), remedy(reason))]
    Superblock {
        /// The drive.
        path: PathBuf,
        /// What is wrong.
        reason: SuperblockError,
    },
    /// The drive belongs to another cluster.
    #[error(
        "drive {} belongs to cluster {found}, not to {wanted}: give this forebayd the right drive, or remove the file if that cluster is gone", path.display()
    )]
    WrongCluster {
        /// The drive.
        path: PathBuf,
        /// The cluster in the superblock.
        found: Uuid,
        /// The cluster it was opened for.
        wanted: Uuid,
    },
    /// The file is shorter than when it was created.
    #[error(
        "drive {} has {found_bytes} bytes and was created with {wanted_bytes}: it has been truncated; restore it from a copy, or remove it and add a new drive, whose chunks are then rebuilt from parity", path.display()
    )]
    Truncated {
        /// The drive.
        path: PathBuf,
        /// Its size now, in bytes.
        found_bytes: u64,
        /// The size it needs, in bytes.
        wanted_bytes: u64,
    },
    /// The size cannot be a drive's.
    #[error("drive {}: {reason}", path.display())]
    Layout {
        /// The drive.
        path: PathBuf,
        /// What is wrong.
        reason: LayoutError,
    },
    /// The operating system refused.
    #[error("drive {}: cannot {action}: {source}", path.display())]
    Io {
        /// The drive.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
}

fn remedy(reason: &SuperblockError) -> &'static str {
    match reason {
        SuperblockError::NotADrive => "check the path, or create a drive there",
        SuperblockError::Version { .. } => "use the release that wrote it, or a later one that reads both",
        SuperblockError::Damaged => "replace the drive; its chunks are rebuilt from parity",
    }
}

/// Why a drive refused a request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DriveError {
    /// The chunk is not on the drive.
    #[error("{stripe} chunk {index} is not on this drive")]
    NotFound {
        /// The stripe.
        stripe: StripeId,
        /// Which chunk of it.
        index: u8,
    },
    /// The bytes on the drive are not those that were written.
    #[error("{stripe} chunk {index} is corrupt from block {block} on")]
    Corrupt {
        /// The stripe.
        stripe: StripeId,
        /// Which chunk of it.
        index: u8,
        /// First bad block of the chunk.
        block: u32,
    },
    /// The drive is full.
    #[error("drive {} is full", path.display())]
    NoSpace {
        /// The drive.
        path: PathBuf,
    },
    /// The drive has other bytes for the chunk, written under a later map.
    #[error("{stripe} chunk {index} was already written under map {held}: refetch the map")]
    StaleEpoch {
        /// The stripe.
        stripe: StripeId,
        /// Which chunk of it.
        index: u8,
        /// The epoch of what is there.
        held: Epoch,
    },
    /// The request makes no sense; a defect of the caller.
    #[error("bad chunk request: {reason}")]
    Invalid {
        /// What is wrong.
        reason: &'static str,
    },
    /// The device failed.
    #[error("drive {} failed: {reason}", path.display())]
    Failed {
        /// The drive.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The drive has been shut down.
    #[error("drive {} is closed", path.display())]
    Closed {
        /// The drive.
        path: PathBuf,
    },
}
