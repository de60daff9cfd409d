//! Service *meta*: clients and movers to a metadata shard, and shards to each other.
//!
//! Reads are answered from applied state. A mutation is one log entry of one shard and carries an [`OpId`]: the shard
//! keeps its answer until the client says it has it, so a retry is safe. [`MetaCall::Peer`] carries the numbered,
//! idempotent steps of operations that touch two shards.

mod fsck;
mod peer;

use bytes::Bytes;
use forebay_types::{
    Attr, ByteRange, Cred, Epoch, Errno, Extent, FileKind, FileLock, FsId, Geometry, HostId, InodeId, LeaseMode,
    LifetimeClass, NewMode, OpId, SessionId, ShardId, Statfs, StripeId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::chunk::Receipt;
pub use fsck::{
    CounterOf, Finding, FsckHold, FsckPage, FsckRead, FsckReply, FsckSeen, Held, InodeFacts, NameFacts, Part, Quantity,
    Repair,
};
pub use peer::{PeerAction, PeerStep, TxnId};

/// A call to a shard.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct MetaRequest {
    /// The shard.
    pub shard: ShardId,
    /// Map epoch the caller has.
    pub epoch: Epoch,
    /// The number of the session's introduction to the shard's leader ([`MetaReply::Introduced`]); 0 of who has no
    /// leases.
    pub number: u64,
    /// What is asked.
    pub call: MetaCall,
}

/// A shard's answer to a call.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct MetaAnswer {
    /// What it answers.
    pub reply: MetaReply,
    /// Inodes that the session may believe what it was told of, and now is.
    pub grants: Vec<Grant>,
    /// Inodes that the session has changed and must not go on believing.
    pub stale: Vec<InodeId>,
}

/// A lease, and what it is of: attributes that go with the answer, or are newer.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Grant {
    /// The inode's attributes.
    pub attr: Attr,
    /// What the session may do.
    pub mode: LeaseMode,
}

impl From<MetaReply> for MetaAnswer {
    fn from(reply: MetaReply) -> Self {
        Self { reply, grants: Vec::new(), stale: Vec::new() }
    }
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum MetaCall {
    /// Changes nothing that outlives the shard's process.
    Read {
        /// The filesystem.
        fs: FsId,
        /// The caller's session.
        session: SessionId,
        /// Who asks.
        cred: Cred,
        /// What.
        op: ReadOp,
    },
    /// Changes the namespace.
    Mutate(Box<Mutation>),
    /// Another shard's step.
    Peer(PeerStep),
}

/// A mutation with its name and its author.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Mutation {
    /// The filesystem.
    pub fs: FsId,
    /// Its name, for exactly-once.
    pub id: OpId,
    /// The session has the answers to all its mutations below this sequence number: they can be forgotten.
    pub acknowledged_below: u64,
    /// Who asks.
    pub cred: Cred,
    /// What.
    pub op: MutateOp,
}

/// Reads.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum ReadOp {
    /// Find a name in a directory (`.` and `..` are legal).
    Lookup {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
    },
    /// Attributes of an inode.
    GetAttr {
        /// The inode.
        ino: InodeId,
    },
    /// Entries of a directory.
    ReadDir {
        /// The directory.
        dir: InodeId,
        /// Entries after this cookie; 0 for all.
        after: u64,
        /// Most entries in the answer.
        limit: u32,
        /// Whether to add the attributes that this shard has.
        with_attrs: bool,
    },
    /// Target of a symlink.
    ReadLink {
        /// The symlink.
        ino: InodeId,
    },
    /// Value of an extended attribute.
    GetXattr {
        /// The inode.
        ino: InodeId,
        /// Its full name, as in `user.mime_type`.
        name: Bytes,
    },
    /// Names of extended attributes.
    ListXattr {
        /// The inode.
        ino: InodeId,
    },
    /// Check permission and remember (until `Close` or the session's end) that the session has the file open: an
    /// unlinked file lives as long. Opened twice, one `Close` still ends it: clients count. With neither `read` nor `write` nothing is checked: for a file the caller has just
    /// made, whose mode may deny what its descriptor allows.
    Open {
        /// The file.
        ino: InodeId,
        /// To read.
        read: bool,
        /// To write.
        write: bool,
    },
    /// The session has the file open no more.
    Close {
        /// The file.
        ino: InodeId,
    },
    /// Where a file's bytes are.
    Extents {
        /// The file.
        ino: InodeId,
        /// Which of its bytes.
        range: ByteRange,
    },
    /// Space and inodes of this shard's part of the filesystem: `total_bytes` is what its files' extents cover, and
    /// `free_bytes` is zero.
    Statfs,
    /// Begin anew with a leader: everything that the session has open in the shard, and which exclusive leases and
    /// locks it has from an earlier leader. It has given up all others. Answered with [`MetaReply::Introduced`].
    Introduce {
        /// What it has open, or is about to.
        inodes: Vec<OpenInode>,
        /// Files it writes behind.
        exclusive: Vec<Behind>,
        /// Locks of its programs.
        locks: LocksHeld,
    },
    /// An exclusive lease of a file, to write behind; granted or not, the answer is the file's attributes.
    Exclusive {
        /// The file.
        ino: InodeId,
        /// Whether it cannot be written without: then also where other sessions want the same.
        must: bool,
    },
    /// An exclusive lease of a directory, with all of it: the session goes on by itself from there and says with
    /// [`MutateOp::Logged`] what it has done. Answered with [`MetaReply::Delegated`], or [`Errno::Again`] where others
    /// are at the directory too or it has more names than a client should keep.
    Delegate {
        /// The directory.
        dir: InodeId,
    },
    /// For a check of the filesystem. Answered with [`MetaReply::Fsck`].
    Fsck(FsckRead),
}

/// Locks that programs of a session hold in a shard.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct LocksHeld {
    /// Whether the session's leases were good, by its clock, until it learned of the leader: if so, nobody else can have
    /// been given a lock that is in the way.
    pub good: bool,
    /// They, each with its file.
    pub locks: Vec<(InodeId, FileLock)>,
}

/// A file that a session writes behind.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Behind {
    /// The file.
    pub ino: InodeId,
    /// The version of its attributes that the session knows; 0 for none.
    pub version: u64,
    /// Whether the lease is still good by the session's clock.
    pub good: bool,
}

/// An inode that a session has open.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct OpenInode {
    /// The inode.
    pub ino: InodeId,
    /// Whether for writing.
    pub write: bool,
}

/// Mutations.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum MutateOp {
    /// Make a filesystem's root directory (idempotent; sent once by the cluster group to shard 0).
    MakeRoot,
    /// Make anything but a directory.
    Create {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// What to make.
        node: NewNode,
        /// Permission bits.
        mode: NewMode,
        /// Whether a name that exists is an error (`O_EXCL`, `mknod`, `symlink`); else it is returned.
        exclusive: bool,
        /// Whether the session has it open, for writing too, from its first moment on; not where it existed.
        open: bool,
        /// For imports (superuser only): owner, times and content at once.
        content: Option<Box<NewContent>>,
    },
    /// Make a directory.
    Mkdir {
        /// The directory it goes into.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// Permission bits.
        mode: NewMode,
    },
    /// Remove a name that is not a directory's.
    Unlink {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
    },
    /// Remove an empty directory.
    Rmdir {
        /// The directory it is in.
        parent: InodeId,
        /// The name.
        name: Bytes,
    },
    /// Move a name, replacing what has the new one. Sent to the shard of `parent`.
    Rename {
        /// The directory it is in.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// The directory it goes to.
        new_parent: InodeId,
        /// The new name.
        new_name: Bytes,
        /// What becomes of what has the new name.
        how: RenameHow,
    },
    /// Give a file another name. Sent to the shard of `parent`.
    Link {
        /// The file.
        ino: InodeId,
        /// The directory of the new name.
        parent: InodeId,
        /// The new name.
        name: Bytes,
    },
    /// Change attributes.
    SetAttr {
        /// The inode.
        ino: InodeId,
        /// What to change.
        set: SetAttr,
    },
    /// Set an extended attribute.
    SetXattr {
        /// The inode.
        ino: InodeId,
        /// Its full name.
        name: Bytes,
        /// Its value.
        value: Bytes,
        /// Whether it must, or must not, exist already.
        when: XattrWhen,
    },
    /// Remove an extended attribute.
    RemoveXattr {
        /// The inode.
        ino: InodeId,
        /// Its full name.
        name: Bytes,
    },
    /// Allocate stripe ids for the session; ids it does not commit are erased when the session ends.
    AllocateStripes {
        /// How many, at most [`forebay_types::limits::STRIPES_PER_ALLOCATION`].
        count: u32,
        /// How long their bytes are expected to live.
        class: LifetimeClass,
    },
    /// Map bytes of a file to new extents, whatever was there before.
    Commit {
        /// The file.
        ino: InodeId,
        /// New extents, in order, not overlapping.
        extents: Vec<Extent>,
        /// Proof that every stripe named that is not committed yet is durable.
        receipts: Vec<Receipt>,
        /// The file's size becomes at least this.
        size_at_least: u64,
        /// When the bytes were written, by the client's clock: the file's mtime and ctime become this, but nothing
        /// before its last change and nothing after now. Absent where the bytes are not new.
        touch: Option<Timestamp>,
        /// Whether set-user-id and set-group-id go: somebody without privilege has written.
        drop_privileges: bool,
    },
    /// Map bytes of a file to other extents holding the same bytes, only where they still are what is expected:
    /// recall (cold to hot) and evict (hot to cold). Answers [`Errno::Again`] where something else is there now.
    Exchange {
        /// The file.
        ino: InodeId,
        /// What must be there, in order.
        expect: Vec<Extent>,
        /// What is to be there; covers the same bytes.
        replace: Vec<Extent>,
        /// Proof that every new stripe is durable.
        receipts: Vec<Receipt>,
    },
    /// The session has ended: forget its answers, its open files and its uncommitted stripes.
    EndSession {
        /// The session.
        session: SessionId,
    },
    /// Make a file without a name (`O_TMPFILE`), which the session has open for writing: it goes with the last `Close`,
    /// unless it is given a name before.
    Tmpfile {
        /// The directory in which it could have a name.
        parent: InodeId,
        /// Permission bits.
        mode: NewMode,
        /// Whether it may be given a name at all (without `O_EXCL`).
        linkable: bool,
    },
    /// Make a range of a file zeros, or only the file longer. Space cannot be set aside: bytes are written elsewhere
    /// than those they replace.
    Fallocate {
        /// The file.
        ino: InodeId,
        /// Which of its bytes.
        range: ByteRange,
        /// Whether they become zeros (a hole).
        zero: bool,
        /// Whether the file's size stays (`FALLOC_FL_KEEP_SIZE`); else it becomes at least the range's end.
        keep_size: bool,
        /// Whether set-user-id and set-group-id go.
        drop_privileges: bool,
    },
    /// Map bytes of a file to where the bytes of another (or of itself, elsewhere) are: both share them. Answered with
    /// how many bytes that was, from the range's start on; fewer than asked for where there are very many extents.
    CopyRange {
        /// The file copied from, of the same shard.
        from: InodeId,
        /// Its bytes; those past its end are left out.
        range: ByteRange,
        /// The file copied to.
        to: InodeId,
        /// Where the first byte goes.
        to_offset: u64,
        /// Whether set-user-id and set-group-id of `to` go.
        drop_privileges: bool,
    },
    /// A file was read: its time of last access becomes `at`, where it is older than its last change or more than a
    /// day (`relatime`), and nothing has changed since.
    Accessed {
        /// The file.
        ino: InodeId,
        /// When it was read.
        at: Timestamp,
    },
    /// Set numbers aside for inodes that the session will make in directories delegated to it. Answered with
    /// [`MetaReply::Inodes`]; what it does not use is never used.
    ReserveInodes {
        /// How many, at most [`forebay_types::limits::INODES_PER_RESERVATION`].
        count: u32,
    },
    /// What the session has done by itself in directories delegated to it, in order. Each is carried out on its own; the
    /// answer, [`MetaReply::Logged`], names those that were refused. Refused as a whole ([`Errno::Stale`]) where a
    /// directory or file that it names is not the session's any more.
    Logged {
        /// At most [`forebay_types::limits::OPS_PER_LOG_MESSAGE`].
        ops: Vec<LoggedOp>,
    },
    /// Repair damage that a check has found (superuser only).
    Repair(Repair),
}

/// A mutation that a client has carried out on its own copy of a delegated directory: done again with the same time and
/// the same number it comes to the same.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct LoggedOp {
    /// The time it took place, by the shard's clock as far as the client knows it.
    pub now: Timestamp,
    /// The number of what it made.
    pub ino: Option<InodeId>,
    /// Who asked for it.
    pub cred: Cred,
    /// What it is: a mutation of one shard and of inodes that have one name.
    pub op: MutateOp,
}

/// What to make.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum NewNode {
    /// A regular file.
    File,
    /// A symlink to this target.
    Symlink(Bytes),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A device of this number.
    CharDevice(u32),
    /// A device of this number.
    BlockDevice(u32),
}

/// Owner, times and content of an imported file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct NewContent {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change.
    pub mtime: Timestamp,
    /// Size in bytes.
    pub size: u64,
    /// Where the bytes are.
    pub extents: Vec<Extent>,
}

/// Attributes to change; what is absent stays.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size: truncates, or grows with a hole.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of content.
    pub mtime: Option<SetTime>,
    /// Lifetime class of the bytes written from now on; new files and directories inherit their parent's (superuser).
    pub class: Option<LifetimeClass>,
    /// Whether set-user-id and set-group-id go, whoever asks: somebody without privilege has changed the content.
    pub drop_privileges: bool,
}

/// What a rename does with what has the new name.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum RenameHow {
    /// Replaces it, as POSIX says.
    Replace,
    /// Refuses (`RENAME_NOREPLACE`).
    NoReplace,
    /// Gives it the old name (`RENAME_EXCHANGE`).
    Exchange,
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum SetTime {
    /// The shard's time.
    Now,
    /// This.
    At(Timestamp),
}

/// Condition of setting an extended attribute.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum XattrWhen {
    /// In any case.
    Always,
    /// Only if it does not exist (`XATTR_CREATE`).
    Absent,
    /// Only if it exists (`XATTR_REPLACE`).
    Present,
}

/// What a shard answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum MetaReply {
    /// A name was found or made; `attr` is absent where another shard has it.
    Entry {
        /// The inode.
        ino: InodeId,
        /// What it is.
        kind: FileKind,
        /// Its attributes, where this shard has them.
        attr: Option<Attr>,
        /// Whether this call made it.
        created: bool,
    },
    /// Attributes.
    Attr(Attr),
    /// Directory entries.
    Entries {
        /// In cookie order.
        entries: Vec<DirEntry>,
        /// Whether there are no more.
        end: bool,
    },
    /// A symlink's target, or an extended attribute's value.
    Bytes(Bytes),
    /// Extended attribute names.
    Names(Vec<Bytes>),
    /// Extents of the range asked for, in order; bytes in none of them are holes.
    Extents {
        /// The file's attributes at the same moment.
        attr: Attr,
        /// The extents, clipped to the range, at most [`forebay_types::limits::EXTENTS_PER_MESSAGE`].
        extents: Vec<Extent>,
        /// How far the answer reaches: ask again from here where it is before the range's end.
        covered_to: u64,
        /// Lifetime class of the file.
        class: LifetimeClass,
    },
    /// Stripes allocated, each in a placement group of the geometry given.
    Stripes {
        /// Their ids.
        stripes: Vec<StripeId>,
        /// How each is to be cut, by position.
        geometries: Vec<Geometry>,
    },
    /// Space.
    Statfs(Statfs),
    /// Done, nothing to tell.
    Done,
    /// Refused; nothing has changed.
    Error(MetaError),
    /// Between shards: a name is reserved for a rename.
    Reserved {
        /// What has the name now and will be replaced, or exchanged.
        target: Option<(InodeId, FileKind)>,
        /// Where given, only this user may replace it: the directory is sticky.
        owner: Option<u32>,
    },
    /// The session is known to the shard's leader now.
    Introduced {
        /// Its number, for its calls from now on.
        number: u64,
        /// Those of its exclusive leases that it still has.
        exclusive: Vec<InodeId>,
        /// Those of its programs' locks that it has lost to others.
        lost: Vec<(InodeId, FileLock)>,
    },
    /// So many bytes are shared now.
    Copied {
        /// How many.
        bytes: u64,
        /// Attributes of the file copied to.
        attr: Attr,
    },
    /// Inode numbers set aside for the session.
    Inodes {
        /// The first.
        first: InodeId,
        /// How many, one after the other.
        count: u32,
    },
    /// A directory that is the session's to change.
    Delegated(Box<Delegated>),
    /// What the session had done by itself is done.
    Logged {
        /// What was refused, by position.
        failed: Vec<(u32, MetaError)>,
    },
    /// What a check has asked for.
    Fsck(Box<FsckReply>),
}

/// A delegated directory, as it was when it was delegated.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Delegated {
    /// The shard's time at that moment.
    pub now: Timestamp,
    /// The directory's inode, as the shard keeps it.
    pub inode: Bytes,
    /// All its names but `.` and `..`, without attributes.
    pub names: Vec<DirEntry>,
}

/// A directory entry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct DirEntry {
    /// Its name.
    pub name: Bytes,
    /// Its inode.
    pub ino: InodeId,
    /// What it is.
    pub kind: FileKind,
    /// Its place: grows, never reused within the directory, stable while other entries come and go. `.` has 1, `..` 2.
    pub cookie: u64,
    /// Its attributes, where asked for and here.
    pub attr: Option<Attr>,
}

/// Why a shard refused.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, thiserror::Error)]
pub enum MetaError {
    /// An answer POSIX has a number for.
    #[error("{0}")]
    Posix(Errno),
    /// The host does not lead the shard: ask its leader, or fetch the map.
    #[error("{shard} is not led from here (map epoch {epoch})")]
    NotServed {
        /// The shard.
        shard: ShardId,
        /// The host's map epoch.
        epoch: Epoch,
        /// Who leads it, if the host knows.
        leader: Option<HostId>,
    },
    /// The name is part of an operation over two shards that has not ended: ask again shortly.
    #[error("an operation on this name is still under way")]
    Busy,
    /// The session has ended.
    #[error("{0} has ended")]
    SessionEnded(SessionId),
    /// No placement group can be written at present.
    #[error("too few storage hosts are up to store data safely")]
    NoPlacement,
    /// A commit named a stripe without proof that enough of it is durable.
    #[error("{stripe} has {have} durable chunks, {need} are needed")]
    NotDurable {
        /// The stripe.
        stripe: StripeId,
        /// Valid receipts.
        have: u8,
        /// Receipts needed.
        need: u8,
    },
    /// The shard's store failed.
    #[error("the shard's store failed: {reason}")]
    Storage {
        /// What storage said.
        reason: String,
    },
    /// The shard's leader does not know the session, or not any more: say what it has open with [`ReadOp::Introduce`], then ask
    /// again. Nothing happened.
    #[error("the new leader of {shard} does not know the session yet")]
    NotIntroduced {
        /// The shard.
        shard: ShardId,
    },
}

impl From<Errno> for MetaError {
    fn from(errno: Errno) -> Self {
        Self::Posix(errno)
    }
}
