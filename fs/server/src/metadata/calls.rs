//! Calls of the meta service: who may be answered when, and what may be believed of the answer.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_meta::{Claim, Exclusive, Input, OpenTable, ShardError, Wish};
use forebay_types::{Cred, Errno, FileKind, FsId, InodeId, LeaseMode, SessionId, Timestamp};
use forebay_wire::meta::{
    Behind, Grant, LocksHeld, MetaAnswer, MetaCall, MetaError, MetaReply, MetaRequest, MutateOp, Mutation, OpenInode,
    PeerAction, PeerStep, ReadOp,
};

use super::leases::{Desk, Told};
use super::{AnyShard, Metadata, Served, read_lock};

/// The session of what hosts do by themselves: it has no leases.
const OWN: SessionId = SessionId(0);

/// Who reads.
pub(super) struct Reader<'a> {
    pub fs: FsId,
    pub session: SessionId,
    pub number: u64,
    pub cred: &'a Cred,
}

impl Metadata {
    /// Answers a call, at its deadline at the latest.
    pub async fn handle(&self, request: MetaRequest, deadline: Duration) -> MetaAnswer {
        let MetaRequest { shard, number, call, .. } = request;
        let Some(served) = self.table.get(shard) else { return self.not_served(shard, None).into() };
        let answer = async {
            match call {
                MetaCall::Read { fs, session, cred, op } => {
                    let reader = Reader { fs, session, number, cred: &cred };
                    match op {
                        ReadOp::Introduce { inodes, exclusive, locks } => {
                            self.introduce(&served, fs, session, (&inodes, &exclusive, &locks)).await.into()
                        }
                        ReadOp::Fsck(question) => self.fsck(&served, &reader, question).await.into(),
                        op => self.read(&served, &reader, &op).await,
                    }
                }
                MetaCall::Mutate(mutation) => self.mutate(&served, number, mutation).await,
                MetaCall::Peer(step) => self.peer(&served, step).await.into(),
            }
        };
        // Nobody waits for the answer any more; a retry of a mutation finds it.
        tokio::time::timeout(deadline, answer).await.unwrap_or_else(|_| MetaReply::Error(MetaError::Busy).into())
    }

    /// Whether a call of a session can be looked at: its leases are known here, and so are everybody else's.
    pub(super) fn admit(&self, served: &Served, desk: &Desk, session: SessionId, number: u64) -> Result<(), MetaError> {
        if session != OWN && !desk.table.knows(session, number) {
            return Err(MetaError::NotIntroduced { shard: served.id });
        }
        if desk.table.awaits(self.clock.nanos()) {
            return Err(MetaError::Busy);
        }
        Ok(())
    }

    async fn introduce(
        &self,
        served: &Served,
        fs: FsId,
        session: SessionId,
        (inodes, exclusive, locks): (&[OpenInode], &[Behind], &LocksHeld),
    ) -> MetaReply {
        let permit = match served.lead.begin(self.clock.nanos()) {
            Ok(permit) => permit,
            Err(leader) => return self.not_served(served.id, leader),
        };
        let joined = read_lock(&served.shard).has_joined(session);
        match joined {
            Ok(Some(true)) => {}
            Ok(Some(false)) => match self.submit(served.id, Input::Join { session }).await {
                MetaReply::Done => {}
                refused => return refused,
            },
            Ok(None) => return MetaReply::Error(MetaError::SessionEnded(session)),
            Err(error) => return MetaReply::Error(MetaError::Storage { reason: error.to_string() }),
        }
        self.note_session(session);
        let introduced = {
            let mut opens = served.opens();
            opens.introduce(fs, session, inodes);
            served.leases.with(|desk| {
                let shard = read_lock(&served.shard);
                let version = |ino| shard.attr(fs, ino).ok().flatten().map(|attr| attr.version);
                let claim = |behind: &Behind| Claim {
                    inode: (fs, behind.ino),
                    good: behind.good,
                    unchanged: version(behind.ino) == Some(behind.version),
                };
                let claims: Vec<Claim> = exclusive.iter().map(claim).collect();
                let now = self.clock.nanos();
                if !locks.good && !locks.locks.is_empty() && desk.table.awaits_others(session, now) {
                    return None;
                }
                let (number, exclusive) = desk.table.introduce(session, &claims, now)?;
                Some((number, exclusive, desk.locks.introduce(fs, session, &locks.locks)))
            })
        };
        let Some((number, exclusive, lost)) = introduced else { return MetaReply::Error(MetaError::Busy) };
        served.leases.notify();
        match served.lead.confirm(permit, self.clock.nanos()).await {
            Ok(()) => {
                let exclusive = exclusive.into_iter().map(|(_, ino)| ino).collect();
                MetaReply::Introduced { number, exclusive, lost }
            }
            Err(leader) => self.not_served(served.id, leader),
        }
    }

    async fn read(&self, served: &Served, by: &Reader<'_>, op: &ReadOp) -> MetaAnswer {
        let permit = match served.lead.begin(self.clock.nanos()) {
            Ok(permit) => permit,
            Err(leader) => return self.not_served(served.id, leader).into(),
        };
        self.note_session(by.session);
        let mut news = served.leases.watch();
        let (answer, reaps) = loop {
            if let Some(found) = self.look(served, by, op) {
                break found;
            }
            // Until somebody gives up a lease, or it runs out; never longer than the call's deadline.
            let _ = news.changed().await;
        };
        self.reap(served.id, reaps);
        match served.lead.confirm(permit, self.clock.nanos()).await {
            Ok(()) => answer,
            Err(leader) => self.not_served(served.id, leader).into(),
        }
    }

    /// Answers a read if that can be told now, with the orphans that go because of it.
    fn look(
        &self,
        served: &Served,
        by: &Reader<'_>,
        op: &ReadOp,
    ) -> Option<(MetaAnswer, Result<Vec<Input>, ShardError>)> {
        let mut opens = served.opens();
        served.leases.with(|desk| {
            let shard = read_lock(&served.shard);
            if let Err(error) = self.admit(served, desk, by.session, by.number) {
                return Some((MetaReply::Error(error).into(), Ok(Vec::new())));
            }
            let answer = read_now(&shard, &mut opens, desk, (self.clock.nanos(), self.clock.wall()), by, op)?;
            let ends = matches!(op, ReadOp::Close { .. });
            Some((answer, if ends { shard.reaps(&mut opens) } else { Ok(Vec::new()) }))
        })
    }

    async fn mutate(&self, served: &Served, number: u64, mutation: Box<Mutation>) -> MetaAnswer {
        let (fs, id) = (mutation.fs, mutation.id);
        self.note_session(id.session);
        let named: Vec<InodeId> = written(&mutation.op).into_iter().filter(|ino| ino.shard() == served.id).collect();
        let by = Claimant::Session(id.session, number);
        let claims = match self.claim(served, fs, by, named).await {
            Ok(claims) => claims,
            Err(error) => return MetaReply::Error(error).into(),
        };
        let below = match self.claim_directories_below(served, fs, &mutation.op).await {
            Ok(below) => below,
            Err(error) => return MetaReply::Error(error).into(),
        };
        let is_log = matches!(mutation.op, MutateOp::Logged { .. });
        let delegated = |ino: &InodeId| served.leases.with(|desk| desk.table.writes_behind((fs, *ino), id.session));
        if is_log && !claims.inodes.iter().all(delegated) {
            // Others may have been there since.
            return MetaReply::Error(Errno::Stale.into()).into();
        }
        let wants_exclusive = matches!(mutation.op, MutateOp::Create { open: true, .. } | MutateOp::Tmpfile { .. });
        let made = made_by_client(&mutation.op);
        let acknowledged_below = mutation.acknowledged_below;
        let reply = self.submit(served.id, Input::Mutate(mutation)).await;
        drop((claims, below));
        self.settled(served, Told::Mutation(id)).await;
        if id.session == OWN {
            return reply.into();
        }
        let (grants, stale) = served.leases.with(|desk| {
            let own_changes = desk.take_own_changes(id, acknowledged_below);
            let (shard, now) = (read_lock(&served.shard), self.clock.nanos());
            let (mut grants, mut stale) = (Granting::new(&shard, desk, now, fs, id.session), Vec::new());
            for ino in own_changes {
                if !grants.renewed(ino) {
                    stale.push(ino);
                }
            }
            match reply {
                MetaReply::Entry { ino, created: true, .. } if wants_exclusive => grants.exclusive(ino),
                MetaReply::Entry { ino, created: true, .. } => grants.shared(ino),
                // Nobody else has seen them yet.
                MetaReply::Logged { .. } => made.into_iter().for_each(|ino| grants.exclusive(ino)),
                _ => {}
            }
            (grants.grants, stale)
        });
        MetaAnswer { reply, grants, stale }
    }

    async fn peer(&self, served: &Served, step: PeerStep) -> MetaReply {
        let told = Told::Step(step.txn, step.step);
        if served.leases.with(|desk| desk.table.awaits(self.clock.nanos())) {
            return MetaReply::Error(MetaError::Busy);
        }
        let directory = directory_of(&step.action).filter(|ino| ino.shard() == served.id);
        let claims = self.claim(served, step.fs, Claimant::Shard, directory.into_iter().collect()).await;
        let claims = match claims {
            Ok(claims) => claims,
            Err(error) => return MetaReply::Error(error),
        };
        let reply = self.submit(served.id, Input::Peer(step)).await;
        drop(claims);
        self.settled(served, told).await;
        reply
    }

    /// Waits until nobody else writes behind these inodes, and keeps it so until the claims are dropped.
    async fn claim<'a>(
        &self,
        served: &'a Served,
        fs: FsId,
        by: Claimant,
        inodes: Vec<InodeId>,
    ) -> Result<Claims<'a>, MetaError> {
        let mut news = served.leases.watch();
        let mut claims = Claims { served, fs, inodes: Vec::new() };
        loop {
            let waits = served.leases.with(|desk| {
                if let Claimant::Session(session, number) = by {
                    self.admit(served, desk, session, number)?;
                }
                let now = self.clock.nanos();
                let mut claim = |ino: &InodeId| match by {
                    Claimant::Session(session, _) => desk.table.claim((fs, *ino), session, now),
                    Claimant::Shard => desk.table.claim_undelegated((fs, *ino), now),
                };
                let missing = inodes.iter().filter(|ino| !claims.inodes.contains(ino));
                let got: Vec<InodeId> = missing.filter(|ino| claim(ino)).copied().collect();
                claims.inodes.extend(got);
                Ok::<_, MetaError>(claims.inodes.len() < inodes.len())
            })?;
            if !waits {
                return Ok(claims);
            }
            let _ = news.changed().await;
        }
    }

    /// Claims the directories of this shard that a mutation moves or removes by a name: what somebody, the author
    /// included, has done in them by itself has to be known first.
    async fn claim_directories_below<'a>(
        &self,
        served: &'a Served,
        fs: FsId,
        op: &MutateOp,
    ) -> Result<Claims<'a>, MetaError> {
        let find = || {
            let shard = read_lock(&served.shard);
            let find = |(dir, name): (InodeId, &[u8])| shard.find(fs, dir, name).ok().flatten();
            let found = moved(op).into_iter().filter(|(dir, _)| dir.shard() == served.id).filter_map(find);
            let directories = found.filter(|(ino, kind)| *kind == FileKind::Directory && ino.shard() == served.id);
            directories.map(|(ino, _)| ino).collect::<Vec<InodeId>>()
        };
        loop {
            let found = find();
            let claims = self.claim(served, fs, Claimant::Shard, found.clone()).await?;
            if find() == found {
                return Ok(claims);
            }
        }
    }

    /// Waits until nobody believes any more what was before the changes that this one is to be told of.
    async fn settled(&self, served: &Served, told: Told) {
        let mut news = served.leases.watch();
        while !served.leases.with(|desk| desk.may_tell(told)) {
            let _ = news.changed().await;
        }
    }
}

/// Who claims inodes.
#[derive(Clone, Copy)]
enum Claimant {
    /// A session, by the number of its introduction.
    Session(SessionId, u64),
    /// Another shard.
    Shard,
}

/// Inodes that nobody else may begin to write behind.
struct Claims<'a> {
    served: &'a Served,
    fs: FsId,
    inodes: Vec<InodeId>,
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        if self.inodes.is_empty() {
            return;
        }
        let (fs, inodes) = (self.fs, &self.inodes);
        self.served.leases.with(|desk| inodes.iter().for_each(|ino| desk.table.unclaim((fs, *ino))));
        self.served.leases.notify();
    }
}

/// Answers a read from what is applied, if that may be told now.
fn read_now(
    shard: &AnyShard,
    opens: &mut OpenTable,
    desk: &mut Desk,
    (now, wall): (u64, Timestamp),
    by: &Reader<'_>,
    op: &ReadOp,
) -> Option<MetaAnswer> {
    let here = |ino: &InodeId| ino.shard() == shard.id();
    for ino in told_of(op).into_iter().filter(here) {
        let inode = (by.fs, ino);
        // Whoever gives up what it believes of a file may wait for pages that are being read, so for this.
        let late = matches!(op, ReadOp::Extents { .. }) && desk.table.is_giving(inode, by.session);
        if !late && !desk.table.may_read(inode, by.session, now) {
            return None;
        }
    }
    if let ReadOp::Delegate { dir } = op
        && here(dir)
    {
        let found = shard.read(by.fs, by.session, by.cred, op, opens);
        if let MetaReply::Error(_) = found {
            return Some(found.into());
        }
        match desk.table.exclusive((by.fs, *dir), by.session, Wish::Gladly, now) {
            Exclusive::Granted => {}
            Exclusive::Wait => return None,
            Exclusive::Refused => return Some(MetaReply::Error(Errno::Again.into()).into()),
        }
    }
    if let ReadOp::Exclusive { ino, must } = op
        && here(ino)
    {
        let wish = if *must { Wish::Must } else { Wish::Gladly };
        if desk.table.exclusive((by.fs, *ino), by.session, wish, now) == Exclusive::Wait {
            return None;
        }
    }
    let mut reply = shard.read(by.fs, by.session, by.cred, op, opens);
    let mut grants = Granting::new(shard, desk, now, by.fs, by.session);
    match (&mut reply, op) {
        (MetaReply::Entry { ino, attr: Some(_), .. }, ReadOp::Lookup { parent, .. }) => {
            if !grants.desk.table.may_read((by.fs, *ino), by.session, now) {
                return None;
            }
            grants.shared(*parent);
            grants.shared(*ino);
        }
        (
            MetaReply::Entry { .. } | MetaReply::Error(MetaError::Posix(Errno::NoEntry)),
            ReadOp::Lookup { parent, .. },
        ) => {
            grants.shared(*parent);
        }
        (MetaReply::Error(_), _) => {}
        (MetaReply::Entries { entries, .. }, ReadOp::ReadDir { dir, .. }) => {
            grants.shared(*dir);
            for entry in entries {
                let inode = (by.fs, entry.ino);
                // What somebody else has not said yet is asked for on its own.
                entry.attr = entry.attr.take().filter(|_| grants.desk.table.is_true(inode, by.session));
                if entry.attr.is_some() {
                    grants.shared(entry.ino);
                }
            }
        }
        (MetaReply::Attr(attr), ReadOp::Open { ino, write: true, .. }) if attr.kind == FileKind::Regular => {
            grants.exclusive(*ino);
        }
        (MetaReply::Delegated(delegated), ReadOp::Delegate { dir }) => {
            delegated.now = wall;
            grants.exclusive(*dir);
        }
        (_, ReadOp::Close { .. } | ReadOp::Statfs | ReadOp::Introduce { .. } | ReadOp::Fsck(_)) => {}
        _ => told_of(op).into_iter().for_each(|ino| grants.shared(ino)),
    }
    let grants = grants.grants;
    Some(MetaAnswer { reply, grants, stale: Vec::new() })
}

/// The inodes that a read tells of by what it names.
fn told_of(op: &ReadOp) -> Vec<InodeId> {
    match op {
        ReadOp::Lookup { parent: ino, .. }
        | ReadOp::ReadDir { dir: ino, .. }
        | ReadOp::GetAttr { ino }
        | ReadOp::ReadLink { ino }
        | ReadOp::GetXattr { ino, .. }
        | ReadOp::ListXattr { ino }
        | ReadOp::Open { ino, .. }
        | ReadOp::Extents { ino, .. }
        | ReadOp::Exclusive { ino, .. }
        | ReadOp::Delegate { dir: ino } => vec![*ino],
        ReadOp::Close { .. } | ReadOp::Statfs | ReadOp::Introduce { .. } | ReadOp::Fsck(_) => Vec::new(),
    }
}

/// What a mutation changes in a way that does not go together with what somebody writes behind, or does by itself in a
/// directory.
fn written(op: &MutateOp) -> Vec<InodeId> {
    match op {
        MutateOp::SetAttr { ino, .. }
        | MutateOp::SetXattr { ino, .. }
        | MutateOp::RemoveXattr { ino, .. }
        | MutateOp::Commit { ino, .. }
        | MutateOp::Exchange { ino, .. }
        | MutateOp::Fallocate { ino, .. }
        | MutateOp::Accessed { ino, .. } => vec![*ino],
        MutateOp::CopyRange { from, to, .. } if from == to => vec![*to],
        MutateOp::CopyRange { from, to, .. } => vec![*from, *to],
        MutateOp::Create { parent, .. }
        | MutateOp::Mkdir { parent, .. }
        | MutateOp::Unlink { parent, .. }
        | MutateOp::Rmdir { parent, .. }
        | MutateOp::Link { parent, .. }
        | MutateOp::Tmpfile { parent, .. } => vec![*parent],
        MutateOp::Rename { parent, new_parent, .. } if parent == new_parent => vec![*parent],
        MutateOp::Rename { parent, new_parent, .. } => vec![*parent, *new_parent],
        MutateOp::Logged { ops } => {
            let mut all: Vec<InodeId> = ops.iter().flat_map(|logged| written(&logged.op)).collect();
            let made = made_by_client(op);
            all.retain(|ino| !made.contains(ino));
            all.sort_unstable();
            all.dedup();
            all
        }
        MutateOp::Repair(repair) => repair.inodes(),
        MutateOp::MakeRoot
        | MutateOp::AllocateStripes { .. }
        | MutateOp::ReserveInodes { .. }
        | MutateOp::EndSession { .. } => Vec::new(),
    }
}

/// The names by which a mutation may move or remove directories.
fn moved(op: &MutateOp) -> Vec<(InodeId, &[u8])> {
    match op {
        MutateOp::Rmdir { parent, name } => vec![(*parent, name)],
        MutateOp::Rename { parent, name, new_parent, new_name, .. } => {
            vec![(*parent, name), (*new_parent, new_name)]
        }
        _ => Vec::new(),
    }
}

/// What a client has made by itself.
fn made_by_client(op: &MutateOp) -> BTreeSet<InodeId> {
    match op {
        MutateOp::Logged { ops } => ops.iter().filter_map(|logged| logged.ino).collect(),
        _ => BTreeSet::new(),
    }
}

/// The directory that another shard's step is about.
fn directory_of(action: &PeerAction) -> Option<InodeId> {
    match action {
        PeerAction::KillDirectory { ino, .. }
        | PeerAction::ReviveDirectory { ino }
        | PeerAction::SetParent { ino, .. }
        | PeerAction::InsertName { parent: ino, .. }
        | PeerAction::ReserveName { parent: ino, .. }
        | PeerAction::ReleaseName { parent: ino, .. } => Some(*ino),
        PeerAction::MakeDirectory { .. }
        | PeerAction::AddLink { .. }
        | PeerAction::DropLink { .. }
        | PeerAction::MoveBegin { .. }
        | PeerAction::MoveDone { .. }
        | PeerAction::ParentOf { .. }
        | PeerAction::MayMove { .. } => None,
    }
}

/// Leases that go out with an answer.
struct Granting<'a> {
    shard: &'a AnyShard,
    desk: &'a mut Desk,
    now: u64,
    fs: FsId,
    to: SessionId,
    grants: Vec<Grant>,
}

impl<'a> Granting<'a> {
    fn new(shard: &'a AnyShard, desk: &'a mut Desk, now: u64, fs: FsId, to: SessionId) -> Self {
        Self { shard, desk, now, fs, to, grants: Vec::new() }
    }

    fn add(&mut self, ino: InodeId, mode: Option<LeaseMode>) -> bool {
        let Some(mode) = mode else { return false };
        match self.shard.attr(self.fs, ino) {
            Ok(Some(attr)) => {
                self.grants.push(Grant { attr, mode });
                true
            }
            // Gone since: there is nothing to believe.
            Ok(None) => {
                self.desk.table.give(self.to, (self.fs, ino), None, 0);
                false
            }
            Err(error) => {
                tracing::error!(%ino, %error, "attributes cannot be read");
                false
            }
        }
    }

    /// What it has already; whether it has.
    fn renewed(&mut self, ino: InodeId) -> bool {
        let mode = self.desk.table.has((self.fs, ino), self.to);
        self.add(ino, mode)
    }

    /// The right to believe; not of an inode of another shard.
    fn shared(&mut self, ino: InodeId) {
        if ino.shard() == self.shard.id() && self.desk.table.may_read((self.fs, ino), self.to, self.now) {
            let mode = self.desk.table.share((self.fs, ino), self.to, self.now);
            self.add(ino, mode);
        }
    }

    /// The right to write behind, if that is in nobody's way; else to believe.
    fn exclusive(&mut self, ino: InodeId) {
        let inode = (self.fs, ino);
        if self.desk.table.exclusive(inode, self.to, Wish::IfFree, self.now) == Exclusive::Granted {
            self.add(ino, Some(LeaseMode::Exclusive));
        } else {
            self.shared(ino);
        }
    }
}
