//! POSIX access control lists (POSIX.1e draft 17, as Linux has them): evaluation, and their interplay with mode bits.

use serde::{Deserialize, Serialize};

use crate::Cred;

/// Permission to read, write, and search or execute: three bits, as in one digit of a mode.
pub type Perm = u8;

/// All three permissions.
const ALL: Perm = 7;

/// An access control list. Its owner, group and other entries are not all of the truth: an inode's mode has them too,
/// and both are kept equal ([`Acl::mode`], [`Acl::chmod`]).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
pub struct Acl {
    /// The owner's permissions.
    pub owner: Perm,
    /// Users by id, in the order they were given in; the first that matches counts.
    pub users: Vec<(u32, Perm)>,
    /// The owning group's permissions.
    pub group: Perm,
    /// Groups by id; any that matches and suffices counts.
    pub groups: Vec<(u32, Perm)>,
    /// What named entries and the owning group can have at most. Present wherever there are named entries.
    pub mask: Option<Perm>,
    /// Everybody else's permissions.
    pub other: Perm,
}

impl Acl {
    /// Whether mode bits say all that it says: it need not be kept beside them.
    #[must_use]
    pub fn is_mode(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && self.mask.is_none()
    }

    /// The nine permission bits that stand for it: the group's bits are the mask's where there is one.
    #[must_use]
    pub fn mode(&self) -> u16 {
        let group = self.mask.unwrap_or(self.group);
        u16::from(self.owner) << 6 | u16::from(group) << 3 | u16::from(self.other)
    }

    /// Takes over a mode that was set: the group's bits go to the mask where there is one.
    pub fn chmod(&mut self, mode: u16) {
        let (owner, group, other) = digits(mode);
        self.owner = owner;
        self.other = other;
        *self.mask.as_mut().unwrap_or(&mut self.group) = group;
    }

    /// What something made in a directory with this default list has: at most what the maker's `mode` asks for. Returns
    /// the list and the permission bits (to which set-id and sticky bits of `mode` are to be added).
    #[must_use]
    pub fn born(&self, mode: u16) -> (Self, u16) {
        let (owner, group, other) = digits(mode);
        let mut acl = self.clone();
        acl.owner &= owner;
        acl.other &= other;
        *acl.mask.as_mut().unwrap_or(&mut acl.group) &= group;
        let mode = acl.mode();
        (acl, mode)
    }

    /// Whether it gives a caller who is neither privileged nor the owner all of `want`. `gid` is the owning group.
    #[must_use]
    pub fn permits(&self, cred: &Cred, gid: u32, want: Perm) -> bool {
        let masked = |perm: Perm| perm & self.mask.unwrap_or(ALL) & want == want;
        if let Some((_, perm)) = self.users.iter().find(|(uid, _)| *uid == cred.uid) {
            return masked(*perm);
        }
        let of_group = cred.in_group(gid).then_some(self.group);
        let named = self.groups.iter().filter(|(gid, _)| cred.in_group(*gid)).map(|(_, perm)| *perm);
        let mut member = false;
        for perm in of_group.into_iter().chain(named) {
            member = true;
            if masked(perm) {
                return true;
            }
        }
        !member && self.other & want == want
    }
}

fn digits(mode: u16) -> (Perm, Perm, Perm) {
    let digit = |shift: u16| (mode >> shift) as Perm & ALL;
    (digit(6), digit(3), digit(0))
}

#[cfg(test)]
#[path = "acl_tests.rs"]
mod tests;
