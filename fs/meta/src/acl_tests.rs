use proptest::prelude::*;

use super::*;

fn bytes(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0];
    for (tag, perm, id) in entries {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&perm.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

const PLAIN: [(u16, u16, u32); 3] = [(OWNER, 7, NOBODY), (GROUP, 5, NOBODY), (OTHER, 4, NOBODY)];

#[test]
fn what_linux_takes_is_taken_and_nothing_else() {
    let plain = Acl { owner: 7, group: 5, other: 4, ..Acl::default() };
    assert_eq!(decode(&bytes(&PLAIN)), Ok(Some(plain)));
    assert_eq!(decode(&[]), Ok(None));
    assert_eq!(decode(&bytes(&[])), Ok(None));
    assert_eq!(decode(&[1, 0, 0, 0]), Err(Errno::NotSupported));
    let [owner, group, other] = PLAIN;
    let mask = (MASK, 7, NOBODY);
    for wrong in [
        &[owner, group][..],
        &[group, owner, other],
        &[owner, owner, group, other],
        &[owner, (USER, 7, 5), group, other],
        &[owner, group, (NAMED_GROUP, 7, 5), other],
        &[owner, (USER, 7, NOBODY), group, mask, other],
        &[owner, (USER, 8, 5), group, mask, other],
        &[owner, group, other, mask],
        &[owner, group, other, (0x40, 0, 0)],
    ] {
        assert_eq!(decode(&bytes(wrong)), Err(Errno::Invalid), "{wrong:?}");
    }
    assert_eq!(decode(&bytes(&PLAIN)[..10]), Err(Errno::Invalid));
    assert_eq!(decode(&[2, 0]), Err(Errno::Invalid));
    let mut many = vec![owner];
    many.extend((0..2000).map(|id| (USER, 7, id)));
    assert_eq!(decode(&bytes(&many)), Err(Errno::NoSpace));
}

fn lists() -> impl Strategy<Value = Acl> {
    let named = || proptest::collection::vec((0..NOBODY, 0u8..8), 0..4);
    (0u8..8, named(), 0u8..8, named(), proptest::option::of(0u8..8), 0u8..8).prop_map(
        |(owner, users, group, groups, mask, other)| {
            let mask = if users.is_empty() && groups.is_empty() { mask } else { mask.or(Some(7)) };
            Acl { owner, users, group, groups, mask, other }
        },
    )
}

proptest! {
    #[test]
    fn a_list_survives_its_own_encoding(acl in lists()) {
        prop_assert_eq!(decode(&encode(&acl)), Ok(Some(acl)));
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode(&bytes);
    }
}
