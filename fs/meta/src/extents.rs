//! The map from a file's bytes to where they are.
//!
//! Invariants: extents of a file do not overlap and end at its size at the latest; holes are not stored; the inode's
//! allocated and cold bytes, the filesystem's usage and the stripes' live bytes are what the extents add up to.

use forebay_types::{ByteRange, Errno, Extent, FsId, Location, limits};

use crate::error::Fault;
use crate::key;
use crate::record::{ExtentRecord, Inode, decode};
use crate::stripes;
use crate::tx::Tx;

/// Most extents that one entry removes with an inode.
const REAP_EXTENTS: usize = 4096;
const PAGE: usize = 512;

fn parse(key: &[u8], value: &[u8]) -> Result<Extent, Fault> {
    let record: ExtentRecord = decode("extent", value)?;
    Ok(Extent { range: ByteRange::new(key::number(key, 16), record.len), location: record.location })
}

/// Extents that have bytes in `range`, whole, in order, at most `limit`.
pub(crate) fn overlapping(
    tx: &Tx<'_>,
    fs: FsId,
    ino: forebay_types::InodeId,
    range: ByteRange,
    limit: usize,
) -> Result<Vec<Extent>, Fault> {
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let before = (tx.keys.extent(fs, ino, 0), tx.keys.extent(fs, ino, range.offset));
    if let Some((key, value)) = tx.last(&before)? {
        let extent = parse(&key, &value)?;
        if extent.range.end() > range.offset {
            found.push(extent);
        }
    }
    let within = (tx.keys.extent(fs, ino, range.offset), tx.keys.extent(fs, ino, range.end()));
    for (key, value) in tx.scan(&within, limit.saturating_sub(found.len()))? {
        found.push(parse(&key, &value)?);
    }
    Ok(found)
}

fn store(tx: &mut Tx<'_>, fs: FsId, inode: &mut Inode, extent: Extent) -> Result<(), Fault> {
    let len = extent.range.len;
    if len == 0 || extent.location == Location::Hole {
        return Ok(());
    }
    inode.attr.allocated_bytes += len;
    match &extent.location {
        Location::Object(_) => inode.attr.cold_bytes += len,
        Location::Stripe(at) => stripes::add_live(tx, at.stripe, len as i64)?,
        Location::Hole | Location::Inline(_) => {}
    }
    tx.add_usage(fs, 0, len as i64)?;
    let key = tx.keys.extent(fs, inode.attr.ino, extent.range.offset);
    tx.put(key, &ExtentRecord { len, location: extent.location });
    Ok(())
}

fn erase(tx: &mut Tx<'_>, fs: FsId, inode: &mut Inode, extent: &Extent) -> Result<(), Fault> {
    let len = extent.range.len;
    inode.attr.allocated_bytes -= len;
    match &extent.location {
        Location::Object(_) => inode.attr.cold_bytes -= len,
        Location::Stripe(at) => stripes::add_live(tx, at.stripe, -(len as i64))?,
        Location::Hole | Location::Inline(_) => {}
    }
    tx.add_usage(fs, 0, -(len as i64))?;
    tx.delete(tx.keys.extent(fs, inode.attr.ino, extent.range.offset));
    Ok(())
}

/// Makes `range` a hole. The caller writes the inode.
pub(crate) fn clear(tx: &mut Tx<'_>, fs: FsId, inode: &mut Inode, range: ByteRange) -> Result<(), Fault> {
    loop {
        let page = overlapping(tx, fs, inode.attr.ino, range, PAGE)?;
        let last = page.len() < PAGE;
        for extent in page {
            erase(tx, fs, inode, &extent)?;
            for rest in [ByteRange::between(0, range.offset), ByteRange::between(range.end(), u64::MAX)] {
                if let Some(kept) = extent.clip(rest) {
                    store(tx, fs, inode, kept)?;
                }
            }
        }
        if last {
            return Ok(());
        }
    }
}

/// Maps an extent's bytes to it, whatever was there. The caller writes the inode.
pub(crate) fn put(tx: &mut Tx<'_>, fs: FsId, inode: &mut Inode, extent: Extent) -> Result<(), Fault> {
    clear(tx, fs, inode, extent.range)?;
    store(tx, fs, inode, extent)
}

/// Removes extents of a file that goes away; whether there are none left. The caller writes or deletes the inode.
pub(crate) fn clear_some(tx: &mut Tx<'_>, fs: FsId, inode: &mut Inode) -> Result<bool, Fault> {
    let page = tx.scan(&tx.keys.of_inode(b'E', fs, inode.attr.ino), REAP_EXTENTS)?;
    let all = page.len() < REAP_EXTENTS;
    for (key, value) in page {
        erase(tx, fs, inode, &parse(&key, &value)?)?;
    }
    Ok(all)
}

/// What makes a list of extents fit to be stored: in order, not overlapping, within the limits.
pub(crate) fn check(extents: &[Extent]) -> Result<(), Errno> {
    if extents.len() > limits::EXTENTS_PER_MESSAGE {
        return Err(Errno::Invalid);
    }
    let mut at = 0;
    for extent in extents {
        let range = extent.range;
        let end = range.offset.checked_add(range.len).ok_or(Errno::TooBig)?;
        if end > limits::FILE_SIZE_MAX {
            return Err(Errno::TooBig);
        }
        if range.is_empty() || range.offset < at {
            return Err(Errno::Invalid);
        }
        at = end;
        if !fits(&extent.location, range.len) {
            return Err(Errno::Invalid);
        }
    }
    Ok(())
}

/// Whether there are `len` bytes where an extent says they are.
pub(crate) fn fits(location: &Location, len: u64) -> bool {
    match location {
        Location::Hole => true,
        Location::Inline(bytes) => bytes.len() as u64 == len && bytes.len() <= limits::INLINE_MAX,
        Location::Stripe(at) => stripes::fits(at, len),
        Location::Object(at) => at.offset.checked_add(len).is_some_and(|end| end <= at.object_bytes),
    }
}

/// Whether two neighbours are one extent cut in two.
fn joins(a: &Extent, b: &Extent) -> bool {
    if a.range.end() != b.range.offset {
        return false;
    }
    match (&a.location, &b.location) {
        (Location::Hole, Location::Hole) => true,
        (Location::Stripe(x), Location::Stripe(y)) => {
            x.stripe == y.stripe
                && x.geometry == y.geometry
                && x.chunk_bytes == y.chunk_bytes
                && u64::from(x.offset) + a.range.len == u64::from(y.offset)
        }
        (Location::Object(x), Location::Object(y)) => {
            (x.tier, &x.key, &x.etag, x.object_bytes) == (y.tier, &y.key, &y.etag, y.object_bytes)
                && x.offset + a.range.len == y.offset
        }
        _ => false,
    }
}

/// The same map, with holes spelled out over `range` and joined where that is possible: two maps of the same bytes at
/// the same places compare equal however they are cut. Inline bytes become one-byte-comparable by being joined too.
pub(crate) fn normalize(extents: &[Extent], range: ByteRange) -> Vec<Extent> {
    let mut out: Vec<Extent> = Vec::new();
    let push = |out: &mut Vec<Extent>, extent: Extent| match out.last_mut() {
        Some(last) if joins(last, &extent) => last.range.len += extent.range.len,
        Some(last) => match (&last.location, &extent.location) {
            (Location::Inline(a), Location::Inline(b)) if last.range.end() == extent.range.offset => {
                last.location = Location::Inline([&a[..], &b[..]].concat().into());
                last.range.len += extent.range.len;
            }
            _ => out.push(extent),
        },
        None => out.push(extent),
    };
    let mut at = range.offset;
    let hole = |from, to| Extent { range: ByteRange::between(from, to), location: Location::Hole };
    for extent in extents.iter().filter_map(|e| e.clip(range)) {
        if extent.range.offset > at {
            push(&mut out, hole(at, extent.range.offset));
        }
        at = extent.range.end();
        push(&mut out, extent);
    }
    if at < range.end() {
        push(&mut out, hole(at, range.end()));
    }
    out
}
