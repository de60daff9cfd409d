//! Which objects are imported, as what, and what an existing file means.

use forebay_types::{Attr, ByteRange, Extent, FileKind, Location, ObjectRef, TierId};
use forebay_wire::tier::TierError;

use crate::glob::Glob;
use crate::origin::Origin;

/// Most patterns of one kind.
const PATTERNS_MAX: usize = 64;

/// Which keys are taken.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    include: Vec<Glob>,
    exclude: Vec<Glob>,
}

impl Selection {
    /// Keys that match one of `include` (all where there are none) and none of `exclude`.
    ///
    /// # Errors
    /// [`TierError::Invalid`] for a pattern that is none, or too many.
    pub fn parse(include: &[String], exclude: &[String]) -> Result<Self, TierError> {
        let parse = |patterns: &[String]| {
            if patterns.len() > PATTERNS_MAX {
                let reason = format!("{} patterns; at most {PATTERNS_MAX} can be given", patterns.len());
                return Err(TierError::Invalid { reason });
            }
            patterns.iter().map(|pattern| Glob::parse(pattern)).collect()
        };
        Ok(Self { include: parse(include)?, exclude: parse(exclude)? })
    }

    /// Whether a relative key is taken.
    #[must_use]
    pub fn takes(&self, relative: &str) -> bool {
        let among = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(relative));
        (self.include.is_empty() || among(&self.include)) && !among(&self.exclude)
    }
}

/// Permission bits of directories made for files of `mode`: execute where the files have read.
#[must_use]
pub fn directory_mode(mode: u16) -> u16 {
    mode & 0o777 | (mode & 0o444) >> 2
}

/// The extents of a file that is an object.
#[must_use]
pub fn extents(tier: TierId, key: &str, etag: &str, size_bytes: u64) -> Vec<Extent> {
    if size_bytes == 0 {
        return Vec::new();
    }
    let object = ObjectRef { tier, key: key.to_owned(), etag: etag.to_owned(), object_bytes: size_bytes, offset: 0 };
    vec![Extent { range: ByteRange::new(0, size_bytes), location: Location::Object(object) }]
}

/// What a name that exists already means for the import of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Existing {
    /// It is this object's file: nothing to do.
    Same,
    /// It was imported from this key, but the object has changed since; the entity tag it had.
    Changed(String),
    /// It is a directory: one key is both a file and a directory.
    Directory,
    /// It is something that was not imported from this key.
    Foreign,
}

/// What the file `attr`, with some of its extents and its origin record, is to the import of an object.
#[must_use]
pub fn existing(attr: &Attr, found: &[Extent], origin: Option<&Origin>, wanted: (TierId, &str, &str, u64)) -> Existing {
    let (tier, key, etag, size_bytes) = wanted;
    match attr.kind {
        FileKind::Directory => return Existing::Directory,
        FileKind::Regular => {}
        _ => return Existing::Foreign,
    }
    let cold = found.iter().find_map(|extent| match &extent.location {
        Location::Object(object) if object.tier == tier && object.key == key => Some(object.etag.as_str()),
        _ => None,
    });
    let recorded = origin.filter(|origin| origin.tier == tier && origin.key == key).map(|origin| origin.etag.as_str());
    match recorded.or(cold) {
        Some(had) if had == etag => Existing::Same,
        Some(had) => Existing::Changed(had.to_owned()),
        // An empty file has no extent that could say where it is from.
        None if attr.size == 0 && size_bytes == 0 => Existing::Same,
        None => Existing::Foreign,
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
