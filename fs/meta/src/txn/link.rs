//! Link over two shards: the name is held here, the link is counted there, the name is put in here.

use bytes::Bytes;
use forebay_types::{FsId, InodeId};
use forebay_wire::meta::MetaReply;
use serde::{Deserialize, Serialize};

use super::Next;
use crate::dir;
use crate::error::Fault;
use crate::tx::Tx;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Link {
    pub parent: InodeId,
    pub name: Bytes,
    pub ino: InodeId,
}

impl Link {
    /// Waited for: `AddLink`.
    pub fn answered(&self, tx: &mut Tx<'_>, fs: FsId, reply: &MetaReply) -> Result<Next, Fault> {
        dir::release(tx, fs, self.parent, &self.name);
        let MetaReply::Attr(attr) = reply else { return Ok(Next::Finish(reply.clone())) };
        let mut parent = dir::need_inode(tx, fs, self.parent)?;
        dir::insert(tx, fs, &mut parent, &self.name, self.ino, attr.kind);
        Ok(Next::Finish(MetaReply::Entry { ino: self.ino, kind: attr.kind, attr: Some(*attr), created: true }))
    }
}
