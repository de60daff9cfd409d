//! chmod and chown.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "modes are for owners",
        "
        alice create f 0644
        bob chmod f 0600 -> EPERM
        alice chmod f 0601
        root chmod f 0602
        alice stat f -> mode=0602
        alice mkdir d 0755
        bob chmod d 0777 -> EPERM
        alice mkfifo p 0644
        alice chmod p 0600
        alice stat p -> mode=0600
        alice chmod none 0644 -> ENOENT
        alice chmod f/x 0644 -> ENOTDIR
    ",
    ),
    case(
        "owners are for the superuser",
        "
        alice create f 0644
        alice chown f bob - -> EPERM
        bob chown f bob - -> EPERM
        bob chown f - both -> EPERM
        alice chown f alice -
        root chown f bob -
        root stat f -> uid=bob gid=alice
        alice chown f alice - -> EPERM
    ",
    ),
    case(
        "groups are for owners who are in them",
        "
        alice create f 0644
        alice chown f - staff
        alice chown f - both
        alice stat f -> gid=both
        alice chown f - bob -> EPERM
        alice chown f - root -> EPERM
        bob chown f - both -> EPERM
        alice chown f alice alice
        root chown f - root
        alice chown f - alice
        alice stat f -> gid=alice uid=alice
    ",
    ),
    case(
        "a change of owner takes set-id bits off",
        "
        alice create f 0755
        alice chmod f 6755
        alice chown f - both
        alice stat f -> mode=0755
        alice chmod f 6755
        root chown f bob -
        root stat f -> mode=0755 uid=bob
        root chmod f 6644
        root chown f alice alice
        root stat f -> mode=2644
        root mkdir d 6755
        root chmod d 6755
        root chown d alice alice
        root stat d -> mode=6755
    ",
    ),
    case(
        "set-group-id is for members of the group",
        "
        alice create f 0755
        root chown f - bob
        alice chmod f 2755
        alice stat f -> mode=0755
        alice chmod f 4755
        alice stat f -> mode=4755
        root chmod f 2755
        root stat f -> mode=2755
        alice chown f - staff
        alice chmod f 2755
        alice stat f -> mode=2755
    ",
    ),
    case(
        "who writes without privilege takes set-id bits off",
        "
        root create f 0777
        root chmod f 6777
        alice open a f w
        alice write a x
        alice stat f -> mode=0777
        root chmod f 6777
        alice ftruncate a 0
        root stat f -> mode=0777
        root chmod f 6777
        alice truncate f 5
        root stat f -> mode=0777
        root chmod f 6777
        root put f text
        root stat f -> mode=6777
        root chmod f 4777
        alice fallocate a grow 0 10
        root stat f -> mode=0777
        root chmod f 4777
        alice fallocate a punch 0 10
        root stat f -> mode=0777
    ",
    ),
    case(
        "set-id bits gone by a write do not come back",
        "
        root create f 0777
        root chmod f 4777
        alice open a f w
        alice write a x
        alice fstat a -> mode=0777
        alice fsync a
        alice close a
        root stat f -> mode=0777
        root chmod f 4777
        root stat f -> mode=4777
    ",
    ),
    case(
        "links have owners of their own",
        "
        alice create f 0644
        alice symlink f l
        root lchown l bob bob
        root lstat l -> uid=bob mode=0777
        root stat l -> uid=alice
        root chown l bob bob
        root stat f -> uid=bob
    ",
    ),
    case(
        "a change of mode or owner changes ctime only",
        "
        alice create f 0644
        alice mark f
        alice chmod f 0600
        alice changed f ctime
        alice same f mtime atime
        alice mark f
        alice chown f - staff
        alice changed f ctime gid
        alice same f mtime
        alice mark f
        alice chmod f 0600
        alice changed f ctime
        alice mark f
        bob chmod f 0777 -> EPERM
        bob chown f bob bob -> EPERM
        alice same f ctime mode
    ",
    ),
];
