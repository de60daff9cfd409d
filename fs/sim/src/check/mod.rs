//! Checkers: what must hold whatever happens.
//!
//! While the world runs, [`Watch`] notes what every log entry changes when the first replica applies it, and that every
//! other replica comes to the same. That gives each *register* (a name in a directory, or an inode's attributes) its order
//! of values, which is the order of the log of the shard that it is in. At the end, histories of clients are held against it:
//!
//! * [`namespace`]: every operation has changed exactly those names that POSIX says, and by its answer, once;
//! * [`linear`]: every register is linearizable;
//! * [`replicas`]: replicas are equal, [`forebay_meta::Shard::fsck`] finds nothing, the tree is whole, no orphan is left;
//! * [`leases`], while the world runs: no two clients believe with an exclusive lease among them.

pub(crate) mod leases;
pub(crate) mod linear;
pub(crate) mod namespace;
pub(crate) mod replicas;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use forebay_meta::{Applied, Effect, Entry, Input, Shard};
use forebay_types::{Attr, Cred, FileKind, HostId, InodeId, LogPosition, OpId, SessionId, ShardId};
use forebay_wire::meta::{MetaReply, ReadOp, TxnId};

use crate::digest::Digest;
use crate::disk::Store;
use crate::history::Place;
use crate::host::{FS, nothing_open};

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// How.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.detail)
    }
}

/// What must hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// Replicas come to the same with the same entry, and end with the same state.
    ReplicasAgree,
    /// The checks of a shard's own tables find nothing.
    FsckClean,
    /// Every operation changes what POSIX says that it changes, by its answer.
    Namespace,
    /// No operation happens twice, however often it is sent.
    ExactlyOnce,
    /// Every read sees what was written before it, and time does not run backwards.
    Linearizable,
    /// While a session has an exclusive lease nobody else believes anything.
    LeasesExclusive,
    /// A file that is open does not vanish.
    OpenFilesStay,
    /// Once nothing goes wrong any more everything comes to rest.
    ComesToRest,
    /// At rest everything is reachable by its names, and there are no orphans.
    TreeWhole,
}

/// What a name stands for.
pub(crate) type Target = Option<(InodeId, FileKind)>;

/// A change of a name.
#[derive(Clone, Debug)]
pub(crate) struct NameWrite {
    pub at: u64,
    pub op: Option<OpId>,
    pub before: Target,
    pub after: Target,
}

/// A change of an inode's attributes; none where it is gone.
#[derive(Clone, Debug)]
pub(crate) struct AttrWrite {
    pub at: u64,
    pub op: Option<OpId>,
    pub attr: Option<Attr>,
}

type Listing = BTreeMap<Bytes, (InodeId, FileKind)>;

/// See the module.
#[derive(Default)]
pub(crate) struct Watch {
    pub now: u64,
    pub names: BTreeMap<Place, Vec<NameWrite>>,
    pub attrs: BTreeMap<InodeId, Vec<AttrWrite>>,
    pub violations: Vec<Violation>,
    /// What applying each entry of each shard came to.
    entries: BTreeMap<ShardId, BTreeMap<u64, u64>>,
    listings: BTreeMap<InodeId, Listing>,
    /// The operations that transactions carry out.
    transactions: BTreeMap<TxnId, OpId>,
}

impl Watch {
    pub fn violated(&mut self, rule: Rule, detail: String) {
        self.violations.push(Violation { rule, detail });
    }

    /// A replica has passed over an entry that says nothing to its shard.
    pub fn passed(&mut self, shard: ShardId, at: LogPosition, members: Option<&[u8]>) {
        let mut digest = Digest::new();
        digest.number(at.term);
        digest.bytes(members.unwrap_or_default());
        self.note(shard, at, digest.value(), "an entry without content");
    }

    /// A replica has applied an entry; whether it was the first.
    fn note(&mut self, shard: ShardId, at: LogPosition, digest: u64, what: &str) -> bool {
        let known = self.entries.entry(shard).or_default();
        match known.get(&at.index) {
            Some(same) if *same == digest => false,
            Some(_) => {
                let detail = format!("{shard} has two histories at {}: {what}", at.index);
                self.violated(Rule::ReplicasAgree, detail);
                false
            }
            None => {
                known.insert(at.index, digest);
                true
            }
        }
    }

    /// The operation that an entry belongs to.
    fn operation(&mut self, entry: &Entry, applied: &Applied) -> Option<OpId> {
        let sent = applied.effects.iter().filter_map(|effect| match effect {
            Effect::Send { step, .. } => Some(step.txn),
            _ => None,
        });
        let op = match &entry.input {
            Input::Peer(step) => self.transactions.get(&step.txn).copied(),
            _ => applied.operation,
        };
        self.transactions.extend(sent.filter_map(|txn| Some((txn, op?))));
        op
    }

    /// A replica has applied an entry.
    pub fn applied(&mut self, host: HostId, shard: &Shard<Store>, at: LogPosition, entry: &Entry, applied: &Applied) {
        let mut digest = Digest::new();
        digest.number(at.term);
        digest.debug(entry);
        digest.debug(applied);
        if !self.note(shard.id(), at, digest.value(), &format!("{host} came to {applied:?}")) {
            return;
        }
        let operation = self.operation(entry, applied);
        for (_, ino) in applied.changed.iter().filter(|(fs, _)| *fs == FS) {
            let attr = shard.attr(FS, *ino).expect("the store works");
            self.note_attr(*ino, attr, operation);
            let was_directory = self.listings.contains_key(ino);
            if was_directory || attr.is_some_and(|attr| attr.kind == FileKind::Directory) {
                self.note_names(*ino, listing(shard, *ino), operation);
            }
        }
    }

    fn note_attr(&mut self, ino: InodeId, attr: Option<Attr>, op: Option<OpId>) {
        let writes = self.attrs.entry(ino).or_default();
        if writes.last().and_then(|last| last.attr) != attr {
            writes.push(AttrWrite { at: self.now, op, attr });
        }
    }

    fn note_names(&mut self, dir: InodeId, now: Listing, op: Option<OpId>) {
        let before = self.listings.insert(dir, now.clone()).unwrap_or_default();
        let all: BTreeSet<&Bytes> = before.keys().chain(now.keys()).collect();
        for name in all {
            let (before, after) = (before.get(name).copied(), now.get(name).copied());
            if before != after {
                let write = NameWrite { at: self.now, op, before, after };
                self.names.entry((dir, name.clone())).or_default().push(write);
            }
        }
    }
}

/// All names of a directory, as a replica has them.
pub(crate) fn listing(shard: &Shard<Store>, dir: InodeId) -> Listing {
    let op = ReadOp::ReadDir { dir, after: 2, limit: u32::MAX, with_attrs: false };
    match shard.read(FS, SessionId(0), &Cred::ROOT, &op, &mut nothing_open()) {
        MetaReply::Entries { entries, .. } => {
            entries.into_iter().map(|entry| (entry.name, (entry.ino, entry.kind))).collect()
        }
        _ => Listing::new(),
    }
}
