//! Operations on names and attributes. Each is one call to the shard that decides, and where an answer lacks the
//! attributes because another shard has them, one more to that.

use bytes::Bytes;
use forebay_types::{Attr, ByteRange, Cred, Errno, FileKind, InodeId, Statfs};
use forebay_wire::meta::{DirEntry, MetaReply, MutateOp, NewContent, NewNode, ReadOp, SetAttr, XattrWhen};

use crate::ClientError;
use crate::filesystem::Filesystem;

/// A name that was found or made.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Attributes of its inode, the inode's number among them.
    pub attr: Attr,
    /// Whether this call made it.
    pub created: bool,
}

/// The attributes of an answer that must be attributes.
pub(crate) fn expect_attr(reply: MetaReply) -> Result<Attr, ClientError> {
    match reply {
        MetaReply::Attr(attr) => Ok(attr),
        _ => Err(ClientError::UnexpectedReply { what: "an inode's attributes" }),
    }
}

fn expect_done(reply: MetaReply) -> Result<(), ClientError> {
    match reply {
        MetaReply::Error(_) => Err(ClientError::UnexpectedReply { what: "a mutation" }),
        _ => Ok(()),
    }
}

impl Filesystem {
    /// Finds a name.
    pub async fn lookup(&self, cred: &Cred, parent: InodeId, name: &[u8]) -> Result<Attr, ClientError> {
        let op = ReadOp::Lookup { parent, name: Bytes::copy_from_slice(name) };
        let reply = self.shards.read(parent.shard(), cred, op).await?;
        self.entry(reply).await.map(|entry| entry.attr)
    }

    async fn entry(&self, reply: MetaReply) -> Result<NewEntry, ClientError> {
        let MetaReply::Entry { ino, attr, created, .. } = reply else {
            return Err(ClientError::UnexpectedReply { what: "a name" });
        };
        let attr = match attr {
            Some(attr) => self.seen_here(attr),
            None => self.getattr(ino).await?,
        };
        Ok(NewEntry { attr, created })
    }

    /// Attributes as this node sees them: with what it has written and not yet committed.
    fn seen_here(&self, mut attr: Attr) -> Attr {
        if attr.kind == FileKind::Regular
            && let Some(file) = self.files.find(attr.ino)
        {
            attr.size = file.lock().local_size(attr.size);
        }
        attr
    }

    /// Attributes of an inode.
    pub async fn getattr(&self, ino: InodeId) -> Result<Attr, ClientError> {
        let reply = self.shards.read(ino.shard(), &Cred::ROOT, ReadOp::GetAttr { ino }).await?;
        expect_attr(reply).map(|attr| self.seen_here(attr))
    }

    /// Entries of a directory after a cookie (0: from the start), and whether there are no more.
    pub async fn readdir(
        &self,
        cred: &Cred,
        dir: InodeId,
        after: u64,
        limit: u32,
        with_attrs: bool,
    ) -> Result<(Vec<DirEntry>, bool), ClientError> {
        let op = ReadOp::ReadDir { dir, after, limit, with_attrs };
        match self.shards.read(dir.shard(), cred, op).await? {
            MetaReply::Entries { mut entries, end } => {
                for entry in &mut entries {
                    entry.attr = entry.attr.map(|attr| self.seen_here(attr));
                }
                Ok((entries, end))
            }
            _ => Err(ClientError::UnexpectedReply { what: "ReadDir" }),
        }
    }

    /// Target of a symlink.
    pub async fn readlink(&self, cred: &Cred, ino: InodeId) -> Result<Bytes, ClientError> {
        self.bytes(cred, ino, ReadOp::ReadLink { ino }).await
    }

    async fn bytes(&self, cred: &Cred, ino: InodeId, op: ReadOp) -> Result<Bytes, ClientError> {
        match self.shards.read(ino.shard(), cred, op).await? {
            MetaReply::Bytes(bytes) => Ok(bytes),
            _ => Err(ClientError::UnexpectedReply { what: "a value" }),
        }
    }

    /// Makes a file, symlink, pipe, socket or device. `mode` has the umask taken off. With `exclusive`, a name that
    /// exists is an error, else it is returned.
    pub async fn create(
        &self,
        cred: &Cred,
        parent: InodeId,
        name: &[u8],
        node: NewNode,
        mode: u16,
        exclusive: bool,
    ) -> Result<NewEntry, ClientError> {
        let name = Bytes::copy_from_slice(name);
        let op = MutateOp::Create { parent, name, node, mode, exclusive, content: None };
        let reply = self.shards.mutate(parent.shard(), cred, op).await?;
        self.entry(reply).await
    }

    /// Makes a file with owner, times and content given, as the superuser; one that exists is left as it is and
    /// returned.
    pub async fn import(
        &self,
        parent: InodeId,
        name: &[u8],
        mode: u16,
        content: NewContent,
    ) -> Result<NewEntry, ClientError> {
        let name = Bytes::copy_from_slice(name);
        let content = Some(Box::new(content));
        let op = MutateOp::Create { parent, name, node: NewNode::File, mode, exclusive: false, content };
        let reply = self.shards.mutate(parent.shard(), &Cred::ROOT, op).await?;
        self.entry(reply).await
    }

    /// Makes a directory. `mode` has the umask taken off.
    pub async fn mkdir(&self, cred: &Cred, parent: InodeId, name: &[u8], mode: u16) -> Result<Attr, ClientError> {
        let op = MutateOp::Mkdir { parent, name: Bytes::copy_from_slice(name), mode };
        let reply = self.shards.mutate(parent.shard(), cred, op).await?;
        self.entry(reply).await.map(|entry| entry.attr)
    }

    /// Removes a name that is not a directory's.
    pub async fn unlink(&self, cred: &Cred, parent: InodeId, name: &[u8]) -> Result<(), ClientError> {
        let op = MutateOp::Unlink { parent, name: Bytes::copy_from_slice(name) };
        expect_done(self.shards.mutate(parent.shard(), cred, op).await?)
    }

    /// Removes an empty directory.
    pub async fn rmdir(&self, cred: &Cred, parent: InodeId, name: &[u8]) -> Result<(), ClientError> {
        let op = MutateOp::Rmdir { parent, name: Bytes::copy_from_slice(name) };
        expect_done(self.shards.mutate(parent.shard(), cred, op).await?)
    }

    /// Moves a name, replacing what has the new one unless `no_replace`.
    pub async fn rename(
        &self,
        cred: &Cred,
        from: (InodeId, &[u8]),
        to: (InodeId, &[u8]),
        no_replace: bool,
    ) -> Result<(), ClientError> {
        let op = MutateOp::Rename {
            parent: from.0,
            name: Bytes::copy_from_slice(from.1),
            new_parent: to.0,
            new_name: Bytes::copy_from_slice(to.1),
            no_replace,
        };
        expect_done(self.shards.mutate(from.0.shard(), cred, op).await?)
    }

    /// Gives a file another name.
    pub async fn link(&self, cred: &Cred, ino: InodeId, parent: InodeId, name: &[u8]) -> Result<Attr, ClientError> {
        let op = MutateOp::Link { ino, parent, name: Bytes::copy_from_slice(name) };
        expect_done(self.shards.mutate(parent.shard(), cred, op).await?)?;
        self.getattr(ino).await
    }

    /// Changes attributes; a change of size goes through [`Self::truncate`].
    pub(crate) async fn setattr(&self, cred: &Cred, ino: InodeId, set: SetAttr) -> Result<Attr, ClientError> {
        // Times set by hand must not be overtaken by bytes written earlier and committed later.
        if set.mtime.is_some() || set.atime.is_some() {
            self.fsync(ino).await?;
        }
        let op = MutateOp::SetAttr { ino, set };
        let attr = expect_attr(self.shards.mutate(ino.shard(), cred, op).await?)?;
        if let Some(file) = self.files.find(ino) {
            file.lock().known = None;
        }
        Ok(self.seen_here(attr))
    }

    /// Changes attributes.
    pub async fn set(&self, cred: &Cred, ino: InodeId, set: SetAttr) -> Result<Attr, ClientError> {
        if set.size.is_some() { self.truncate(cred, ino, set).await } else { self.setattr(cred, ino, set).await }
    }

    /// Value of an extended attribute.
    pub async fn getxattr(&self, cred: &Cred, ino: InodeId, name: &[u8]) -> Result<Bytes, ClientError> {
        self.bytes(cred, ino, ReadOp::GetXattr { ino, name: Bytes::copy_from_slice(name) }).await
    }

    /// Names of extended attributes.
    pub async fn listxattr(&self, cred: &Cred, ino: InodeId) -> Result<Vec<Bytes>, ClientError> {
        match self.shards.read(ino.shard(), cred, ReadOp::ListXattr { ino }).await? {
            MetaReply::Names(names) => Ok(names),
            _ => Err(ClientError::UnexpectedReply { what: "ListXattr" }),
        }
    }

    /// Sets an extended attribute.
    pub async fn setxattr(
        &self,
        cred: &Cred,
        ino: InodeId,
        name: &[u8],
        value: &[u8],
        when: XattrWhen,
    ) -> Result<(), ClientError> {
        let (name, value) = (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value));
        let op = MutateOp::SetXattr { ino, name, value, when };
        expect_done(self.shards.mutate(ino.shard(), cred, op).await?)
    }

    /// Removes an extended attribute.
    pub async fn removexattr(&self, cred: &Cred, ino: InodeId, name: &[u8]) -> Result<(), ClientError> {
        let op = MutateOp::RemoveXattr { ino, name: Bytes::copy_from_slice(name) };
        expect_done(self.shards.mutate(ino.shard(), cred, op).await?)
    }

    /// Opens a file: checks permission, and keeps it from vanishing while it is open.
    pub async fn open(&self, cred: &Cred, ino: InodeId, read: bool, write: bool) -> Result<(), ClientError> {
        expect_done(self.shards.read(ino.shard(), cred, ReadOp::Open { ino, read, write }).await?)?;
        let file = self.files.get(ino);
        let mut state = file.lock();
        state.opens += 1;
        // What another node wrote and closed before this open must be seen.
        state.known = None;
        Ok(())
    }

    /// Ends one [`Self::open`]. Dirty bytes are flushed first; a failure to do so is for [`Self::fsync`], which the
    /// caller's close has called before.
    pub async fn release(&self, ino: InodeId) -> Result<(), ClientError> {
        let flushed = self.fsync(ino).await;
        if let Some(file) = self.files.find(ino) {
            let mut state = file.lock();
            state.opens = state.opens.saturating_sub(1);
        }
        self.files.forget(ino);
        let closed = self.shards.read(ino.shard(), &Cred::ROOT, ReadOp::Close { ino }).await;
        flushed.and(closed.and_then(expect_done))
    }

    /// Space and inodes: what the drives that are up can still take, divided by the geometry's overhead.
    pub async fn statfs(&self) -> Result<Statfs, ClientError> {
        let status = self.status().await?;
        let geometry = status.map.geometry;
        let share = |bytes: u64| bytes / geometry.width() as u64 * u64::from(geometry.data);
        let up = status.drives.iter().filter(|drive| status.map.drive_is_up(drive.drive));
        let (total, free) = up.fold((0, 0), |(t, f), drive| (t + drive.capacity_bytes, f + drive.free_bytes));
        let mut statfs = Statfs { total_bytes: share(total), free_bytes: share(free), used_inodes: 0 };
        for shard in &status.map.shards {
            if let MetaReply::Statfs(part) = self.shards.read(shard.id, &Cred::ROOT, ReadOp::Statfs).await? {
                statfs.used_inodes += part.used_inodes;
            }
        }
        Ok(statfs)
    }

    /// The first byte at or after `offset` that is data (or, with `hole`, that is a hole; the end of the file counts
    /// as one). `ENXIO` where there is none.
    pub async fn seek(&self, ino: InodeId, offset: u64, hole: bool) -> Result<u64, ClientError> {
        self.fsync(ino).await?;
        let (attr, extents) = self.extents_of(ino, ByteRange::between(offset, u64::MAX)).await?;
        if offset >= attr.size {
            return Err(Errno::NoDevice.into());
        }
        let mut at = offset;
        for extent in extents.iter().filter(|extent| !matches!(extent.location, forebay_types::Location::Hole)) {
            if extent.range.end() <= at {
                continue;
            }
            let gap = extent.range.offset > at;
            match (hole, gap) {
                (true, true) => return Ok(at),
                (false, _) => return Ok(extent.range.offset.max(at)),
                (true, false) => at = extent.range.end(),
            }
        }
        if hole { Ok(at.min(attr.size)) } else { Err(Errno::NoDevice.into()) }
    }
}
