use proptest::prelude::*;

use super::*;

/// A request as the kernel writes it.
fn request(opcode: Opcode, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    bytes.extend(opcode.raw().to_ne_bytes());
    bytes.extend(77u64.to_ne_bytes());
    bytes.extend(1025u64.to_ne_bytes());
    for number in [1000u32, 100, 4242, 0] {
        bytes.extend(number.to_ne_bytes());
    }
    bytes.extend(body);
    bytes
}

fn numbers(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn read(opcode: Opcode, body: &[u8]) -> Result<Operation, DecodeError> {
    let request = decode(request(opcode, body).into(), Dialect::default())?;
    let caller = Caller { uid: 1000, gid: 100, pid: 4242 };
    assert_eq!(request.header, Header { opcode, unique: 77, node: NodeId(1025), caller });
    Ok(request.operation)
}

#[test]
fn names() {
    let name = Bytes::from_static(b"name");
    assert_eq!(read(Opcode::Lookup, b"name\0"), Ok(Operation::Lookup { name: name.clone() }));
    let target = Bytes::from_static(b"/a b");
    assert_eq!(read(Opcode::Symlink, b"name\0/a b\0"), Ok(Operation::Symlink { name: name.clone(), target }));
    let body = [&numbers(&[0o755, 0o022])[..], b"name\0"].concat();
    assert_eq!(read(Opcode::MkDir, &body), Ok(Operation::MkDir { name: name.clone(), mode: 0o755, umask: 0o22 }));
    let body = [&numbers(&[9, 0, 2, 0])[..], b"name\0new\0"].concat();
    let renamed = Operation::Rename { name, new_parent: NodeId(9), new_name: Bytes::from_static(b"new"), flags: 2 };
    assert_eq!(read(Opcode::Rename2, &body), Ok(renamed));
}

#[test]
fn a_lock_says_whose_rules_it_follows() {
    let body = |kind: i32, flags: u32| numbers(&[5, 0, 6, 0, 10, 0, 20, 0, kind.cast_unsigned(), 4242, flags, 0]);
    let lock = |mode, kind| LockRequest {
        handle: Handle(5),
        owner: LockOwner(6),
        kind,
        range: LockRange { first: 10, last: 20 },
        mode,
        pid: 4242,
    };
    let posix = Operation::SetLock { lock: lock(Some(LockMode::Shared), LockKind::Posix), wait: false };
    assert_eq!(read(Opcode::SetLk, &body(nix::libc::F_RDLCK, 0)), Ok(posix));
    let flock = Operation::SetLock { lock: lock(Some(LockMode::Exclusive), LockKind::Flock), wait: true };
    assert_eq!(read(Opcode::SetLkW, &body(nix::libc::F_WRLCK, 1)), Ok(flock));
    let unlock = Operation::SetLock { lock: lock(None, LockKind::Posix), wait: false };
    assert_eq!(read(Opcode::SetLk, &body(nix::libc::F_UNLCK, 0)), Ok(unlock));
    let error = read(Opcode::SetLk, &body(77, 0)).unwrap_err();
    assert_eq!(error.to_string(), "request 77 (SetLk) has a kind of lock of 77");
}

#[test]
fn closing_a_file_says_whose_flock_goes() {
    let release = |flags| read(Opcode::Release, &numbers(&[5, 0, 1, flags, 6, 0]));
    assert_eq!(release(0), Ok(Operation::Release { handle: Handle(5), flags: 1, flock: None }));
    assert_eq!(release(2), Ok(Operation::Release { handle: Handle(5), flags: 1, flock: Some(LockOwner(6)) }));
}

#[test]
fn data_is_not_copied() {
    let body = [&numbers(&[5, 0, 4096, 0, 4, 0, 0, 0, 1, 0])[..], b"data"].concat();
    let bytes = Bytes::from(request(Opcode::Write, &body));
    let Operation::Write(WriteRequest { data, offset, .. }) =
        decode(bytes.clone(), Dialect::default()).unwrap().operation
    else {
        panic!("not a write");
    };
    assert_eq!((offset, &data[..]), (4096, &b"data"[..]));
    assert_eq!(data.as_ptr(), bytes[HEADER_BYTES + 40..].as_ptr());
}

#[test]
fn setxattr_looks_as_was_agreed() {
    let set = |ext, head: &[u32]| {
        let body = [&numbers(head)[..], b"user.a\0value"].concat();
        decode(request(Opcode::SetXattr, &body).into(), Dialect { setxattr_ext: ext }).map(|r| r.operation)
    };
    let expected = |clear_sgid| Operation::SetXattr {
        name: Bytes::from_static(b"user.a"),
        value: Bytes::from_static(b"value"),
        flags: 1,
        clear_sgid,
    };
    assert_eq!(set(false, &[5, 1]), Ok(expected(false)));
    assert_eq!(set(true, &[5, 1, 0, 0]), Ok(expected(false)));
    assert_eq!(set(true, &[5, 1, 1, 0]), Ok(expected(true)));
}

#[test]
fn changed_attributes_are_those_that_are_said_to_be() {
    let mut body = numbers(&[1 << 3 | 1 << 5 | 1 << 4 | 1 << 7, 0]);
    for number in [0u64, 4097, 0, 1, (-2i64).cast_unsigned(), 3] {
        body.extend(number.to_ne_bytes());
    }
    body.extend(numbers(&[4, 5, 6, 0o644, 0, 1, 2, 0]));
    let expected = SetAttr {
        size: Some(4097),
        atime: Some(SetTime::Now),
        mtime: Some(SetTime::At(Time { secs: -2, nanos: 5 })),
        ..SetAttr::default()
    };
    assert_eq!(read(Opcode::SetAttr, &body), Ok(Operation::SetAttr(expected)));
}

#[test]
fn extensions_at_the_end_are_passed_over() {
    let mut bytes = request(Opcode::Lookup, b"name\0\0\0\0then eight more..");
    bytes[36..38].copy_from_slice(&2u16.to_ne_bytes());
    let operation = decode(bytes.clone().into(), Dialect::default()).unwrap().operation;
    assert_eq!(operation, Operation::Lookup { name: Bytes::from_static(b"name") });
    bytes[36..38].copy_from_slice(&200u16.to_ne_bytes());
    assert!(matches!(decode(bytes.into(), Dialect::default()), Err(DecodeError::Short { field: "extensions", .. })));
}

#[test]
fn what_is_malformed_is_named() {
    let text = |bytes: &[u8]| decode(Bytes::copy_from_slice(bytes), Dialect::default()).unwrap_err().to_string();
    assert_eq!(text(b"short"), "a request of 5 bytes has no header");
    let whole = request(Opcode::Lookup, b"name\0");
    assert_eq!(text(&whole[..44]), "request 77 (Lookup) says it has 45 bytes and has 44");
    assert_eq!(text(&request(Opcode::Lookup, b"name")), "request 77 (Lookup) ends before its name does");
    assert_eq!(text(&request(Opcode::Read, &[0; 12])), "request 77 (Read) ends before its offset does");
    // A count that would take gigabytes is not believed.
    let forget = request(Opcode::BatchForget, &numbers(&[u32::MAX, 0, 1, 0, 1, 0]));
    assert_eq!(text(&forget), "request 77 (BatchForget) has a count of 4294967295");
}

/// What a kernel 6.18 sent to the session of `tests/session.rs`, which can record it again.
const GOLDEN: &str = include_str!("golden.txt");

#[test]
fn a_kernel_s_own_requests() {
    let mut seen = Vec::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let (expected, hex) = line.rsplit_once(": ").expect("operation: bytes");
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
        let request = decode(bytes.into(), Dialect { setxattr_ext: true }).expect("a kernel sent it");
        assert_eq!(format!("{:?}", request.operation), expected);
        seen.push(request.header.opcode);
    }
    use Opcode::{Create, Flush, GetAttr, Init, Lookup, MkDir, Release, SetLk, Write};
    for opcode in [Init, Lookup, MkDir, Create, SetLk, Write, Flush, Release, GetAttr] {
        assert!(seen.contains(&opcode), "no {opcode:?} among the golden requests");
    }
}

fn dialects() -> impl Strategy<Value = Dialect> {
    any::<bool>().prop_map(|setxattr_ext| Dialect { setxattr_ext })
}

/// A body for any opcode, with a header that fits it.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![3 => 0..64u32, 1 => any::<u32>()];
    let words = proptest::collection::vec(small, 0..24);
    let text = proptest::collection::vec(prop_oneof![4 => 1..=255u8, 1 => Just(0u8)], 0..40);
    (0..60u32, words, text, 0..4u16).prop_map(|(opcode, words, text, extensions)| {
        let mut bytes = request(Opcode::from_raw(opcode), &[numbers(&words), text].concat());
        bytes[36..38].copy_from_slice(&extensions.to_ne_bytes());
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), dialect in dialects()) {
        let _ = decode(bytes.into(), dialect);
    }

    #[test]
    fn no_body_makes_it_panic(bytes in plausible(), dialect in dialects()) {
        let _ = decode(bytes.into(), dialect);
    }

    /// Golden requests with a few bytes changed, cut or added.
    #[test]
    fn no_change_of_a_real_request_makes_it_panic(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        fix_length in any::<bool>(),
    ) {
        let lines: Vec<&str> = GOLDEN.lines().filter(|line| !line.starts_with('#')).collect();
        let hex = lines[which.index(lines.len())].rsplit_once(": ").unwrap().1;
        let mut bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        if fix_length && bytes.len() >= 4 {
            let length = bytes.len() as u32;
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
        }
        if let Ok(request) = decode(bytes.into(), Dialect { setxattr_ext: true }) {
            // Whatever it is taken for is no larger than what came.
            if let Operation::BatchForget { nodes } = request.operation {
                prop_assert!(nodes.len() <= 64);
            }
        }
    }
}
