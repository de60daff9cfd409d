//! The words of Forebay: ids, epochs, byte ranges, extents, attributes, errors and limits.
//!
//! Job: one definition of every noun that crosses a room. Invariants: ids are newtypes and never mixed; every
//! limit that another room enforces is named in [`limits`]. This crate knows no I/O, no clock and no codec.
#![forbid(unsafe_code)]

mod acl;
mod attr;
mod cred;
mod errno;
mod extent;
mod ids;
mod lease;
pub mod limits;
mod lock;
mod quota;
mod time;

pub use acl::{Acl, Perm};
pub use attr::{Attr, FileKind, NewMode, Statfs};
pub use cred::Cred;
pub use errno::Errno;
pub use extent::{ByteRange, Extent, Location, ObjectRef, StripeRef};
pub use ids::{
    DriveId, Epoch, FsId, Geometry, HostId, InodeId, LifetimeClass, LogPosition, OpId, PgId, SessionId, ShardId,
    StripeId, TaskId, TierId, Uuid,
};
pub use lease::LeaseMode;
pub use lock::{FileLock, LockKind, LockMode, LockSet, LockSpan};
pub use quota::{DEFAULT_GRACE_SECS, Limits, OverSince, Owner, Quota, Space};
pub use time::Timestamp;
