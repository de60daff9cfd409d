//! Why a mount fails.

use std::io;
use std::path::PathBuf;

use forebay_client::ClientError;
use forebay_net::KeyError;

/// Why a filesystem is not mounted. Every text names the thing and the remedy: it is what `mount` prints.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The source is not of the form that names hosts and a filesystem.
    #[error("'{given}' {reason}: a source is HOST[:PORT][,HOST...]/FILESYSTEM, as in storage1,storage2/scratch")]
    Source {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An option is unknown or has a wrong value.
    #[error("mount option '{option}' {reason}")]
    Option {
        /// The option.
        option: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The mountpoint cannot be used.
    #[error("{}: {source}; it must be a directory that exists", mountpoint.display())]
    Mountpoint {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something is mounted there.
    #[error("{} is in use: {what} ({fstype}) is mounted there; umount it first", mountpoint.display())]
    InUse {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// Source of what is mounted.
        what: String,
        /// Its type.
        fstype: String,
    },
    /// A mount of ours is there whose daemon is gone.
    #[error(
        "{mountpoint} still has {what}, whose client has died: run 'umount -l {mountpoint}', then mount again",
        mountpoint = mountpoint.display()
    )]
    Dead {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// Source of what is mounted.
        what: String,
    },
    /// The cluster's key cannot be used.
    #[error("{source} (mount option key=FILE names another)")]
    Key {
        /// What is wrong.
        #[from]
        source: KeyError,
    },
    /// The cluster refused, or cannot be reached.
    #[error("{source}{remedy}")]
    Cluster {
        /// What happened.
        source: ClientError,
        /// What to do, empty where the error says it.
        remedy: &'static str,
    },
    /// FUSE is not to be had.
    #[error("{} cannot be mounted: {source}{remedy}", mountpoint.display())]
    Fuse {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// What the operating system said.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The node's socket is another daemon's.
    #[error(
        "{} is served by another forebay-client: a second mount on a node needs the option node_socket=none, or a \
         path of its own",
        socket.display()
    )]
    SocketTaken {
        /// The socket.
        socket: PathBuf,
    },
    /// The node's socket cannot be made.
    #[error("{}: {source}; mount option node_socket=PATH names another, node_socket=none does without", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The daemon cannot be started.
    #[error("{what}: {source}")]
    Start {
        /// What was tried.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The daemon said why it failed; the text is its own.
    #[error("{text}")]
    Daemon {
        /// What it said.
        text: String,
    },
    /// The daemon says nothing.
    #[error("forebay-client (pid {pid}) is not ready after {seconds} s and was killed; look into {}", log.display())]
    Silent {
        /// Its process id.
        pid: u32,
        /// How long it was waited for.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
    /// Dirty bytes were lost at the end.
    #[error("not everything could be flushed before the end: {source}")]
    Flush {
        /// What happened.
        source: ClientError,
    },
}

/// Exit code of mount(8) for a failed mount.
const MOUNT_FAILED: u8 = 32;
/// Exit code of mount(8) for a wrong command line.
const WRONG_USAGE: u8 = 1;

impl MountError {
    /// What the process exits with, as mount(8) documents it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Source { .. } | Self::Option { .. } => WRONG_USAGE,
            _ => MOUNT_FAILED,
        }
    }
}
