//! The file or block device: created, locked, checked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use forebay_drive::{Layout, Recovered, SUPERBLOCK_OFFSETS, Superblock, SuperblockError};
use forebay_types::limits::BLOCK_BYTES;
use forebay_types::{DriveId, Uuid};

use super::buffer::AlignedBuffer;
use super::error::OpenError;

/// What a new drive is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewDrive {
    /// Size in bytes; for a block device at most the device's own.
    pub size_bytes: u64,
    /// Bytes of a segment, a power of two from 1 MiB; chosen by the drive's size where absent.
    pub segment_bytes: Option<u64>,
    /// The drive's identity: random, and never that of another drive.
    pub drive: Uuid,
    /// The cluster, or [`Uuid::NIL`] where it is not known yet.
    pub cluster: Uuid,
    /// The drive's number in the cluster, 0 where it is not known yet.
    pub drive_id: DriveId,
}

/// Makes a drive at `path`: a new file, whose space is taken from its filesystem at once, or a block device that is no drive
/// yet. Nothing but the size may be there before.
///
/// # Errors
/// Something is there, the size is too small, or the operating system refuses.
pub fn create(path: &Path, new: &NewDrive) -> Result<Superblock, OpenError> {
    let layout = match new.segment_bytes {
        Some(segment_bytes) => Layout::new(new.size_bytes, segment_bytes),
        None => Layout::choose(new.size_bytes),
    }
    .map_err(|reason| OpenError::Layout { path: path.to_owned(), reason })?;
    let is_device = std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_block_device());
    let file = open_file(path, !is_device)?;
    lock(&file, path)?;
    let failed = |action| move |source| OpenError::Io { path: path.to_owned(), action, source };
    if is_device {
        if read_superblocks(&file).is_ok() {
            return Err(OpenError::Exists { path: path.to_owned() });
        }
        check_size(&file, path, layout.device_bytes())?;
    } else {
        allocate(&file, layout.device_bytes()).map_err(failed("reserve its space"))?;
    }
    let NewDrive { cluster, drive, drive_id, .. } = *new;
    let superblock = Superblock { cluster, drive, drive_id, layout, starts: 0 };
    for (segment, head) in Recovered::first_headers(layout, new.drive) {
        let head = AlignedBuffer::of(&[&head]);
        file.write_all_at(head.as_ref(), layout.segment_offset(segment)).map_err(failed("write a segment header"))?;
    }
    file.sync_all().map_err(failed("flush"))?;
    write_superblocks(&file, &superblock).map_err(failed("write the superblock"))?;
    if let Some(folder) = path.parent().filter(|_| !is_device) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("flush its folder"))?;
    }
    Ok(superblock)
}

/// Whose drive is at `path`; the drive may be in use.
///
/// # Errors
/// There is no drive, or it cannot be read.
pub fn inspect(path: &Path) -> Result<Superblock, OpenError> {
    let file = open_file(path, false)?;
    superblock(&file, path)
}

/// Gives a drive that belongs to no cluster to one. A drive that is already that cluster's with that number stays as it is.
///
/// # Errors
/// The drive is another cluster's, in use, or cannot be written.
pub fn adopt(path: &Path, cluster: Uuid, drive_id: DriveId) -> Result<Superblock, OpenError> {
    let file = open_file(path, false)?;
    lock(&file, path)?;
    let old = superblock(&file, path)?;
    let new = Superblock { cluster, drive_id, ..old };
    if old.cluster != Uuid::NIL && old != new {
        return Err(OpenError::WrongCluster { path: path.to_owned(), found: old.cluster, wanted: cluster });
    }
    let failed = |source| OpenError::Io { path: path.to_owned(), action: "write the superblock", source };
    write_superblocks(&file, &new).map_err(failed)?;
    Ok(new)
}

/// Opens, locks and checks the drive at `path` and counts the start; all that was written before is durable then. The
/// file stays locked while it is open.
pub(super) fn open(path: &Path, cluster: Option<Uuid>) -> Result<(File, Superblock), OpenError> {
    let file = open_file(path, false)?;
    lock(&file, path)?;
    let superblock = superblock(&file, path)?;
    match cluster {
        Some(wanted) if wanted != superblock.cluster => {
            return Err(OpenError::WrongCluster { path: path.to_owned(), found: superblock.cluster, wanted });
        }
        _ => {}
    }
    check_size(&file, path, superblock.layout.device_bytes())?;
    let superblock = Superblock { starts: superblock.starts + 1, ..superblock };
    let failed = |source| OpenError::Io { path: path.to_owned(), action: "write the superblock", source };
    write_superblocks(&file, &superblock).map_err(failed)?;
    Ok((file, superblock))
}

/// With O_DIRECT, or without where the filesystem has none.
fn open_file(path: &Path, new: bool) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(new);
    let direct = options.clone().custom_flags(libc::O_DIRECT).open(path);
    let opened = match direct {
        // The failed attempt may have made the file, so the second one must not insist on making it.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            options.create_new(false).create(new).truncate(false).open(path)
        }
        other => other,
    };
    opened.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => OpenError::Exists { path: path.to_owned() },
        io::ErrorKind::NotFound if !new => OpenError::Missing { path: path.to_owned() },
        _ => OpenError::Io { path: path.to_owned(), action: "open it", source },
    })
}

fn lock(file: &File, path: &Path) -> Result<(), OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned(), process: lock_holder(file) }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path: path.to_owned(), action: "lock it", source }),
    }
}

/// The process that holds the lock on the file, from the kernel's table of locks.
fn lock_holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino().to_string();
    let table = std::fs::read_to_string("/proc/locks").ok()?;
    holder_in(&table, &inode)
}

/// A line is like `7: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`: process, then device and inode.
fn holder_in(table: &str, inode: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (kind, process, place) = (fields.get(1)?, fields.get(4)?, fields.get(5)?);
        (*kind == "FLOCK" && place.rsplit(':').next() == Some(inode)).then(|| process.parse().ok()).flatten()
    })
}

fn superblock(file: &File, path: &Path) -> Result<Superblock, OpenError> {
    read_superblocks(file).map_err(|error| match error {
        Unusable::Io(source) => OpenError::Io { path: path.to_owned(), action: "read the superblock", source },
        Unusable::Superblock(reason) => OpenError::Superblock { path: path.to_owned(), reason },
    })
}

enum Unusable {
    Io(io::Error),
    Superblock(SuperblockError),
}

/// The younger of the copies that can be used; where there is none, what is wrong with the first that is a superblock.
fn read_superblocks(file: &File) -> Result<Superblock, Unusable> {
    let mut best: Option<Superblock> = None;
    let mut worst = SuperblockError::NotADrive;
    for at in SUPERBLOCK_OFFSETS {
        let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
        match file.read_exact_at(block.as_mut(), at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(Unusable::Io(error)),
        }
        match Superblock::decode(block.as_ref()) {
            Ok(found) if best.is_none_or(|best| best.starts < found.starts) => best = Some(found),
            Ok(_) => {}
            Err(error) if worst == SuperblockError::NotADrive => worst = error,
            Err(_) => {}
        }
    }
    best.ok_or(Unusable::Superblock(worst))
}

/// One copy after the other, each durable before the next, so that one of them is whole at any time.
fn write_superblocks(file: &File, superblock: &Superblock) -> io::Result<()> {
    let block = AlignedBuffer::of(&[&superblock.encode()]);
    for at in SUPERBLOCK_OFFSETS {
        file.write_all_at(block.as_ref(), at)?;
        file.sync_all()?;
    }
    Ok(())
}

fn check_size(file: &File, path: &Path, wanted_bytes: u64) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), action: "find its size", source };
    let meta = file.metadata().map_err(failed)?;
    let found_bytes = if meta.file_type().is_block_device() {
        // A block device's metadata has no size; its end does.
        io::Seek::seek(&mut &*file, io::SeekFrom::End(0)).map_err(failed)?
    } else {
        meta.len()
    };
    if found_bytes < wanted_bytes {
        return Err(OpenError::Truncated { path: PathBuf::from(path), found_bytes, wanted_bytes });
    }
    Ok(())
}

/// Takes the space now, so that a full filesystem is found out here and not by a write that was promised.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: posix_fallocate takes a descriptor and two numbers, and the descriptor is open.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
