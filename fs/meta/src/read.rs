//! Reads: answered from applied state, with permission checked, changing nothing but the table of open inodes.

use bytes::Bytes;
use forebay_env::{Kv, Pair};
use forebay_types::{
    ByteRange, Cred, Errno, FileKind, FsId, InodeId, Location, Owner, SessionId, Statfs, Timestamp, limits,
};
use forebay_wire::meta::{Delegated, DirEntry, MetaError, MetaReply, ReadOp};

use crate::access::{self, READ, SEARCH, WRITE};
use crate::acl;
use crate::error::Fault;
use crate::key;
use crate::name::{self, NameKind};
use crate::open::OpenTable;
use crate::ops::xattr::{self, Space};
use crate::quota;
use crate::record::{CookieRecord, Inode, decode, encode};
use crate::shard::{Shard, has_extents};
use crate::tx::Tx;
use crate::{dir, extents};

/// Most bytes of inline extents in one answer.
const INLINE_PER_REPLY: u64 = 1 << 20;

pub(crate) struct Reader<'a> {
    pub tx: Tx<'a>,
    pub fs: FsId,
    pub session: SessionId,
    pub cred: &'a Cred,
}

impl<K: Kv> Shard<K> {
    /// Answers a read. Only `Open`, `Close` and `Introduce` change `opens`.
    pub fn read(&self, fs: FsId, session: SessionId, cred: &Cred, op: &ReadOp, opens: &mut OpenTable) -> MetaReply {
        if let ReadOp::Introduce { inodes, .. } = op {
            opens.introduce(fs, session, inodes);
            return MetaReply::Done;
        }
        if let Err(error) = opens.need_introduced(self.id(), session) {
            return MetaReply::Error(error);
        }
        let reader = Reader { tx: self.view(Timestamp::default()), fs, session, cred };
        reader.read(op, opens).unwrap_or_else(|fault| MetaReply::Error(fault.into()))
    }
}

impl Reader<'_> {
    pub fn read(&self, op: &ReadOp, opens: &mut OpenTable) -> Result<MetaReply, Fault> {
        match op {
            ReadOp::Lookup { parent, name } => self.lookup(*parent, name),
            ReadOp::GetAttr { ino } => Ok(MetaReply::Attr(self.inode(*ino)?.attr)),
            ReadOp::ReadDir { dir, after, limit, with_attrs } => {
                let held = opens.holds(self.fs, self.session, *dir);
                self.readdir(*dir, *after, *limit, *with_attrs, held)
            }
            ReadOp::ReadLink { ino } => {
                let inode = self.inode(*ino)?;
                let link = inode.attr.kind == FileKind::Symlink;
                if link { Ok(MetaReply::Bytes(inode.target)) } else { Err(Errno::Invalid.into()) }
            }
            ReadOp::GetXattr { ino, name } => self.get_xattr(*ino, name),
            ReadOp::ListXattr { ino } => self.list_xattr(*ino),
            ReadOp::Open { ino, read, write } => self.open(*ino, *read, *write, opens),
            ReadOp::Close { ino } => {
                opens.close(self.fs, self.session, *ino);
                Ok(MetaReply::Done)
            }
            ReadOp::Extents { ino, range } => {
                let held = opens.holds(self.fs, self.session, *ino);
                self.extents(*ino, *range, held)
            }
            ReadOp::Statfs => {
                let usage = self.tx.usage(self.fs)?;
                Ok(MetaReply::Statfs(Statfs {
                    total_bytes: usage.bytes,
                    free_bytes: 0,
                    used_inodes: usage.inodes,
                    free_inodes: None,
                }))
            }
            ReadOp::Exclusive { ino, .. } => {
                let inode = self.inode(*ino)?;
                if has_extents(inode.attr.kind) { Ok(MetaReply::Attr(inode.attr)) } else { Err(Errno::Invalid.into()) }
            }
            ReadOp::Delegate { dir } => self.delegate(*dir),
            ReadOp::QuotaDir { ino } => Ok(MetaReply::QuotaDir(self.inode(*ino)?.quota_dir)),
            ReadOp::Quotas { after, limit } => self.quotas(*after, *limit),
            ReadOp::Owners { after, limit } => self.owners(*after, *limit),
            ReadOp::OwnerUsage { owners } => {
                let owners = owners.iter().take(limits::OWNERS_PER_MESSAGE);
                let usage = owners.map(|owner| quota::usage(&self.tx, self.fs, *owner));
                usage.collect::<Result<_, _>>().map(MetaReply::OwnerUsage)
            }
            // Not of this moment, or not of the caller's: see `fsck`.
            ReadOp::Fsck(_) => Err(Errno::NotSupported.into()),
            ReadOp::Introduce { .. } => Ok(MetaReply::Done),
        }
    }

    /// All of a directory that is quiet and small.
    fn delegate(&self, ino: InodeId) -> Result<MetaReply, Fault> {
        let dir = self.inode(ino)?;
        if !dir.is_dir() {
            return Err(Errno::NotDirectory.into());
        }
        let quiet = dir.attr.nlink > 0 && dir.dying.is_none();
        let (names, held) = (self.tx.keys.of_inode(b'K', self.fs, ino), self.tx.keys.of_inode(b'N', self.fs, ino));
        let page = self.tx.scan(&names, limits::NAMES_PER_DELEGATION + 1)?;
        if !quiet || page.len() > limits::NAMES_PER_DELEGATION || self.tx.any(&held)? {
            return Err(Errno::Again.into());
        }
        let mut names = Vec::with_capacity(page.len());
        for (key, value) in page {
            let CookieRecord { name, ino, kind } = decode("directory entry", &value)?;
            names.push(DirEntry { name, ino, kind, cookie: key::number(&key, 16), attr: None });
        }
        let callers = [Owner::User(self.cred.uid), Owner::Group(self.cred.gid), Owner::Group(dir.attr.gid)];
        let makers = callers.into_iter().chain(dir.quota_dir.map(Owner::Directory));
        let over = quota::over(&self.tx, self.fs, makers)?;
        let inode = encode(&dir).into();
        Ok(MetaReply::Delegated(Box::new(Delegated { now: Timestamp::default(), inode, names, over })))
    }

    fn quotas(&self, after: Option<Owner>, limit: u32) -> Result<MetaReply, Fault> {
        self.tx.local(InodeId::ROOT)?;
        let page = self.page_of_owners(b'Y', after.map(|owner| self.tx.keys.quota(self.fs, owner)), limit)?;
        let states = page.iter().map(|(_, value)| decode("quota", value));
        Ok(MetaReply::Quotas(states.collect::<Result<_, _>>()?))
    }

    fn owners(&self, after: Option<Owner>, limit: u32) -> Result<MetaReply, Fault> {
        let page = self.page_of_owners(b'V', after.map(|owner| self.tx.keys.owner(self.fs, owner)), limit)?;
        let mut owners = Vec::with_capacity(page.len());
        for (key, value) in page {
            let used = decode("owner's usage", &value)?;
            owners.extend(key::owner_of(&key).map(|owner| (owner, used)));
        }
        Ok(MetaReply::Owners(owners))
    }

    fn page_of_owners(&self, table: u8, after: Option<Vec<u8>>, limit: u32) -> Result<Vec<Pair>, Fault> {
        let (mut start, end) = self.tx.keys.of_fs(table, self.fs);
        if let Some(last) = after {
            start = key::after(&last);
        }
        self.tx.scan(&(start, end), (limit as usize).min(limits::OWNERS_PER_MESSAGE))
    }

    fn inode(&self, ino: InodeId) -> Result<Inode, Fault> {
        dir::need_inode(&self.tx, self.fs, ino)
    }

    fn lookup(&self, parent: InodeId, name: &Bytes) -> Result<MetaReply, Fault> {
        let dir = dir::need_dir(&self.tx, self.fs, parent, self.cred)?;
        let (ino, kind) = match name::check(name)? {
            NameKind::Dot => (parent, FileKind::Directory),
            NameKind::DotDot => (dir.parent, FileKind::Directory),
            NameKind::Plain => {
                let found = dir::find(&self.tx, self.fs, parent, name)?.ok_or(Errno::NoEntry)?;
                (found.ino, found.kind)
            }
        };
        dir::entry(&self.tx, self.fs, ino, kind, false)
    }

    fn readdir(&self, ino: InodeId, after: u64, limit: u32, attrs: bool, held: bool) -> Result<MetaReply, Fault> {
        let dir = self.inode(ino)?;
        if !dir.is_dir() {
            return Err(Errno::NotDirectory.into());
        }
        if !held {
            access::need(&dir, self.cred, READ)?;
        }
        let attrs = attrs && access::may(&dir, self.cred, SEARCH);
        let limit = (limit as usize).clamp(1, limits::DIRENTS_PER_REPLY);
        let mut entries = Vec::new();
        for (cookie, name, ino) in [(1, &b"."[..], ino), (2, &b".."[..], dir.parent)] {
            if after < cookie && entries.len() < limit {
                entries.push(self.dir_entry(Bytes::copy_from_slice(name), ino, FileKind::Directory, cookie, attrs)?);
            }
        }
        let from = after.saturating_add(1).max(dir::FIRST_COOKIE);
        let range = (self.tx.keys.cookie(self.fs, ino, from), self.tx.keys.of_inode(b'K', self.fs, ino).1);
        let room = limit - entries.len();
        // One more than there is room for tells whether there are more.
        let page = self.tx.scan(&range, room + 1)?;
        let end = page.len() <= room;
        for (key, value) in page.into_iter().take(room) {
            let record: CookieRecord = decode("directory entry", &value)?;
            entries.push(self.dir_entry(record.name, record.ino, record.kind, key::number(&key, 16), attrs)?);
        }
        Ok(MetaReply::Entries { entries, end })
    }

    fn dir_entry(
        &self,
        name: Bytes,
        ino: InodeId,
        kind: FileKind,
        cookie: u64,
        attrs: bool,
    ) -> Result<DirEntry, Fault> {
        let here = attrs && ino.shard() == self.tx.me;
        let attr = if here { self.tx.inode(self.fs, ino)?.map(|inode| inode.attr) } else { None };
        Ok(DirEntry { name, ino, kind, cookie, attr })
    }

    fn get_xattr(&self, ino: InodeId, name: &Bytes) -> Result<MetaReply, Fault> {
        let inode = self.inode(ino)?;
        match xattr::space(name)? {
            Space::User if !inode.is_dir() && inode.attr.kind != FileKind::Regular => return Err(Errno::NoData.into()),
            Space::User => access::need(&inode, self.cred, READ)?,
            Space::Trusted if self.cred.uid != 0 => return Err(Errno::NoData.into()),
            Space::Trusted | Space::Security => {}
            Space::AccessAcl | Space::DefaultAcl => {
                if inode.attr.kind == FileKind::Symlink {
                    return Err(Errno::NotSupported.into());
                }
                let list = if &name[..] == acl::ACCESS { &inode.acl } else { &inode.default_acl };
                return Ok(MetaReply::Bytes(acl::encode(list.as_ref().ok_or(Errno::NoData)?)));
            }
        }
        let value: Option<Bytes> = self.tx.get("extended attribute", &self.tx.keys.xattr(self.fs, ino, name))?;
        Ok(MetaReply::Bytes(value.ok_or(Errno::NoData)?))
    }

    fn list_xattr(&self, ino: InodeId) -> Result<MetaReply, Fault> {
        let inode = self.inode(ino)?;
        let lists = [(acl::ACCESS, inode.acl.is_some()), (acl::DEFAULT, inode.default_acl.is_some())];
        let lists = lists.into_iter().filter(|(_, there)| *there).map(|(name, _)| Bytes::from_static(name));
        let range = self.tx.keys.of_inode(b'X', self.fs, ino);
        let prefix = range.0.len();
        let page = self.tx.scan(&range, limits::XATTR_LIST_MAX)?;
        let names = page.iter().map(|(key, _)| Bytes::copy_from_slice(&key[prefix..]));
        let visible = |name: &Bytes| self.cred.uid == 0 || !name.starts_with(b"trusted.");
        Ok(MetaReply::Names(names.filter(visible).chain(lists).collect()))
    }

    fn open(&self, ino: InodeId, read: bool, write: bool, opens: &mut OpenTable) -> Result<MetaReply, Fault> {
        let inode = self.inode(ino)?;
        if inode.attr.nlink == 0 && !opens.holds(self.fs, self.session, ino) {
            return Err(Errno::NoEntry.into());
        }
        match inode.attr.kind {
            FileKind::Symlink => return Err(Errno::Loop.into()),
            FileKind::Directory if write => return Err(Errno::IsDirectory.into()),
            _ => {}
        }
        if inode.dying.is_some() || opens.is_closing(self.fs, ino) {
            return Err(MetaError::Busy.into());
        }
        let want = if read { READ } else { 0 } | if write { WRITE } else { 0 };
        access::need(&inode, self.cred, want)?;
        // What the caller has just made it may write, whatever the mode.
        opens.open(self.fs, self.session, ino, write || !read);
        Ok(MetaReply::Attr(inode.attr))
    }

    fn extents(&self, ino: InodeId, range: ByteRange, held: bool) -> Result<MetaReply, Fault> {
        let inode = self.inode(ino)?;
        if inode.is_dir() {
            return Err(Errno::IsDirectory.into());
        }
        if !has_extents(inode.attr.kind) {
            return Err(Errno::Invalid.into());
        }
        let may = held || access::owns(&inode, self.cred) || access::may(&inode, self.cred, WRITE);
        if !may {
            access::need(&inode, self.cred, READ)?;
        }
        let range = ByteRange::new(range.offset, range.len);
        let found = extents::overlapping(&self.tx, self.fs, ino, range, limits::EXTENTS_PER_MESSAGE)?;
        let mut covered_to = range.end();
        if found.len() >= limits::EXTENTS_PER_MESSAGE {
            covered_to = found.last().map_or(covered_to, |extent| extent.range.end().min(covered_to));
        }
        let mut inline = 0;
        let mut extents = Vec::with_capacity(found.len());
        for extent in found.into_iter().filter_map(|extent| extent.clip(range)) {
            if matches!(extent.location, Location::Inline(_)) {
                inline += extent.range.len;
            }
            if inline > INLINE_PER_REPLY {
                covered_to = extent.range.offset;
                break;
            }
            extents.push(extent);
        }
        Ok(MetaReply::Extents { attr: inode.attr, extents, covered_to, class: inode.class })
    }
}
