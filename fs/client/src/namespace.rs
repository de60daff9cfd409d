//! Operations on names and attributes. Each is one call to the shard that decides, and where an answer lacks the
//! attributes because another shard has them, one more to that.

use bytes::Bytes;
use forebay_types::{Attr, Cred, Errno, FileKind, InodeId, NewMode, Statfs};
use forebay_wire::meta::{
    DirEntry, MetaAnswer, MetaError, MetaReply, MutateOp, NewContent, NewNode, ReadOp, RenameHow, SetAttr, XattrWhen,
};

use crate::ClientError;
use crate::file::wall_clock;
use crate::filesystem::Filesystem;
use crate::leases::Change;

/// A name that was found or made.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Attributes of its inode, the inode's number among them.
    pub attr: Attr,
    /// Whether this call made it.
    pub created: bool,
}

/// Whether a name is one of a directory's own, which `.` and `..` are not.
fn is_plain(name: &[u8]) -> bool {
    name != b"." && name != b".."
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
        if self.may_search_unasked(cred) {
            match self.shards.leases.name(parent, name) {
                Some(Some((ino, _))) => return self.getattr(ino).await,
                Some(None) => return Err(Errno::NoEntry.into()),
                None => {}
            }
        }
        let name = Bytes::copy_from_slice(name);
        let op = ReadOp::Lookup { parent, name: name.clone() };
        let MetaAnswer { reply, grants, .. } = self.shards.read_answer(parent.shard(), cred, op).await?;
        let dir = grants.iter().find(|grant| grant.attr.ino == parent).map(|grant| grant.attr.version);
        let target = match &reply {
            MetaReply::Entry { ino, kind, .. } => Some(Some((*ino, *kind))),
            MetaReply::Error(MetaError::Posix(Errno::NoEntry)) => Some(None),
            _ => None,
        };
        if let (Some(version), Some(target), true) = (dir, target, is_plain(&name)) {
            self.shards.leases.lock().learn_name(parent, version, &name, target);
        }
        match reply {
            MetaReply::Error(MetaError::Posix(errno)) => Err(errno.into()),
            reply => self.entry(reply).await.map(|entry| entry.attr),
        }
    }

    /// Whether names that are believed can be told without asking whether the caller may search.
    fn may_search_unasked(&self, cred: &Cred) -> bool {
        cred.uid == 0 || self.shards.leases.others_check()
    }

    /// [`Self::entry`] of a name that has been changed, and stands for that now.
    async fn entry_now(&self, change: Change, reply: MetaReply) -> Result<NewEntry, ClientError> {
        if let MetaReply::Entry { ino, kind, .. } = &reply {
            change.becomes(Some((*ino, *kind)));
        }
        self.entry(reply).await
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
            file.lock().overlay(&mut attr);
        }
        attr
    }

    /// Attributes of an inode.
    pub async fn getattr(&self, ino: InodeId) -> Result<Attr, ClientError> {
        if let Some(attr) = self.shards.leases.attr(ino) {
            return Ok(self.seen_here(attr));
        }
        // A file that is closed meanwhile may be forgotten before the answer is here, which may be older than what its
        // shard was told at the end.
        let before = self.files.find(ino);
        let reply = self.shards.read(ino.shard(), &Cred::ROOT, ReadOp::GetAttr { ino }).await?;
        let mut attr = self.seen_here(expect_attr(reply)?);
        if let Some(file) = before
            && let Some(at) = file.lock().read_at.filter(|at| *at >= attr.ctime && attr.access_counts(*at))
        {
            attr.atime = at;
        }
        Ok(attr)
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
        let MetaAnswer { reply, grants, .. } = self.shards.read_answer(dir.shard(), cred, op).await?;
        let version = grants.iter().find(|grant| grant.attr.ino == dir).map(|grant| grant.attr.version);
        match reply {
            MetaReply::Error(MetaError::Posix(errno)) => Err(errno.into()),
            MetaReply::Entries { mut entries, end } => {
                if let Some(version) = version {
                    let mut core = self.shards.leases.lock();
                    for entry in entries.iter().filter(|entry| is_plain(&entry.name)) {
                        core.learn_name(dir, version, &entry.name, Some((entry.ino, entry.kind)));
                    }
                }
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

    /// Makes a file, symlink, pipe, socket or device. With `exclusive`, a name that exists is an error, else it is
    /// returned.
    pub async fn create(
        &self,
        cred: &Cred,
        parent: InodeId,
        name: &[u8],
        node: NewNode,
        mode: impl Into<NewMode>,
        exclusive: bool,
    ) -> Result<NewEntry, ClientError> {
        let change = self.shards.leases.change(parent, name);
        let (name, mode) = (Bytes::copy_from_slice(name), mode.into());
        let op = MutateOp::Create { parent, name, node, mode, exclusive, open: false, content: None };
        let reply = self.shards.mutate(parent.shard(), cred, op).await?;
        self.entry_now(change, reply).await
    }

    /// Makes a file and opens it for reading and writing, whatever its mode; one that exists is returned and not opened,
    /// or with `exclusive` an error. End an open one with [`Self::release`].
    pub async fn create_open(
        &self,
        cred: &Cred,
        parent: InodeId,
        name: &[u8],
        mode: NewMode,
        exclusive: bool,
    ) -> Result<NewEntry, ClientError> {
        let change = self.shards.leases.change(parent, name);
        let (name, node) = (Bytes::copy_from_slice(name), NewNode::File);
        let op = MutateOp::Create { parent, name, node, mode, exclusive, open: true, content: None };
        let known = self.shards.opens.introductions(parent.shard());
        let reply = self.shards.mutate(parent.shard(), cred, op).await?;
        let entry = self.entry_now(change, reply).await?;
        if entry.created {
            self.made_open(entry.attr.ino, known).await?;
        }
        Ok(entry)
    }

    /// Makes a file without a name in a directory and opens it (`O_TMPFILE`). It goes with the last
    /// [`Self::release`], unless it is `linkable` and [`Self::link`] gives it a name.
    pub async fn tmpfile(
        &self,
        cred: &Cred,
        parent: InodeId,
        mode: NewMode,
        linkable: bool,
    ) -> Result<Attr, ClientError> {
        let op = MutateOp::Tmpfile { parent, mode, linkable };
        let known = self.shards.opens.introductions(parent.shard());
        let reply = self.shards.mutate(parent.shard(), cred, op).await?;
        let entry = self.entry(reply).await?;
        self.made_open(entry.attr.ino, known).await?;
        Ok(entry.attr)
    }

    /// A file was made open. `known`: how often the session had introduced itself to the shard's leaders before.
    async fn made_open(&self, ino: InodeId, known: u64) -> Result<(), ClientError> {
        self.shards.opens.add(ino, true);
        if !self.shards.leases.delegations.is_open(ino) {
            self.shards.opens.tell(ino);
        }
        self.opened(ino);
        if self.shards.opens.introductions(ino.shard()) != known {
            // A new leader was told what is open while this file was being made, and may not have heard of it.
            let op = ReadOp::Open { ino, read: false, write: false };
            expect_done(self.shards.read(ino.shard(), &Cred::ROOT, op).await?)?;
        }
        Ok(())
    }

    fn opened(&self, ino: InodeId) {
        let file = self.files.get(ino);
        file.lock().opens += 1;
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
        let _change = self.shards.leases.change(parent, name);
        let name = Bytes::copy_from_slice(name);
        let content = Some(Box::new(content));
        let (node, mode) = (NewNode::File, mode.into());
        let op = MutateOp::Create { parent, name, node, mode, exclusive: false, open: false, content };
        let reply = self.shards.mutate(parent.shard(), &Cred::ROOT, op).await?;
        self.entry(reply).await
    }

    /// Makes a directory.
    pub async fn mkdir(
        &self,
        cred: &Cred,
        parent: InodeId,
        name: &[u8],
        mode: impl Into<NewMode>,
    ) -> Result<Attr, ClientError> {
        let change = self.shards.leases.change(parent, name);
        let op = MutateOp::Mkdir { parent, name: Bytes::copy_from_slice(name), mode: mode.into() };
        let reply = self.shards.mutate(parent.shard(), cred, op).await?;
        self.entry_now(change, reply).await.map(|entry| entry.attr)
    }

    /// Removes a name that is not a directory's.
    pub async fn unlink(&self, cred: &Cred, parent: InodeId, name: &[u8]) -> Result<(), ClientError> {
        let change = self.shards.leases.change(parent, name);
        let op = MutateOp::Unlink { parent, name: Bytes::copy_from_slice(name) };
        expect_done(self.shards.mutate(parent.shard(), cred, op).await?)?;
        change.becomes(None);
        Ok(())
    }

    /// Removes an empty directory.
    pub async fn rmdir(&self, cred: &Cred, parent: InodeId, name: &[u8]) -> Result<(), ClientError> {
        let victim = self.shards.leases.name(parent, name).flatten();
        let change = self.shards.leases.change(parent, name);
        let op = MutateOp::Rmdir { parent, name: Bytes::copy_from_slice(name) };
        let removed = self.shards.mutate(parent.shard(), cred, op).await.and_then(expect_done);
        if let Some((ino, _)) = victim {
            self.shards.leases.changed_elsewhere(ino);
        }
        removed?;
        change.becomes(None);
        Ok(())
    }

    /// Moves a name.
    pub async fn rename(
        &self,
        cred: &Cred,
        from: (InodeId, &[u8]),
        to: (InodeId, &[u8]),
        how: RenameHow,
    ) -> Result<(), ClientError> {
        let leases = &self.shards.leases;
        let moved = leases.name(from.0, from.1).flatten();
        let known_to = leases.name(to.0, to.1);
        let (from_change, to_change) = (leases.change(from.0, from.1), leases.change(to.0, to.1));
        let op = MutateOp::Rename {
            parent: from.0,
            name: Bytes::copy_from_slice(from.1),
            new_parent: to.0,
            new_name: Bytes::copy_from_slice(to.1),
            how,
        };
        let renamed = self.shards.mutate(from.0.shard(), cred, op).await.and_then(expect_done);
        let directories =
            [moved, known_to.flatten()].into_iter().flatten().filter(|(_, kind)| *kind == FileKind::Directory);
        // Changed by steps of which only their shards know.
        let beside = directories.map(|(ino, _)| ino).chain((from.0 != to.0).then_some(to.0));
        beside.for_each(|ino| leases.changed_elsewhere(ino));
        renamed?;
        if let (Some(moved), true) = (moved, from != to) {
            to_change.becomes(Some(moved));
            match (how, known_to) {
                (RenameHow::Exchange, Some(known)) => from_change.becomes(known),
                // Two names of one file: nothing has happened.
                (_, Some(Some((ino, _)))) if ino == moved.0 => from_change.becomes(Some(moved)),
                (RenameHow::Replace | RenameHow::NoReplace, Some(_)) => from_change.becomes(None),
                (_, None) => {}
            }
        }
        Ok(())
    }

    /// Gives a file another name.
    pub async fn link(&self, cred: &Cred, ino: InodeId, parent: InodeId, name: &[u8]) -> Result<Attr, ClientError> {
        let _change = self.shards.leases.change(parent, name);
        let op = MutateOp::Link { ino, parent, name: Bytes::copy_from_slice(name) };
        expect_done(self.shards.mutate(parent.shard(), cred, op).await?)?;
        self.getattr(ino).await
    }

    /// Changes attributes; a change of size goes through [`Self::truncate`].
    pub(crate) async fn setattr(&self, cred: &Cred, ino: InodeId, set: SetAttr) -> Result<Attr, ClientError> {
        // What is set by hand must not be overtaken by bytes written earlier and committed later.
        self.settle(ino).await?;
        if set.atime.is_some()
            && let Some(file) = self.files.find(ino)
        {
            file.lock().read_at = None;
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
        let opens = &self.shards.opens;
        let _turn = opens.turn(ino).await;
        opens.add(ino, write);
        let reply = self.shards.read(ino.shard(), cred, ReadOp::Open { ino, read, write }).await.and_then(expect_done);
        if let Err(error) = reply {
            let told = opens.was_told(ino);
            if opens.remove(ino) {
                // It may have been carried out all the same, or been on the list for a new leader.
                let _ = self.shards.close(ino, told).await;
            }
            return Err(error);
        }
        self.opened(ino);
        Ok(())
    }

    /// The file is being read by a program: its time of last access follows, with the last [`Self::release`].
    pub fn accessed(&self, ino: InodeId) {
        if let Some(file) = self.files.find(ino) {
            file.lock().read_at = Some(wall_clock());
        }
    }

    /// The shard is told of a read, where that has not been done and counts.
    pub async fn tell_access(&self, ino: InodeId) {
        let Some(file) = self.files.find(ino) else { return };
        let known = self.shards.leases.attr(ino);
        let at = file.lock().access_to_tell(known.as_ref());
        if let Some(at) = at
            && let Err(error) = self.shards.mutate(ino.shard(), &Cred::ROOT, MutateOp::Accessed { ino, at }).await
        {
            tracing::debug!(%ino, %error, "a time of last access is lost");
        }
    }

    /// Ends one [`Self::open`]. Dirty bytes are flushed first; a failure to do so is for [`Self::flush`], which the
    /// caller's close has called before.
    pub async fn release(&self, ino: InodeId) -> Result<(), ClientError> {
        let flushed = self.flush(ino).await;
        self.tell_access(ino).await;
        if let Some(file) = self.files.find(ino) {
            file.lock().closed();
        }
        self.files.forget(ino);
        let _turn = self.shards.opens.turn(ino).await;
        let told = self.shards.opens.was_told(ino);
        if !self.shards.opens.remove(ino) {
            return flushed;
        }
        flushed.and(self.shards.close(ino, told).await)
    }

    /// [`Self::statfs`] as it is for an inode: what its directory's quota leaves, where it counts for one.
    pub async fn statfs_of(&self, ino: InodeId) -> Result<Statfs, ClientError> {
        let op = ReadOp::QuotaDir { ino };
        let dir = match self.shards.read(ino.shard(), &Cred::ROOT, op).await {
            Ok(MetaReply::QuotaDir(dir)) => dir,
            // Open and removed: it counts for what it is in, which nobody knows any more.
            Err(ClientError::Posix(Errno::NoEntry)) => None,
            Ok(_) => return Err(ClientError::UnexpectedReply { what: "QuotaDir" }),
            Err(error) => return Err(error),
        };
        let all = self.statfs().await?;
        match dir {
            Some(dir) => self.within_quota(dir, all).await,
            None => Ok(all),
        }
    }

    /// Space and inodes: what the drives that are up can still take, divided by the geometry's overhead.
    pub async fn statfs(&self) -> Result<Statfs, ClientError> {
        let map = self.shards.cluster.map().await?;
        let root = Cred::ROOT;
        let parts = map.shards.iter().map(|shard| self.shards.read(shard.id, &root, ReadOp::Statfs));
        let (mut statfs, parts) = futures::try_join!(self.space(), futures::future::try_join_all(parts))?;
        for part in parts {
            if let MetaReply::Statfs(part) = part {
                statfs.used_inodes += part.used_inodes;
            }
        }
        Ok(statfs)
    }

    /// [`Self::statfs`] without inodes.
    pub(crate) async fn space(&self) -> Result<Statfs, ClientError> {
        let status = self.status().await?;
        let geometry = status.map.geometry;
        let share = |bytes: u64| bytes / geometry.width() as u64 * u64::from(geometry.data);
        let up = status.drives.iter().filter(|drive| status.map.drive_is_up(drive.drive));
        let (total, free) = up.fold((0, 0), |(t, f), drive| (t + drive.capacity_bytes, f + drive.free_bytes));
        Ok(Statfs { total_bytes: share(total), free_bytes: share(free), used_inodes: 0, free_inodes: None })
    }
}
