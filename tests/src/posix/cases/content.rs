//! Sizes, holes, appending, sharing bytes.

use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(
        "a file of terabytes has nothing but holes",
        "
        root create f 0644
        root truncate f 8796093022208
        root stat f -> size=8796093022208 allocated=false
        root open a f rw
        root pwrite a 8796093022200 end -> 3
        root pread a 8796093022200 3 -> end
        root pread a 8796093022194 6 -> {\\x00*6}
        root truncate f 5
        root stat f -> size=5
        root pread a 0 9 -> {\\x00*5}
        root truncate f 9223372036854775808 -> EFBIG
    ",
    ),
    case(
        "what is cut off is zeros when it comes back",
        "
        root put f abcdef
        root truncate f 3
        root truncate f 6
        root cat f -> abc\\x00\\x00\\x00
        root open a f rw
        root pwrite a 8 z -> 1
        root cat f -> abc\\x00\\x00\\x00\\x00\\x00z
        root ftruncate a 0
        root cat f -> ''
        root pwrite a 2 x -> 1
        root cat f -> \\x00\\x00x
    ",
    ),
    case(
        "appending goes to the end",
        "
        root put f one
        root open a f w,append
        root write a two -> 3
        root open b f w
        root write b ONE -> 3
        root write a three -> 5
        root cat f -> ONEtwothree
        root truncate f 2
        root write a x -> 1
        root cat f -> ONx
    ",
    ),
    case(
        "descriptors are for what they were opened for",
        "
        root put f text
        root open r f r
        root open w f w
        root write r x -> EBADF
        root read w 5 -> EBADF
        root ftruncate r 0 -> EINVAL
        root fallocate r grow 0 1 -> EBADF
        root truncate . 0 -> EISDIR
        root mkfifo p 0644
        root truncate p 0 -> EINVAL
        root truncate none 0 -> ENOENT
        root truncate f/x 0 -> ENOTDIR
        root open d . r
        root read d 5 -> EISDIR
    ",
    ),
    case(
        "space is made, punched and zeroed",
        "
        root put f abcdefgh
        root open a f rw
        root fallocate a grow 0 12
        root stat f -> size=12
        root fallocate a keep 0 100
        root stat f -> size=12
        root fallocate a punch 2 3
        root pread a 0 12 -> ab\\x00\\x00\\x00fgh\\x00\\x00\\x00\\x00
        root fallocate a zero 6 10
        root stat f -> size=16
        root fallocate a zerokeep 0 1
        root fallocate a zerokeep 0 1000
        root stat f -> size=16
        root pread a 0 4 -> \\x00\\x00\\x00\\x00
        root fallocate a punch 0 1000
        root stat f -> size=16
        root fallocate a grow 0 0 -> EINVAL
        root fallocate a grow 9223372036854775807 1 -> EFBIG
    ",
    ),
    case(
        "holes are found",
        "
        root create f 0644
        root open a f rw
        root seek a data 0 -> ENXIO
        root seek a hole 0 -> ENXIO
        root ftruncate a 10000000
        root seek a hole 0 -> 0
        root pwrite a 0 {x*5000} -> 5000
        root pwrite a 4194304 {y*70000} -> 70000
        root fsync a
        root seek a data 0 -> 0
        root seek a data 10 -> 10
        root seek a data 1000000 -> 4194304
        root seek a data 4200000 -> 4200000
        root seek a data 5000000 -> ENXIO
        root seek a hole 5000000 -> 5000000
        root seek a hole 10000000 -> ENXIO
        root stat f -> allocated=true
    ",
    ),
    case(
        "bytes are copied from file to file",
        "
        root put f abcdefgh
        root put g 12345678
        root open a f rw
        root open b g rw
        root copy a 2 b 4 3 -> 3
        root cat g -> 1234cde8
        root copy a 6 b 8 100 -> 2
        root cat g -> 1234cde8gh
        root copy a 8 b 0 5 -> 0
        root copy b 0 b 20 4 -> 4
        root stat g -> size=24
        root pread b 18 6 -> \\x00\\x001234
        root copy b 0 b 2 4 -> EINVAL
        root pwrite a 2 XXX -> 3
        root pread b 4 3 -> cde
        root unlink f
        root close a
        root pread b 8 2 -> gh
    ",
    ),
    case(
        "large copies share what is stored",
        "
        root open a f creat,rw 0644
        root pwrite a 0 {abcdefgh*25000} -> 200000
        root pwrite a 1000000 {ABCDEFGH*2500} -> 20000
        root open b g creat,rw 0644
        root copy a 0 b 100 1020000 -> 1020000
        root pread b 100 8 -> abcdefgh
        root pread b 200094 10 -> cdefgh\\x00\\x00\\x00\\x00
        root pread b 1000100 8 -> ABCDEFGH
        root stat g -> size=1020100
        root ftruncate a 0
        root unlink f
        root fsync b
        root pread b 199940 8 -> abcdefgh
        root mkdir d 0755
        root open c d/h creat,rw 0644
        root copy b 0 c 0 2000000 -> 1020100
        root pread c 1020092 8 -> ABCDEFGH
    ",
    ),
    case(
        "a failing write leaves the file",
        "
        alice put f text
        alice chmod f 0444
        alice open a f w -> EACCES
        alice cat f -> text
        root chmod f 0644
        root put f longertext
        root cat f -> longertext
    ",
    ),
];

/// What not every filesystem can: the largest `off_t`, and holes of any size and place.
pub(super) const LARGEST: &[Case] = &[
    case(
        "a file is as long as off_t goes",
        "
        root create f 0644
        root truncate f 9223372036854775807
        root stat f -> size=9223372036854775807 allocated=false
        root open a f rw
        root pwrite a 9223372036854775800 end -> 3
        root pread a 9223372036854775800 3 -> end
        root seek a hole 0 -> 0
        root fsync a
        root seek a data 0 -> 9223372036854775800
        root fallocate a punch 9223372036854775800 7
        root fallocate a grow 9223372036854775807 1 -> EFBIG
        root stat f -> size=9223372036854775807 allocated=false
    ",
    ),
    case(
        "space cannot be taken out of the middle",
        "
        root put f {x*20000}
        root open a f rw
        root fallocate a collapse 0 4096 -> EOPNOTSUPP
        root fallocate a insert 0 4096 -> EOPNOTSUPP
        root stat f -> size=20000
    ",
    ),
    case(
        "an attribute has 65536 bytes",
        "
        root create f 0644
        root setxattr f user.a {v*65536}
        root getxattr f user.a -> {v*65536}
        root setxattr f user.b {v*65536}
        root listxattr f -> user.a,user.b
    ",
    ),
];
