//! FUSE: the kernel's requests, translated to calls of the client library and back.
//!
//! Job: [`front`] is the filesystem that the FUSE session asks; one file says what each group of operations means
//! ([`names`], [`attributes`], [`io`], [`directories`], [`xattrs`], [`locks`]), and [`convert`] holds the words of both
//! sides against each other.
//!
//! Semantics: the kernel checks permissions with everything it knows of the caller (`default_permissions`), the shard
//! again with the ids and groups it is told. What the client believes under its leases the kernel may believe too, and is
//! made to forget ([`kernel`]): names and attributes for a second at a time, pages until then. Writes go through to the
//! client at once, which writes them behind or through. Locks are asked of the shards. Last access is told by what reaches
//! us, so not by reads of pages the kernel has.

mod absent;
mod attributes;
mod convert;
mod directories;
mod front;
mod groups;
mod io;
mod kernel;
mod locks;
mod names;
mod session;
mod xattrs;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_client::{ClientError, Filesystem};
use forebay_fuse::abi::{Caller, Handle};
use forebay_types::Cred;

pub use front::Front;
pub use session::FuseSession;

/// What every operation has: the filesystem, and what is kept between requests.
struct Ops {
    fs: Filesystem,
    listings: directories::Listings,
    groups: groups::GroupCache,
    absent: absent::Absent,
    kernel: Arc<kernel::Kernel>,
    last_handle: AtomicU64,
}

impl Ops {
    fn new(fs: Filesystem, runtime: tokio::runtime::Handle) -> Self {
        Self {
            kernel: kernel::Kernel::new(fs.clone(), runtime),
            fs,
            listings: directories::Listings::default(),
            groups: groups::GroupCache::default(),
            absent: absent::Absent::default(),
            last_handle: AtomicU64::new(0),
        }
    }

    /// The caller's identity, with the supplementary groups that the kernel does not tell.
    fn cred(&self, caller: Caller) -> Cred {
        Cred { uid: caller.uid, gid: caller.gid, groups: self.groups.of(caller) }
    }

    /// A handle for a file that has been opened. It says whether the file can be written by it.
    fn new_handle(&self, writes: bool) -> Handle {
        Handle((self.last_handle.fetch_add(1, Ordering::Relaxed) + 1) << 1 | u64::from(writes))
    }
}

/// Whether a file can be written by a handle.
fn writes(handle: Handle) -> bool {
    handle.0 & 1 != 0
}

/// What an operation comes to.
type Outcome<T> = Result<T, ClientError>;
