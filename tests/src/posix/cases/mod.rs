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

/// Rules that hold on one mount only as long as there are no leases: one node has to see what another has written and
/// not flushed, or has to forget where a folder was that another has moved.
pub const AWAIT_LEASES: [&str; 0] = [];

/// What Forebay keeps beyond that, and filesystems of the kernel need not.
pub fn ours() -> Vec<Case> {
    content::LARGEST.to_vec()
}
