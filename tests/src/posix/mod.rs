//! POSIX conformance: short scripts, each a rule, run on a mounted filesystem by processes of several users.
//!
//! Job: [`cases`] has the rules, a file a verb; [`script`] reads them; [`actor`] is a process that does one thing at
//! a time as one user; [`crew`] is all actors on one or more mounts of the same filesystem; [`run`] plays cases with a
//! crew and says what differed. With several mounts the steps of a case go to them in turn, so that every rule is one
//! of what one node sees of another's doing as well.
//!
//! The same cases run on a filesystem of the kernel's, as a check of the cases themselves.

pub mod actor;
mod calls;
pub mod cases;
pub mod crew;
pub mod run;
pub mod script;

/// A user of the cases: name, user id, group id, supplementary groups.
pub struct Who {
    /// Its name in scripts.
    pub name: &'static str,
    /// User and group.
    pub id: u32,
    /// Supplementary groups.
    pub groups: &'static [u32],
}

/// A group of alice's only.
const STAFF: u32 = 65_511;
/// A group of alice's and bob's.
const BOTH: u32 = 65_512;

/// The users of the cases.
pub const CREW: [Who; 3] = [
    Who { name: "root", id: 0, groups: &[] },
    Who { name: "alice", id: 65_501, groups: &[STAFF, BOTH] },
    Who { name: "bob", id: 65_502, groups: &[BOTH] },
];

/// Names for ids in scripts.
const IDS: [(&str, u32); 5] = [("root", 0), ("alice", 65_501), ("bob", 65_502), ("staff", STAFF), ("both", BOTH)];

/// The id of a name, or of a number.
pub fn id_of(name: &str) -> Option<u32> {
    let named = IDS.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
    named.or_else(|| name.parse().ok())
}

/// The name of an id, or its number.
pub fn name_of(id: u32) -> String {
    let named = IDS.iter().find(|(_, known)| *known == id).map(|(name, _)| (*name).to_owned());
    named.unwrap_or_else(|| id.to_string())
}
