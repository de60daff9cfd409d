//! Map bytes of a file to other extents that hold the same bytes: recall and evict.

use forebay_types::{ByteRange, Errno, Extent, InodeId};
use forebay_wire::chunk::Receipt;
use forebay_wire::meta::{MetaReply, Mutation};

use super::commit;
use crate::error::Fault;
use crate::tx::Tx;
use crate::{extents, stripes};

/// Joins neighbouring ranges.
fn cover(extents: &[Extent]) -> Vec<ByteRange> {
    let mut cover: Vec<ByteRange> = Vec::new();
    for range in extents.iter().map(|e| e.range) {
        match cover.last_mut() {
            Some(last) if last.end() == range.offset => last.len += range.len,
            _ => cover.push(range),
        }
    }
    cover
}

pub(super) fn apply(
    tx: &mut Tx<'_>,
    m: &Mutation,
    ino: InodeId,
    expect: &[Extent],
    replace: &[Extent],
    receipts: &[Receipt],
) -> Result<MetaReply, Fault> {
    let mut inode = commit::need_writable(tx, m, ino)?;
    extents::check(expect)?;
    extents::check(replace)?;
    commit::need_nameable(m, replace)?;
    let ranges = cover(expect);
    if ranges != cover(replace) {
        return Err(Errno::Invalid.into());
    }
    for range in ranges {
        // One more than can be expected, so that a map cut finer than any answer is not taken for equal.
        let limit = 2 * forebay_types::limits::EXTENTS_PER_MESSAGE;
        let there = extents::overlapping(tx, m.fs, ino, range, limit)?;
        let beyond = range.end() > inode.attr.size;
        if beyond || extents::normalize(&there, range) != extents::normalize(expect, range) {
            return Err(Errno::Again.into());
        }
    }
    stripes::admit(tx, m.id, replace, receipts)?;
    for extent in replace {
        extents::put(tx, m.fs, &mut inode, extent.clone())?;
    }
    tx.put_inode(m.fs, &mut inode);
    Ok(MetaReply::Attr(inode.attr))
}
