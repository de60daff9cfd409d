//! Extended attributes.
//!
//! Users' own, `trusted.` and `security.` ones are stored. There are no POSIX ACLs, so `system.` is not supported; and
//! no capabilities of programs, which the kernel asks for before every write and which would cost each a round trip.

use bytes::Bytes;
use forebay_fuse::abi::Caller;
use forebay_types::{Errno, InodeId};

use crate::fuse::convert::xattr_when;
use crate::fuse::{Ops, Outcome};

const CAPABILITY: &[u8] = b"security.capability";
const STORED: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

fn is_stored(name: &[u8]) -> bool {
    name != CAPABILITY && STORED.iter().any(|prefix| name.starts_with(prefix) && name.len() > prefix.len())
}

impl Ops {
    pub(super) async fn get_xattr(&self, caller: Caller, ino: InodeId, name: &[u8]) -> Outcome<Bytes> {
        if name == CAPABILITY {
            return Err(Errno::NoData.into());
        }
        if !is_stored(name) {
            return Err(Errno::NotSupported.into());
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
        if !is_stored(name) {
            return Err(Errno::NotSupported.into());
        }
        self.fs.setxattr(&self.cred(caller), ino, name, value, xattr_when(flags)?).await
    }

    pub(super) async fn remove_xattr(&self, caller: Caller, ino: InodeId, name: &[u8]) -> Outcome<()> {
        match name {
            CAPABILITY => Err(Errno::NoData.into()),
            _ if !is_stored(name) => Err(Errno::NotSupported.into()),
            _ => self.fs.removexattr(&self.cred(caller), ino, name).await,
        }
    }
}

#[cfg(test)]
#[path = "xattrs_tests.rs"]
mod tests;
