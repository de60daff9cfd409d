//! Unlink over two shards: the name is held here, the link goes there, the name goes here.

use bytes::Bytes;
use forebay_types::{Errno, FsId, InodeId};
use forebay_wire::meta::MetaReply;
use serde::{Deserialize, Serialize};

use super::Next;
use crate::dir;
use crate::error::Fault;
use crate::tx::Tx;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Unlink {
    pub parent: InodeId,
    pub name: Bytes,
}

impl Unlink {
    /// Waited for: `DropLink`.
    pub fn answered(&self, tx: &mut Tx<'_>, fs: FsId, reply: &MetaReply) -> Result<Next, Fault> {
        dir::release(tx, fs, self.parent, &self.name);
        if *reply == MetaReply::Done {
            let mut parent = dir::need_inode(tx, fs, self.parent)?;
            let dentry = dir::find_held(tx, fs, self.parent, &self.name)?.ok_or(Errno::NoEntry)?;
            dir::remove(tx, fs, &mut parent, &self.name, &dentry);
        }
        Ok(Next::Finish(reply.clone()))
    }
}
