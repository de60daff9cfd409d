use super::*;

fn attr() -> Attr {
    let time = |secs| Time { secs, nanos: 7 };
    Attr {
        ino: 1025,
        mode: 0o100_644,
        nlink: 1,
        uid: 1000,
        gid: 100,
        rdev: 0,
        size: 5,
        blocks: 1,
        block_bytes: 4096,
        atime: time(1),
        mtime: time(-2),
        ctime: time(3),
        btime: time(4),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Length of an answer without its header, checked against what the header says.
fn body(reply: Reply) -> Vec<u8> {
    let encoded = encode(9, Ok(reply));
    assert_eq!(u32_at(&encoded.head, 0) as usize, encoded.len());
    assert_eq!((u32_at(&encoded.head, 4), u64_at(&encoded.head, 8)), (0, 9));
    [&encoded.head[REPLY_HEADER_BYTES..], &encoded.data].concat()
}

/// Sizes as `linux/fuse.h` has them: the kernel refuses an answer of another.
#[test]
fn answers_have_the_kernel_s_sizes() {
    let life = Duration::from_millis(1500);
    let entry = Entry { node: NodeId(1025), generation: 2, name_life: life, attr_life: life, attr: attr() };
    let opened = Opened { handle: Handle(3), flags: 0 };
    let init = InitReply {
        minor: 41,
        max_readahead: 1,
        flags: 1 << 36,
        max_background: 2,
        congestion_threshold: 1,
        max_write: 1 << 20,
        max_pages: 256,
    };
    for (reply, size) in [
        (Reply::Done, 0),
        (Reply::Entry(entry), 128),
        (Reply::Attr(attr(), life), 104),
        (Reply::Statx(attr(), life), 288),
        (Reply::Opened(opened), 16),
        (Reply::Created(entry, opened), 144),
        (Reply::Written(1), 8),
        (Reply::Copied(1), 8),
        (Reply::StatFs(StatFs::default()), 80),
        (Reply::Sized(SizedValue::Size(1)), 8),
        (Reply::Lock(None), 24),
        (Reply::Offset(1), 8),
        (Reply::Block(1), 8),
        (Reply::Ioctl(0, Bytes::from_static(b"out")), 19),
        (Reply::Events(1), 8),
        (Reply::Init(init), 64),
        (Reply::Data(Bytes::from_static(b"bytes")), 5),
    ] {
        assert_eq!(body(reply.clone()).len(), size, "{reply:?}");
    }
}

#[test]
fn fields_stand_where_the_kernel_looks() {
    let life = Duration::from_millis(1500);
    let entry = body(Reply::Entry(Entry {
        node: NodeId(1025),
        generation: 2,
        name_life: life,
        attr_life: Duration::from_secs(9),
        attr: attr(),
    }));
    assert_eq!([0, 8, 16, 24].map(|at| u64_at(&entry, at)), [1025, 2, 1, 9]);
    assert_eq!((u32_at(&entry, 32), u32_at(&entry, 36)), (500_000_000, 0));
    let attr_at = 40;
    assert_eq!((u64_at(&entry, attr_at), u64_at(&entry, attr_at + 8)), (1025, 5));
    assert_eq!(u64_at(&entry, attr_at + 32), (-2i64).cast_unsigned());
    assert_eq!(u32_at(&entry, attr_at + 60), 0o100_644);
    let statx = body(Reply::Statx(Attr { rdev: 0x0012_3456, ..attr() }, life));
    assert_eq!((u32_at(&statx, 32), u32_at(&statx, 36)), (0xfff, 4096));
    assert_eq!((u64_at(&statx, 32 + 32), u64_at(&statx, 32 + 40)), (1025, 5));
    // Times: access, birth, change, modification.
    assert_eq!([0, 1, 2, 3].map(|i| u64_at(&statx, 32 + 64 + i * 16)), [1, 4, 3, (-2i64).cast_unsigned()]);
    assert_eq!((u32_at(&statx, 32 + 128), u32_at(&statx, 32 + 132)), (0x234, 0x156));
}

#[test]
fn errors_are_negative_and_never_zero() {
    let encoded = encode(9, Err(Errno::ENOENT));
    assert_eq!((encoded.len(), u32_at(&encoded.head, 4)), (16, (-2i32).cast_unsigned()));
    assert_eq!(u32_at(&encode(9, Err(Errno::UnknownErrno)).head, 4), (-5i32).cast_unsigned());
}

#[test]
fn data_is_passed_on_where_it_lies() {
    let data = Bytes::from(vec![1; 100_000]);
    let encoded = encode(9, Ok(Reply::Data(data.clone())));
    assert_eq!(encoded.data.as_ptr(), data.as_ptr());
}

#[test]
fn sizes_are_probed_and_checked() {
    let value = Bytes::from_static(b"value");
    assert_eq!(SizedValue::fit(value.clone(), 0), Ok(SizedValue::Size(5)));
    assert_eq!(SizedValue::fit(value.clone(), 4), Err(Errno::ERANGE));
    assert_eq!(SizedValue::fit(value.clone(), 5), Ok(SizedValue::Data(value)));
    assert_eq!(SizedValue::fit(Bytes::new(), 0), Ok(SizedValue::Size(0)));
}
