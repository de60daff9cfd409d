use super::*;

#[test]
fn the_root_has_two_numbers() {
    assert_eq!(inode(NodeId::ROOT), InodeId::ROOT);
    assert_eq!(node(InodeId::ROOT), NodeId(1));
    for ino in [InodeId(1025), InodeId(2048), InodeId(u64::MAX)] {
        assert_eq!(inode(node(ino)), ino);
    }
}

#[test]
fn times_before_1970_stay_what_they_are() {
    // 1.5 s before 1970 is -2 s and half a second, on both sides.
    let time = Timestamp { secs: -2, nanos: 500_000_000 };
    let seen = kernel_attr(&Attr { mtime: time, ..attr() });
    assert_eq!(seen.mtime, Time { secs: -2, nanos: 500_000_000 });
    assert_eq!(set_time(abi::SetTime::At(seen.mtime)), SetTime::At(time));
    assert_eq!(set_time(abi::SetTime::Now), SetTime::Now);
}

#[test]
fn kinds_of_mknod() {
    assert_eq!(new_node(0o100_644, 0), Some(NewNode::File));
    assert_eq!(new_node(0o644, 0), Some(NewNode::File));
    assert_eq!(new_node(0o010_644, 0), Some(NewNode::Fifo));
    assert_eq!(new_node(0o140_644, 0), Some(NewNode::Socket));
    assert_eq!(new_node(0o020_644, 0x103), Some(NewNode::CharDevice(0x103)));
    assert_eq!(new_node(0o060_644, 7), Some(NewNode::BlockDevice(7)));
    assert_eq!(new_node(0o040_755, 0), None);
}

#[test]
fn flags_of_open() {
    let mode = |flags| OpenMode::of(flags);
    assert_eq!(mode(nix::libc::O_RDONLY), OpenMode { read: true, write: false, truncate: false });
    assert_eq!(mode(nix::libc::O_WRONLY), OpenMode { read: false, write: true, truncate: false });
    assert_eq!(mode(nix::libc::O_RDWR | nix::libc::O_APPEND), OpenMode { read: true, write: true, truncate: false });
    // Truncating takes write permission however the file is opened.
    assert_eq!(mode(nix::libc::O_RDONLY | nix::libc::O_TRUNC), OpenMode { read: true, write: true, truncate: true });
    // Running a program takes no read permission.
    assert_eq!(mode(FMODE_EXEC), OpenMode { read: false, write: false, truncate: false });
}

#[test]
fn conditions_of_setxattr() {
    assert_eq!(xattr_when(0), Ok(XattrWhen::Always));
    assert_eq!(xattr_when(1), Ok(XattrWhen::Absent));
    assert_eq!(xattr_when(2), Ok(XattrWhen::Present));
    assert_eq!(xattr_when(3), Err(Errno::Invalid));
}

#[test]
fn errors_keep_their_numbers() {
    let of = |error: ClientError| errno("test", InodeId(1025), &error) as i32;
    assert_eq!(of(Errno::NoEntry.into()), nix::libc::ENOENT);
    assert_eq!(of(Errno::Quota.into()), nix::libc::EDQUOT);
    assert_eq!(of(ClientError::SessionEnded), nix::libc::ESTALE);
    assert_eq!(of(ClientError::TimedOut { timeout_ms: 1, reason: String::new() }), nix::libc::ETIMEDOUT);
    assert_eq!(of(ClientError::UnexpectedReply { what: "a test" }), nix::libc::EIO);
}

#[test]
fn flags_of_rename() {
    assert_eq!(rename_how(0), Some(RenameHow::Replace));
    assert_eq!(rename_how(1), Some(RenameHow::NoReplace));
    assert_eq!(rename_how(2), Some(RenameHow::Exchange));
    for odd in [3, 4, 8] {
        assert_eq!(rename_how(odd), None);
    }
}

fn attr() -> Attr {
    Attr {
        ino: InodeId::ROOT,
        kind: FileKind::Directory,
        mode: 0o1777,
        nlink: 3,
        uid: 1,
        gid: 2,
        size: 1025,
        allocated_bytes: 513,
        cold_bytes: 0,
        atime: Timestamp::default(),
        mtime: Timestamp { secs: 5, nanos: 6 },
        ctime: Timestamp::default(),
        btime: Timestamp { secs: 3, nanos: 4 },
        rdev: 0,
        generation: 1,
        version: 1,
        acl: false,
        capability: false,
    }
}

#[test]
fn attributes() {
    let seen = kernel_attr(&attr());
    assert_eq!((seen.ino, seen.mode, seen.nlink, seen.uid, seen.gid), (1, 0o041_777, 3, 1, 2));
    assert_eq!((seen.size, seen.blocks), (1025, 2));
    assert_eq!((seen.mtime, seen.btime), (Time { secs: 5, nanos: 6 }, Time { secs: 3, nanos: 4 }));
}
