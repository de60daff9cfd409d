//! What an export may read, how it tells contents apart, and where it writes.

use forebay_types::{Attr, FileKind};
use forebay_wire::tier::TierUser;

use crate::name;

/// Objects up to this size, in bytes, are read back after they were written.
pub const READ_BACK_MAX_BYTES: u64 = 8 << 20;

/// Contents, as they are read.
#[derive(Clone, Debug, Default)]
pub struct Digest(blake3::Hasher);

impl Digest {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// BLAKE3 of all bytes so far, in hexadecimal.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// Whether a user may read a file, by its owner, group and mode; the operator may.
#[must_use]
pub fn may_read(attr: &Attr, user: Option<&TierUser>) -> bool {
    let Some(user) = user.filter(|user| user.uid != 0) else { return true };
    let shift = match user.uid == attr.uid {
        true => 6,
        false if user.gid == attr.gid || user.groups.contains(&attr.gid) => 3,
        false => 0,
    };
    attr.mode >> shift & 4 != 0
}

/// The keys an export of `root` to `prefix` writes: a directory's files are below the prefix, a file becomes the object
/// `prefix` itself, and its manifest and marker lie beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    prefix: String,
    beside: String,
}

impl Keys {
    /// The keys for a root of this kind.
    #[must_use]
    pub fn new(kind: FileKind, prefix: &str) -> Self {
        let prefix = name::trim(prefix).to_owned();
        let beside = if kind == FileKind::Directory { prefix.clone() } else { name::split(&prefix).0.to_owned() };
        Self { prefix, beside }
    }

    /// The key of a file, by its path below the root (empty for the root itself).
    #[must_use]
    pub fn file(&self, path: &str) -> String {
        name::join(&self.prefix, path)
    }

    /// The key of the manifest or the marker.
    #[must_use]
    pub fn beside(&self, key: &str) -> String {
        name::join(&self.beside, key)
    }

    /// The path of a file for people and for the manifest: below the root, or the file's own name.
    #[must_use]
    pub fn shown<'a>(&'a self, path: &'a str) -> &'a str {
        if path.is_empty() { name::split(&self.prefix).1 } else { path }
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::{InodeId, Timestamp};

    use super::*;

    #[test]
    fn a_file_is_the_prefix_and_a_directory_is_below_it() {
        let dir = Keys::new(FileKind::Directory, "out/7/");
        assert_eq!((dir.file("a/b"), dir.beside("_manifest")), ("out/7/a/b".into(), "out/7/_manifest".into()));
        assert_eq!(dir.shown("a/b"), "a/b");
        let file = Keys::new(FileKind::Regular, "out/7/m.json");
        assert_eq!((file.file(""), file.beside("_manifest")), ("out/7/m.json".into(), "out/7/_manifest".into()));
        assert_eq!(file.shown(""), "m.json");
        assert_eq!(Keys::new(FileKind::Directory, "").file("a"), "a");
    }

    #[test]
    fn reading_goes_by_the_first_class_that_fits() {
        let time = Timestamp::default();
        let attr = |mode| Attr {
            ino: InodeId(1024),
            kind: FileKind::Regular,
            mode,
            nlink: 1,
            uid: 10,
            gid: 20,
            size: 0,
            allocated_bytes: 0,
            cold_bytes: 0,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
            rdev: 0,
            generation: 0,
            version: 1,
        };
        let user = |uid, gid, groups: &[u32]| TierUser { uid, gid, groups: groups.to_vec() };
        assert!(may_read(&attr(0), None) && may_read(&attr(0), Some(&user(0, 0, &[]))));
        assert!(may_read(&attr(0o400), Some(&user(10, 1, &[]))) && !may_read(&attr(0o044), Some(&user(10, 1, &[]))));
        assert!(may_read(&attr(0o040), Some(&user(1, 1, &[20]))) && !may_read(&attr(0o404), Some(&user(1, 20, &[]))));
        assert!(may_read(&attr(0o004), Some(&user(1, 1, &[]))) && !may_read(&attr(0o440), Some(&user(1, 1, &[]))));
    }

    #[test]
    fn a_digest_does_not_depend_on_how_the_bytes_came() {
        let (mut one, mut two) = (Digest::default(), Digest::default());
        one.update(b"abc");
        two.update(b"a");
        two.update(b"bc");
        assert_eq!(one.text(), two.text());
        assert_eq!(Digest::default().text(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }
}
