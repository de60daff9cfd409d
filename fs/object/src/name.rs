//! Which keys can be objects.

/// Longest part of a key between two `/`, in bytes.
const PART_MAX_BYTES: usize = forebay_types::limits::NAME_MAX;
/// Longest key, in bytes (S3's limit).
const KEY_MAX_BYTES: usize = 1024;

/// What is wrong with a key; an empty one is the root's. Nothing that passes can lead out of a directory.
pub(crate) fn check(key: &str) -> Result<(), &'static str> {
    if key.len() > KEY_MAX_BYTES {
        return Err("its key is longer than 1024 bytes");
    }
    if key.is_empty() {
        return Ok(());
    }
    for part in key.split('/') {
        match part {
            "" => return Err("a part of its key is empty"),
            "." | ".." => return Err("a part of its key is '.' or '..'"),
            _ if part.len() > PART_MAX_BYTES => return Err("a part of its key is longer than 255 bytes"),
            _ if part.bytes().any(|b| b < 0x20 || b == 0x7f) => return Err("its key has a control character"),
            _ => {}
        }
    }
    Ok(())
}

/// `key` below `prefix`, either of which may be empty.
pub(crate) fn join(prefix: &str, key: &str) -> String {
    match (prefix.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}/{key}"),
    }
}

/// The directory that a key is in, and its name there.
pub(crate) fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}
