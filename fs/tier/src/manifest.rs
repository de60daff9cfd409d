//! What an export writes about itself: a manifest of everything it copied, and a marker that says it is complete.
//!
//! JSON, entries ordered by path, so that the same export writes the same bytes. Times are seconds and nanoseconds
//! since 1970 UTC, permission bits octal.

use forebay_types::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the format.
pub const VERSION: u32 = 1;
/// Largest manifest that is read back, in bytes.
pub const READ_MAX_BYTES: u64 = 256 << 20;

/// A manifest.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// What the export was asked to carry along.
    pub label: String,
    /// Files, each an object.
    pub files: Vec<FileEntry>,
    /// Directories that are empty, of which objects would tell nothing.
    pub directories: Vec<DirectoryEntry>,
    /// Symbolic links, which are not followed.
    pub symlinks: Vec<SymlinkEntry>,
}

/// A file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct FileEntry {
    /// Path below the export's root, and key below its prefix.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Entity tag of the object.
    pub etag: String,
    /// BLAKE3 of the contents, in hexadecimal.
    pub blake3: String,
    /// Permission bits.
    #[serde(with = "octal")]
    pub mode: u16,
    /// Last change of the contents.
    pub mtime: Timestamp,
}

/// An empty directory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct DirectoryEntry {
    /// Path below the export's root.
    pub path: String,
    /// Permission bits.
    #[serde(with = "octal")]
    pub mode: u16,
}

/// A symbolic link.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct SymlinkEntry {
    /// Path below the export's root.
    pub path: String,
    /// What it points to.
    pub target: String,
}

/// The marker, written last.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Marker {
    /// [`VERSION`].
    pub version: u32,
    /// What the export was asked to carry along.
    pub label: String,
    /// Files in the manifest.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Manifest {
    /// A manifest of nothing yet.
    #[must_use]
    pub fn new(label: &str) -> Self {
        Self { version: VERSION, label: label.to_owned(), ..Self::default() }
    }

    /// The manifest as text, in the order of paths.
    #[must_use]
    pub fn encode(&mut self) -> Vec<u8> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.directories.sort_by(|a, b| a.path.cmp(&b.path));
        self.symlinks.sort_by(|a, b| a.path.cmp(&b.path));
        text(self)
    }

    /// Reads a manifest; `None` where it is none of this version.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().filter(|manifest: &Self| manifest.version == VERSION)
    }

    /// The marker that goes with it.
    #[must_use]
    pub fn marker(&self) -> Marker {
        Marker {
            version: VERSION,
            label: self.label.clone(),
            files: self.files.len() as u64,
            bytes: self.files.iter().map(|file| file.size).sum(),
        }
    }
}

impl Marker {
    /// The marker as text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        text(self)
    }
}

fn text(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("strings and numbers can always be written");
    text.push(b'\n');
    text
}

mod octal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(mode: &u16, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{mode:04o}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
        u16::from_str_radix(&String::deserialize(from)?, 8).map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
