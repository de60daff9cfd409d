//! The cluster's key: the one secret that every host and client of a cluster shares.
//!
//! Kept in a file of 64 hexadecimal digits and a newline, mode 0600. Nothing prints it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Permission bits that would let somebody else read or change the key: others anything, the group writing.
const FOREIGN_BITS: u32 = 0o027;

/// 32 random bytes that the hosts and clients of one cluster have, and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; KEY_BYTES]);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or written.
    #[error("cluster key {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A new key would replace one that is there.
    #[error("cluster key {path} exists already: remove it first if the cluster it belongs to is no more")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it, or change it.
    #[error(
        "cluster key {path} has mode {mode:04o}, so others can get at it: chmod 600 {path}, and if it has been \
             so for long, make a new one"
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold a key.
    #[error("cluster key {path} does not hold 64 hexadecimal digits and a newline: copy it again from a host")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The operating system has no random bytes.
    #[error("no random bytes for a cluster key: {reason}")]
    Random {
        /// What it said.
        reason: String,
    },
}

impl ClusterKey {
    /// Draws a new key.
    pub fn generate() -> Result<Self, KeyError> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(|e| KeyError::Random { reason: e.to_string() })?;
        Ok(Self(key))
    }

    /// The key that is these bytes.
    #[must_use]
    pub fn from_bytes(key: [u8; KEY_BYTES]) -> Self {
        Self(key)
    }

    /// Reads the key file at `path`.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.mode() & 0o7777;
        if mode & FOREIGN_BITS != 0 {
            return Err(KeyError::Mode { path: path.to_owned(), mode });
        }
        let mut text = Vec::with_capacity(2 * KEY_BYTES + 2);
        file.take(2 * KEY_BYTES as u64 + 2).read_to_end(&mut text).map_err(io)?;
        parse(text.strip_suffix(b"\n").unwrap_or(&text)).ok_or_else(|| KeyError::Format { path: path.to_owned() })
    }

    /// Writes the key to a new file at `path`, readable by its owner only, and durable on return.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
            _ => KeyError::Io { path: path.to_owned(), source },
        };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        let mut text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push('\n');
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(io)
    }

    /// A key for one purpose. `context` is a constant of the program that names the purpose and is used for no other.
    #[must_use]
    pub fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.0)
    }
}

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterKey(hidden)")
    }
}

fn parse(text: &[u8]) -> Option<ClusterKey> {
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|d| d as u8);
    let mut key = [0; KEY_BYTES];
    for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(ClusterKey(key))
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
