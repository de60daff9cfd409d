//! rename, with and without flags.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "a name moves and replaces",
        "
        root put a one
        root put b two
        root rename a b
        root cat b -> one
        root stat a -> ENOENT
        root mkdir d 0755
        root mkdir e 0755
        root create d/x 0644
        root rename d e
        root ls e -> x
        root mkdir f 0755
        root rename e f/g
        root ls f/g -> x
        root stat f -> nlink=3
    ",
    ),
    case(
        "what may replace what",
        "
        root create f 0644
        root mkdir d 0755
        root mkdir full 0755
        root create full/x 0644
        root symlink f l
        root rename f d -> EISDIR
        root rename d f -> ENOTDIR
        root rename d l -> ENOTDIR
        root rename d full -> ENOTEMPTY
        root rename l d -> EISDIR
        root rename none x -> ENOENT
        root rename f none/x -> ENOENT
        root rename f f/x -> ENOTDIR
        root rename f/x y -> ENOTDIR
        root rename l f
        root readlink f -> f
    ",
    ),
    case(
        "a folder does not go below itself",
        "
        root mkdir a 0755
        root mkdir a/b 0755
        root mkdir a/b/c 0755
        root rename a a/b -> EINVAL
        root rename a a/x -> EINVAL
        root rename a a/b/c/x -> EINVAL
        root rename a/b/c a -> ENOTEMPTY
        root rename a/b a -> ENOTEMPTY
        root rename a/. x -> EBUSY
        root rename a/.. x -> EBUSY
        root rename a/b a/. -> EBUSY
        root rename a a
        root exchange a a/b -> EINVAL
        root exchange a/b/c a -> EINVAL
        root ls a/b -> c
    ",
    ),
    case(
        "two names of one file stay",
        "
        root put a text
        root link a b
        root rename a b
        root stat a -> nlink=2
        root stat b -> nlink=2
        root rename a a
    ",
    ),
    case(
        "no replacing where none is wanted",
        "
        root put a one
        root put b two
        root noreplace a b -> EEXIST
        root noreplace a a -> EEXIST
        root noreplace a c
        root cat c -> one
        root mkdir d 0755
        root noreplace c d -> EEXIST
        root noreplace none x -> ENOENT
    ",
    ),
    case(
        "names change places",
        "
        root put a one
        root put b two
        root exchange a b
        root cat a -> two
        root cat b -> one
        root mkdir d 0755
        root mkdir d/e 0755
        root create d/e/in 0644
        root exchange a d/e
        root cat d/e -> two
        root ls a -> in
        root stat d -> nlink=2
        root ls a/.. -> a,b,d
        root symlink x l
        root exchange l b
        root readlink b -> x
        root cat l -> one
        root exchange a none -> ENOENT
        root exchange none a -> ENOENT
        root exchange b b
        root mkdir p 0755
        root mkdir p/q 0755
        root exchange a p
        root ls a -> q
        root ls p -> in
        root exchange a/q p
        root ls a/q -> in
        root ls a -> q
        root stat a -> nlink=3
    ",
    ),
    case(
        "times and links of the folders follow",
        "
        root mkdir a 0755
        root mkdir b 0755
        root create a/f 0644
        root mkdir a/d 0755
        root mark a
        root mark b
        root rename a/f b/f
        root changed a mtime ctime
        root changed b mtime ctime
        root mark a
        root mark b
        root rename a/d b/d
        root changed a mtime ctime nlink
        root changed b mtime ctime nlink
        root stat a -> nlink=2
        root stat b -> nlink=3
        root mark b
        root rename b/f b/none/x -> ENOENT
        root same b mtime ctime
    ",
    ),
    case(
        "the moved file's ctime",
        "
        root create f 0644
        root mark f
        root rename f f
        root same f ctime
        root mkdir d 0755
        root link f h
        root mark h
        root rename f g
        root changed h ctime
        root same h mtime
    ",
    ),
    case(
        "a moved folder must be writable to its mover",
        "
        root mkdir p 0777
        root mkdir q 0777
        root mkdir p/d 0755
        alice rename p/d p/e
        alice rename p/e q/e -> EACCES
        root chown p/e alice alice
        alice rename p/e q/e
        root create p/f 0644
        alice rename p/f q/f
        alice ls q -> e,f
        root mkdir p/x 0755
        alice exchange p/x q/e -> EACCES
    ",
    ),
    case(
        "a replaced link count",
        "
        root put a one
        root put b two
        root link b c
        root rename a b
        root stat c -> nlink=1
        root cat c -> two
    ",
    ),
];
