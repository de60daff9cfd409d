//! The same system calls on two mounts of the same filesystem, one served by us and one by `fuser`: what programs see
//! must be the same.

mod memory;

use std::ffi::CString;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_fuse::Settings;
use forebay_fuse::abi::codes::init;
use memory::{Memory, Ours, Theirs, unmount};
use nix::fcntl::{AtFlags, FallocateFlags, RenameFlags, fallocate, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Whence, lseek, mkfifo};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// One system call, or a few that belong together, on names of a small directory tree.
#[derive(Clone, Debug)]
enum Step {
    Create { path: &'static str, exclusive: bool, mode: u32 },
    Write { path: &'static str, at: u64, bytes: usize, append: bool },
    Read { path: &'static str, at: u64, bytes: usize },
    Truncate { path: &'static str, size: u64, open: bool },
    Mkdir(&'static str),
    Rmdir(&'static str),
    Unlink(&'static str),
    Rename { from: &'static str, to: &'static str, flags: u32 },
    Link { from: &'static str, to: &'static str },
    Symlink { target: &'static str, path: &'static str },
    ReadLink(&'static str),
    Stat(&'static str),
    List(&'static str),
    Chmod { path: &'static str, mode: u32 },
    Chown { path: &'static str, uid: u32 },
    Times { path: &'static str, seconds: i64, nanos: i64 },
    Fifo(&'static str),
    Device { path: &'static str, number: u64 },
    SetXattr { path: &'static str, name: &'static str, bytes: usize },
    GetXattr { path: &'static str, name: &'static str, room: usize },
    ListXattr(&'static str),
    RemoveXattr { path: &'static str, name: &'static str },
    Seek { path: &'static str, at: i64, hole: bool },
    Allocate { path: &'static str, offset: i64, length: i64, punch: bool },
    Sync(&'static str),
    StatFs,
}

const NAMES: [&str; 9] = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "a name with blanks and ü"];
const ATTRIBUTES: [&str; 3] = ["user.a", "user.longer name", "trusted.t"];

fn step() -> impl Strategy<Value = Step> {
    use proptest::prelude::*;
    let name = || prop::sample::select(&NAMES[..]);
    let key = || prop::sample::select(&ATTRIBUTES[..]);
    let size = || prop_oneof![0..64usize, 4000..9000usize, Just(200_000usize)];
    let offset = || prop_oneof![0..64u64, 4000..9000u64, Just(300_000u64)];
    prop_oneof![
        8 => (name(), any::<bool>(), 0..0o1000u32).prop_map(|(path, exclusive, mode)| Step::Create { path, exclusive, mode }),
        8 => (name(), offset(), size(), any::<bool>()).prop_map(|(path, at, bytes, append)| Step::Write { path, at, bytes, append }),
        8 => (name(), offset(), size()).prop_map(|(path, at, bytes)| Step::Read { path, at, bytes }),
        3 => (name(), offset(), any::<bool>()).prop_map(|(path, size, open)| Step::Truncate { path, size, open }),
        6 => name().prop_map(Step::Mkdir),
        2 => name().prop_map(Step::Rmdir),
        3 => name().prop_map(Step::Unlink),
        6 => (name(), name(), 0..3u32).prop_map(|(from, to, flags)| Step::Rename { from, to, flags }),
        3 => (name(), name()).prop_map(|(from, to)| Step::Link { from, to }),
        3 => (name(), name()).prop_map(|(target, path)| Step::Symlink { target, path }),
        2 => name().prop_map(Step::ReadLink),
        8 => name().prop_map(Step::Stat),
        5 => prop::sample::select(&["", "d", "d/e", "a"][..]).prop_map(Step::List),
        3 => (name(), 0..0o10000u32).prop_map(|(path, mode)| Step::Chmod { path, mode }),
        2 => (name(), 0..3u32).prop_map(|(path, uid)| Step::Chown { path, uid }),
        3 => (name(), 0..5_000_000_000i64, 0..1_000_000_000i64).prop_map(|(path, seconds, nanos)| Step::Times { path, seconds, nanos }),
        1 => name().prop_map(Step::Fifo),
        1 => (name(), 0..0x4_0000u64).prop_map(|(path, number)| Step::Device { path, number }),
        3 => (name(), key(), size()).prop_map(|(path, name, bytes)| Step::SetXattr { path, name, bytes: bytes.min(60_000) }),
        3 => (name(), key(), size()).prop_map(|(path, name, room)| Step::GetXattr { path, name, room }),
        2 => name().prop_map(Step::ListXattr),
        1 => (name(), key()).prop_map(|(path, name)| Step::RemoveXattr { path, name }),
        2 => (name(), 0..9000i64, any::<bool>()).prop_map(|(path, at, hole)| Step::Seek { path, at, hole }),
        2 => (name(), 0..9000i64, 1..9000i64, any::<bool>()).prop_map(|(path, offset, length, punch)| Step::Allocate { path, offset, length, punch }),
        1 => name().prop_map(Step::Sync),
        1 => Just(Step::StatFs),
    ]
}

/// What came of a step, in words that can be compared.
fn said<T: Debug, E: Into<std::io::Error>>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("error {:?}", error.into().raw_os_error()),
    }
}

fn fill(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 % 251) as u8).collect()
}

fn stat(path: &Path) -> std::io::Result<String> {
    let seen = fs::symlink_metadata(path)?;
    let kind = (seen.file_type().is_fifo(), seen.file_type().is_char_device());
    let times = (seen.atime(), seen.atime_nsec(), seen.mtime(), seen.mtime_nsec());
    let owner = (seen.uid(), seen.gid(), seen.rdev(), seen.blocks(), seen.blksize());
    Ok(format!("{} {:o} {} {} {kind:?} {times:?} {owner:?}", seen.ino(), seen.mode(), seen.nlink(), seen.size()))
}

fn list(path: &Path) -> std::io::Result<Vec<String>> {
    let entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    Ok(entries.iter().map(|entry| format!("{:?} {:?}", entry.file_name(), entry.file_type())).collect())
}

fn text(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// `getxattr` and `listxattr` into so much room: the value, or the error.
fn attribute(path: &Path, name: Option<&str>, room: usize) -> std::io::Result<Vec<u8>> {
    let (path, mut value) = (text(path), vec![0u8; room]);
    let name = name.map(|name| CString::new(name).unwrap());
    // SAFETY: both texts end with a NUL, and the buffer is as large as is said.
    let got = unsafe {
        match &name {
            Some(name) => nix::libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), room),
            None => nix::libc::llistxattr(path.as_ptr(), value.as_mut_ptr().cast(), room),
        }
    };
    let got = usize::try_from(got).map_err(|_| std::io::Error::last_os_error())?;
    value.truncate(got);
    value.resize(value.len().max(got.min(1)), 0);
    Ok(if room == 0 { got.to_string().into_bytes() } else { value })
}

fn set_attribute(path: &Path, name: &str, value: Option<&[u8]>) -> std::io::Result<()> {
    let (path, name) = (text(path), CString::new(name).unwrap());
    // SAFETY: both texts end with a NUL, and the value is as long as is said.
    let result = unsafe {
        match value {
            Some(value) => nix::libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0),
            None => nix::libc::lremovexattr(path.as_ptr(), name.as_ptr()),
        }
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Opening a pipe does not wait for its other end.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(nix::libc::O_NONBLOCK);
    options
}

fn on_file(step: &Step, root: &Path) -> Option<String> {
    let at = |path: &str| root.join(path);
    let write = |path: &str| options().read(true).write(true).open(at(path));
    Some(match *step {
        Step::Create { path, exclusive, mode } => {
            let mut options = options();
            options.write(true).create(!exclusive).create_new(exclusive).mode(mode);
            said(options.open(at(path)).map(drop))
        }
        Step::Write { path, at: offset, bytes, append } => said((|| {
            let file = options().write(true).append(append).open(at(path))?;
            file.write_at(&fill(bytes), offset)
        })()),
        Step::Read { path, at: offset, bytes } => said((|| {
            let mut buffer = vec![0; bytes];
            let got = options().read(true).open(at(path))?.read_at(&mut buffer, offset)?;
            buffer.truncate(got);
            std::io::Result::Ok(
                buffer.iter().fold((got, 0u64), |(n, sum), byte| (n, sum * 31 % 1_000_003 + u64::from(*byte))),
            )
        })()),
        Step::Truncate { path, size, open: true } => said(write(path).and_then(|file| file.set_len(size))),
        Step::Truncate { path, size, open: false } => said(nix::unistd::truncate(&at(path), size as i64)),
        Step::Seek { path, at: offset, hole } => said((|| {
            let file = write(path)?;
            let whence = if hole { Whence::SeekHole } else { Whence::SeekData };
            Ok::<_, std::io::Error>(lseek(&file, offset, whence)?)
        })()),
        Step::Allocate { path, offset, length, punch } => said((|| {
            let flags = if punch {
                FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE
            } else {
                FallocateFlags::empty()
            };
            Ok::<_, std::io::Error>(fallocate(&write(path)?, flags, offset, length)?)
        })()),
        Step::Sync(path) => said(write(path).and_then(|file| file.sync_all())),
        _ => return None,
    })
}

fn on_names(step: &Step, root: &Path) -> String {
    let at = |path: &str| root.join(path);
    let here = nix::fcntl::AT_FDCWD;
    match *step {
        Step::Mkdir(path) => said(fs::create_dir(at(path))),
        Step::Rmdir(path) => said(fs::remove_dir(at(path))),
        Step::Unlink(path) => said(fs::remove_file(at(path))),
        Step::Rename { from, to, flags } => {
            said(renameat2(here, &at(from), here, &at(to), RenameFlags::from_bits_truncate(flags)))
        }
        Step::Link { from, to } => said(fs::hard_link(at(from), at(to))),
        Step::Symlink { target, path } => said(std::os::unix::fs::symlink(target, at(path))),
        Step::ReadLink(path) => said(fs::read_link(at(path))),
        Step::Stat(path) => said(stat(&at(path))),
        Step::List(path) => said(list(&at(path))),
        Step::Chmod { path, mode } => {
            let mode = Mode::from_bits_truncate(mode);
            said(fchmodat(here, &at(path), mode, FchmodatFlags::FollowSymlink))
        }
        Step::Chown { path, uid } => {
            said(nix::unistd::fchownat(here, &at(path), Some(uid.into()), None, AtFlags::AT_SYMLINK_NOFOLLOW))
        }
        Step::Times { path, seconds, nanos } => {
            let (atime, mtime) = (TimeSpec::new(seconds, nanos), TimeSpec::new(seconds + 1, nanos));
            said(utimensat(here, &at(path), &atime, &mtime, UtimensatFlags::NoFollowSymlink))
        }
        Step::Fifo(path) => said(mkfifo(&at(path), Mode::from_bits_truncate(0o640))),
        Step::Device { path, number } => {
            said(mknod(&at(path), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), number))
        }
        Step::SetXattr { path, name, bytes } => said(set_attribute(&at(path), name, Some(&fill(bytes)))),
        Step::GetXattr { path, name, room } => said(attribute(&at(path), Some(name), room)),
        Step::ListXattr(path) => said(attribute(&at(path), None, 1000)),
        Step::RemoveXattr { path, name } => said(set_attribute(&at(path), name, None)),
        Step::StatFs => said(nix::sys::statvfs::statvfs(root).map(|seen| {
            let space = (seen.blocks(), seen.blocks_free(), seen.blocks_available(), seen.fragment_size());
            (space, seen.files(), seen.files_free(), seen.name_max())
        })),
        ref other => unreachable!("{other:?} is about a file's content"),
    }
}

struct Mounts {
    ours: PathBuf,
    theirs: PathBuf,
}

impl Mounts {
    /// How many steps succeeded.
    fn compare(&self, steps: &[Step]) -> usize {
        let mut succeeded = 0;
        for (number, step) in steps.iter().enumerate() {
            let run = |root| on_file(step, root).unwrap_or_else(|| on_names(step, root));
            let (ours, theirs) = (run(&self.ours), run(&self.theirs));
            assert_eq!(ours, theirs, "step {number}, {step:?} (ours left, theirs right), after {:?}", &steps[..number]);
            succeeded += usize::from(!ours.starts_with("error"));
        }
        succeeded
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_see_the_same() {
    assert!(nix::unistd::geteuid().is_root(), "mounting takes root");
    let dir = tempfile::tempdir().unwrap();
    let root = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let mounts = Mounts { ours: root("ours"), theirs: root("theirs") };
    let ours = Ours::new();
    let settings =
        Settings { flags: Settings::default().flags & !(init::POSIX_LOCKS | init::FLOCK_LOCKS), ..Settings::default() };
    let session = Ours::mount(ours, &mounts.ours, settings);
    let theirs = Theirs::mount(Arc::new(Memory::new()), &mounts.theirs);
    let (succeeded, mounts) = tokio::task::spawn_blocking(move || {
        nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
        let mut runner = TestRunner::deterministic();
        let steps: Vec<Step> = (0..2500).map(|_| step().new_tree(&mut runner).unwrap().current()).collect();
        (mounts.compare(&steps), mounts)
    })
    .await
    .unwrap();
    assert!(succeeded > 800, "only {succeeded} steps succeed: they compare too little");
    unmount(&mounts.ours);
    session.ended.await.unwrap().unwrap();
    drop(theirs);
}

/// Permissions are the kernel's to check on both, and bits that a mode can have are the same in both.
#[tokio::test(flavor = "multi_thread")]
async fn modes_survive() {
    let dir = tempfile::tempdir().unwrap();
    let session = Ours::mount(Ours::new(), dir.path(), Settings::default());
    let root = dir.path().to_owned();
    tokio::task::spawn_blocking(move || {
        let file = root.join("file");
        fs::write(&file, "x").unwrap();
        for mode in [0o7777, 0o4755, 0o0, 0o1600] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, mode);
        }
        assert!(File::open(&file).unwrap().as_raw_fd() >= 0);
    })
    .await
    .unwrap();
    unmount(dir.path());
    session.ended.await.unwrap().unwrap();
}
