use super::*;

fn kernel(minor: u32, flags: u64) -> InitRequest {
    InitRequest { major: 7, minor, max_readahead: 128 << 10, flags }
}

#[test]
fn what_is_wanted_and_offered_is_taken() {
    let settings = Settings::default();
    let (agreed, reply) = agree(&kernel(38, u64::MAX), &settings).unwrap();
    assert_eq!(reply.flags, settings.flags | init::INIT_EXT);
    assert_eq!((reply.minor, reply.max_readahead), (38, 128 << 10));
    assert_eq!((agreed.write_bytes, reply.max_write, reply.max_pages), (1 << 20, 1 << 20, 256));
    assert!(agreed.dialect().setxattr_ext);
    // A kernel that is newer speaks as we do.
    assert_eq!(agree(&kernel(99, 0), &settings).unwrap().1.minor, MINOR);
}

#[test]
fn what_an_older_kernel_has_not_is_done_without() {
    let settings =
        Settings { flags: init::MAX_PAGES | init::SETXATTR_EXT | init::DIRECT_IO_ALLOW_MMAP, ..Settings::default() };
    let (agreed, reply) = agree(&kernel(27, init::ASYNC_READ), &settings).unwrap();
    assert_eq!((reply.flags, reply.max_pages, reply.max_write), (0, 32, 128 << 10));
    assert!(!agreed.dialect().setxattr_ext);
    assert!(agree(&kernel(23, u64::MAX), &settings).is_none());
    assert!(agree(&InitRequest { major: 8, ..kernel(0, 0) }, &settings).is_none());
}
