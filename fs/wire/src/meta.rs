//! Service *meta*: clients and movers to a metadata shard, and shards to each other.
//!
//! Reads are answered from applied state. A mutation is one log entry of one shard and carries an [`OpId`]: the shard
//! keeps its answer until the client says it has it, so a retry is safe. [`MetaCall::Peer`] carries the numbered,
//! idempotent steps of operations that touch two shards.

use bytes::Bytes;
use forebay_types::{
    Attr, ByteRange, Cred, Epoch, Errno, Extent, FileKind, FsId, Geometry, InodeId, LifetimeClass, OpId, SessionId,
    ShardId, Statfs, StripeId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::chunk::Receipt;

/// A call to a shard.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct MetaRequest {
    /// The shard.
    pub shard: ShardId,
    /// Map epoch the caller has.
    pub epoch: Epoch,
    /// What is asked.
    pub call: MetaCall,
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
    /// unlinked file lives as long. With neither `read` nor `write` nothing is checked: for a file the caller has just
    /// made, whose mode may deny what its descriptor allows.
    Open {
        /// The file.
        ino: InodeId,
        /// To read.
        read: bool,
        /// To write.
        write: bool,
    },
    /// End one `Open`.
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
        /// Permission bits, umask already taken off.
        mode: u16,
        /// Whether a name that exists is an error (`O_EXCL`, `mknod`, `symlink`); else it is returned.
        exclusive: bool,
        /// For imports (superuser only): owner, times and content at once.
        content: Option<Box<NewContent>>,
    },
    /// Make a directory.
    Mkdir {
        /// The directory it goes into.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// Permission bits, umask already taken off.
        mode: u16,
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
        /// Refuse to replace (`RENAME_NOREPLACE`).
        no_replace: bool,
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
        /// The file's mtime and ctime become now.
        touch: bool,
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
        /// What has the name now and will be replaced.
        target: Option<(InodeId, FileKind)>,
        /// Where given, only this user may replace it: the directory is sticky.
        owner: Option<u32>,
    },
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
    /// The host does not serve the shard: fetch the map.
    #[error("{shard} is not served here (map epoch {epoch})")]
    NotServed {
        /// The shard.
        shard: ShardId,
        /// The host's map epoch.
        epoch: Epoch,
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
}

impl From<Errno> for MetaError {
    fn from(errno: Errno) -> Self {
        Self::Posix(errno)
    }
}

/// A transaction over two shards: the source shard and its own number for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct TxnId {
    /// The shard that drives it.
    pub source: ShardId,
    /// That shard's number, never reused, starting at 1.
    pub number: u64,
}

/// A step that one shard asks of another. Asking twice is harmless: the answer is kept until `forget_below`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct PeerStep {
    /// The transaction.
    pub txn: TxnId,
    /// Which of its steps, from 0.
    pub step: u32,
    /// The source has the answers to all its transactions below this number.
    pub forget_below: u64,
    /// The filesystem.
    pub fs: FsId,
    /// When the source decided it.
    pub now: Timestamp,
    /// What to do.
    pub action: PeerAction,
}

/// What one shard asks of another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum PeerAction {
    /// Make the inode of a new directory.
    MakeDirectory {
        /// Its number, chosen by the source.
        ino: InodeId,
        /// Its parent.
        parent: InodeId,
        /// Permission bits.
        mode: u16,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Lifetime class.
        class: LifetimeClass,
    },
    /// Mark a directory dying if it is empty; `NotEmpty` if not. A dying directory takes no new names, until it is
    /// either revived or, by `DropLink`, gone.
    KillDirectory {
        /// The directory.
        ino: InodeId,
        /// Where given: refuse with `NotPermitted` unless this user owns it (the sticky bit of the directory it is in).
        owner: Option<u32>,
    },
    /// A directory marked dying lives again: the removal did not go through.
    ReviveDirectory {
        /// The directory.
        ino: InodeId,
    },
    /// One more name for a file. Answered with its attributes.
    AddLink {
        /// The file.
        ino: InodeId,
    },
    /// One name fewer for a file, or the end of a dying directory; with none left it goes once nobody has it open.
    DropLink {
        /// The inode.
        ino: InodeId,
        /// Where given: refuse with `NotPermitted` unless this user owns it (the sticky bit of the directory it is in).
        owner: Option<u32>,
    },
    /// Put the reserved name into the directory, replacing what has it.
    InsertName {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// The inode.
        ino: InodeId,
        /// What it is.
        kind: FileKind,
    },
    /// A directory was moved: its parent is another now.
    SetParent {
        /// The directory.
        ino: InodeId,
        /// Its new parent.
        parent: InodeId,
    },
    /// Let nobody else move a directory of the filesystem to another parent until `MoveDone` (asked of shard 0); `Busy`
    /// where somebody does already. The source then walks up from `into` and gives up where it meets `moved`.
    MoveBegin {
        /// The directory that moves.
        moved: InodeId,
        /// Where to.
        into: InodeId,
    },
    /// The move is over.
    MoveDone {
        /// The directory that moved.
        moved: InodeId,
    },
    /// The parent of a directory, for the no-cycle check. Answered with [`MetaReply::Entry`].
    ParentOf {
        /// The directory.
        ino: InodeId,
    },
    /// Check that a rename may put a name into a directory, and keep everybody else off the name until `InsertName` or
    /// `ReleaseName`. Answered with [`MetaReply::Reserved`].
    ReserveName {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// The inode that is to get the name.
        ino: InodeId,
        /// What it is.
        kind: FileKind,
        /// Refuse to replace.
        no_replace: bool,
        /// Who asks, for the permission check on the directory.
        cred: Cred,
    },
    /// The rename does not take place: the name is free again.
    ReleaseName {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
    },
    /// May an inode be moved, or lose its name?
    MayMove {
        /// The inode.
        ino: InodeId,
        /// Where given: this user must own it, else `NotPermitted`.
        owner: Option<u32>,
        /// Where given: the caller must have write permission on it, else `Access`.
        write: Option<Cred>,
    },
}
