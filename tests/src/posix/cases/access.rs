//! Who may read, write and search.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "the first class that fits decides",
        "
        root put f x
        root chown f alice both
        root chmod f 0070
        alice open a f r -> EACCES
        bob open b f rw
        root chmod f 0007
        bob open b f r -> EACCES
        alice open a f r -> EACCES
        root chmod f 0700
        alice open a f rw
        bob access f r -> EACCES
        root access f rw
    ",
    ),
    case(
        "supplementary groups count",
        "
        root mkdir d 0070
        root chown d root staff
        alice create d/f 0600
        alice ls d -> f
        bob ls d -> EACCES
        bob create d/g 0600 -> EACCES
        bob stat d/f -> EACCES
    ",
    ),
    case(
        "a folder without search hides what is below",
        "
        root mkdir d 0755
        root mkdir d/e 0777
        root put d/e/f x
        root chown d bob bob
        root chmod d 0644
        alice stat d/e/f -> EACCES
        alice ls d -> e
        alice create d/e/g 0644 -> EACCES
        alice unlink d/e/f -> EACCES
        alice rename d/e/f d/e/h -> EACCES
        alice link d/e/f h -> EACCES
        alice chmod d/e/f 0644 -> EACCES
        alice truncate d/e/f 0 -> EACCES
        alice readlink d/e -> EACCES
        alice setxattr d/e/f user.a b -> EACCES
        alice utimes d/e/f now now -> EACCES
        root chmod d 0711
        alice ls d -> EACCES
        alice stat d/e/f -> size=1
    ",
    ),
    case(
        "a folder without write takes and gives no names",
        "
        root mkdir d 0755
        root put d/f x
        root mkdir d/e 0755
        alice create d/new 0644 -> EACCES
        alice mkdir d/new 0755 -> EACCES
        alice mkfifo d/new 0644 -> EACCES
        alice mknod d/new s 0644 0 0 -> EACCES
        alice symlink x d/new -> EACCES
        alice unlink d/f -> EACCES
        alice rmdir d/e -> EACCES
        alice rename d/f d/g -> EACCES
        alice rename d/f f -> EACCES
        alice create g 0644
        alice rename g d/g -> EACCES
        alice exchange g d/f -> EACCES
        alice link g d/g -> EACCES
        alice tmpfile t d rw 0600 -> EACCES
        root ls d -> e,f
    ",
    ),
    case(
        "what is open stays open",
        "
        alice put f secret
        alice chmod f 0644
        bob open b f r
        alice chmod f 0600
        bob pread b 0 10 -> secret
        bob open c f r -> EACCES
        alice open a f rw
        alice chmod f 0000
        alice pwrite a 0 S -> 1
        alice ftruncate a 3
        alice fstat a -> size=3
        alice fallocate a grow 0 5
        alice truncate f 0 -> EACCES
    ",
    ),
    case(
        "a file is open for its maker whatever its mode",
        "
        alice open a f creat,excl,rw 0000
        alice write a hello -> 5
        alice pread a 0 9 -> hello
        alice open b f r -> EACCES
        alice stat f -> mode=0000 size=5
    ",
    ),
    case(
        "truncating takes write permission",
        "
        root put f x
        root chmod f 0644
        alice truncate f 0 -> EACCES
        alice open a f r,trunc -> EACCES
        alice stat f -> size=1
        root chmod f 0666
        alice truncate f 9
        alice stat f -> size=9
    ",
    ),
    case(
        "running takes an execute bit even for the superuser",
        "
        root put f x
        root chmod f 0644
        root access f x -> EACCES
        root chmod f 0645
        root access f x
        alice access f x
        alice access f rx
        alice access f w -> EACCES
    ",
    ),
];
