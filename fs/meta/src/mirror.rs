//! A client's own copy of the directories of a shard that are delegated to it.
//!
//! It holds each such directory with all its names, and of the inodes behind the names those that the client has made
//! itself since, directories too: nobody else has ever seen them. So all that is made below a delegated directory is in
//! the same shard, but what is made in the root is spread over all. What can be told or done with these alone is told and done here, by the
//! code that does it on the shard; the shard does it again when it is sent the [`LoggedOp`], with the same time and the
//! same inode number, and comes to the same. Everything else is `None`: for the shard.
//!
//! Invariants: between the client's calls to the shard, what is here equals what the shard has once it has done what was
//! logged; an inode here has one name, or is a directory. The caller keeps it so: before the shard changes an inode that
//! is here it has everything logged sent, and after it, it says what has become of it ([`Mirror::name_made`],
//! [`Mirror::name_removed`]) or forgets it ([`Mirror::forget_file`], [`Mirror::remove_directory`]).

mod rows;

use std::collections::BTreeSet;

use bytes::Bytes;
use forebay_env::{Durability, Kv};
use forebay_types::{Attr, Cred, FileKind, FsId, InodeId, Location, OpId, Owner, SessionId, ShardId, Timestamp};
use forebay_wire::meta::{Delegated, LoggedOp, MetaError, MetaReply, MutateOp, Mutation, ReadOp};

use crate::error::{Fault, ShardError};
use crate::key::{Keys, Slot};
use crate::open::OpenTable;
use crate::ops::{self, logged::is_loggable};
use crate::read::Reader;
use crate::record::{CookieRecord, Dentry, Inode, Usage, decode, encode};
use crate::session::Outcome;
use crate::tx::Tx;
use crate::{acl, dir, quota, stripes};
use rows::Rows;

/// Room for the counts of what is freed and was never counted here.
const PLENTY: u64 = 1 << 60;

/// What became of a mutation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Run {
    /// It is for the shard.
    Elsewhere,
    /// It makes an inode, and was given no number for it.
    NeedsNumber,
    /// It is answered; where it has changed anything, the shard is to be sent this.
    Done(MetaReply, Option<Box<LoggedOp>>),
}

/// See the module.
#[derive(Debug)]
pub struct Mirror {
    pub(crate) rows: Rows,
    keys: Keys,
    shard_count: u16,
    fs: FsId,
    session: SessionId,
    opens: OpenTable,
    directories: BTreeSet<InodeId>,
    /// Those who may not grow, as far as is known.
    over: BTreeSet<Owner>,
}

impl Mirror {
    /// Nothing is delegated yet.
    #[must_use]
    pub fn new(fs: FsId, session: SessionId, shard: ShardId, shard_count: u16) -> Self {
        let (rows, keys) = (Rows::default(), Keys(Slot::FIRST, shard));
        rows.put(keys.usage(fs), encode(&Usage { inodes: PLENTY, bytes: PLENTY }));
        Self {
            rows,
            keys,
            shard_count,
            fs,
            session,
            opens: OpenTable::new(),
            directories: BTreeSet::new(),
            over: BTreeSet::new(),
        }
    }

    /// A directory is delegated.
    pub fn add_directory(&mut self, delegated: &Delegated) -> Result<InodeId, ShardError> {
        let inode: Inode = decode("inode", &delegated.inode)?;
        let dir = inode.attr.ino;
        self.rows.put(self.keys.inode(self.fs, dir), delegated.inode.to_vec());
        for entry in &delegated.names {
            let (name, ino, kind, cookie) = (&entry.name, entry.ino, entry.kind, entry.cookie);
            self.rows.put(self.keys.dentry(self.fs, dir, name), encode(&Dentry { ino, kind, cookie }));
            let record = CookieRecord { name: name.clone(), ino, kind };
            self.rows.put(self.keys.cookie(self.fs, dir, cookie), encode(&record));
        }
        self.directories.insert(dir);
        self.note_over(delegated.over.iter().copied());
        Ok(dir)
    }

    /// Some owners may not grow any more: what they add is for the shard from now on.
    pub fn note_over(&mut self, owners: impl IntoIterator<Item = Owner>) {
        self.over.extend(owners);
    }

    /// The shard has let somebody grow: nobody is known to be over any more.
    pub fn forget_over(&mut self) {
        self.over.clear();
    }

    /// Directories that are delegated.
    pub fn directories(&self) -> impl Iterator<Item = InodeId> {
        self.directories.iter().copied()
    }

    /// Whether a directory is delegated.
    #[must_use]
    pub fn has_directory(&self, dir: InodeId) -> bool {
        self.directories.contains(&dir)
    }

    /// Whether an inode is here: a delegated directory, or something that was made in one.
    #[must_use]
    pub fn knows(&self, ino: InodeId) -> bool {
        self.rows.has(&self.keys.inode(self.fs, ino))
    }

    /// Attributes of an inode that is here.
    #[must_use]
    pub fn attr(&self, ino: InodeId) -> Option<Attr> {
        self.inode(ino).map(|inode| inode.attr)
    }

    /// Whether the session has opened an inode here.
    #[must_use]
    pub fn is_open(&self, ino: InodeId) -> bool {
        self.opens.is_open(self.fs, ino)
    }

    /// What has a name in a delegated directory.
    #[must_use]
    pub fn find(&self, dir: InodeId, name: &[u8]) -> Option<InodeId> {
        self.dentry(dir, name).ok()?.map(|dentry| dentry.ino)
    }

    /// Files of a directory that are here.
    pub fn files_of(&self, dir: InodeId) -> Result<Vec<InodeId>, ShardError> {
        let (start, end) = self.keys.of_inode(b'D', self.fs, dir);
        let mut files = Vec::new();
        for (_, value) in self.rows.scan(&start, &end, usize::MAX)? {
            let Dentry { ino, kind, .. } = decode("dentry", &value)?;
            files.extend((kind != FileKind::Directory && self.knows(ino)).then_some(ino));
        }
        Ok(files)
    }

    /// Bytes kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    /// A directory is not delegated any more. Its files stay until they are forgotten themselves.
    pub fn remove_directory(&mut self, dir: InodeId) {
        for table in [b'D', b'K'] {
            self.rows.remove_range(&self.keys.of_inode(table, self.fs, dir));
        }
        self.rows.remove(&self.keys.inode(self.fs, dir));
        self.opens.close(self.fs, self.session, dir);
        self.directories.remove(&dir);
    }

    /// The shard is about to change a file by itself, or others may. What is known of its name stays.
    pub fn forget_file(&mut self, ino: InodeId) {
        for table in [b'E', b'X'] {
            self.rows.remove_range(&self.keys.of_inode(table, self.fs, ino));
        }
        self.rows.remove(&self.keys.inode(self.fs, ino));
        self.opens.close(self.fs, self.session, ino);
    }

    /// The shard has put a name into a delegated directory, which has these attributes now.
    pub fn name_made(&mut self, dir: &Attr, name: &Bytes, ino: InodeId, kind: FileKind) -> Result<(), ShardError> {
        self.change_directory(dir, |tx, fs, inode| {
            dir::insert(tx, fs, inode, name, ino, kind);
            Ok(())
        })
    }

    /// The shard has taken a name from a delegated directory, which has these attributes now.
    pub fn name_removed(&mut self, dir: &Attr, name: &Bytes) -> Result<(), ShardError> {
        let of = dir.ino;
        self.change_directory(dir, |tx, fs, inode| {
            if let Some(dentry) = dir::find_held(tx, fs, of, name)? {
                dir::remove(tx, fs, inode, name, &dentry);
            }
            Ok(())
        })
    }

    fn change_directory(
        &mut self,
        now: &Attr,
        change: impl FnOnce(&mut Tx<'_>, FsId, &mut Inode) -> Result<(), Fault>,
    ) -> Result<(), ShardError> {
        let Some(mut inode) = self.inode(now.ino) else { return Ok(()) };
        let mut tx = self.view(now.ctime);
        match change(&mut tx, self.fs, &mut inode) {
            Ok(()) => {}
            Err(Fault::Broken(error)) => return Err(error),
            Err(Fault::Refused(error)) => {
                return Err(ShardError::Corrupt { what: "delegated directory", reason: error.to_string() });
            }
        }
        inode.attr = *now;
        tx.put(self.keys.inode(self.fs, now.ino), &inode);
        Ok(self.rows.write(tx.into_batch(), Durability::Buffered)?)
    }

    /// Answers a read, if it can be answered from what is here.
    pub fn read(&mut self, cred: &Cred, op: &ReadOp) -> Option<MetaReply> {
        let here = match op {
            ReadOp::Lookup { parent: dir, .. } | ReadOp::ReadDir { dir, .. } => self.has_directory(*dir),
            ReadOp::Close { ino } => self.opens.holds(self.fs, self.session, *ino),
            ReadOp::GetAttr { ino } | ReadOp::QuotaDir { ino } | ReadOp::Open { ino, .. } => self.knows(*ino),
            // A delegated directory's lists are in its inode; its other extended attributes are not here.
            ReadOp::GetXattr { ino, name } if self.has_directory(*ino) => acl::is_list(name),
            ReadOp::ReadLink { ino }
            | ReadOp::GetXattr { ino, .. }
            | ReadOp::ListXattr { ino }
            | ReadOp::Extents { ino, .. }
            | ReadOp::Exclusive { ino, .. } => self.knows(*ino) && !self.has_directory(*ino),
            ReadOp::Statfs
            | ReadOp::Introduce { .. }
            | ReadOp::Delegate { .. }
            | ReadOp::Quotas { .. }
            | ReadOp::OwnerUsage { .. }
            | ReadOp::Owners { .. }
            | ReadOp::Fsck(_) => false,
        };
        if !here {
            return None;
        }
        let tx = Tx::new(&self.rows, self.keys, self.shard_count, Timestamp::default());
        let reader = Reader { tx, fs: self.fs, session: self.session, cred };
        let reply = reader.read(op, &mut self.opens).unwrap_or_else(|fault| MetaReply::Error(fault.into()));
        // What has no name and is open is not here.
        self.opens.take_closed();
        Some(reply)
    }

    /// Carries a mutation out, if that can be done with what is here. `now`: the shard's time as far as it is known;
    /// `number`: for the inode that it makes, of those set aside for the session and not used yet.
    pub fn run(&mut self, now: Timestamp, number: Option<InodeId>, cred: &Cred, op: &MutateOp) -> Run {
        match self.try_run(now, number, cred, op) {
            Ok(run) => run,
            Err(error) => Run::Done(MetaReply::Error(MetaError::Storage { reason: error.to_string() }), None),
        }
    }

    fn try_run(
        &mut self,
        now: Timestamp,
        number: Option<InodeId>,
        cred: &Cred,
        op: &MutateOp,
    ) -> Result<Run, ShardError> {
        let Some(dir) = self.is_whole(op)? else { return Ok(Run::Elsewhere) };
        if number.is_none() && matches!(op, MutateOp::Mkdir { .. }) {
            return Ok(Run::NeedsNumber);
        }
        let victim = self.victim(op)?;
        // Nothing takes place before what was there already.
        let now = self.attr(dir).map_or(now, |attr| now.max(attr.ctime));
        let mut tx = self.view(now);
        tx.given = number;
        tx.closed = victim.into_iter().collect();
        let id = OpId { session: self.session, sequence: 0 };
        let opens = matches!(op, MutateOp::Create { open: true, .. });
        let op = match op {
            // The shard hears of what is open when it has to know.
            MutateOp::Create { parent, name, node, mode, exclusive, open: true, content } => {
                let (parent, name, node, content) = (*parent, name.clone(), node.clone(), content.clone());
                MutateOp::Create { parent, name, node, mode: *mode, exclusive: *exclusive, open: false, content }
            }
            op => op.clone(),
        };
        let mutation = Mutation { fs: self.fs, id, acknowledged_below: 0, cred: cred.clone(), op };
        let outcome = ops::mutate(&mut tx, &mutation, &[]);
        if outcome.is_ok() && quota::grows_any(&tx, &self.over)? {
            // The shard knows better, and says so.
            return Ok(Run::Elsewhere);
        }
        let outcome = outcome.and_then(|outcome| stripes::settle(&mut tx).map(|()| outcome));
        let reply = match outcome {
            Ok(Outcome::Done(reply)) => reply,
            Ok(Outcome::Pending(_)) => return Ok(Run::Elsewhere),
            Err(Fault::Refused(error)) => return Ok(Run::Done(MetaReply::Error(error), None)),
            Err(Fault::Broken(error)) => return Err(error),
        };
        let made = match &reply {
            MetaReply::Entry { ino, created: true, .. } => Some(*ino),
            _ => None,
        };
        if made.is_some() && number.is_none() {
            return Ok(Run::NeedsNumber);
        }
        if tx.is_empty() {
            return Ok(Run::Done(reply, None));
        }
        let batch = tx.into_batch();
        self.rows.write(batch, Durability::Buffered)?;
        if let (Some(ino), true) = (made, opens) {
            self.opens.opened(self.fs, self.session, ino);
        }
        match (&mutation.op, made, victim) {
            (MutateOp::Mkdir { .. }, Some(ino), _) => drop(self.directories.insert(ino)),
            (MutateOp::Rmdir { .. }, _, Some(ino)) => drop(self.directories.remove(&ino)),
            _ => {}
        }
        let logged = LoggedOp { now, ino: made, cred: mutation.cred, op: mutation.op };
        Ok(Run::Done(reply, Some(Box::new(logged))))
    }

    /// An inode whose times it goes by, where a mutation can be carried out with what is here.
    fn is_whole(&self, op: &MutateOp) -> Result<Option<InodeId>, ShardError> {
        if !is_loggable(op) {
            return Ok(None);
        }
        let whole = match op {
            MutateOp::Create { parent, .. } => self.has_directory(*parent).then_some(*parent),
            MutateOp::Mkdir { parent, .. } => {
                (*parent != InodeId::ROOT && self.has_directory(*parent)).then_some(*parent)
            }
            MutateOp::Rmdir { parent, name } => {
                let known = |dentry: Dentry| self.knows(dentry.ino) && !self.opens.is_open(self.fs, dentry.ino);
                let may = self.has_directory(*parent) && self.dentry(*parent, name)?.is_none_or(known);
                may.then_some(*parent)
            }
            MutateOp::Unlink { parent, name } => {
                let may = self.has_directory(*parent) && self.may_go(*parent, name)?;
                may.then_some(*parent)
            }
            MutateOp::Rename { parent, name, new_parent, new_name, .. } => {
                let here = self.has_directory(*parent) && self.has_directory(*new_parent);
                let moved = here && self.dentry(*parent, name)?.is_none_or(|d| self.is_file(d.ino));
                let may = moved && self.may_go(*new_parent, new_name)?;
                may.then_some(*parent)
            }
            MutateOp::Commit { ino, extents, .. } => {
                let inline = extents.iter().all(|extent| matches!(extent.location, Location::Inline(_)));
                (inline && self.is_file(*ino)).then_some(*ino)
            }
            // Of the directory itself not everything is here.
            MutateOp::SetXattr { ino, .. } | MutateOp::RemoveXattr { ino, .. } => self.is_file(*ino).then_some(*ino),
            MutateOp::SetAttr { ino, .. } | MutateOp::Accessed { ino, .. } => self.knows(*ino).then_some(*ino),
            _ => None,
        };
        Ok(whole)
    }

    /// Whether what has a name, if anything, may lose it here.
    fn may_go(&self, dir: InodeId, name: &[u8]) -> Result<bool, ShardError> {
        Ok(self.dentry(dir, name)?.is_none_or(|d| self.is_file(d.ino) && !self.opens.is_open(self.fs, d.ino)))
    }

    fn victim(&self, op: &MutateOp) -> Result<Option<InodeId>, ShardError> {
        let (dir, name) = match op {
            MutateOp::Unlink { parent, name } | MutateOp::Rmdir { parent, name } => (*parent, name),
            MutateOp::Rename { new_parent, new_name, .. } => (*new_parent, new_name),
            _ => return Ok(None),
        };
        Ok(self.dentry(dir, name)?.map(|dentry| dentry.ino))
    }

    fn is_file(&self, ino: InodeId) -> bool {
        self.knows(ino) && !self.has_directory(ino)
    }

    pub(crate) fn dentry(&self, dir: InodeId, name: &[u8]) -> Result<Option<Dentry>, ShardError> {
        let bytes = self.rows.get(&self.keys.dentry(self.fs, dir, name))?;
        bytes.map(|bytes| decode("dentry", &bytes)).transpose()
    }

    fn inode(&self, ino: InodeId) -> Option<Inode> {
        let bytes = self.rows.get(&self.keys.inode(self.fs, ino)).ok()??;
        decode("inode", &bytes).ok()
    }

    fn view(&self, now: Timestamp) -> Tx<'_> {
        Tx::new(&self.rows, self.keys, self.shard_count, now)
    }
}
