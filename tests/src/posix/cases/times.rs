//! Times: what sets them, who may, how far they go.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "any nanosecond before and after 1970",
        "
        root create f 0644
        root utimes f 1.000000001 1700000000.123456789
        root stat f -> atime=1.000000001 mtime=1700000000.123456789
        root utimes f -1.500000000 -86400.000000001
        root stat f -> atime=-1.500000000 mtime=-86400.000000001
        root utimes f 4294967296.5 10000000000.999999999
        root stat f -> atime=4294967296.000000005 mtime=10000000000.999999999
        root mkdir d 0755
        root utimes d 5 6
        root stat d -> atime=5.000000000 mtime=6.000000000
        root symlink none l
        root lutimes l 7 8
        root lstat l -> atime=7.000000000 mtime=8.000000000
        root utimes l 1 1 -> ENOENT
    ",
    ),
    case(
        "one time at a time",
        "
        root create f 0644
        root utimes f 1 2
        root utimes f omit 3
        root stat f -> atime=1.000000000 mtime=3.000000000
        root utimes f 4 omit
        root stat f -> atime=4.000000000 mtime=3.000000000
        root mark f
        root utimes f omit now
        root changed f mtime ctime
        root same f atime
        root mark f
        root utimes f omit omit
        root same f atime mtime ctime
    ",
    ),
    case(
        "times of one's own choice are for owners",
        "
        alice create f 0666
        bob utimes f 1 1 -> EPERM
        bob utimes f now 1 -> EPERM
        bob utimes f omit 1 -> EPERM
        bob utimes f omit now -> EPERM
        bob utimes f now omit -> EPERM
        bob utimes f omit omit
        bob utimes f now now
        alice chmod f 0644
        bob utimes f now now -> EACCES
        alice utimes f 1 1
        alice chmod f 0444
        alice utimes f now now
        root utimes f 2 2
        alice stat f -> mtime=2.000000000
    ",
    ),
    case(
        "times set on an open file stay when it is closed",
        "
        alice open a f creat,rw 0644
        alice write a text
        alice futimes a 5 6
        alice fstat a -> mtime=6.000000000
        alice close a
        alice stat f -> atime=5.000000000 mtime=6.000000000 size=4
    ",
    ),
    case(
        "writing sets mtime and ctime at once, and closing does not",
        "
        alice open a f creat,rw 0644
        alice mark f
        alice write a text
        alice changed f mtime ctime size
        alice mark f
        alice fsync a
        alice close a
        alice same f mtime ctime size
        alice open a f rw
        alice mark f
        alice ftruncate a 4
        alice ftruncate a 2
        alice changed f mtime ctime
        alice mark f
        alice truncate f 10
        alice changed f mtime ctime
        alice mark f
        alice fallocate a grow 0 20
        alice changed f mtime ctime
        alice mark f
        alice fallocate a punch 0 5
        alice changed f mtime ctime
        alice mark f
        alice open b f w,trunc
        alice changed f mtime ctime
    ",
    ),
    case(
        "reading sets atime once after a change",
        "
        alice put f text
        alice mark f
        alice cat f -> text
        alice changed f atime
        alice same f mtime ctime
    ",
    ),
    case(
        "a failure changes no times",
        "
        alice create f 0644
        alice mark f
        bob open b f w -> EACCES
        bob truncate f 0 -> EACCES
        bob utimes f now now -> EACCES
        bob link f f -> EEXIST
        alice same f atime mtime ctime
    ",
    ),
];
