use bytes::Bytes;
use forebay_types::{Attr, InodeId, LifetimeClass, Timestamp};
use proptest::prelude::*;

use super::*;

fn inode(kind: FileKind, mode: u16, uid: u32, gid: u32) -> Inode {
    let zero = Timestamp::default();
    let attr = Attr {
        ino: InodeId::ROOT,
        kind,
        mode,
        nlink: 1,
        uid,
        gid,
        size: 0,
        allocated_bytes: 0,
        cold_bytes: 0,
        atime: zero,
        mtime: zero,
        ctime: zero,
        btime: zero,
        rdev: 0,
        generation: 1,
        version: 0,
        acl: false,
        capability: false,
    };
    Inode {
        attr,
        class: LifetimeClass::default(),
        parent: InodeId::ROOT,
        next_cookie: 3,
        dying: None,
        target: Bytes::new(),
        acl: None,
        default_acl: None,
        linkable: false,
        quota_dir: None,
    }
}

fn lists() -> impl Strategy<Value = Acl> {
    let named = || proptest::collection::vec((1u32..5, 0u8..8), 0..3);
    (0u8..8, named(), 0u8..8, named(), 0u8..8, 0u8..8).prop_map(|(owner, users, group, groups, mask, other)| {
        let mask = (!users.is_empty() || !groups.is_empty()).then_some(mask);
        Acl { owner, users, group, groups, mask, other }
    })
}

/// POSIX.1e 23.1.5 word for word, over entries as a list, with Linux's one exception.
fn model(acl: &Acl, mode: u16, (uid, gid): (u32, u32), cred: &Cred, want: u8) -> bool {
    let has = |perm: u8| perm & want == want;
    if cred.uid == uid {
        return has(acl.owner);
    }
    let mut ids = vec![cred.gid];
    ids.extend(&cred.groups);
    if mode & 0o070 == 0 {
        return has(if ids.contains(&gid) { 0 } else { acl.other });
    }
    let mask = acl.mask.unwrap_or(7);
    for (user, perm) in &acl.users {
        if *user == cred.uid {
            return has(perm & mask);
        }
    }
    let mut matching = Vec::new();
    if ids.contains(&gid) {
        matching.push(acl.group);
    }
    for (group, perm) in &acl.groups {
        if ids.contains(group) {
            matching.push(*perm);
        }
    }
    if matching.is_empty() { has(acl.other) } else { matching.iter().any(|perm| has(perm & mask)) }
}

proptest! {
    #[test]
    fn access_is_what_the_model_says(
        acl in lists(), owner in 1u32..5, group in 1u32..5,
        uid in 1u32..6, gid in 1u32..6, groups in proptest::collection::vec(1u32..6, 0..3), want in 1u16..8,
    ) {
        let mut inode = inode(FileKind::Regular, acl.mode(), owner, group);
        let cred = Cred { uid, gid, groups };
        let mode = acl.mode();
        inode.acl = (!acl.is_mode()).then(|| Box::new(acl.clone()));
        prop_assert_eq!(may(&inode, &cred, want), model(&acl, mode, (owner, group), &cred, want as u8));
    }

    #[test]
    fn a_mode_and_its_list_never_differ(acl in lists(), changes in proptest::collection::vec(0u16..0o1000, 1..4)) {
        let mut acl = acl;
        for mode in changes {
            acl.chmod(mode);
            prop_assert_eq!(acl.mode(), mode);
        }
    }

    #[test]
    fn nothing_is_born_with_more_than_it_asked_for_or_the_directory_grants(
        default in lists(), mode in 0u16..0o10000, umask in 0u16..0o1000,
    ) {
        let mut parent = inode(FileKind::Directory, 0o777, 1, 1);
        parent.default_acl = Some(Box::new(default.clone()));
        let cred = Cred { uid: 2, gid: 2, groups: Vec::new() };
        for kind in [FileKind::Regular, FileKind::Directory] {
            let made = inherit(&parent, &cred, NewMode { mode, umask }, kind);
            prop_assert_eq!(made.mode & !mode, 0);
            prop_assert_eq!(made.mode & 0o777, default.mode() & mode & 0o777, "the umask does not count");
            prop_assert_eq!(made.mode & 0o7000, mode & 0o7000);
            prop_assert_eq!(made.acl.is_some(), !default.is_mode());
            prop_assert_eq!(made.default_acl.is_some(), kind == FileKind::Directory);
            prop_assert!(made.acl.is_none_or(|acl| acl.mode() == made.mode & 0o777));
        }
        let link = inherit(&parent, &cred, NewMode { mode, umask }, FileKind::Symlink);
        prop_assert_eq!((link.mode, link.acl), (mode & !umask, None));
    }
}

#[test]
fn the_umask_counts_where_no_default_list_does() {
    let parent = inode(FileKind::Directory, 0o2777, 1, 70);
    let (member, other) = (Cred { uid: 2, gid: 70, groups: vec![] }, Cred { uid: 2, gid: 2, groups: vec![] });
    let new = NewMode { mode: 0o2777, umask: 0o027 };
    let mode = |cred: &Cred, kind| inherit(&parent, cred, new, kind).mode;
    assert_eq!(mode(&member, FileKind::Regular), 0o2750);
    assert_eq!(mode(&other, FileKind::Regular), 0o750, "no set-group-id for a group one is not in");
    assert_eq!(mode(&other, FileKind::Directory), 0o2750);
}
