//! A filesystem in memory, and two doors to it: our session's and `fuser`'s.
//!
//! Every call is answered at once, with the errno a local filesystem has for it.
#![allow(dead_code, unused_imports, reason = "each test uses the doors and traps it needs")]

mod ours;
mod theirs;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use nix::errno::Errno;

pub use ours::{HANGS, NEVER_CLOSED, Ours};
pub use theirs::Theirs;

pub type Answer<T> = Result<T, Errno>;

pub const ROOT: u64 = 1;

/// What `stat` tells.
#[derive(Clone, Debug)]
pub struct Stat {
    pub ino: u64,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    pub size: u64,
    pub atime: (i64, u32),
    pub mtime: (i64, u32),
}

#[derive(Clone, Debug)]
struct Node {
    stat: Stat,
    parent: u64,
    data: Vec<u8>,
    names: BTreeMap<Vec<u8>, u64>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What `setattr` changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<(i64, u32)>,
    pub mtime: Option<(i64, u32)>,
}

/// The filesystem. Nodes stay when their last name goes, as they may be open.
pub struct Memory {
    nodes: Mutex<HashMap<u64, Node>>,
}

fn dir(mode: u32) -> bool {
    mode & nix::libc::S_IFMT == nix::libc::S_IFDIR
}

impl Memory {
    pub fn new() -> Self {
        let root = node(ROOT, ROOT, nix::libc::S_IFDIR | 0o755, (0, 0), 0);
        Self { nodes: Mutex::new(HashMap::from([(ROOT, root)])) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Node>> {
        self.nodes.lock().unwrap()
    }

    pub fn lookup(&self, parent: u64, name: &[u8]) -> Answer<Stat> {
        let nodes = self.lock();
        let ino = *nodes.get(&parent).ok_or(Errno::ESTALE)?.names.get(name).ok_or(Errno::ENOENT)?;
        Ok(nodes[&ino].stat.clone())
    }

    pub fn stat(&self, ino: u64) -> Answer<Stat> {
        self.lock().get(&ino).map(|node| node.stat.clone()).ok_or(Errno::ESTALE)
    }

    pub fn change(&self, ino: u64, change: Change) -> Answer<Stat> {
        let mut nodes = self.lock();
        let node = nodes.get_mut(&ino).ok_or(Errno::ESTALE)?;
        let stat = &mut node.stat;
        if let Some(mode) = change.mode {
            stat.mode = stat.mode & nix::libc::S_IFMT | mode & 0o7777;
        }
        stat.uid = change.uid.unwrap_or(stat.uid);
        stat.gid = change.gid.unwrap_or(stat.gid);
        stat.atime = change.atime.unwrap_or(stat.atime);
        stat.mtime = change.mtime.unwrap_or(stat.mtime);
        if let Some(size) = change.size {
            node.data.resize(size as usize, 0);
            node.stat.size = size;
        }
        Ok(node.stat.clone())
    }

    pub fn make(&self, parent: u64, name: &[u8], mode: u32, owner: (u32, u32), rdev: u32) -> Answer<Stat> {
        let mut nodes = self.lock();
        let ino = nodes.len() as u64 + 1000;
        let names = &mut nodes.get_mut(&parent).ok_or(Errno::ESTALE)?.names;
        if names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        names.insert(name.to_vec(), ino);
        if dir(mode) {
            nodes.get_mut(&parent).unwrap().stat.nlink += 1;
        }
        let new = node(ino, parent, mode, owner, rdev);
        let stat = new.stat.clone();
        nodes.insert(ino, new);
        Ok(stat)
    }

    pub fn symlink(&self, parent: u64, name: &[u8], target: &[u8], owner: (u32, u32)) -> Answer<Stat> {
        let stat = self.make(parent, name, nix::libc::S_IFLNK | 0o777, owner, 0)?;
        self.write(stat.ino, 0, target)?;
        self.stat(stat.ino)
    }

    pub fn remove(&self, parent: u64, name: &[u8], directory: bool) -> Answer<()> {
        let mut nodes = self.lock();
        let ino = *nodes.get(&parent).ok_or(Errno::ESTALE)?.names.get(name).ok_or(Errno::ENOENT)?;
        let node = nodes.get_mut(&ino).ok_or(Errno::ESTALE)?;
        match (dir(node.stat.mode), directory) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            (true, true) if !node.names.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        node.stat.nlink -= if directory { 2 } else { 1 };
        let parent = nodes.get_mut(&parent).unwrap();
        parent.names.remove(name);
        parent.stat.nlink -= u32::from(directory);
        Ok(())
    }

    pub fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), flags: u32) -> Answer<()> {
        let source = self.lookup(from.0, from.1)?;
        match self.lookup(to.0, to.1) {
            Ok(_) if flags & nix::libc::RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
            _ if flags & !nix::libc::RENAME_NOREPLACE != 0 => return Err(Errno::EINVAL),
            Ok(target) if target.ino == source.ino => return Ok(()),
            Ok(target) => self.remove(to.0, to.1, dir(target.mode))?,
            Err(_) => {}
        }
        let mut nodes = self.lock();
        nodes.get_mut(&from.0).unwrap().names.remove(from.1);
        nodes.get_mut(&to.0).ok_or(Errno::ESTALE)?.names.insert(to.1.to_vec(), source.ino);
        if dir(source.mode) {
            nodes.get_mut(&from.0).unwrap().stat.nlink -= 1;
            nodes.get_mut(&to.0).unwrap().stat.nlink += 1;
            nodes.get_mut(&source.ino).unwrap().parent = to.0;
        }
        Ok(())
    }

    pub fn link(&self, ino: u64, parent: u64, name: &[u8]) -> Answer<Stat> {
        let mut nodes = self.lock();
        if nodes.get(&parent).ok_or(Errno::ESTALE)?.names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        nodes.get_mut(&parent).unwrap().names.insert(name.to_vec(), ino);
        let node = nodes.get_mut(&ino).ok_or(Errno::ESTALE)?;
        node.stat.nlink += 1;
        Ok(node.stat.clone())
    }

    pub fn read(&self, ino: u64, offset: u64, size: u32) -> Answer<Vec<u8>> {
        let nodes = self.lock();
        let data = &nodes.get(&ino).ok_or(Errno::ESTALE)?.data;
        let start = data.len().min(offset as usize);
        Ok(data[start..data.len().min(start + size as usize)].to_vec())
    }

    pub fn write(&self, ino: u64, offset: u64, bytes: &[u8]) -> Answer<u32> {
        let mut nodes = self.lock();
        let node = nodes.get_mut(&ino).ok_or(Errno::ESTALE)?;
        let end = offset as usize + bytes.len();
        node.data.resize(node.data.len().max(end), 0);
        node.data[offset as usize..end].copy_from_slice(bytes);
        node.stat.size = node.data.len() as u64;
        Ok(bytes.len() as u32)
    }

    /// Entries with their cookies, `.` and `..` first.
    pub fn list(&self, ino: u64, after: u64) -> Answer<Vec<(u64, Stat, Vec<u8>)>> {
        let nodes = self.lock();
        let node = nodes.get(&ino).ok_or(Errno::ESTALE)?;
        let fixed = [(node.stat.ino, &b"."[..]), (node.parent, b"..")];
        let named = node.names.iter().map(|(name, ino)| (*ino, &name[..]));
        let all = fixed.into_iter().chain(named).zip(1..);
        let entry = |((ino, name), cookie): ((u64, &[u8]), u64)| (cookie, nodes[&ino].stat.clone(), name.to_vec());
        Ok(all.skip(after as usize).map(entry).collect())
    }

    pub fn set_xattr(&self, ino: u64, name: &[u8], value: &[u8], flags: i32) -> Answer<()> {
        let mut nodes = self.lock();
        let xattrs = &mut nodes.get_mut(&ino).ok_or(Errno::ESTALE)?.xattrs;
        match xattrs.contains_key(name) {
            true if flags == nix::libc::XATTR_CREATE => Err(Errno::EEXIST),
            false if flags == nix::libc::XATTR_REPLACE => Err(Errno::ENODATA),
            _ => {
                xattrs.insert(name.to_vec(), value.to_vec());
                Ok(())
            }
        }
    }

    pub fn get_xattr(&self, ino: u64, name: &[u8]) -> Answer<Vec<u8>> {
        self.lock().get(&ino).ok_or(Errno::ESTALE)?.xattrs.get(name).cloned().ok_or(Errno::ENODATA)
    }

    pub fn list_xattrs(&self, ino: u64) -> Answer<Vec<u8>> {
        let nodes = self.lock();
        let names = nodes.get(&ino).ok_or(Errno::ESTALE)?.xattrs.keys();
        Ok(names.flat_map(|name| name.iter().copied().chain([0])).collect())
    }

    pub fn remove_xattr(&self, ino: u64, name: &[u8]) -> Answer<()> {
        let mut nodes = self.lock();
        nodes.get_mut(&ino).ok_or(Errno::ESTALE)?.xattrs.remove(name).map(drop).ok_or(Errno::ENODATA)
    }

    /// `SEEK_DATA` and `SEEK_HOLE` of a file without holes.
    pub fn seek(&self, ino: u64, offset: u64, whence: i32) -> Answer<u64> {
        let size = self.stat(ino)?.size;
        match whence {
            _ if offset >= size => Err(Errno::ENXIO),
            nix::libc::SEEK_DATA => Ok(offset),
            nix::libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::EINVAL),
        }
    }

    pub fn allocate(&self, ino: u64, offset: u64, length: u64, mode: i32) -> Answer<()> {
        if mode != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let size = self.stat(ino)?.size.max(offset + length);
        self.change(ino, Change { size: Some(size), ..Change::default() }).map(drop)
    }
}

fn node(ino: u64, parent: u64, mode: u32, (uid, gid): (u32, u32), rdev: u32) -> Node {
    let nlink = if dir(mode) { 2 } else { 1 };
    let stat = Stat { ino, mode, nlink, uid, gid, rdev, size: 0, atime: (0, 0), mtime: (0, 0) };
    Node { stat, parent, data: Vec::new(), names: BTreeMap::new(), xattrs: BTreeMap::new() }
}

/// Takes a mount down, whatever it is used by.
pub fn unmount(mountpoint: &Path) {
    nix::mount::umount2(mountpoint, nix::mount::MntFlags::MNT_DETACH).expect("it is mounted");
}
