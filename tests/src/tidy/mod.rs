//! Rules about the source tree that no compiler checks, each with the place, the line and the remedy.
//!
//! A rule is a function from the [`Tree`] to [`Finding`]s; it reads no file itself, so its tests plant violations in a tree made up
//! in memory.

mod arrows;
mod files;
mod licences;
mod names;
mod purity;
mod readme;
mod tree;

pub use arrows::check as arrows;
pub use files::{check as files, long as long_files};
pub use licences::check as licences;
pub use names::check as names;
pub use purity::check as purity;
pub use readme::check as readme;
pub use tree::{File, Finding, Tree};

#[cfg(test)]
#[path = "planted_tests.rs"]
mod tests;
