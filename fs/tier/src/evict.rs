//! Which hot bytes are given up, and where they are cold.
//!
//! Hot are stripes and inline bytes; holes have nothing to give up. A part ends where the hot bytes do, and where its
//! exchange or its object would become too large.

use forebay_types::{Attr, ByteRange, Extent, Location, limits};

use crate::origin::Origin;

/// Most bytes of an object that evicting makes.
pub const OBJECT_MAX_BYTES: u64 = 64 << 20;
/// Most extents of one exchange.
const EXTENTS_MAX: usize = limits::EXTENTS_PER_MESSAGE / 4;
/// Most inline bytes of one exchange, which carries them.
const INLINE_MAX_BYTES: u64 = limits::BODY_MAX_BYTES as u64 / 4;

/// One object, or part of one, and one exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The file's bytes.
    pub range: ByteRange,
    /// What must still be the map of `range` when it is exchanged.
    pub expect: Vec<Extent>,
}

/// The parts of what is hot among `extents`, which are in order.
#[must_use]
pub fn plan(extents: &[Extent]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut inline_bytes = 0;
    for extent in extents {
        let inline = match &extent.location {
            Location::Inline(bytes) => bytes.len() as u64,
            Location::Stripe(_) => 0,
            Location::Hole | Location::Object(_) => continue,
        };
        for piece in cut(extent) {
            let fits = |part: &Part| {
                part.range.end() == piece.range.offset
                    && part.range.len + piece.range.len <= OBJECT_MAX_BYTES
                    && part.expect.len() < EXTENTS_MAX
                    && inline_bytes + inline <= INLINE_MAX_BYTES
            };
            match parts.last_mut() {
                Some(part) if fits(part) => {
                    part.range.len += piece.range.len;
                    part.expect.push(piece);
                    inline_bytes += inline;
                }
                _ => {
                    parts.push(Part { range: piece.range, expect: vec![piece] });
                    inline_bytes = inline;
                }
            }
        }
    }
    parts
}

/// An extent in pieces no larger than an object may be.
fn cut(extent: &Extent) -> impl Iterator<Item = Extent> {
    (0..extent.range.len.div_ceil(OBJECT_MAX_BYTES))
        .filter_map(move |n| extent.clip(ByteRange::new(extent.range.offset + n * OBJECT_MAX_BYTES, OBJECT_MAX_BYTES)))
}

/// Where a file's hot bytes are, or may be, cold already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copy {
    /// In the object the file came from.
    Known,
    /// There as well, unless they have been changed: compare the bytes.
    Likely,
    /// Nowhere.
    None,
}

/// What a file's origin says of its hot bytes. It says so of the object as it was: look whether it still is.
#[must_use]
pub fn copy(attr: &Attr, origin: Option<&Origin>) -> Copy {
    match origin {
        Some(origin) if origin.holds_for(attr) => Copy::Known,
        Some(origin) if origin.size == attr.size => Copy::Likely,
        _ => Copy::None,
    }
}

/// Bytes among `extents` that are hot.
#[must_use]
pub fn hot_bytes(extents: &[Extent]) -> u64 {
    let is_hot = |extent: &&Extent| matches!(extent.location, Location::Inline(_) | Location::Stripe(_));
    extents.iter().filter(is_hot).map(|extent| extent.range.len).sum()
}

#[cfg(test)]
#[path = "evict_tests.rs"]
mod tests;
