//! Extended attributes: which there are is for the shard to say; what is known not to be there is answered here.

use bytes::Bytes;
use forebay_fuse::abi::Caller;
use forebay_types::{Errno, InodeId};

use crate::fuse::convert::xattr_when;
use crate::fuse::{Ops, Outcome};

const CAPABILITY: &[u8] = b"security.capability";
const LISTS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

impl Ops {
    pub(super) async fn get_xattr(&self, caller: Caller, ino: InodeId, name: &[u8]) -> Outcome<Bytes> {
        let lacks = name == CAPABILITY && self.absent.lacks_capability(ino)
            || LISTS.contains(&name) && self.absent.lacks_lists(ino);
        if lacks {
            return Err(Errno::NoData.into());
        }
        self.fs.getxattr(&self.cred(caller), ino, name).await
    }

    pub(super) async fn list_xattrs(&self, caller: Caller, ino: InodeId) -> Outcome<Bytes> {
        let names = self.fs.listxattr(&self.cred(caller), ino).await?;
        let mut list = Vec::new();
        for name in names {
            list.extend_from_slice(&name);
            list.push(0);
        }
        Ok(list.into())
    }

    pub(super) async fn set_xattr(
        &self,
        caller: Caller,
        ino: InodeId,
        name: &[u8],
        value: &[u8],
        flags: i32,
    ) -> Outcome<()> {
        let set = self.fs.setxattr(&self.cred(caller), ino, name, value, xattr_when(flags)?).await;
        self.absent.changed(ino);
        set
    }

    pub(super) async fn remove_xattr(&self, caller: Caller, ino: InodeId, name: &[u8]) -> Outcome<()> {
        let removed = self.fs.removexattr(&self.cred(caller), ino, name).await;
        self.absent.changed(ino);
        removed
    }
}
