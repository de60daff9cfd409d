//! Access control lists.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "named users and groups within the mask",
        "
        root put f text
        root chown f alice alice
        root chmod f 0600
        alice setacl f access u::rw-,u:bob:rw-,g::---,m::rw-,o::---
        alice stat f -> mode=0660
        bob access f rw
        bob cat f -> text
        alice chmod f 0640
        alice getacl f access -> u::rw-,u:bob:rw-,g::---,m::r--,o::---
        bob access f r
        bob open b f w -> EACCES
        alice setacl f access u::rw-,g::---,g:both:r--,m::rwx,o::rwx
        bob access f r
        bob access f w -> EACCES
        alice setacl f access u::---,g::rwx,g:staff:rwx,m::rwx,o::rwx
        alice open a f r -> EACCES
    ",
    ),
    case(
        "a list is for owners",
        "
        alice create f 0644
        bob setacl f access u::rwx,g::rwx,o::rwx -> EPERM
        root setacl f access u::rw-,u:bob:r--,g::r--,m::r--,o::---
        bob removexattr f system.posix_acl_access -> EPERM
        alice removexattr f system.posix_acl_access
        alice getacl f access -> ENODATA
        alice stat f -> mode=0640
    ",
    ),
    case(
        "a list that is a mode is a mode",
        "
        alice create f 0600
        alice setacl f access u::rwx,g::r-x,o::--x
        alice stat f -> mode=0751
        alice getacl f access -> ENODATA
        alice listxattr f -> none
    ",
    ),
    case(
        "what is not a list is refused",
        "
        alice create f 0644
        alice setacl f access u::rwx,g::r-x -> EINVAL
        alice setacl f access u::rwx,u:bob:rwx,g::r-x,o::--- -> EINVAL
        alice setacl f access g::rwx,u::r-x,o::--- -> EINVAL
        alice setacl f default u::rwx,g::r-x,o::--- -> EACCES
        alice symlink f l
        alice setxattr f system.posix_acl_access x -> EINVAL
        alice stat f -> mode=0644
    ",
    ),
    case(
        "a default list goes down",
        "
        alice mkdir d 0755
        alice setacl d default u::rwx,u:bob:rwx,g::r-x,m::rwx,o::---
        alice stat d -> mode=0755
        alice listxattr d -> system.posix_acl_default
        alice umask 077
        alice create d/f 0666
        alice getacl d/f access -> u::rw-,u:bob:rwx,g::r-x,m::rw-,o::---
        alice stat d/f -> mode=0660
        bob access d/f rw
        alice mkdir d/e 0777
        alice stat d/e -> mode=0770
        alice getacl d/e default -> u::rwx,u:bob:rwx,g::r-x,m::rwx,o::---
        alice getacl d/e access -> u::rwx,u:bob:rwx,g::r-x,m::rwx,o::---
        bob create d/e/g 0640
        bob stat d/e/g -> mode=0640 uid=bob
        bob mkdir d/e/h 0700
        alice mkfifo d/p 0600
        alice stat d/p -> mode=0600
        alice symlink x d/l
        alice lstat d/l -> mode=0777
        alice open t d/new creat,rw 0644
        alice stat d/new -> mode=0640
        alice removexattr d system.posix_acl_default
        alice create d/plain 0666
        alice stat d/plain -> mode=0600
        alice getacl d/plain access -> ENODATA
    ",
    ),
    case(
        "a default list that is a mode takes the place of the umask",
        "
        alice mkdir d 0755
        alice setacl d default u::rwx,g::rwx,o::r-x
        alice umask 077
        alice create d/f 0666
        alice stat d/f -> mode=0664
        alice getacl d/f access -> ENODATA
    ",
    ),
    case(
        "folders are searched and changed by their lists",
        "
        root mkdir d 0700
        root setacl d access u::rwx,u:alice:r-x,u:bob:-wx,g::---,m::rwx,o::---
        root create d/f 0666
        alice ls d -> f
        alice create d/x 0644 -> EACCES
        alice stat d/f
        bob ls d -> EACCES
        bob create d/b 0644
        bob unlink d/f
        alice unlink d/b -> EACCES
        root chmod d 0700
        bob stat d/b -> EACCES
    ",
    ),
    case(
        "a list changes ctime and is kept over renames",
        "
        alice create f 0644
        alice mark f
        alice setacl f access u::rw-,u:bob:r--,g::r--,m::r--,o::---
        alice changed f ctime mode
        alice same f mtime
        alice mkdir d 0755
        alice rename f d/f
        alice getacl d/f access -> u::rw-,u:bob:r--,g::r--,m::r--,o::---
    ",
    ),
];
