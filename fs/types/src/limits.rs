//! Every limit of the filesystem, in one place. A request that passes one is refused with an error that names it.

/// Low bits of an inode number that name its metadata shard.
pub const SHARD_BITS: u32 = 10;
/// Most metadata shards a cluster can have.
pub const MAX_SHARDS: u16 = 1 << SHARD_BITS;
/// Longest file name, in bytes (POSIX `NAME_MAX`).
pub const NAME_MAX: usize = 255;
/// Longest symlink target, in bytes (Linux `PATH_MAX` less the terminating NUL).
pub const SYMLINK_MAX: usize = 4095;
/// Largest file, in bytes (2^63 - 1, the largest `off_t`).
pub const FILE_SIZE_MAX: u64 = i64::MAX as u64;
/// Most hard links of a file (that of ext4).
pub const LINK_MAX: u32 = 65_000;
/// Most links of a directory: 2 and one for each subdirectory.
pub const DIRECTORY_LINK_MAX: u32 = i32::MAX as u32;
/// Most named entries of an access control list. A list is part of its inode's record, which every operation reads.
pub const ACL_ENTRIES_MAX: usize = 1024;
/// Longest extended attribute name, in bytes (Linux `XATTR_NAME_MAX`).
pub const XATTR_NAME_MAX: usize = 255;
/// Longest extended attribute value, in bytes (Linux `XATTR_SIZE_MAX`).
pub const XATTR_VALUE_MAX: usize = 65_536;
/// Longest list of an inode's extended attribute names, in bytes (Linux `XATTR_LIST_MAX`).
pub const XATTR_LIST_MAX: usize = 65_536;
/// Most supplementary groups of a caller (Linux `NGROUPS_MAX`).
pub const GROUPS_MAX: usize = 65_536;
/// Largest extent kept in the metadata record itself, in bytes.
pub const INLINE_MAX: usize = 16 * 1024;
/// Unit of checksums on drives and on the wire, in bytes: one CRC32C covers this much of a chunk.
pub const BLOCK_BYTES: usize = 4096;
/// Largest chunk, in bytes; a multiple of [`BLOCK_BYTES`].
pub const CHUNK_MAX_BYTES: usize = 256 * 1024;
/// Most extents one commit or one extent reply may carry.
pub const EXTENTS_PER_MESSAGE: usize = 4096;
/// Most directory entries one reply may carry.
pub const DIRENTS_PER_REPLY: usize = 4096;
/// Largest encoded body of a message, in bytes (payload not counted).
pub const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Largest payload of a message, in bytes.
pub const PAYLOAD_MAX_BYTES: usize = 1024 * 1024;
/// Most stripes one allocation may ask for.
pub const STRIPES_PER_ALLOCATION: u32 = 256;
/// Most inode numbers that one reservation may ask for.
pub const INODES_PER_RESERVATION: u32 = 1 << 14;
/// Most names of a directory that is delegated.
pub const NAMES_PER_DELEGATION: usize = 4096;
/// Most operations of one message of a client's log.
pub const OPS_PER_LOG_MESSAGE: usize = 1024;
/// How long a lease is good after its session was last heard of, in milliseconds: the longest that a silent client
/// holds others up.
pub const LEASE_MS: u64 = 10_000;
/// Most locks of programs that a shard keeps, held and waited for.
pub const LOCKS_PER_SHARD: usize = 1 << 20;
/// Most locks that the programs of one node may hold on files of one shard: a new leader is told of them in one message.
pub const LOCKS_PER_SESSION: usize = 1 << 15;
/// Most owners of one message about quotas.
pub const OWNERS_PER_MESSAGE: usize = 4096;
