//! Holds: who keeps data hot.
//!
//! A hold is an extended attribute of a file or a directory, named after its holder; it covers everything below.

/// What the name of a hold begins with; the rest is the holder's name.
pub const XATTR_PREFIX: &str = "trusted.forebay.hold.";

/// The first holder among the names of an inode's extended attributes.
pub fn holder<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    names
        .into_iter()
        .filter_map(|name| name.strip_prefix(XATTR_PREFIX.as_bytes()))
        .min()
        .map(|holder| String::from_utf8_lossy(holder).into_owned())
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
