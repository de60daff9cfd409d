//! A few shards, the messages between them in any order, twice or never, and crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use forebay_env::{Batch, Durability, Kv, MemoryKv};
use forebay_types::{
    Cred, Errno, FileKind, FsId, Geometry, InodeId, LifetimeClass, Limits, LogPosition, OpId, Owner, PgId, SessionId,
    ShardId, Space, Timestamp,
};
use forebay_wire::meta::{MetaError, MetaReply, MutateOp, Mutation, NewNode, QuotaChange, ReadOp};

use crate::{Applied, Decision, Effect, Input, OpenTable, Placement, ReceiptKey, Shard, ShardConfig, decide};

pub const FS: FsId = FsId(1);
pub const CODE: Geometry = Geometry { data: 2, parity: 1 };

/// Small, seeded, and good enough to choose what happens next.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

pub struct Groups;

impl Placement for Groups {
    fn pick(&self, count: u32, _: LifetimeClass) -> Result<Vec<(PgId, Geometry)>, MetaError> {
        Ok((0..count).map(|n| (PgId(n % 3), CODE)).collect())
    }
}

pub fn receipt_key() -> ReceiptKey {
    ReceiptKey::derive(b"test")
}

pub struct Host {
    pub kv: Arc<MemoryKv>,
    pub shard: Shard<Arc<MemoryKv>>,
    pub opens: OpenTable,
}

pub struct World {
    pub hosts: Vec<Host>,
    pub dice: Dice,
    pub now: Timestamp,
    /// One in so many messages is lost, and as many are doubled; 0 for a calm world.
    pub trouble: u64,
    /// One in so many steps is a crash; 0 for none.
    pub crashes: u64,
    /// What was refused for want of budget, until somebody shares out.
    pub wanted: Vec<(ShardId, Owner, Space)>,
    /// What owners may have; with any, whoever is refused for want of budget has it shared out.
    pub limits: BTreeMap<Owner, Limits>,
    flying: Vec<(ShardId, Input)>,
    replies: BTreeMap<OpId, MetaReply>,
    sequence: BTreeMap<SessionId, u64>,
}

/// Where the log of a shard is that is not replicated.
fn log_key(shard: u16, index: u64) -> Vec<u8> {
    [&b"log"[..], &shard.to_be_bytes(), &index.to_be_bytes()].concat()
}

fn open(kv: &Arc<MemoryKv>, n: u16, count: u16) -> Shard<Arc<MemoryKv>> {
    let config = ShardConfig { shard: ShardId(n), shard_count: count, receipt_key: receipt_key() };
    let mut shard = Shard::open(kv.clone(), config).unwrap();
    let (start, end) = (log_key(n, shard.applied().index + 1), log_key(n, u64::MAX));
    for (index, (_, bytes)) in (shard.applied().index + 1..).zip(kv.scan(&start, &end, usize::MAX).unwrap()) {
        shard.apply(LogPosition { index, term: 1 }, &crate::Entry::decode(&bytes).unwrap()).unwrap();
    }
    shard
}

impl World {
    pub fn new(shards: u16, seed: u64) -> Self {
        let host = |n| {
            let kv = Arc::new(MemoryKv::new());
            Host { shard: open(&kv, n, shards), kv, opens: OpenTable::new() }
        };
        let mut world = Self {
            hosts: (0..shards).map(host).collect(),
            dice: Dice(seed),
            now: Timestamp { secs: 1_000_000, nanos: 0 },
            trouble: 0,
            crashes: 0,
            wanted: Vec::new(),
            limits: BTreeMap::new(),
            flying: Vec::new(),
            replies: BTreeMap::new(),
            sequence: BTreeMap::new(),
        };
        world.ok(&Cred::ROOT, ShardId(0), MutateOp::MakeRoot);
        world
    }

    pub fn submit(&mut self, to: ShardId, input: Input) -> Option<MetaReply> {
        self.now.secs += 1;
        let host = &mut self.hosts[usize::from(to.0)];
        let entry = match host.shard.prepare(self.now, &Groups, &mut host.opens, input.clone()) {
            Ok(entry) => entry,
            Err(error) => return Some(MetaReply::Error(error)),
        };
        assert_eq!(crate::Entry::decode(&entry.encode()).unwrap(), entry);
        let index = host.shard.applied().index + 1;
        let mut batch = Batch::default();
        batch.put(log_key(to.0, index), entry.encode());
        host.kv.write(batch, Durability::Flushed).unwrap();
        let Applied { reply, effects, .. } = host.shard.apply(LogPosition { index, term: 1 }, &entry).unwrap();
        host.opens.settle(&entry);
        for effect in effects {
            match effect {
                Effect::Send { to, step } => self.fly(to, Input::Peer(step)),
                Effect::Reply { id, reply } => {
                    self.replies.insert(id, reply);
                }
                Effect::Opened { fs, session, ino } => {
                    self.hosts[usize::from(to.0)].opens.opened(fs, session, ino);
                }
                Effect::Orphaned { fs, ino } => self.fly(to, Input::Reap { fs, ino }),
                Effect::Wanted { owner, wanted, .. } => self.wanted.push((to, owner, wanted)),
                Effect::SessionEnded { session } => {
                    let host = &mut self.hosts[usize::from(to.0)];
                    host.opens.end_session(session);
                    self.reap(to);
                }
            }
        }
        if let (Input::Peer(step), Some(reply)) = (input, &reply) {
            let answer = Input::Answer { txn: step.txn, step: step.step, reply: reply.clone() };
            self.fly(step.txn.source, answer);
        }
        reply
    }

    fn fly(&mut self, to: ShardId, input: Input) {
        let trouble = self.trouble;
        if trouble == 0 || self.dice.roll(trouble) != 0 {
            self.flying.push((to, input.clone()));
        }
        if trouble != 0 && self.dice.roll(trouble) == 0 {
            self.flying.push((to, input));
        }
    }

    pub fn reap(&mut self, shard: ShardId) {
        let host = &mut self.hosts[usize::from(shard.0)];
        for input in host.shard.reaps(&mut host.opens).unwrap() {
            self.flying.push((shard, input));
        }
    }

    fn crash(&mut self, n: u16) {
        let count = self.hosts.len() as u16;
        let host = &mut self.hosts[usize::from(n)];
        let keep = self.dice.roll(host.kv.unflushed() as u64 + 1);
        host.kv.crash(keep as usize);
        host.shard = open(&host.kv, n, count);
    }

    /// Lets one thing happen: a message arrives, or a host crashes, or everything unanswered is sent again.
    pub fn happen(&mut self) {
        if self.crashes != 0 && self.dice.roll(self.crashes) == 0 {
            let n = self.dice.roll(self.hosts.len() as u64) as u16;
            self.crash(n);
        }
        if self.flying.is_empty() {
            for host in &self.hosts {
                let again = host.shard.outbox(100).unwrap();
                self.flying.extend(again.into_iter().map(|(to, step)| (to, Input::Peer(step))));
                let orphans = host.shard.orphans(None, 100).unwrap();
                let at = host.shard.id();
                self.flying.extend(orphans.into_iter().map(|(fs, ino)| (at, Input::Reap { fs, ino })));
            }
        }
        if !self.flying.is_empty() {
            let n = self.dice.roll(self.flying.len() as u64) as usize;
            let (to, input) = self.flying.swap_remove(n);
            self.submit(to, input);
        }
    }

    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let open = |h: &Host| h.shard.outbox(1).unwrap().is_empty();
            if self.flying.is_empty() && self.hosts.iter().all(open) {
                return;
            }
            self.happen();
        }
        panic!("the world does not come to rest");
    }

    pub fn mutation(&mut self, session: SessionId, cred: &Cred, op: MutateOp) -> Mutation {
        let sequence = self.sequence.entry(session).or_insert(0);
        *sequence += 1;
        let id = OpId { session, sequence: *sequence };
        // The last few answers count as not arrived.
        Mutation { fs: FS, id, acknowledged_below: sequence.saturating_sub(3), cred: cred.clone(), op }
    }

    /// Sends a mutation until it has an answer, in a troubled world more often than that.
    pub fn send(&mut self, to: ShardId, mutation: &Mutation) -> MetaReply {
        for _ in 0..10_000 {
            let mut reply = self.submit(to, Input::Mutate(Box::new(mutation.clone())));
            for _ in 0..200 {
                if reply.is_some() {
                    break;
                }
                self.happen();
                reply = self.replies.get(&mutation.id).cloned();
            }
            match reply {
                Some(MetaReply::Error(MetaError::Busy)) => {
                    self.replies.remove(&mutation.id);
                    self.share();
                    self.happen();
                }
                Some(reply) if self.trouble == 0 || self.dice.roll(2) == 0 => return reply,
                _ => {}
            }
        }
        panic!("no answer to {mutation:?} under {:?}", self.limits);
    }

    /// Shares out what was wanted since the last time, as the host that leads shard 0 does.
    pub fn share(&mut self) {
        let wanted = std::mem::take(&mut self.wanted);
        let owners: BTreeSet<Owner> = wanted.iter().map(|(_, owner, _)| *owner).collect();
        for owner in owners {
            self.share_one(owner, &wanted);
        }
    }

    pub fn share_one(&mut self, owner: Owner, wanted: &[(ShardId, Owner, Space)]) {
        let mut usage = BTreeMap::new();
        for n in 0..self.hosts.len() as u16 {
            let op = ReadOp::OwnerUsage { owners: vec![owner] };
            let Ok(MetaReply::OwnerUsage(found)) = self.read(&Cred::ROOT, ShardId(n), &op) else { panic!("usage") };
            let mut found = found[0];
            for (_, _, space) in wanted.iter().filter(|(at, of, _)| (*at, *of) == (ShardId(n), owner)) {
                let most = &mut found.wanted;
                *most = Space { bytes: most.bytes.max(space.bytes), inodes: most.inodes.max(space.inodes) };
            }
            usage.insert(ShardId(n), found);
        }
        for Decision { shard, after, budget } in decide(self.limits.get(&owner).copied(), &usage, &BTreeMap::new()) {
            let change = QuotaChange::Share { owner, after, budget };
            let mutation = self.mutation(SessionId(8), &Cred::ROOT, MutateOp::Quota(change));
            // One that is lost is made again with the next that is refused.
            self.submit(shard, Input::Mutate(Box::new(mutation)));
        }
    }

    pub fn call(&mut self, cred: &Cred, to: ShardId, op: MutateOp) -> Result<MetaReply, MetaError> {
        let mutation = self.mutation(SessionId(7), cred, op);
        match self.send(to, &mutation) {
            MetaReply::Error(error) => Err(error),
            reply => Ok(reply),
        }
    }

    pub fn ok(&mut self, cred: &Cred, to: ShardId, op: MutateOp) -> MetaReply {
        self.call(cred, to, op.clone()).unwrap_or_else(|error| panic!("{op:?}: {error}"))
    }

    pub fn errno(&mut self, cred: &Cred, to: ShardId, op: MutateOp) -> Option<Errno> {
        match self.call(cred, to, op.clone()) {
            Ok(_) => None,
            Err(MetaError::Posix(errno)) => Some(errno),
            Err(other) => panic!("{op:?}: {other}"),
        }
    }

    pub fn read(&mut self, cred: &Cred, to: ShardId, op: &ReadOp) -> Result<MetaReply, Errno> {
        for _ in 0..1000 {
            let host = &mut self.hosts[usize::from(to.0)];
            match host.shard.read(FS, SessionId(7), cred, op, &mut host.opens) {
                MetaReply::Error(MetaError::Posix(errno)) => return Err(errno),
                MetaReply::Error(MetaError::Busy) => self.happen(),
                MetaReply::Error(other) => panic!("{op:?}: {other}"),
                reply => return Ok(reply),
            }
        }
        panic!("busy for ever: {op:?}");
    }

    pub fn attr(&mut self, ino: InodeId) -> forebay_types::Attr {
        match self.read(&Cred::ROOT, ino.shard(), &ReadOp::GetAttr { ino }) {
            Ok(MetaReply::Attr(attr)) => attr,
            other => panic!("{other:?}"),
        }
    }

    pub fn mkdir(&mut self, cred: &Cred, parent: InodeId, name: &str, mode: u16) -> InodeId {
        let op = MutateOp::Mkdir { parent, name: Bytes::copy_from_slice(name.as_bytes()), mode: mode.into() };
        entry(&self.ok(cred, parent.shard(), op))
    }

    pub fn create(&mut self, cred: &Cred, parent: InodeId, name: &str, mode: u16) -> InodeId {
        entry(&self.ok(cred, parent.shard(), make(parent, name, NewNode::File, mode)))
    }

    /// Rules of each shard, and those over all shards, which hold at rest.
    pub fn check(&mut self) {
        for host in &self.hosts {
            assert_eq!(host.shard.fsck().unwrap(), [], "{}", host.shard.id());
        }
    }

    /// Everything reachable from the root: where each inode is named. Each directory once, each link count right.
    pub fn check_tree(&mut self) {
        let mut names: BTreeMap<InodeId, u32> = BTreeMap::new();
        let mut todo = vec![(InodeId::ROOT, InodeId::ROOT)];
        let mut dirs = BTreeSet::new();
        while let Some((dir, parent)) = todo.pop() {
            assert!(dirs.insert(dir), "{dir} is in two places");
            let op = ReadOp::ReadDir { dir, after: 0, limit: 4096, with_attrs: false };
            let Ok(MetaReply::Entries { entries, end: true }) = self.read(&Cred::ROOT, dir.shard(), &op) else {
                panic!("{dir}")
            };
            assert_eq!((entries[0].ino, entries[1].ino), (dir, parent));
            for entry in &entries[2..] {
                *names.entry(entry.ino).or_default() += 1;
                if entry.kind == FileKind::Directory {
                    todo.push((entry.ino, dir));
                }
            }
        }
        let mut reached = names.len() as u64 + 1;
        for (ino, count) in names {
            let attr = self.attr(ino);
            if attr.kind != FileKind::Directory {
                assert_eq!(attr.nlink, count, "{ino}");
            }
        }
        for n in 0..self.hosts.len() {
            let Ok(MetaReply::Statfs(statfs)) = self.read(&Cred::ROOT, ShardId(n as u16), &ReadOp::Statfs) else {
                panic!("statfs")
            };
            reached -= statfs.used_inodes;
        }
        assert_eq!(reached, 0, "inodes that no name leads to");
        assert_eq!(self.fsck(false).findings, [], "the check of all shards");
    }
}

pub fn entry(reply: &MetaReply) -> InodeId {
    match reply {
        MetaReply::Entry { ino, .. } => *ino,
        other => panic!("{other:?}"),
    }
}

pub fn make(parent: InodeId, name: &str, node: NewNode, mode: u16) -> MutateOp {
    let name = Bytes::copy_from_slice(name.as_bytes());
    MutateOp::Create { parent, name, node, mode: mode.into(), exclusive: true, open: false, content: None }
}
