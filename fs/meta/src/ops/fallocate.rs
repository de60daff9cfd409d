//! Make a range of a file zeros, or the file longer.

use forebay_types::{ByteRange, Errno, InodeId, limits};
use forebay_wire::meta::{MetaReply, Mutation};

use super::commit;
use crate::error::Fault;
use crate::tx::Tx;
use crate::{access, extents};

/// What is wanted of a range.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub range: ByteRange,
    pub zero: bool,
    pub keep_size: bool,
    pub drop_privileges: bool,
}

pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation, ino: InodeId, shape: Shape) -> Result<MetaReply, Fault> {
    let mut inode = commit::need_writable(tx, m, ino)?;
    let Shape { range, zero, keep_size, drop_privileges } = shape;
    if range.is_empty() {
        return Err(Errno::Invalid.into());
    }
    if range.offset.checked_add(range.len).is_none_or(|end| end > limits::FILE_SIZE_MAX) {
        return Err(Errno::TooBig.into());
    }
    if zero {
        extents::clear(tx, m.fs, &mut inode, range)?;
    }
    if !keep_size {
        inode.attr.size = inode.attr.size.max(range.end());
    }
    inode.attr.mtime = tx.now;
    inode.attr.ctime = tx.now;
    access::drop_privileges(tx, m.fs, &mut inode, drop_privileges || m.cred.uid != 0);
    tx.put_inode(m.fs, &mut inode);
    Ok(MetaReply::Attr(inode.attr))
}
