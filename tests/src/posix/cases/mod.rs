//! The rules, a file a verb.

mod access;
mod attributes;
mod content;
mod lists;
mod making;
mod names;
mod ownership;
mod removing;
mod renaming;
mod times;
mod xattrs;

/// A rule and a script that shows it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The rule.
    pub name: &'static str,
    /// Its script; see [`super::script`].
    pub script: &'static str,
}

const fn case(name: &'static str, script: &'static str) -> Case {
    Case { name, script }
}

/// Every case.
pub fn all() -> Vec<Case> {
    [
        access::CASES,
        attributes::CASES,
        content::CASES,
        lists::CASES,
        making::CASES,
        names::CASES,
        ownership::CASES,
        removing::CASES,
        renaming::CASES,
        times::CASES,
        xattrs::CASES,
    ]
    .concat()
}

/// Not kept every time when two mounts play in turn: the kernel of one has a folder where it was before the other moved it,
/// and a rename between two folders that meets it there ends with `ESTALE`. Making it forget the folder would be to wait
/// in the kernel for a lock that another operation may hold for ever.
pub const NOT_ON_TWO: [&str; 1] = ["a moved folder must be writable to its mover"];

/// What Forebay keeps beyond that, and filesystems of the kernel need not.
pub fn ours() -> Vec<Case> {
    content::LARGEST.to_vec()
}
