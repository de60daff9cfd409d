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
mod tests {
    #[test]
    fn a_hold_is_found_among_other_attributes() {
        let names: [&[u8]; 3] = [b"user.a", b"trusted.forebay.hold.job-7", b"trusted.forebay.hold.job-12"];
        assert_eq!(super::holder(names), Some("job-12".to_owned()));
        assert_eq!(super::holder([&b"trusted.forebay.origin"[..]]), None);
    }
}
