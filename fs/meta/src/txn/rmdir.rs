//! Rmdir over two shards: the name is held here, the directory is marked dying there if it is empty, the name goes
//! here, the directory goes there.

use bytes::Bytes;
use forebay_types::{Errno, FsId, InodeId};
use forebay_wire::meta::{MetaReply, PeerAction};
use serde::{Deserialize, Serialize};

use super::Next;
use crate::dir;
use crate::error::Fault;
use crate::tx::Tx;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Rmdir {
    pub parent: InodeId,
    pub name: Bytes,
    pub ino: InodeId,
    /// Whether the name is gone: then `DropLink` is waited for, else `KillDirectory`.
    pub removed: bool,
}

impl Rmdir {
    pub fn answered(&mut self, tx: &mut Tx<'_>, fs: FsId, reply: &MetaReply) -> Result<Next, Fault> {
        if self.removed {
            return Ok(Next::Finish(MetaReply::Done));
        }
        dir::release(tx, fs, self.parent, &self.name);
        if *reply != MetaReply::Done {
            return Ok(Next::Finish(reply.clone()));
        }
        let mut parent = dir::need_inode(tx, fs, self.parent)?;
        let dentry = dir::find_held(tx, fs, self.parent, &self.name)?.ok_or(Errno::NoEntry)?;
        dir::remove(tx, fs, &mut parent, &self.name, &dentry);
        self.removed = true;
        Ok(Next::Ask(self.ino.shard(), PeerAction::DropLink { ino: self.ino, owner: None }))
    }
}
