//! Mkdir over two shards: the name is held here, the inode is made there, the name is put in here.

use bytes::Bytes;
use forebay_types::{FileKind, FsId, InodeId};
use forebay_wire::meta::MetaReply;
use serde::{Deserialize, Serialize};

use super::Next;
use crate::dir;
use crate::error::Fault;
use crate::tx::Tx;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Mkdir {
    pub parent: InodeId,
    pub name: Bytes,
    pub ino: InodeId,
}

impl Mkdir {
    /// Waited for: `MakeDirectory`.
    pub fn answered(&self, tx: &mut Tx<'_>, fs: FsId, reply: &MetaReply) -> Result<Next, Fault> {
        dir::release(tx, fs, self.parent, &self.name);
        let MetaReply::Attr(attr) = reply else { return Ok(Next::Finish(reply.clone())) };
        let mut parent = dir::need_inode(tx, fs, self.parent)?;
        let kind = FileKind::Directory;
        dir::insert(tx, fs, &mut parent, &self.name, self.ino, kind);
        Ok(Next::Finish(MetaReply::Entry { ino: self.ino, kind, attr: Some(*attr), created: true }))
    }
}
