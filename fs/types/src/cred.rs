//! Who asks.

use serde::{Deserialize, Serialize};

/// The identity a metadata operation is checked against, as the kernel reports it for the calling process.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
pub struct Cred {
    /// File-system user id; 0 may do everything.
    pub uid: u32,
    /// File-system group id.
    pub gid: u32,
    /// Supplementary groups, in any order, without `gid`; at most [`crate::limits::GROUPS_MAX`].
    pub groups: Vec<u32>,
}

impl Cred {
    /// The superuser.
    pub const ROOT: Self = Self { uid: 0, gid: 0, groups: Vec::new() };

    /// Whether the caller is a member of `gid`.
    #[must_use]
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}
