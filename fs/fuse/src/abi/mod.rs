//! The kernel's words: requests from bytes, answers and notices to bytes.
//!
//! Job: [`decode`] reads what one read of `/dev/fuse` returns, [`encode`] and [`Notice::encode`] make what is written
//! to it. Layouts and numbers are those of `linux/fuse.h`, version 7, minor versions from 24 on. Invariants: no bytes
//! make it panic or take more memory than they have; what is malformed is an error that names the opcode; data is
//! neither copied on its way in nor on its way out. Knows no descriptor, no thread and no filesystem.

pub mod codes;
mod decode;
mod directory;
mod layout;
mod notice;
mod operation;
mod reply;

pub use codes::Opcode;
pub use decode::{DecodeError, Dialect, HEADER_BYTES, decode};
pub use directory::Listing;
pub use notice::Notice;
pub use operation::{
    Caller, CopyRequest, Handle, Header, InitRequest, IoctlRequest, LockKind, LockMode, LockOwner, LockRange,
    LockRequest, NodeId, Operation, Request, SetAttr, SetTime, Time, WriteRequest,
};
pub use reply::{
    Attr, Encoded, Entry, HeldLock, InitReply, Opened, REPLY_HEADER_BYTES, Reply, SizedValue, StatFs, encode,
};
