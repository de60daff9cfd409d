//! Map bytes of a file to where another's are: both share them, and nothing is copied.
//!
//! Stripes count their live bytes once for each extent that names them, so the bytes stay until the last sharer has
//! gone. Objects of a cold tier are shared as well; inline bytes are few, and copied.

use forebay_types::{ByteRange, Errno, Extent, InodeId, limits};
use forebay_wire::meta::{MetaReply, Mutation};

use super::commit;
use crate::access::{self, READ};
use crate::error::Fault;
use crate::record::Inode;
use crate::shard::has_extents;
use crate::tx::Tx;
use crate::{dir, extents};

/// Most extents of one copy, so that no entry grows without bound: the caller asks again for the rest.
const EXTENTS_PER_COPY: usize = 1024;

/// What is to be copied where.
#[derive(Clone, Copy)]
pub(super) struct Copy {
    pub from: InodeId,
    pub range: ByteRange,
    pub to: InodeId,
    pub to_offset: u64,
    pub drop_privileges: bool,
}

fn need_readable(tx: &Tx<'_>, m: &Mutation, ino: InodeId) -> Result<Inode, Fault> {
    let inode = dir::need_inode(tx, m.fs, ino)?;
    if inode.is_dir() {
        return Err(Errno::IsDirectory.into());
    }
    if !has_extents(inode.attr.kind) {
        return Err(Errno::Invalid.into());
    }
    if !tx.held {
        access::need(&inode, &m.cred, READ)?;
    }
    Ok(inode)
}

pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation, copy: Copy) -> Result<MetaReply, Fault> {
    let source = need_readable(tx, m, copy.from)?;
    let mut target = commit::need_writable(tx, m, copy.to)?;
    let file = ByteRange::new(0, source.attr.size);
    let Some(mut range) = ByteRange::new(copy.range.offset, copy.range.len).intersect(file) else {
        return Ok(MetaReply::Copied { bytes: 0, attr: target.attr });
    };
    if copy.to_offset.checked_add(range.len).is_none_or(|end| end > limits::FILE_SIZE_MAX) {
        return Err(Errno::TooBig.into());
    }
    if copy.from == copy.to && ByteRange::new(copy.to_offset, range.len).intersect(range).is_some() {
        return Err(Errno::Invalid.into());
    }
    let shared = extents::overlapping(tx, m.fs, copy.from, range, EXTENTS_PER_COPY)?;
    if let Some(last) = shared.last().filter(|_| shared.len() == EXTENTS_PER_COPY) {
        range.len = range.len.min(last.range.end() - range.offset);
    }
    let to = ByteRange::new(copy.to_offset, range.len);
    extents::clear(tx, m.fs, &mut target, to)?;
    for part in shared.iter().filter_map(|extent| extent.clip(range)) {
        let moved = ByteRange::new(to.offset + (part.range.offset - range.offset), part.range.len);
        extents::put(tx, m.fs, &mut target, Extent { range: moved, location: part.location })?;
    }
    target.attr.size = target.attr.size.max(to.end());
    target.attr.mtime = tx.now;
    target.attr.ctime = tx.now;
    access::drop_privileges(tx, m.fs, &mut target, copy.drop_privileges || m.cred.uid != 0);
    tx.put_inode(m.fs, &mut target);
    Ok(MetaReply::Copied { bytes: range.len, attr: target.attr })
}
