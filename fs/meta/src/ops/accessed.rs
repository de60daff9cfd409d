//! A file was read.
//!
//! Times of last access follow Linux's `relatime` ([`forebay_types::Attr::access_counts`]). A client tells of a read when
//! the file is closed, maybe after another has changed it: an access before the last change is not told any more.

use forebay_types::{InodeId, Timestamp};
use forebay_wire::meta::{MetaReply, Mutation};

use crate::access::{self, READ};
use crate::dir;
use crate::error::Fault;
use crate::tx::Tx;

pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation, ino: InodeId, at: Timestamp) -> Result<MetaReply, Fault> {
    let mut inode = dir::need_inode(tx, m.fs, ino)?;
    if !tx.held {
        access::need(&inode, &m.cred, READ)?;
    }
    let attr = &mut inode.attr;
    // A client's clock may be ahead; nothing is accessed later than now.
    let at = at.min(tx.now);
    if attr.access_counts(at) && at >= attr.ctime {
        attr.atime = at;
        tx.put_inode(m.fs, &mut inode);
    }
    Ok(MetaReply::Done)
}
