//! Map bytes of a file to new extents.

use forebay_types::{ByteRange, Errno, Extent, InodeId, Location, Timestamp, limits};
use forebay_wire::chunk::Receipt;
use forebay_wire::meta::{MetaReply, Mutation};

use crate::access::{self, WRITE};
use crate::error::Fault;
use crate::record::Inode;
use crate::shard::has_extents;
use crate::tx::Tx;
use crate::{dir, extents, stripes};

pub(super) struct New<'a> {
    pub extents: &'a [Extent],
    pub receipts: &'a [Receipt],
    pub size_at_least: u64,
    pub touch: Option<Timestamp>,
    pub drop_privileges: bool,
}

/// A regular file whose content the caller may change: it has it open, or owns it (and so could make it writable), or
/// its mode says so.
pub(super) fn need_writable(tx: &Tx<'_>, m: &Mutation, ino: InodeId) -> Result<Inode, Fault> {
    let inode = dir::need_inode(tx, m.fs, ino)?;
    if inode.is_dir() {
        return Err(Errno::IsDirectory.into());
    }
    if !has_extents(inode.attr.kind) {
        return Err(Errno::Invalid.into());
    }
    if !tx.held && !access::owns(&inode, &m.cred) {
        access::need(&inode, &m.cred, WRITE)?;
    }
    Ok(inode)
}

/// Whoever may name objects may read all of a cold tier: only the superuser, so only Forebay's own movers.
pub(super) fn need_nameable(m: &Mutation, extents: &[Extent]) -> Result<(), Errno> {
    let cold = extents.iter().any(|e| matches!(e.location, Location::Object(_)));
    if cold && m.cred.uid != 0 { Err(Errno::NotPermitted) } else { Ok(()) }
}

pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation, ino: InodeId, new: &New<'_>) -> Result<MetaReply, Fault> {
    let mut inode = need_writable(tx, m, ino)?;
    extents::check(new.extents)?;
    need_nameable(m, new.extents)?;
    if new.size_at_least > limits::FILE_SIZE_MAX {
        return Err(Errno::TooBig.into());
    }
    stripes::admit(tx, m.id, new.extents, new.receipts)?;
    inode.attr.size = inode.attr.size.max(new.size_at_least);
    // Bytes behind the end were truncated away while they were under way.
    let file = ByteRange::new(0, inode.attr.size);
    for extent in new.extents.iter().filter_map(|extent| extent.clip(file)) {
        extents::put(tx, m.fs, &mut inode, extent)?;
    }
    if let Some(at) = new.touch {
        let at = at.max(inode.attr.ctime).min(tx.now);
        inode.attr.mtime = at;
        inode.attr.ctime = inode.attr.ctime.max(at);
        access::drop_privileges(tx, m.fs, &mut inode, new.drop_privileges || m.cred.uid != 0);
    }
    tx.put_inode(m.fs, &mut inode);
    Ok(MetaReply::Attr(inode.attr))
}
