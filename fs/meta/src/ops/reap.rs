//! Remove an inode that has no name and that nobody has open.

use forebay_types::{FsId, InodeId};
use forebay_wire::meta::MetaReply;

use crate::dir;
use crate::error::Fault;
use crate::tx::Tx;

pub(crate) fn apply(tx: &mut Tx<'_>, fs: FsId, ino: InodeId) -> Result<MetaReply, Fault> {
    let orphan = tx.get_raw(&tx.keys.orphan(fs, ino))?.is_some();
    if let Some(inode) = tx.inode(fs, ino)?.filter(|_| orphan) {
        dir::destroy(tx, fs, inode)?;
    }
    Ok(MetaReply::Done)
}
