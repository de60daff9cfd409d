//! Which parts of a file are fetched, and as what.
//!
//! Only what the map says is cold is fetched, so a recall that was broken off goes on with the rest. Parts are whole
//! numbers of stripes long, except where the cold bytes end, so that a part becomes full stripes.

use forebay_types::{ByteRange, Extent, Geometry, Location, ObjectRef, limits};

/// Aim for the size of a part, in bytes: enough to keep a store busy, little enough to hold several in memory.
pub const PART_AIM_BYTES: u64 = 4 << 20;

/// One read of the cold tier and one exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The file's bytes.
    pub range: ByteRange,
    /// The object they are in; its offset is that of the first byte.
    pub object: ObjectRef,
    /// What must still be the map of `range` when it is exchanged.
    pub expect: Vec<Extent>,
}

impl Part {
    /// The object's bytes.
    #[must_use]
    pub fn object_range(&self) -> ByteRange {
        ByteRange::new(self.object.offset, self.range.len)
    }
}

/// The size of a part: as many whole stripes as [`PART_AIM_BYTES`] has room for, at least one.
#[must_use]
pub fn part_bytes(geometry: Geometry) -> u64 {
    let stripe = u64::from(geometry.data.max(1)) * limits::CHUNK_MAX_BYTES as u64;
    (PART_AIM_BYTES / stripe).max(1) * stripe
}

/// The parts of what is cold among `extents`, which are in order: each of at most `part_bytes` bytes of one object.
#[must_use]
pub fn plan(extents: &[Extent], part_bytes: u64) -> Vec<Part> {
    let mut runs: Vec<Part> = Vec::new();
    for extent in extents {
        let Location::Object(object) = &extent.location else { continue };
        match runs.last_mut() {
            Some(run) if continues(run, extent, object) => {
                run.range.len += extent.range.len;
                run.expect.push(extent.clone());
            }
            _ => runs.push(Part { range: extent.range, object: object.clone(), expect: vec![extent.clone()] }),
        }
    }
    runs.iter().flat_map(|run| cut(run, part_bytes)).collect()
}

fn continues(run: &Part, extent: &Extent, object: &ObjectRef) -> bool {
    let same = run.object.tier == object.tier && run.object.key == object.key && run.object.etag == object.etag;
    same && run.range.end() == extent.range.offset
        && run.object_range().end() == object.offset
        && run.expect.len() < limits::EXTENTS_PER_MESSAGE / 4
}

fn cut(run: &Part, part_bytes: u64) -> impl Iterator<Item = Part> {
    let part_bytes = part_bytes.max(1);
    (0..run.range.len.div_ceil(part_bytes)).map(move |n| {
        let skip = n * part_bytes;
        let range = ByteRange::new(run.range.offset + skip, part_bytes.min(run.range.len - skip));
        Part {
            range,
            object: ObjectRef { offset: run.object.offset + skip, ..run.object.clone() },
            expect: run.expect.iter().filter_map(|extent| extent.clip(range)).collect(),
        }
    })
}

/// Bytes among `extents` that are cold.
#[must_use]
pub fn cold_bytes(extents: &[Extent]) -> u64 {
    extents.iter().filter(|extent| matches!(extent.location, Location::Object(_))).map(|extent| extent.range.len).sum()
}

#[cfg(test)]
#[path = "recall_tests.rs"]
mod tests;
