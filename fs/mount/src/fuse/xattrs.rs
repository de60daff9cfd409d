//! Extended attributes.
//!
//! Users' own, `trusted.` and `security.` ones are stored. There are no POSIX ACLs, so `system.` is not supported; and
//! no capabilities of programs, which the kernel asks for before every write and which would cost each a round trip.

use bytes::Bytes;
use forebay_types::{Errno, InodeId};

use crate::fuse::convert::xattr_when;
use crate::fuse::{Caller, Ops, Outcome};

const CAPABILITY: &[u8] = b"security.capability";
const STORED: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// An answer to a caller who may only want to know its size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Sized {
    /// Its size, in bytes.
    Size(u32),
    /// It.
    Data(Bytes),
}

/// What fits into `room` bytes; 0 asks for the size.
fn fit(data: Bytes, room: u32) -> Result<Sized, Errno> {
    match data.len() {
        len if room == 0 => Ok(Sized::Size(len as u32)),
        len if len > room as usize => Err(Errno::Range),
        _ => Ok(Sized::Data(data)),
    }
}

fn is_stored(name: &[u8]) -> bool {
    name != CAPABILITY && STORED.iter().any(|prefix| name.starts_with(prefix) && name.len() > prefix.len())
}

impl Ops {
    pub(super) async fn get_xattr(&self, caller: Caller, ino: InodeId, name: &[u8], room: u32) -> Outcome<Sized> {
        if name == CAPABILITY {
            return Err(Errno::NoData.into());
        }
        if !is_stored(name) {
            return Err(Errno::NotSupported.into());
        }
        Ok(fit(self.fs.getxattr(&self.cred(caller), ino, name).await?, room)?)
    }

    pub(super) async fn list_xattrs(&self, caller: Caller, ino: InodeId, room: u32) -> Outcome<Sized> {
        let names = self.fs.listxattr(&self.cred(caller), ino).await?;
        let mut list = Vec::new();
        for name in names {
            list.extend_from_slice(&name);
            list.push(0);
        }
        Ok(fit(list.into(), room)?)
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
