use super::*;

#[test]
fn the_root_has_two_numbers() {
    assert_eq!(inode(INodeNo::ROOT), InodeId::ROOT);
    assert_eq!(node(InodeId::ROOT), INodeNo(1));
    for ino in [InodeId(1025), InodeId(2048), InodeId(u64::MAX)] {
        assert_eq!(inode(node(ino)), ino);
    }
}

#[test]
fn times_told_to_the_kernel() {
    for (secs, nanos, whole, part) in [(0, 0, 0, 0), (5, 7, 5, 7), (4_102_444_800, 1, 4_102_444_800, 1)] {
        assert_eq!(system_time(Timestamp { secs, nanos }), UNIX_EPOCH + Duration::new(whole, part));
    }
    assert_eq!(system_time(Timestamp { secs: -2, nanos: 500_000_000 }), UNIX_EPOCH - Duration::from_millis(1500));
    assert_eq!(system_time(Timestamp { secs: -2, nanos: 0 }), UNIX_EPOCH - Duration::from_secs(2));
}

#[test]
fn times_told_by_the_kernel() {
    let before = |ms| timestamp(UNIX_EPOCH - Duration::from_millis(ms));
    assert_eq!(timestamp(UNIX_EPOCH + Duration::new(5, 7)), Timestamp { secs: 5, nanos: 7 });
    assert_eq!(before(2000), Timestamp { secs: -2, nanos: 0 });
    assert_eq!(before(2500), Timestamp { secs: -2, nanos: 500_000_000 });
    assert_eq!(set_time(TimeOrNow::Now), SetTime::Now);
    assert_eq!(set_time(TimeOrNow::SpecificTime(UNIX_EPOCH)), SetTime::At(Timestamp::default()));
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
    let of = |error: ClientError| errno("test", InodeId(1025), &error).code();
    assert_eq!(of(Errno::NoEntry.into()), nix::libc::ENOENT);
    assert_eq!(of(Errno::Quota.into()), nix::libc::EDQUOT);
    assert_eq!(of(ClientError::SessionEnded), nix::libc::ESTALE);
    assert_eq!(of(ClientError::TimedOut { timeout_ms: 1, reason: String::new() }), nix::libc::ETIMEDOUT);
    assert_eq!(of(ClientError::UnexpectedReply { what: "a test" }), nix::libc::EIO);
}

#[test]
fn attributes() {
    let attr = Attr {
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
        btime: Timestamp::default(),
        rdev: 0,
        generation: 1,
        version: 1,
    };
    let seen = file_attr(&attr);
    assert_eq!((seen.ino, seen.perm, seen.nlink, seen.uid, seen.gid), (INodeNo::ROOT, 0o1777, 3, 1, 2));
    assert_eq!((seen.size, seen.blocks, seen.kind), (1025, 2, FileType::Directory));
    assert_eq!(seen.mtime, UNIX_EPOCH + Duration::new(5, 6));
}
