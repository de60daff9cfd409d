//! Names and paths: any bytes, and their limits.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "a name has any bytes but two",
        "
        root create a\\x20b\\x0a\\xff\\x01 0644
        root ls . -> a\\x20b\\x0a\\xff\\x01
        root rename a\\x20b\\x0a\\xff\\x01 \\xfe
        root mkdir \\xc3\\x28 0755
        root stat \\xc3\\x28/../\\xfe -> type=file
        root create -\\x2a 0644
        root create ... 0644
        root ls . -> -*,...,\\xc3(,\\xfe
    ",
    ),
    case(
        "a name has 255 bytes",
        "
        root create {n*255} 0644
        root mkdir {d*255} 0755
        root create {d*255}/{n*255} 0644
        root create {n*256} 0644 -> ENAMETOOLONG
        root mkdir {n*256} 0755 -> ENAMETOOLONG
        root mkfifo {n*256} 0644 -> ENAMETOOLONG
        root symlink x {n*256} -> ENAMETOOLONG
        root link {n*255} {n*256} -> ENAMETOOLONG
        root rename {n*255} {n*256} -> ENAMETOOLONG
        root rename {n*256} x -> ENAMETOOLONG
        root unlink {n*256} -> ENAMETOOLONG
        root rmdir {n*256} -> ENAMETOOLONG
        root stat {n*256} -> ENAMETOOLONG
        root chmod {n*256} 0644 -> ENAMETOOLONG
        root truncate {n*256} 0 -> ENAMETOOLONG
        root open a {n*256} creat,rw 0644 -> ENAMETOOLONG
        root rename {n*255} {m*255}
        root stat {m*255}
    ",
    ),
    case(
        "a path has 4095 bytes",
        "
        root create f 0644
        root stat {./*2047}f
        root stat {./*2048}f -> ENAMETOOLONG
        root create {./*2047}g 0644
        root create {./*2048}g 0644 -> ENAMETOOLONG
        root rename {./*2047}f {./*2047}h
        root symlink {./*2047}h l
        root stat l -> size=0
        root readlink l -> {./*2047}h
    ",
    ),
    case(
        "a link has any target of 4095 bytes",
        "
        root symlink {x*4095} l
        root lstat l -> size=4095
        root symlink {x*4096} m -> ENAMETOOLONG
        root symlink a\\x20\\xff\\x0a n
        root readlink n -> a\\x20\\xff\\x0a
        root readlink . -> EINVAL
        root stat l -> ENAMETOOLONG
    ",
    ),
    case(
        "links are followed 40 times",
        "
        root symlink l0 l1
        root symlink l1 l0
        root stat l0 -> ELOOP
        root open a l0 r -> ELOOP
        root truncate l0 0 -> ELOOP
        root mkdir l0/x 0755 -> ELOOP
        root unlink l0/x -> ELOOP
        root rename l0/x y -> ELOOP
        root chown l0 root root -> ELOOP
        root unlink l0
    ",
    ),
    case(
        "a slash at the end is for folders",
        "
        root create f 0644
        root mkdir d 0755
        root stat f/ -> ENOTDIR
        root stat d/
        root unlink f/ -> ENOTDIR
        root mkdir e/ 0755
        root rename d/ g/
        root rmdir g/
        root create h/ 0644 -> EISDIR
    ",
    ),
    case(
        "many names in a folder",
        "
        root mkdir d 0755
        root create d/1 0644
        root create d/2 0644
        root mkdir d/3 0755
        root symlink x d/4
        root ls d -> 1,2,3,4
        root unlink d/2
        root rename d/1 d/5
        root ls d -> 3,4,5
        root statfs d -> name_max=255 sane=true
    ",
    ),
];
