//! Names: making, finding, moving and removing them. What is here is only what a single call of the client does not say.

use forebay_fuse::abi::Caller;
use forebay_types::{Attr, Errno, InodeId, NewMode};
use forebay_wire::meta::NewNode;

use crate::fuse::convert::{OpenMode, rename_how};
use crate::fuse::{Ops, Outcome};

impl Ops {
    /// Finds a name. `.` is asked for by those who hand out numbers of inodes, such as NFS servers: it is the inode
    /// itself, whatever kind it is of.
    pub(super) async fn lookup(&self, caller: Caller, parent: InodeId, name: &[u8]) -> Outcome<Attr> {
        if name == b"." {
            self.fs.getattr(parent).await
        } else {
            self.fs.lookup(&self.cred(caller), parent, name).await
        }
    }

    /// `open` with `O_CREAT`: makes the file unless it is there, and opens it.
    pub(super) async fn create(
        &self,
        caller: Caller,
        parent: InodeId,
        name: &[u8],
        mode: NewMode,
        flags: i32,
    ) -> Outcome<Attr> {
        let exclusive = flags & nix::libc::O_EXCL != 0;
        let entry = self.fs.create_open(&self.cred(caller), parent, name, mode, exclusive).await?;
        if entry.created {
            return Ok(entry.attr);
        }
        let changed = self.open(caller, entry.attr.ino, OpenMode::of(flags)).await?;
        Ok(changed.unwrap_or(entry.attr))
    }

    /// `open` with `O_TMPFILE`.
    pub(super) async fn tmpfile(&self, caller: Caller, dir: InodeId, mode: NewMode, flags: i32) -> Outcome<Attr> {
        let linkable = flags & nix::libc::O_EXCL == 0;
        self.fs.tmpfile(&self.cred(caller), dir, mode, linkable).await
    }

    /// `rename`, with the flags that make sense here.
    pub(super) async fn rename(
        &self,
        caller: Caller,
        from: (InodeId, &[u8]),
        to: (InodeId, &[u8]),
        flags: u32,
    ) -> Outcome<()> {
        let how = rename_how(flags).ok_or(Errno::Invalid)?;
        self.fs.rename(&self.cred(caller), from, to, how).await
    }

    /// Makes what is neither file (by `open`) nor directory.
    pub(super) async fn make(
        &self,
        caller: Caller,
        parent: InodeId,
        name: &[u8],
        node: NewNode,
        mode: NewMode,
    ) -> Outcome<Attr> {
        let entry = self.fs.create(&self.cred(caller), parent, name, node, mode, true).await?;
        Ok(entry.attr)
    }
}
