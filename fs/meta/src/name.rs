//! Names: which are legal, and what `.` and `..` are.

use forebay_types::{Errno, limits};

/// What a path component is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NameKind {
    Dot,
    DotDot,
    Plain,
}

/// Checks a name and says what it is.
pub(crate) fn check(name: &[u8]) -> Result<NameKind, Errno> {
    match name {
        b"" => Err(Errno::NoEntry),
        b"." => Ok(NameKind::Dot),
        b".." => Ok(NameKind::DotDot),
        _ if name.len() > limits::NAME_MAX => Err(Errno::NameTooLong),
        _ if name.contains(&b'/') || name.contains(&0) => Err(Errno::Invalid),
        _ => Ok(NameKind::Plain),
    }
}

/// Checks a name that is to be made; `.` and `..` exist already.
pub(crate) fn check_new(name: &[u8]) -> Result<(), Errno> {
    match check(name)? {
        NameKind::Plain => Ok(()),
        NameKind::Dot | NameKind::DotDot => Err(Errno::Exists),
    }
}
