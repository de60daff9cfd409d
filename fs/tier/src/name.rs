//! From object keys to paths and back.
//!
//! A key is split at `/`; its parts are the names. Nothing is folded or decoded: `A` and `a` are two files, and `%2F`
//! is four characters. A key that cannot be a path is refused by name rather than changed.

use forebay_types::limits;
use forebay_wire::tier::TierError;

/// Objects that evicting made are below this key; they are no part of what can be imported.
pub const EVICTED_PREFIX: &str = ".forebay-evicted";

/// What a prefix names, as a key: without `/` at its end.
#[must_use]
pub fn trim(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// `name` below `prefix`, either of which may be empty.
#[must_use]
pub fn join(prefix: &str, name: &str) -> String {
    match (trim(prefix), name) {
        (prefix, "") => prefix.to_owned(),
        ("", name) => name.to_owned(),
        (prefix, name) => format!("{prefix}/{name}"),
    }
}

/// The key's directory (empty for none) and its name.
#[must_use]
pub fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

/// The part of `key` below `prefix` as a directory; `None` where it is not below it, or is of [`EVICTED_PREFIX`].
#[must_use]
pub fn below<'a>(prefix: &str, key: &'a str) -> Option<&'a str> {
    if key.strip_prefix(EVICTED_PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return None;
    }
    match trim(prefix) {
        "" => Some(key),
        prefix => key.strip_prefix(prefix)?.strip_prefix('/'),
    }
}

/// The names a relative key becomes, the file's last. `url` is for the message.
///
/// # Errors
/// [`TierError::BadName`] where a part is empty, `.`, `..`, over-long, or has a NUL.
pub fn components<'a>(relative: &'a str, url: &str) -> Result<Vec<&'a str>, TierError> {
    let parts: Vec<&str> = relative.split('/').collect();
    let wrong = |part: &&str| match *part {
        "" => Some("a part of its key is empty"),
        "." | ".." => Some("a part of its key is '.' or '..'"),
        part if part.len() > limits::NAME_MAX => Some("a part of its key is longer than 255 bytes"),
        part if part.contains('\0') => Some("its key has a NUL"),
        _ => None,
    };
    match parts.iter().find_map(wrong) {
        Some(reason) => Err(TierError::BadName { url: url.to_owned(), reason: reason.to_owned() }),
        None => Ok(parts),
    }
}

/// The key of an object that holds evicted bytes. `unique` makes it one that nobody else writes: two hosts that evict
/// the same bytes must not replace each other's object, since the file's map is pinned to one.
#[must_use]
pub fn evicted_key(
    fs: forebay_types::FsId,
    ino: forebay_types::InodeId,
    version: u64,
    offset: u64,
    unique: u64,
) -> String {
    format!("{EVICTED_PREFIX}/{}/{}/{version}-{offset}-{unique:016x}", fs.0, ino.0)
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
