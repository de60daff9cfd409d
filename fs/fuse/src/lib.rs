//! The kernel's side of a mount: the FUSE protocol, typed, and a session that serves a filesystem.
//!
//! Job: [`abi`] turns bytes into operations and answers into bytes; [`transport`] carries them; [`session`] greets the
//! kernel, hands every operation to the [`Filesystem`]'s method, and sees to it that no caller waits for ever. The
//! kernel's protocol is described in its `Documentation/filesystems/fuse/`. Knows nothing of Forebay: nodes and
//! handles are numbers that the filesystem chooses.
#![deny(unsafe_code)]

pub mod abi;
mod filesystem;
pub mod session;
pub mod transport;

pub use filesystem::Filesystem;
pub use nix::errno::Errno;
pub use session::{Context, Session, Settings};
