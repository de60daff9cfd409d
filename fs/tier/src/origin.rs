//! Which object a file's bytes are known to equal.
//!
//! A recalled file's extents no longer name the object they came from, so the recall leaves a record of it, together
//! with the inode's version from which on it holds: any later change makes the version another, and the record a hint
//! that has to be checked against the bytes.

use forebay_types::{Attr, Extent, Location, ObjectRef, TierId};
use serde::{Deserialize, Serialize};

/// Extended attribute that holds an [`Origin`].
pub const XATTR: &str = "trusted.forebay.origin";

/// The object a file was imported from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Origin {
    /// Its tier.
    pub tier: TierId,
    /// Its key below the tier's root.
    pub key: String,
    /// Its entity tag.
    pub etag: String,
    /// Its size in bytes, which was the file's.
    pub size: u64,
    /// Version of the file's inode at which the file equalled the object, byte for byte.
    pub version: u64,
}

impl Origin {
    /// The record's text; `None` for one that cannot be read.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    /// The record as text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers can always be written")
    }

    /// The origin of a file that is all cold: each of its bytes is in one object, in its place.
    #[must_use]
    pub fn of_cold(attr: &Attr, extents: &[Extent]) -> Option<Self> {
        let mut at = 0;
        let mut first: Option<&ObjectRef> = None;
        for extent in extents {
            let Location::Object(object) = &extent.location else { return None };
            let first = *first.get_or_insert(object);
            let same = object.tier == first.tier && object.key == first.key && object.etag == first.etag;
            if !same || extent.range.offset != at || object.offset != at {
                return None;
            }
            at = extent.range.end();
        }
        let object = first.filter(|object| at == attr.size && object.object_bytes == attr.size)?;
        Some(Self {
            tier: object.tier,
            key: object.key.clone(),
            etag: object.etag.clone(),
            size: attr.size,
            version: attr.version,
        })
    }

    /// Whether the record is of the file as it is in `attr`.
    #[must_use]
    pub fn holds_for(&self, attr: &Attr) -> bool {
        self.version == attr.version && self.size == attr.size
    }

    /// The object's bytes from `offset` on, as an extent names them.
    #[must_use]
    pub fn location(&self, offset: u64) -> Location {
        Location::Object(ObjectRef {
            tier: self.tier,
            key: self.key.clone(),
            etag: self.etag.clone(),
            object_bytes: self.size,
            offset,
        })
    }
}

/// A file that is known to equal its origin, while bytes of it are exchanged for the same bytes elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tracked {
    origin: Origin,
    exchanges: u64,
    latest: u64,
}

impl Tracked {
    /// A file that equals `origin` at the version the record names.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self { latest: origin.version, exchanges: 0, origin }
    }

    /// The origin.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Bytes were exchanged, which made the inode this version. Exchanges may be told of in any order.
    pub fn exchanged(&mut self, version: u64) {
        self.exchanges += 1;
        self.latest = self.latest.max(version);
    }

    /// Whether nobody else has changed the inode up to this version.
    #[must_use]
    pub fn is_at(&self, version: u64) -> bool {
        self.origin.version + self.exchanges == version
    }

    /// The record to leave; `None` where nothing was exchanged, or where somebody else has changed the inode meanwhile.
    /// Setting the record is one more change, so it is written for the version that this makes.
    #[must_use]
    pub fn record(&self) -> Option<Origin> {
        let version = self.latest + 1;
        (self.exchanges > 0 && self.is_at(self.latest)).then(|| Origin { version, ..self.origin.clone() })
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
