//! Names: making, finding, moving and removing them. What is here is only what a single call of the client does not say.

use forebay_fuse::abi::Caller;
use forebay_types::{Attr, Errno, InodeId};
use forebay_wire::meta::{NewNode, RenameHow};

use crate::fuse::convert::OpenMode;
use crate::fuse::{Ops, Outcome};

impl Ops {
    /// `open` with `O_CREAT`: makes the file unless it is there, and opens it.
    pub(super) async fn create(
        &self,
        caller: Caller,
        parent: InodeId,
        name: &[u8],
        mode: u16,
        flags: i32,
    ) -> Outcome<Attr> {
        let cred = self.cred(caller);
        let exclusive = flags & nix::libc::O_EXCL != 0;
        let entry = self.fs.create(&cred, parent, name, NewNode::File, mode, exclusive).await?;
        if !entry.created {
            let changed = self.open(caller, entry.attr.ino, OpenMode::of(flags)).await?;
            return Ok(changed.unwrap_or(entry.attr));
        }
        // Its mode may deny what this very descriptor is entitled to.
        self.fs.open(&cred, entry.attr.ino, false, false).await?;
        Ok(entry.attr)
    }

    /// `rename`, with the flags that make sense here.
    pub(super) async fn rename(
        &self,
        caller: Caller,
        from: (InodeId, &[u8]),
        to: (InodeId, &[u8]),
        flags: u32,
    ) -> Outcome<()> {
        if flags & !nix::libc::RENAME_NOREPLACE != 0 {
            return Err(Errno::Invalid.into());
        }
        let no_replace = flags & nix::libc::RENAME_NOREPLACE != 0;
        let how = if no_replace { RenameHow::NoReplace } else { RenameHow::Replace };
        self.fs.rename(&self.cred(caller), from, to, how).await
    }

    /// Makes what is neither file (by `open`) nor directory.
    pub(super) async fn make(
        &self,
        caller: Caller,
        parent: InodeId,
        name: &[u8],
        node: NewNode,
        mode: u16,
    ) -> Outcome<Attr> {
        let entry = self.fs.create(&self.cred(caller), parent, name, node, mode, true).await?;
        Ok(entry.attr)
    }
}
