//! Extended attributes.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "set, read, list, remove",
        "
        alice create f 0644
        alice listxattr f -> none
        alice setxattr f user.a one
        alice setxattr f user.b \\x00\\xff
        alice getxattr f user.a -> one
        alice getxattr f user.b -> \\x00\\xff
        alice listxattr f -> user.a,user.b
        alice setxattr f user.a '' replace
        alice getxattr f user.a -> ''
        alice setxattr f user.a x create -> EEXIST
        alice setxattr f user.c x replace -> ENODATA
        alice setxattr f user.c x create
        alice removexattr f user.a
        alice removexattr f user.a -> ENODATA
        alice getxattr f user.a -> ENODATA
        alice listxattr f -> user.b,user.c
        alice mkdir d 0755
        alice setxattr d user.a of-a-folder
        alice getxattr d user.a -> of-a-folder
    ",
    ),
    case(
        "who may",
        "
        alice create f 0644
        bob setxattr f user.a x -> EACCES
        alice setxattr f user.a x
        bob getxattr f user.a -> x
        alice chmod f 0600
        bob getxattr f user.a -> EACCES
        bob removexattr f user.a -> EACCES
        alice setxattr f trusted.a x -> EPERM
        root setxattr f trusted.a x
        root getxattr f trusted.a -> x
        alice getxattr f trusted.a -> ENODATA
        alice listxattr f -> user.a
        root listxattr f -> trusted.a,user.a
        alice removexattr f trusted.a -> EPERM
        alice setxattr f security.a x -> EPERM
        root setxattr f security.a x
        alice getxattr f security.a -> x
    ",
    ),
    case(
        "what may have which",
        "
        root symlink none l
        root lsetxattr l user.a x -> EPERM
        root lsetxattr l trusted.a x
        root mkfifo p 0666
        alice setxattr p user.a x -> EPERM
        root create f 0644
        root setxattr f other.a x -> EOPNOTSUPP
        root setxattr f user. x -> EINVAL
        root getxattr f other.a -> EOPNOTSUPP
        root mkdir d 1777
        root chmod d 1777
        bob setxattr d user.a x -> EPERM
        root setxattr d user.a x
    ",
    ),
    case(
        "limits",
        "
        root create f 0644
        root setxattr f user.{n*250} x
        root setxattr f user.{n*251} x -> ERANGE
        root getxattr f user.{n*250} -> x
        root setxattr f user.big {v*2000}
        root getxattr f user.big -> {v*2000}
        root setxattr f user.big {v*65537} -> E2BIG
    ",
    ),
    case(
        "a change changes ctime only",
        "
        root create f 0644
        root mark f
        root setxattr f user.a x
        root changed f ctime
        root same f mtime
        root mark f
        root removexattr f user.a
        root changed f ctime
        root same f mtime
        root mark f
        root removexattr f user.a -> ENODATA
        root same f ctime
    ",
    ),
    case(
        "attributes follow a file under its names and go with it",
        "
        root create f 0644
        root setxattr f user.a x
        root link f g
        root getxattr g user.a -> x
        root mkdir d 0755
        root rename f d/f
        root getxattr d/f user.a -> x
        root create h 0644
        root rename h g
        root listxattr g -> none
    ",
    ),
    case(
        "file capabilities go with the content",
        "
        root create f 0755
        root setxattr f security.capability \\x01\\x00\\x00\\x02\\x00\\x04{\\x00*14}
        root listxattr f -> security.capability
        alice setxattr f security.capability \\x01\\x00\\x00\\x02\\x00\\x04{\\x00*14} -> EPERM
        root put f text
        root listxattr f -> none
    ",
    ),
];
