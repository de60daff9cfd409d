//! Remove an inode that has no name and that nobody has open.

use forebay_types::{FsId, InodeId};
use forebay_wire::meta::MetaReply;

use crate::dir;
use crate::error::Fault;
use crate::tx::Tx;

pub(crate) fn apply(tx: &mut Tx<'_>, fs: FsId, ino: InodeId) -> Result<MetaReply, Fault> {
    let orphan = tx.get_raw(&tx.keys.orphan(fs, ino))?.is_some();
    // A listing that is wrong must not cost a file.
    if let Some(inode) = tx.inode(fs, ino)?.filter(|inode| orphan && inode.attr.nlink == 0) {
        dir::destroy(tx, fs, inode)?;
    }
    Ok(MetaReply::Done)
}
