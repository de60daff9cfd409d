//! What an export may read, how it tells contents apart, and where it writes.

use forebay_types::{Attr, FileKind};
use forebay_wire::tier::TierUser;

use crate::name;

/// Objects up to this size, in bytes, are read back after they were written.
pub const READ_BACK_MAX_BYTES: u64 = 8 << 20;

/// Contents, as they are read.
#[derive(Clone, Debug, Default)]
pub struct Digest(blake3::Hasher);

impl Digest {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// BLAKE3 of all bytes so far, in hexadecimal.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// Whether a user may read a file, by its owner, group and mode; the operator may.
#[must_use]
pub fn may_read(attr: &Attr, user: Option<&TierUser>) -> bool {
    let Some(user) = user.filter(|user| user.uid != 0) else { return true };
    let shift = match user.uid == attr.uid {
        true => 6,
        false if user.gid == attr.gid || user.groups.contains(&attr.gid) => 3,
        false => 0,
    };
    attr.mode >> shift & 4 != 0
}

/// The keys an export of `root` to `prefix` writes: a directory's files are below the prefix, a file becomes the object
/// `prefix` itself, and its manifest and marker lie beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    prefix: String,
    beside: String,
}

impl Keys {
    /// The keys for a root of this kind.
    #[must_use]
    pub fn new(kind: FileKind, prefix: &str) -> Self {
        let prefix = name::trim(prefix).to_owned();
        let beside = if kind == FileKind::Directory { prefix.clone() } else { name::split(&prefix).0.to_owned() };
        Self { prefix, beside }
    }

    /// The key of a file, by its path below the root (empty for the root itself).
    #[must_use]
    pub fn file(&self, path: &str) -> String {
        name::join(&self.prefix, path)
    }

    /// The key of the manifest or the marker.
    #[must_use]
    pub fn beside(&self, key: &str) -> String {
        name::join(&self.beside, key)
    }

    /// The path of a file for people and for the manifest: below the root, or the file's own name.
    #[must_use]
    pub fn shown<'a>(&'a self, path: &'a str) -> &'a str {
        if path.is_empty() { name::split(&self.prefix).1 } else { path }
    }
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
