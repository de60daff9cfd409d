//! What stat says.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "numbers are one for a file and differ between files",
        "
        root create f 0644
        root link f g
        root mark f
        root rename g h
        root same f ino nlink
        root mkdir d 0755
        root mark d
        root rename d e
        root create e/x 0644
        root mkdir d 0700
        root changed d ino mode
    ",
    ),
    case(
        "folders count their folders",
        "
        root mkdir d 0755
        root mkdir d/a 0755
        root mkdir d/b 0755
        root create d/f 0644
        root stat d -> nlink=4
        root rmdir d/a
        root stat d -> nlink=3
        root mkdir e 0755
        root rename d/b e/b
        root stat d -> nlink=2
        root stat e -> nlink=3
    ",
    ),
    case(
        "the time of making stays",
        "
        root create f 0644
        root stat f -> born=true
        root utimes f 1 1
        root put f text
        root stat f -> born=true
        root mkdir d 0755
        root stat d -> born=true
    ",
    ),
    case(
        "space is counted",
        "
        root create f 0644
        root stat f -> allocated=false
        root open a f w
        root write a {x*60000} -> 60000
        root fsync a
        root stat f -> allocated=true size=60000
        root truncate f 0
        root stat f -> allocated=false size=0
    ",
    ),
];
