use super::*;

const FS: FsId = FsId(1);
const OWNER: Owner = Owner::User(7);

fn wanted(wants: &Wants, now: u64) -> Space {
    let mut usage = [OwnerUsage::default()];
    wants.add_to(FS, &[OWNER], &mut usage, now);
    usage[0].wanted
}

#[test]
fn the_most_that_was_wanted_of_late_is_told() {
    let wants = Wants::default();
    wants.note(FS, OWNER, Space { bytes: 10, inodes: 0 }, 0);
    wants.note(FS, OWNER, Space { bytes: 4, inodes: 2 }, 1);
    assert_eq!(wanted(&wants, 2), Space { bytes: 10, inodes: 2 });
    wants.note(FS, Owner::Group(7), Space { bytes: 99, inodes: 9 }, 1);
    assert_eq!(wanted(&wants, KEPT_NS), Space { bytes: 10, inodes: 2 });
}

#[test]
fn what_nobody_wants_any_more_is_forgotten() {
    let wants = Wants::default();
    wants.note(FS, OWNER, Space { bytes: 10, inodes: 1 }, 0);
    assert_eq!(wanted(&wants, KEPT_NS), Space::default());
    wants.note(FS, OWNER, Space { bytes: 3, inodes: 0 }, KEPT_NS);
    assert_eq!(wanted(&wants, KEPT_NS + 1), Space { bytes: 3, inodes: 0 });
}
