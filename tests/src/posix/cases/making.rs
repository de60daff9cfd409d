//! Making files, folders, links, pipes, devices; what they inherit.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "what is made has its maker, its mode without the umask, and now",
        "
        alice umask 027
        alice create f 0666
        alice stat f -> type=file mode=0640 uid=alice gid=alice size=0 nlink=1 born=true
        alice mkdir d 0777
        alice stat d -> type=dir mode=0750 nlink=2
        alice mkfifo p 0666
        alice stat p -> type=fifo mode=0640
        alice mknod s s 0777 0 0
        alice stat s -> type=socket mode=0750
        alice mknod r f 0666 0 0
        alice stat r -> type=file mode=0640
        alice symlink x l
        alice lstat l -> type=link mode=0777 size=1
    ",
    ),
    case(
        "devices are for the superuser and keep their numbers",
        "
        alice mknod c c 0666 1 3 -> EPERM
        alice mknod b b 0666 7 0 -> EPERM
        root mknod c c 0666 250 1048575
        root stat c -> type=char device=250:1048575 mode=0666
        root mknod b b 0660 4095 3
        root stat b -> type=block device=4095:3
    ",
    ),
    case(
        "names that exist are not made again",
        "
        root create f 0644
        root mkdir d 0755
        root symlink none l
        root mkfifo p 0644
        root mkdir f 0755 -> EEXIST
        root mkdir d 0755 -> EEXIST
        root mkdir l 0755 -> EEXIST
        root create f 0644 -> EEXIST
        root create d 0644 -> EEXIST
        root create l 0644 -> EEXIST
        root mkfifo f 0644 -> EEXIST
        root mknod p c 0644 1 2 -> EEXIST
        root symlink x f -> EEXIST
        root symlink x l -> EEXIST
        root link f d -> EEXIST
        root link f l -> EEXIST
        root mkdir . 0755 -> EEXIST
        root mkdir d/.. 0755 -> EEXIST
    ",
    ),
    case(
        "a folder must be there, and be one",
        "
        root create f 0644
        root mkdir none/d 0755 -> ENOENT
        root create none/f 0644 -> ENOENT
        root symlink x none/l -> ENOENT
        root mkdir f/d 0755 -> ENOTDIR
        root create f/g 0644 -> ENOTDIR
        root mkfifo f/g 0644 -> ENOTDIR
        root symlink x f/g -> ENOTDIR
        root link f f/g -> ENOTDIR
        root link none g -> ENOENT
        root link f/x g -> ENOTDIR
        root symlink '' l -> ENOENT
        root symlink loop loop
        root create loop/f 0644 -> ELOOP
        root stat loop -> ELOOP
        root open a f r,dir -> ENOTDIR
        root open a loop r,nofollow -> ELOOP
    ",
    ),
    case(
        "making a name changes the times of its folder",
        "
        root mkdir d 0755
        root create f 0644
        root mark d
        root create d/f 0644
        root changed d mtime ctime
        root mark d
        root mkdir d/d 0755
        root changed d mtime ctime nlink
        root mark d
        root symlink x d/l
        root changed d mtime ctime
        root mark d
        root mkfifo d/p 0644
        root changed d mtime ctime
        root mark d
        root mark f
        root link f d/h
        root changed d mtime ctime
        root changed f ctime nlink
        root same f mtime
        root mark d
        root mkdir d/d 0755 -> EEXIST
        root same d mtime ctime
    ",
    ),
    case(
        "a set-group-id folder hands its group down",
        "
        root mkdir d 0777
        root chown d root both
        root chmod d 2777
        alice create d/f 0644
        alice mkdir d/e 0755
        alice stat d/f -> gid=both mode=0644
        alice stat d/e -> gid=both mode=2755
        alice mkdir d/e/e 0700
        alice stat d/e/e -> gid=both mode=2700
        root chown d root root
        alice open a d/g creat,rw 2755
        alice stat d/g -> gid=root mode=0755
        alice symlink x d/l
        alice lstat d/l -> gid=root
    ",
    ),
    case(
        "links share everything",
        "
        alice put f one
        alice link f g
        alice stat g -> nlink=2 size=3
        alice put g three
        alice stat f -> size=5
        alice cat f -> three
        alice chmod f 0600
        alice stat g -> mode=0600
        alice unlink f
        alice stat g -> nlink=1
        alice mkdir d 0755
        alice link g d/h
        alice unlink g
        alice cat d/h -> three
        alice mkfifo p 0644
        alice link p q
        alice stat q -> nlink=2 type=fifo
        alice symlink none l
        alice link l m
        alice lstat m -> nlink=2 type=link
    ",
    ),
    case(
        "folders have no other names",
        "
        root mkdir d 0755
        root link d e -> EPERM
        root link . e -> EPERM
        alice link d e -> EPERM
    ",
    ),
    case(
        "links over folders of other shards",
        "
        root mkdir a 0755
        root mkdir b 0755
        root mkdir c 0755
        root put a/f text
        root link a/f b/f
        root link b/f c/f
        root stat c/f -> nlink=3
        root rename b/f a/g
        root unlink a/f
        root stat a/g -> nlink=2
        root cat c/f -> text
        root link c/f a/g -> EEXIST
        root unlink c/f
        root unlink a/g
        root ls a -> empty
    ",
    ),
    case(
        "opening with O_CREAT",
        "
        alice open a f creat,rw 0640
        alice write a abc
        alice open b f creat,r 0777
        alice stat f -> mode=0640 size=3
        alice open c f creat,excl,rw 0640 -> EEXIST
        alice open d f creat,trunc,w 0640
        alice stat f -> size=0
        alice mkdir dir 0755
        alice open e dir creat,rw 0640 -> EISDIR
        alice open e dir w -> EISDIR
        alice symlink g l
        alice open h l creat,w 0600
        alice stat g -> type=file
        alice open i l creat,excl,w 0600 -> EEXIST
        bob open j f creat,w 0644 -> EACCES
    ",
    ),
    case(
        "files without names",
        "
        alice mkdir d 0755
        alice tmpfile t d rw 0640
        alice write t hidden
        alice fstat t -> nlink=0 size=6 mode=0640
        alice ls d -> empty
        alice linkfd t d/f
        alice stat d/f -> nlink=1 size=6
        alice cat d/f -> hidden
        alice tmpfile u d rw,excl 0600
        alice linkfd u d/g -> ENOENT
        alice tmpfile v d w 0600
        alice write v x
        alice close v
        alice ls d -> f
        root create file 0644
        root tmpfile w file rw 0600 -> ENOTDIR
    ",
    ),
];
