//! Attributes.

use forebay_client::ClientError;
use forebay_fuse::abi::Caller;
use forebay_types::{Attr, Cred, Errno, InodeId};
use forebay_wire::meta::SetAttr;

use crate::fuse::{Ops, Outcome};

/// Set-user-id and set-group-id bits.
const PRIVILEGE_BITS: u16 = 0o6000;

impl Ops {
    /// Changes attributes; `descriptor` says that it comes from `ftruncate`, whose descriptor has been checked when it
    /// was opened.
    pub(super) async fn set(&self, caller: Caller, ino: InodeId, set: SetAttr, descriptor: bool) -> Outcome<Attr> {
        if descriptor && set.size.is_some() {
            return self.fs.set(&Cred::ROOT, ino, set).await;
        }
        let refused = match self.fs.set(&self.cred(caller), ino, set.clone()).await {
            Err(error @ ClientError::Posix(Errno::NotPermitted)) => error,
            done => return done,
        };
        // Whoever writes to a program of another user takes its privilege bits off, though not allowed to change its
        // mode: the kernel asks for exactly that, as itself.
        match set.mode {
            Some(mode) if set == (SetAttr { mode: set.mode, ..SetAttr::default() }) => {
                let attr = self.fs.getattr(ino).await?;
                if takes_privilege_off(attr.mode, mode) {
                    self.fs.set(&Cred::ROOT, ino, set).await
                } else {
                    Err(refused)
                }
            }
            _ => Err(refused),
        }
    }
}

/// Whether a change of mode takes privilege bits off and does nothing else.
fn takes_privilege_off(old: u16, new: u16) -> bool {
    old != new && old & !PRIVILEGE_BITS == new & !PRIVILEGE_BITS && new & PRIVILEGE_BITS & !old == 0
}

#[cfg(test)]
#[path = "attributes_tests.rs"]
mod tests;
