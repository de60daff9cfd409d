//! What an operation on the namespace can answer. Closed, so that every front end maps all of it.

use serde::{Deserialize, Serialize};

macro_rules! errno {
    ($($(#[$doc:meta])* $name:ident = $raw:literal, $text:literal;)*) => {
        /// A POSIX error number, by name. The raw values are those of Linux.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, thiserror::Error)]
        pub enum Errno {
            $($(#[$doc])* #[error($text)] $name,)*
        }

        impl Errno {
            /// The number Linux gives it.
            #[must_use]
            pub fn raw(self) -> i32 {
                match self { $(Self::$name => $raw,)* }
            }

            /// The name for a number of Linux; `Io` for one that is not listed here.
            #[must_use]
            pub fn from_raw(raw: i32) -> Self {
                match raw { $($raw => Self::$name,)* _ => Self::Io }
            }
        }
    };
}

errno! {
    /// `EPERM`
    NotPermitted = 1, "operation not permitted";
    /// `ENOENT`
    NoEntry = 2, "no such file or directory";
    /// `EINTR`
    Interrupted = 4, "interrupted";
    /// `EIO`
    Io = 5, "input/output error";
    /// `ENXIO`
    NoDevice = 6, "no such device or address";
    /// `EBADF`
    BadHandle = 9, "bad file descriptor";
    /// `EAGAIN`
    Again = 11, "try again";
    /// `EACCES`
    Access = 13, "permission denied";
    /// `EBUSY`
    Busy = 16, "device or resource busy";
    /// `EEXIST`
    Exists = 17, "file exists";
    /// `EXDEV`
    CrossDevice = 18, "cross-device link";
    /// `E2BIG`
    TooLong = 7, "argument list too long";
    /// `ENOTDIR`
    NotDirectory = 20, "not a directory";
    /// `EISDIR`
    IsDirectory = 21, "is a directory";
    /// `EINVAL`
    Invalid = 22, "invalid argument";
    /// `EFBIG`
    TooBig = 27, "file too large";
    /// `ENOSPC`
    NoSpace = 28, "no space left on device";
    /// `EROFS`
    ReadOnly = 30, "read-only file system";
    /// `EMLINK`
    TooManyLinks = 31, "too many links";
    /// `ERANGE`
    Range = 34, "result too large";
    /// `ENAMETOOLONG`
    NameTooLong = 36, "file name too long";
    /// `ENOSYS`
    NotImplemented = 38, "function not implemented";
    /// `ENOTEMPTY`
    NotEmpty = 39, "directory not empty";
    /// `ELOOP`
    Loop = 40, "too many levels of symbolic links";
    /// `ENODATA`
    NoData = 61, "no data available";
    /// `EOVERFLOW`
    Overflow = 75, "value too large";
    /// `EOPNOTSUPP`
    NotSupported = 95, "operation not supported";
    /// `ETIMEDOUT`
    TimedOut = 110, "timed out";
    /// `ESTALE`
    Stale = 116, "stale file handle";
    /// `EDQUOT`
    Quota = 122, "disk quota exceeded";
    /// `EDEADLK`
    Deadlock = 35, "resource deadlock avoided";
    /// `ENOLCK`
    NoLocks = 37, "no locks available";
}
