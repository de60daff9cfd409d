//! A shard's replica on this host: the consensus group, the state, and who waits for what.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use forebay_consensus::{Committed, CommittedData, FIRST, Group, Outcome, encode_members};
use forebay_env::{Batch, Kv};
use forebay_meta::{Applied, Effect, Entry, Input, OpenTable, Shard, ShardConfig, ShardError, Staging};
use forebay_types::{FileKind, HostId, LogPosition, OpId, ShardId};
use forebay_wire::cluster::ReplicaStatus;
use forebay_wire::meta::{MetaError, MetaReply};
use forebay_wire::raft::Members;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lead::{Lead, LeadState};
use super::leases::{Changes, LeaseDesk, Told};
use super::wants::Wants;
use super::{AnyShard, read_lock};
use crate::clock::Clock;
use crate::placement::MapPlacement;

/// Applied entries kept in the log for replicas that are behind.
const LOG_KEPT: u64 = 8192;
/// The log is cut when so many more than that are there.
const LOG_SLACK: u64 = 1024;
/// A host that was removed from the group comes back after this long at the earliest: longer than any message of its
/// former replica can be on its way, which would speak for entries that the new one does not have.
const RETURN_AFTER: Duration = Duration::from_secs(30);

/// What others on the host see of a replica.
pub(crate) struct Served {
    pub id: ShardId,
    pub shard: RwLock<AnyShard>,
    opens: Mutex<OpenTable>,
    /// What sessions may believe. Locked after `opens` and before `shard`.
    pub leases: LeaseDesk,
    pub lead: Lead,
    pub wants: Wants,
    status: Mutex<ReplicaStatus>,
}

impl Served {
    pub fn opens(&self) -> MutexGuard<'_, OpenTable> {
        self.opens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn status(&self) -> ReplicaStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whoever waits for an answer.
pub(super) type Waiter = Option<oneshot::Sender<MetaReply>>;

/// Answers, if anybody waits.
pub(super) fn answer(waiter: Waiter, reply: MetaReply) {
    if let Some(waiter) = waiter {
        // Whoever asked may have stopped waiting; a retry finds the answer in the shard's state.
        let _ = waiter.send(reply);
    }
}

/// An entry on its way through the log.
struct Proposed {
    at: LogPosition,
    entry: Entry,
    waiter: Waiter,
}

/// What the driver has to see to after a turn.
#[derive(Default)]
pub(super) struct Todo {
    /// Effects of what was applied, on the leader.
    pub effects: Vec<Effect>,
    /// The cluster group's state has changed.
    pub cluster_changed: bool,
    /// This replica leads now, and has applied everything from before.
    pub took_over: bool,
}

/// See the module.
pub(super) struct Replica {
    pub served: Arc<Served>,
    pub group: Group<Arc<dyn Kv>>,
    pub fetching: bool,
    /// Ticks since this replica began to lead.
    pub led_ticks: u32,
    me: HostId,
    config: ShardConfig,
    kv: Arc<dyn Kv>,
    /// A state received and not yet put in place.
    staged: Option<Staging>,
    /// The term in which this replica leads, if it does, and whether it has taken over.
    leading: Option<(u64, bool)>,
    proposed: VecDeque<Proposed>,
    /// Who waits for mutations that need another shard's answer first.
    waiting: BTreeMap<OpId, Vec<oneshot::Sender<MetaReply>>>,
    confirmed_ns: Option<u64>,
    /// Hosts that have been removed from the group, and when.
    removed: BTreeMap<HostId, Instant>,
}

impl Replica {
    /// Opens a replica, which may be new: then it waits to be sent a state.
    pub fn open(kv: Arc<dyn Kv>, config: ShardConfig, me: HostId, preferred: bool) -> Result<Self, ShardError> {
        let id = config.shard;
        let shard = Shard::open(kv.clone(), config.clone())?;
        let corrupt = |reason: String| ShardError::Corrupt { what: "members of a group", reason };
        let members = match shard.members()? {
            Some(bytes) => forebay_consensus::decode_members(&bytes).map_err(|e| corrupt(e.to_string()))?,
            None => Members::default(),
        };
        let group = Group::open(kv.clone(), id, me, shard.applied(), &members, preferred)
            .map_err(|error| corrupt(error.to_string()))?;
        let status = Mutex::new(ReplicaStatus {
            shard: id,
            leads: false,
            term: 0,
            applied: 0,
            last: 0,
            voters: Vec::new(),
            learners: Vec::new(),
        });
        let (shard, opens) = (RwLock::new(shard), Mutex::new(OpenTable::after_failover()));
        Ok(Self {
            served: Arc::new(Served {
                id,
                shard,
                opens,
                leases: LeaseDesk::default(),
                lead: Lead::new(),
                wants: Wants::default(),
                status,
            }),
            group,
            fetching: false,
            led_ticks: 0,
            me,
            config,
            kv,
            staged: None,
            leading: None,
            proposed: VecDeque::new(),
            waiting: BTreeMap::new(),
            confirmed_ns: None,
            removed: BTreeMap::new(),
        })
    }

    /// Whether a host was a member of the group not long ago and is none now.
    pub fn removed_lately(&self, host: HostId) -> bool {
        self.removed.get(&host).is_some_and(|at| at.elapsed() < RETURN_AFTER)
    }

    fn note_removed(&mut self, before: &Members, now: &Members) {
        let all = |members: &Members| [members.voters.as_slice(), &members.learners].concat();
        let now = all(now);
        let gone = all(before).into_iter().filter(|host| !now.contains(host));
        self.removed.retain(|_, at| at.elapsed() < RETURN_AFTER);
        self.removed.extend(gone.map(|host| (host, Instant::now())));
    }

    /// Whether inputs are taken.
    pub fn leads(&self) -> bool {
        matches!(self.leading, Some((_, true)))
    }

    /// What to say to whoever asks the wrong replica.
    pub fn not_served(&self, epoch: forebay_types::Epoch) -> MetaReply {
        let leader = self.group.standing().leader;
        match leader {
            // It is about to take over.
            Some(leader) if leader == self.me => MetaReply::Error(MetaError::Busy),
            leader => MetaReply::Error(MetaError::NotServed { shard: self.served.id, epoch, leader }),
        }
    }

    /// Prepares an input and proposes it.
    pub fn propose(&mut self, clock: &Clock, placement: &MapPlacement, input: Input, waiter: Waiter) {
        let mut opens = self.served.opens();
        let prepared = read_lock(&self.served.shard).prepare(clock.wall(), placement, &mut opens, input);
        let entry = match prepared {
            Ok(entry) => entry,
            Err(error) => return answer(waiter, MetaReply::Error(error)),
        };
        match self.group.propose(entry.encode()) {
            Ok(at) => self.proposed.push_back(Proposed { at, entry, waiter }),
            Err(_) => {
                opens.settle(&entry);
                answer(waiter, MetaReply::Error(MetaError::Busy));
            }
        }
    }

    /// Hands the lead to another host. From now on a read needs a confirmation of its own, and will get none.
    pub fn hand_over(&mut self, to: HostId) {
        self.led_ticks = 0;
        self.confirmed_ns = None;
        self.served.lead.set(LeadState { confirmed_ns: None, ..self.served.lead.get() });
        self.group.hand_over(to);
    }

    /// A state has been fetched from `leader`.
    pub fn fetched(&mut self, leader: HostId, staging: Staging) -> Result<(), ShardError> {
        let (at, members) = staging.received(&*self.kv)?;
        let corrupt = |reason: String| ShardError::Corrupt { what: "members of a group", reason };
        let members = forebay_consensus::decode_members(&members).map_err(|e| corrupt(e.to_string()))?;
        self.staged = Some(staging);
        self.group.install(leader, at, &members);
        Ok(())
    }

    /// Collects what must be stored; whether it must be flushed.
    pub fn collect(&mut self, batch: &mut Batch, out: &mut Outcome) -> bool {
        let flush = self.group.collect(batch, out);
        let staged = self.staged.take();
        if out.installed {
            staged.expect("a state is installed only after it was fetched").install(batch);
        }
        flush
    }

    /// What was collected is stored: applies what is committed.
    pub fn settle(&mut self, out: &mut Outcome, now_ns: u64) -> Result<Todo, ShardError> {
        let before = self.group.standing().members;
        self.group.persisted(out);
        self.note_removed(&before, &self.group.standing().members);
        if out.installed {
            let shard = Shard::open(self.kv.clone(), self.config.clone())?;
            let at = shard.applied();
            *self.shard_mut() = shard;
            self.group.applied(at);
            tracing::info!(shard = %self.served.id, at = at.index, "state received from the leader");
        }
        let mut todo = Todo { cluster_changed: out.installed, ..Todo::default() };
        self.note_role();
        for committed in std::mem::take(&mut out.committed) {
            self.apply(committed, &mut todo, now_ns)?;
        }
        self.confirmed_ns = self.confirmed_ns.max(out.confirmed.iter().copied().max());
        self.publish(&mut todo, now_ns)?;
        Ok(todo)
    }

    fn apply(&mut self, committed: Committed, todo: &mut Todo, now_ns: u64) -> Result<(), ShardError> {
        let Committed { at, data } = committed;
        match data {
            CommittedData::Shard(bytes) => self.apply_entry(at, &bytes, todo, now_ns)?,
            CommittedData::Empty => self.shard_mut().set_members(at, None)?,
            CommittedData::Members(members) => {
                tracing::info!(shard = %self.served.id, voters = ?members.voters, learners = ?members.learners, "members");
                self.shard_mut().set_members(at, Some(encode_members(&members)))?;
            }
        }
        self.group.applied(at);
        Ok(())
    }

    fn shard_mut(&self) -> std::sync::RwLockWriteGuard<'_, AnyShard> {
        self.served.shard.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_entry(&mut self, at: LogPosition, bytes: &Bytes, todo: &mut Todo, now_ns: u64) -> Result<(), ShardError> {
        // What another leader put in the place of ours: whoever waits asks again, with the same name.
        while self
            .proposed
            .front()
            .is_some_and(|ours| ours.at.index < at.index || ours.at.index == at.index && ours.at != at)
        {
            self.proposed.pop_front().into_iter().for_each(|lost| self.lose(lost));
        }
        let (entry, waiter, ours) = match self.proposed.pop_front_if(|ours| ours.at == at) {
            Some(proposed) => (proposed.entry, proposed.waiter, true),
            None => (Entry::decode(bytes)?, None, false),
        };
        let Applied { reply, effects, .. } = match self.leading {
            None => self.shard_mut().apply(at, &entry)?,
            // Nobody reads in between.
            Some(_) => self.served.leases.change(now_ns, || {
                let mut applied = self.shard_mut().apply(at, &entry)?;
                let changes = self.changes(&entry.input, &mut applied)?;
                Ok::<_, ShardError>((applied, changes))
            })?,
        };
        if self.leading.is_some() {
            let mut opens = self.served.opens();
            if ours {
                opens.settle(&entry);
            }
            for effect in &effects {
                if let Effect::Opened { fs, session, ino } = effect {
                    opens.opened(*fs, *session, *ino);
                }
            }
        }
        match (reply, &entry.input) {
            (Some(reply), _) => answer(waiter, reply),
            (None, Input::Mutate(mutation)) => self.waiting.entry(mutation.id).or_default().extend(waiter),
            (None, _) => answer(waiter, MetaReply::Error(MetaError::Busy)),
        }
        todo.cluster_changed |= matches!(entry.input, Input::Cluster { .. });
        for effect in effects {
            if let Effect::Reply { id, reply } = &effect {
                let waiting = self.waiting.remove(id).unwrap_or_default();
                waiting.into_iter().for_each(|waiter| answer(Some(waiter), reply.clone()));
            }
            todo.effects.push(effect);
        }
        Ok(())
    }

    /// What applying an input has changed. A client knows which directories its own operation changes in another shard,
    /// and its kernel holds them locked meanwhile: it cannot be asked to give them up. Of files it learns like everybody.
    fn changes(&self, input: &Input, applied: &mut Applied) -> Result<Changes, ShardError> {
        let changed = std::mem::take(&mut applied.changed);
        let told = Told::of(input, applied.operation);
        let (mut by_author, mut by_anyone) = (changed, Vec::new());
        if matches!(input, Input::Peer(_)) {
            let shard = read_lock(&self.served.shard);
            let mut own = Vec::new();
            for (fs, ino) in by_author {
                match shard.attr(fs, ino)? {
                    Some(attr) if attr.kind != FileKind::Directory => by_anyone.push((fs, ino)),
                    _ => own.push((fs, ino)),
                }
            }
            by_author = own;
        }
        Ok(Changes { by_author, by_anyone, author: applied.author, told })
    }

    fn lose(&self, lost: Proposed) {
        self.served.opens().settle(&lost.entry);
        let error = MetaError::NotServed { shard: self.served.id, epoch: forebay_types::Epoch(0), leader: None };
        answer(lost.waiter, MetaReply::Error(error));
    }

    /// Notices the beginning and the end of this replica's lead.
    fn note_role(&mut self) {
        let standing = self.group.standing();
        let leads = standing.leads.then_some(standing.term);
        if self.leading.map(|(term, _)| term) == leads {
            return;
        }
        if self.leading.is_some() {
            tracing::info!(shard = %self.served.id, term = standing.term, leader = ?standing.leader, "does not lead any more");
            std::mem::take(&mut self.proposed).into_iter().for_each(|lost| self.lose(lost));
            for waiter in std::mem::take(&mut self.waiting).into_values().flatten() {
                answer(Some(waiter), MetaReply::Error(MetaError::Busy));
            }
        }
        self.leading = leads.map(|term| (term, false));
        self.confirmed_ns = None;
        self.led_ticks = 0;
        if leads.is_some() {
            // Its first entry stands right after the group's beginning: nobody has led before.
            let first = standing.last <= FIRST.index + 1;
            *self.served.opens() = if first { OpenTable::new() } else { OpenTable::after_failover() };
            tracing::info!(shard = %self.served.id, term = standing.term, "elected");
        }
    }

    /// Tells everybody else on the host how the replica stands.
    pub fn publish(&mut self, todo: &mut Todo, now_ns: u64) -> Result<(), ShardError> {
        self.note_role();
        let standing = self.group.standing();
        if let Some((_, taken_over @ false)) = &mut self.leading
            && standing.ready
        {
            *taken_over = true;
            todo.took_over = true;
            let sessions = read_lock(&self.served.shard).joined()?;
            self.served.leases.begin(standing.term, sessions, now_ns);
        }
        let ready = self.leading.and_then(|(term, taken_over)| taken_over.then_some(term));
        let turned = self.served.lead.get().ready != ready;
        self.served.lead.set(LeadState { leader: standing.leader, ready, confirmed_ns: self.confirmed_ns });
        if turned {
            self.served.leases.turned();
        }
        let applied = read_lock(&self.served.shard).applied().index;
        *self.served.status.lock().unwrap_or_else(PoisonError::into_inner) = ReplicaStatus {
            shard: self.served.id,
            leads: ready.is_some(),
            term: standing.term,
            applied,
            last: standing.last,
            voters: standing.members.voters,
            learners: standing.members.learners,
        };
        Ok(())
    }

    /// Cuts the log where it has grown long.
    pub fn truncate(&mut self, batch: &mut Batch) -> Result<(), forebay_consensus::ConsensusError> {
        let applied = read_lock(&self.served.shard).applied().index;
        if applied.saturating_sub(self.group.first()) < LOG_KEPT + LOG_SLACK {
            return Ok(());
        }
        self.group.truncate(batch, applied - LOG_KEPT)
    }
}
