//! Paths, for programs that name files as people do. Symlinks are not followed.

use forebay_types::{Attr, Cred, Errno, FileKind, InodeId};
use forebay_wire::meta::DirEntry;

use crate::ClientError;
use crate::filesystem::Filesystem;

/// Directories on the way up that a path is made of, at most: more are a cycle.
const DEPTH_MAX: usize = 4096;
/// Entries asked for at once while walking.
const WALK_BATCH: u32 = 1024;

impl Filesystem {
    /// The inode of a path, from the root on; empty components and a leading `/` are ignored.
    pub async fn resolve(&self, cred: &Cred, path: &str) -> Result<Attr, ClientError> {
        let mut at = self.getattr(self.root()).await?;
        for name in components(path) {
            at = self.lookup(cred, at.ino, name.as_bytes()).await?;
        }
        Ok(at)
    }

    /// The directory of a path, made where it is missing, with `mode` for what is made.
    pub async fn make_dirs(&self, cred: &Cred, path: &str, mode: u16) -> Result<Attr, ClientError> {
        let mut at = self.getattr(self.root()).await?;
        for name in components(path) {
            at = self.make_dir(cred, at.ino, name.as_bytes(), mode).await?;
        }
        Ok(at)
    }

    /// A directory in another, made where it is missing; an error where the name is something else's.
    pub async fn make_dir(&self, cred: &Cred, parent: InodeId, name: &[u8], mode: u16) -> Result<Attr, ClientError> {
        let attr = match self.lookup(cred, parent, name).await {
            Err(ClientError::Posix(Errno::NoEntry)) => match self.mkdir(cred, parent, name, mode).await {
                Err(ClientError::Posix(Errno::Exists)) => self.lookup(cred, parent, name).await?,
                made => return made,
            },
            found => found?,
        };
        if attr.kind == FileKind::Directory { Ok(attr) } else { Err(Errno::NotDirectory.into()) }
    }

    /// The directory that a directory is in; a root is in itself.
    pub async fn parent_of(&self, dir: InodeId) -> Result<InodeId, ClientError> {
        Ok(self.lookup(&Cred::ROOT, dir, b"..").await?.ino)
    }

    /// The path of a directory, from the root on. [`Errno::NoEntry`] where it has been removed, or is being moved.
    pub async fn path_of(&self, dir: InodeId) -> Result<String, ClientError> {
        let mut names: Vec<bytes::Bytes> = Vec::new();
        let mut at = dir;
        for _ in 0..DEPTH_MAX {
            if at == self.root() {
                let path: String =
                    names.iter().rev().map(|name| format!("/{}", String::from_utf8_lossy(name))).collect();
                return Ok(if path.is_empty() { "/".into() } else { path });
            }
            let parent = self.parent_of(at).await?;
            names.push(self.name_in(parent, at, usize::MAX).await?);
            at = parent;
        }
        Err(Errno::Loop.into())
    }

    /// A name that leads from a directory to an inode, among so many of its names at most.
    pub(crate) async fn name_in(&self, dir: InodeId, ino: InodeId, most: usize) -> Result<bytes::Bytes, ClientError> {
        let (mut after, mut searched) = (0, 0);
        loop {
            let (entries, end) = self.readdir(&Cred::ROOT, dir, after, WALK_BATCH, false).await?;
            searched += entries.len();
            let own = |entry: &&DirEntry| entry.ino == ino && !matches!(&entry.name[..], b"." | b"..");
            if let Some(found) = entries.iter().find(own) {
                return Ok(found.name.clone());
            }
            match entries.last() {
                Some(last) if !end && searched < most => after = last.cookie,
                _ => return Err(Errno::NoEntry.into()),
            }
        }
    }

    /// All entries of a directory but `.` and `..`, with attributes.
    pub async fn list(&self, cred: &Cred, dir: InodeId) -> Result<Vec<DirEntry>, ClientError> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let (entries, end) = self.readdir(cred, dir, after, WALK_BATCH, true).await?;
            after = entries.last().map_or(after, |entry| entry.cookie);
            let done = end || entries.is_empty();
            for mut entry in entries.into_iter().filter(|entry| !matches!(&entry.name[..], b"." | b"..")) {
                if entry.attr.is_none() {
                    entry.attr = match self.getattr(entry.ino).await {
                        Ok(attr) => Some(attr),
                        Err(ClientError::Posix(Errno::NoEntry)) => continue,
                        Err(error) => return Err(error),
                    };
                }
                all.push(entry);
            }
            if done {
                return Ok(all);
            }
        }
    }

    /// Reads a whole small file.
    pub async fn read_all(&self, ino: InodeId, limit: u32) -> Result<bytes::Bytes, ClientError> {
        let mut out = bytes::BytesMut::new();
        while out.len() < limit as usize {
            let part = self.read(ino, out.len() as u64, (limit - out.len() as u32).min(1 << 20)).await?;
            if part.is_empty() {
                break;
            }
            out.extend_from_slice(&part);
        }
        Ok(out.freeze())
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}
