//! unlink and rmdir.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "what may be removed how",
        "
        root create f 0644
        root mkdir d 0755
        root symlink d l
        root mkfifo p 0644
        root unlink d -> EISDIR
        root rmdir f -> ENOTDIR
        root rmdir l -> ENOTDIR
        root rmdir none -> ENOENT
        root unlink none -> ENOENT
        root unlink f/x -> ENOTDIR
        root rmdir f/x -> ENOTDIR
        root rmdir d/. -> EINVAL
        root rmdir d/.. -> ENOTEMPTY
        root unlink l
        root unlink p
        root unlink f
        root rmdir d
        root ls . -> empty
    ",
    ),
    case(
        "folders must be empty",
        "
        root mkdir d 0755
        root create d/f 0644
        root rmdir d -> ENOTEMPTY
        root unlink d/f
        root symlink x d/l
        root rmdir d -> ENOTEMPTY
        root unlink d/l
        root mkdir d/e 0755
        root rmdir d -> ENOTEMPTY
        root stat d -> nlink=3
        root rmdir d/e
        root stat d -> nlink=2
        root rmdir d
        root stat d -> ENOENT
    ",
    ),
    case(
        "removing changes the times of the folder and of what is left",
        "
        root mkdir d 0755
        root create d/f 0644
        root link d/f g
        root mkdir d/e 0755
        root mark d
        root mark g
        root unlink d/f
        root changed d mtime ctime
        root changed g ctime nlink
        root same g mtime
        root mark d
        root rmdir d/e
        root changed d mtime ctime nlink
        root mark d
        root rmdir d/e -> ENOENT
        root same d mtime ctime
    ",
    ),
    case(
        "a sticky folder is for owners",
        "
        root mkdir d 1777
        root chmod d 1777
        alice create d/f 0666
        alice mkdir d/e 0777
        alice create d/k 0666
        bob unlink d/f -> EPERM
        bob rmdir d/e -> EPERM
        bob rename d/f d/g -> EPERM
        bob rename d/e d/g -> EPERM
        bob create d/b 0644
        bob rename d/b d/f -> EPERM
        bob exchange d/b d/f -> EPERM
        alice rename d/f d/g
        alice unlink d/g
        root chown d bob bob
        bob unlink d/k
        bob rmdir d/e
        root unlink d/b
    ",
    ),
    case(
        "what is open outlives its name",
        "
        alice open a f creat,rw 0600
        alice write a before
        alice unlink f
        alice stat f -> ENOENT
        alice fstat a -> nlink=0 size=6
        alice pwrite a 6 after -> 5
        alice pread a 0 20 -> beforeafter
        alice ftruncate a 2
        alice fchmod a 0400
        alice fstat a -> size=2 mode=0400
        alice linkfd a g -> ENOENT
        alice close a
    ",
    ),
    case(
        "a replaced file outlives its name while it is open",
        "
        alice put f old
        alice put g new
        alice open a f r
        alice rename g f
        alice pread a 0 9 -> old
        alice fstat a -> nlink=0
        alice cat f -> new
    ",
    ),
];
