//! Files in memory, and what of them a power failure takes away.
//!
//! Model: names, modes and the space that was set aside are durable at once, as where a journal keeps them; content is
//! when the file has been synced. Of what was written since, a power failure leaves the writes up to some point, per
//! file, and perhaps a part of the next one.

use std::collections::{BTreeMap, HashMap};

use nix::errno::Errno;

/// Node of the root directory.
pub const ROOT: u64 = 1;
/// What is written of a block is written whole.
const SECTOR_BYTES: usize = 512;

/// What `stat` tells.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// The node.
    pub ino: u64,
    /// Kind and permission bits.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
}

#[derive(Debug)]
struct Node {
    mode: u32,
    parent: u64,
    names: BTreeMap<Vec<u8>, u64>,
    /// A directory that was removed takes no names any more.
    removed: bool,
    data: Vec<u8>,
    /// What takes back the writes since the last sync, oldest first.
    undo: Vec<Undo>,
}

/// Takes one write back.
#[derive(Debug)]
struct Undo {
    at: usize,
    old: Vec<u8>,
    old_len: usize,
}

impl Node {
    fn stat(&self, ino: u64) -> Stat {
        Stat { ino, mode: self.mode, size: self.data.len() as u64 }
    }

    fn is_dir(&self) -> bool {
        self.mode & nix::libc::S_IFMT == nix::libc::S_IFDIR
    }

    /// Remembers what stands from `at` to `end` now.
    fn remember(&mut self, at: usize, end: usize) {
        let old_len = self.data.len();
        let old = self.data[at.min(old_len)..end.min(old_len)].to_vec();
        self.undo.push(Undo { at, old, old_len });
    }

    /// Takes the last write back, but for its first bytes.
    fn take_back(&mut self, but: usize) {
        let Some(Undo { at, old, old_len }) = self.undo.pop() else { return };
        if but == 0 {
            self.data.resize(old_len, 0);
        }
        if let Some(old) = old.get(but..).filter(|old| !old.is_empty()) {
            self.data[at + but..][..old.len()].copy_from_slice(old);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Medium {
    nodes: HashMap<u64, Node>,
    next: u64,
}

impl Default for Medium {
    /// An empty directory.
    fn default() -> Self {
        let root = Node {
            mode: nix::libc::S_IFDIR | 0o755,
            parent: ROOT,
            names: BTreeMap::new(),
            removed: false,
            data: Vec::new(),
            undo: Vec::new(),
        };
        Self { nodes: HashMap::from([(ROOT, root)]), next: ROOT + 1 }
    }
}

impl Medium {
    fn node(&self, ino: u64) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::ESTALE)
    }

    fn node_mut(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::ESTALE)
    }

    /// What has a name.
    pub fn lookup(&self, dir: u64, name: &[u8]) -> Result<Stat, Errno> {
        self.stat(*self.node(dir)?.names.get(name).ok_or(Errno::ENOENT)?)
    }

    /// Whether a node has this name, in whichever directory.
    pub fn is_named(&self, ino: u64, name: &[u8]) -> bool {
        self.nodes.values().any(|node| node.names.get(name) == Some(&ino))
    }

    /// Attributes.
    pub fn stat(&self, ino: u64) -> Result<Stat, Errno> {
        Ok(self.node(ino)?.stat(ino))
    }

    /// Changes permission bits.
    pub fn chmod(&mut self, ino: u64, mode: u32) -> Result<(), Errno> {
        let node = self.node_mut(ino)?;
        node.mode = node.mode & nix::libc::S_IFMT | mode & 0o7777;
        Ok(())
    }

    /// Makes a file or a directory, whichever `mode` says.
    pub fn make(&mut self, dir: u64, name: &[u8], mode: u32) -> Result<Stat, Errno> {
        let ino = self.next;
        self.add(dir, name, ino)?;
        self.next += 1;
        let (names, data, undo) = Default::default();
        let node = Node { mode, parent: dir, names, removed: false, data, undo };
        let stat = node.stat(ino);
        self.nodes.insert(ino, node);
        Ok(stat)
    }

    /// Gives a file another name.
    pub fn link(&mut self, ino: u64, dir: u64, name: &[u8]) -> Result<Stat, Errno> {
        self.add(dir, name, ino)?;
        self.stat(ino)
    }

    fn add(&mut self, dir: u64, name: &[u8], ino: u64) -> Result<(), Errno> {
        let dir = self.node_mut(dir)?;
        match dir.names.contains_key(name) {
            _ if dir.removed => Err(Errno::ENOENT),
            true => Err(Errno::EEXIST),
            false => {
                dir.names.insert(name.to_vec(), ino);
                Ok(())
            }
        }
    }

    /// Removes a name. What had it stays for whoever has it open.
    pub fn remove(&mut self, dir: u64, name: &[u8]) -> Result<(), Errno> {
        let ino = self.lookup(dir, name)?.ino;
        let node = self.node_mut(ino)?;
        if !node.names.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        node.removed = node.is_dir();
        self.node_mut(dir)?.names.remove(name);
        Ok(())
    }

    /// Moves a name, in place of what has the new one.
    pub fn rename(&mut self, from: (u64, &[u8]), to: (u64, &[u8])) -> Result<(), Errno> {
        let moved = self.lookup(from.0, from.1)?.ino;
        match self.remove(to.0, to.1) {
            Err(Errno::ENOENT) => {}
            removed => removed?,
        }
        self.add(to.0, to.1, moved)?;
        self.node_mut(from.0)?.names.remove(from.1);
        self.node_mut(moved)?.parent = to.0;
        Ok(())
    }

    /// Names of a directory, `.` and `..` first.
    pub fn list(&self, dir: u64) -> Result<Vec<(Stat, Vec<u8>)>, Errno> {
        let node = self.node(dir)?;
        let fixed = [(dir, b".".to_vec()), (node.parent, b"..".to_vec())];
        let named = node.names.iter().map(|(name, ino)| (*ino, name.clone()));
        fixed.into_iter().chain(named).map(|(ino, name)| Ok((self.stat(ino)?, name))).collect()
    }

    /// Reads; less than asked for where the file ends.
    pub fn read(&self, ino: u64, offset: u64, len: u32) -> Result<&[u8], Errno> {
        let data = &self.node(ino)?.data;
        let start = data.len().min(offset as usize);
        Ok(&data[start..data.len().min(start + len as usize)])
    }

    /// Writes.
    pub fn write(&mut self, ino: u64, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let node = self.node_mut(ino)?;
        let (at, end) = (offset as usize, offset as usize + bytes.len());
        node.remember(at, end);
        node.data.resize(node.data.len().max(end), 0);
        node.data[at..end].copy_from_slice(bytes);
        Ok(())
    }

    /// Cuts a file short or makes it longer.
    pub fn truncate(&mut self, ino: u64, size: u64) -> Result<(), Errno> {
        let node = self.node_mut(ino)?;
        let len = node.data.len();
        node.remember(size as usize, len);
        node.data.resize(size as usize, 0);
        Ok(())
    }

    /// Sets space aside: a file is at least so large from now on, power failure or not.
    pub fn allocate(&mut self, ino: u64, size: u64) -> Result<(), Errno> {
        let node = self.node_mut(ino)?;
        let size = node.data.len().max(size as usize);
        node.data.resize(size, 0);
        node.undo.iter_mut().for_each(|undo| undo.old_len = undo.old_len.max(size));
        Ok(())
    }

    /// Makes a file's content durable.
    pub fn sync(&mut self, ino: u64) -> Result<(), Errno> {
        self.node_mut(ino)?.undo.clear();
        Ok(())
    }

    /// The power fails: `random(n)` is a number below `n`.
    pub fn lose_power(&mut self, random: &mut dyn FnMut(usize) -> usize) {
        let mut files: Vec<u64> = self.nodes.keys().copied().collect();
        files.sort_unstable();
        for ino in files {
            let Some(node) = self.nodes.get_mut(&ino).filter(|node| !node.is_dir() && !node.undo.is_empty()) else {
                continue;
            };
            // As often as not nothing is left of it, as where one cache holds everything.
            let keep = if random(2) == 0 { 0 } else { random(node.undo.len() + 1) };
            while node.undo.len() > keep + 1 {
                node.take_back(0);
            }
            if node.undo.len() > keep {
                let torn = node.undo.last().map_or(0, |undo| random(undo.old.len() / SECTOR_BYTES + 1) * SECTOR_BYTES);
                node.take_back(torn);
            }
            node.undo.clear();
        }
    }
}

#[cfg(test)]
#[path = "medium_tests.rs"]
mod tests;
