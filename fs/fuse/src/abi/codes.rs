//! Numbers of the protocol, as `linux/fuse.h` has them.

macro_rules! opcodes {
    ($($name:ident = $number:literal;)*) => {
        /// What a request asks for, by its number; the names are the kernel's.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Opcode {
            $(#[doc = concat!("Number ", $number, ".")] $name,)*
            /// A number that this version of the protocol does not have.
            Unknown(u32),
        }

        impl Opcode {
            /// All that have a name.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// By number.
            #[must_use]
            pub fn from_raw(raw: u32) -> Self {
                match raw { $($number => Self::$name,)* other => Self::Unknown(other) }
            }

            /// Its number.
            #[must_use]
            pub fn raw(self) -> u32 {
                match self { $(Self::$name => $number,)* Self::Unknown(raw) => raw }
            }

            /// Its name, for the log.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* Self::Unknown(_) => "Unknown" }
            }
        }
    };
}

opcodes! {
    Lookup = 1; Forget = 2; GetAttr = 3; SetAttr = 4; ReadLink = 5; Symlink = 6; MkNod = 8; MkDir = 9; Unlink = 10;
    RmDir = 11; Rename = 12; Link = 13; Open = 14; Read = 15; Write = 16; StatFs = 17; Release = 18; Fsync = 20;
    SetXattr = 21; GetXattr = 22; ListXattr = 23; RemoveXattr = 24; Flush = 25; Init = 26; OpenDir = 27; ReadDir = 28;
    ReleaseDir = 29; FsyncDir = 30; GetLk = 31; SetLk = 32; SetLkW = 33; Access = 34; Create = 35; Interrupt = 36;
    Bmap = 37; Destroy = 38; Ioctl = 39; Poll = 40; NotifyReply = 41; BatchForget = 42; Fallocate = 43;
    ReadDirPlus = 44; Rename2 = 45; Lseek = 46; CopyFileRange = 47; SetupMapping = 48; RemoveMapping = 49; SyncFs = 50;
    TmpFile = 51; Statx = 52; CopyFileRange64 = 53;
}

/// Version of the protocol spoken here: 7, and this.
pub const MAJOR: u32 = 7;
/// Minor version: what is newer than this in a kernel is not asked for.
pub const MINOR: u32 = 41;
/// Oldest minor version whose structures are read right; kernel 4.5 speaks it.
pub const OLDEST_MINOR: u32 = 24;

/// Flags of INIT, 64 bits: the kernel offers, the reply takes.
pub mod init {
    /// Reads of one file may be under way together.
    pub const ASYNC_READ: u64 = 1;
    /// `fcntl` locks are asked for.
    pub const POSIX_LOCKS: u64 = 1 << 1;
    /// `O_TRUNC` comes with the open.
    pub const ATOMIC_O_TRUNC: u64 = 1 << 3;
    /// `.` and `..` are looked up, which NFS export needs.
    pub const EXPORT_SUPPORT: u64 = 1 << 4;
    /// Writes of more than a page.
    pub const BIG_WRITES: u64 = 1 << 5;
    /// The umask is left to the filesystem.
    pub const DONT_MASK: u64 = 1 << 6;
    /// `flock` locks are asked for.
    pub const FLOCK_LOCKS: u64 = 1 << 10;
    /// Cached pages go when attributes show a change.
    pub const AUTO_INVAL_DATA: u64 = 1 << 12;
    /// READDIRPLUS is known.
    pub const DO_READDIRPLUS: u64 = 1 << 13;
    /// The kernel chooses between READDIR and READDIRPLUS.
    pub const READDIRPLUS_AUTO: u64 = 1 << 14;
    /// Direct I/O of one file may be under way together.
    pub const ASYNC_DIO: u64 = 1 << 15;
    /// The kernel keeps dirty pages.
    pub const WRITEBACK_CACHE: u64 = 1 << 16;
    /// Lookups and listings of one directory may be under way together.
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    /// POSIX ACLs are kept by the filesystem and checked by the kernel.
    pub const POSIX_ACL: u64 = 1 << 20;
    /// The reply says how many pages a request may have.
    pub const MAX_PAGES: u64 = 1 << 22;
    /// Targets of symlinks are cached.
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    /// Cached pages go only when the daemon says so.
    pub const EXPLICIT_INVAL_DATA: u64 = 1 << 25;
    /// Privilege bits are taken off by the filesystem, which is told when.
    pub const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    /// SETXATTR has flags of its own.
    pub const SETXATTR_EXT: u64 = 1 << 29;
    /// The upper 32 bits count.
    pub const INIT_EXT: u64 = 1 << 30;
    /// Files opened for direct I/O may be mapped shared.
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
}

/// Flags of an opened file or directory.
pub mod opened {
    /// No page cache.
    pub const DIRECT_IO: u32 = 1;
    /// Cached pages stay.
    pub const KEEP_CACHE: u32 = 1 << 1;
    /// Listings of this directory are cached.
    pub const CACHE_DIR: u32 = 1 << 3;
    /// Closing needs no FLUSH.
    pub const NOFLUSH: u32 = 1 << 5;
    /// Direct writes of one file may be under way together.
    pub const PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
}
