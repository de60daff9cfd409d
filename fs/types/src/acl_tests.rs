use super::*;

fn cred(uid: u32, groups: &[u32]) -> Cred {
    Cred { uid, gid: groups[0], groups: groups[1..].to_vec() }
}

fn acl() -> Acl {
    Acl { owner: 7, users: vec![(10, 6), (11, 0)], group: 5, groups: vec![(20, 4), (21, 2)], mask: Some(6), other: 1 }
}

#[test]
fn the_first_entry_that_fits_decides_and_any_group_will_do() {
    let permits = |cred: &Cred, want| acl().permits(cred, 100, want);
    for (who, want, permitted) in [
        (cred(10, &[1]), 6, true),
        (cred(10, &[1]), 1, false),
        // A user's own entry decides, whatever groups it is in.
        (cred(11, &[20]), 4, false),
        (cred(11, &[1]), 0, true),
        // The owning group has 5, of which the mask leaves 4.
        (cred(1, &[100]), 4, true),
        (cred(1, &[100]), 5, false),
        (cred(1, &[21]), 2, true),
        // No single group gives both.
        (cred(1, &[20, 21]), 6, false),
        (cred(1, &[20, 21]), 4, true),
        (cred(1, &[20, 21]), 2, true),
        // Members of a group that is named never fall through to the others.
        (cred(1, &[20]), 1, false),
        (cred(1, &[1]), 1, true),
        (cred(1, &[1]), 4, false),
    ] {
        assert_eq!(permits(&who, want), permitted, "{who:?} wants {want}");
    }
}

#[test]
fn group_bits_of_the_mode_are_the_mask() {
    let mut acl = acl();
    assert_eq!(acl.mode(), 0o761);
    acl.chmod(0o2640);
    assert_eq!((acl.owner, acl.group, acl.mask, acl.other), (6, 5, Some(4), 0));
    let mut plain = Acl { owner: 7, group: 5, other: 5, ..Acl::default() };
    plain.chmod(0o642);
    assert_eq!((plain.mode(), plain.group, plain.is_mode()), (0o642, 4, true));
}

#[test]
fn what_is_made_has_at_most_what_its_maker_asks_for() {
    let (made, mode) = acl().born(0o4640);
    assert_eq!((made.owner, made.group, made.mask, made.other, mode), (6, 5, Some(4), 0, 0o640));
    assert_eq!(made.users, acl().users);
    let plain = Acl { owner: 7, group: 7, other: 7, ..Acl::default() };
    let (made, mode) = plain.born(0o666);
    assert_eq!((made.is_mode(), mode), (true, 0o666));
}
