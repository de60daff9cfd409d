//! A shard's replica: the consensus group, the state, who waits for what. The twin of `server`'s `metadata/replica.rs`.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use forebay_consensus::{Committed, CommittedData, FIRST, Group, Outcome, decode_members, encode_members};
use forebay_env::Batch;
use forebay_meta::{Applied, Effect, Entry, Input, OpenTable, Shard, ShardConfig, Staging};
use forebay_types::{Epoch, FileKind, FsId, HostId, InodeId, LogPosition, OpId, ShardId};
use forebay_wire::meta::{MetaError, MetaReply};
use forebay_wire::raft::Members;

use super::desk::{Desk, Told};
use super::lead::LeadState;
use crate::disk::Store;
use crate::event::Step;
use crate::faults::Sabotage;

/// The log is cut when so many more than those to be kept are there.
const LOG_SLACK: u64 = 4;

/// The call of this host that waits for an answer.
pub(super) type Waiter = Option<u64>;

struct Proposed {
    at: LogPosition,
    entry: Entry,
    waiter: Waiter,
}

/// What the host has to see to after a turn.
#[derive(Default)]
pub(crate) struct Todo {
    pub effects: Vec<Effect>,
    pub took_over: bool,
}

/// See the module.
pub(crate) struct Replica {
    pub id: ShardId,
    pub shard: Shard<Store>,
    pub group: Group<Store>,
    pub opens: OpenTable,
    pub desk: Desk,
    pub lead: LeadState,
    pub fetching: bool,
    pub led_ticks: u32,
    /// Answers for calls of this host.
    pub answers: Vec<(u64, MetaReply)>,
    me: HostId,
    config: ShardConfig,
    kv: Store,
    staged: Option<Staging>,
    /// The term in which this replica leads, if it does, and whether it has taken over.
    leading: Option<(u64, bool)>,
    proposed: VecDeque<Proposed>,
    waiting: BTreeMap<OpId, Vec<u64>>,
    confirmed_ns: Option<u64>,
    log_kept: u64,
}

impl Replica {
    pub fn open(kv: Store, config: ShardConfig, me: HostId, preferred: bool, log_kept: u64) -> Self {
        let id = config.shard;
        let shard = Shard::open(kv.clone(), config.clone()).expect("the store works");
        let members = shard.members().expect("the store works");
        let members =
            members.map_or(Members::default(), |bytes| decode_members(&bytes).expect("written by this crate"));
        let group =
            Group::open(kv.clone(), id, me, shard.applied(), &members, preferred).expect("the log can be read back");
        Self {
            id,
            shard,
            group,
            opens: OpenTable::after_failover(),
            desk: Desk::default(),
            lead: LeadState::default(),
            fetching: false,
            led_ticks: 0,
            answers: Vec::new(),
            me,
            config,
            kv,
            staged: None,
            leading: None,
            proposed: VecDeque::new(),
            waiting: BTreeMap::new(),
            confirmed_ns: None,
            log_kept,
        }
    }

    /// Whether inputs are taken.
    pub fn leads(&self) -> bool {
        matches!(self.leading, Some((_, true)))
    }

    fn answer(&mut self, waiter: Waiter, reply: MetaReply) {
        self.answers.extend(waiter.map(|waiter| (waiter, reply)));
    }

    /// What to say to whoever asks the wrong replica.
    fn not_served(&self) -> MetaReply {
        match self.group.standing().leader {
            Some(leader) if leader == self.me => MetaReply::Error(MetaError::Busy),
            leader => MetaReply::Error(MetaError::NotServed { shard: self.id, epoch: Epoch(0), leader }),
        }
    }

    /// Prepares an input and proposes it.
    pub fn propose(&mut self, now: forebay_types::Timestamp, input: Input, waiter: Waiter) {
        if !self.leads() {
            let reply = self.not_served();
            return self.answer(waiter, reply);
        }
        let entry = match self.shard.prepare(now, &super::NoDrives, &mut self.opens, input) {
            Ok(entry) => entry,
            Err(error) => return self.answer(waiter, MetaReply::Error(error)),
        };
        match self.group.propose(entry.encode()) {
            Ok(at) => self.proposed.push_back(Proposed { at, entry, waiter }),
            Err(_) => {
                self.opens.settle(&entry);
                self.answer(waiter, MetaReply::Error(MetaError::Busy));
            }
        }
    }

    /// Hands the lead to another host. From now on a read needs a confirmation of its own, and will get none.
    pub fn hand_over(&mut self, to: HostId) {
        self.led_ticks = 0;
        self.confirmed_ns = None;
        self.lead.confirmed_ns = None;
        self.group.hand_over(to);
    }

    /// A state has been fetched from `leader`.
    pub fn fetched(&mut self, leader: HostId, staging: Staging) {
        let (at, members) = staging.received(&*self.kv).expect("a whole state was received");
        let members = decode_members(&members).expect("written by this crate");
        self.staged = Some(staging);
        self.group.install(leader, at, &members);
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
    pub fn settle(&mut self, out: &mut Outcome, now_ns: u64, step: &mut Step<'_>) -> Todo {
        self.group.persisted(out);
        if out.installed {
            self.shard = Shard::open(self.kv.clone(), self.config.clone()).expect("the store works");
            self.group.applied(self.shard.applied());
        }
        let mut todo = Todo::default();
        self.note_role();
        for Committed { at, data } in std::mem::take(&mut out.committed) {
            match data {
                CommittedData::Shard(bytes) => self.apply(at, &bytes, &mut todo, now_ns, step),
                CommittedData::Empty => self.pass(at, None, step),
                CommittedData::Members(members) => self.pass(at, Some(encode_members(&members)), step),
            }
            self.group.applied(at);
        }
        self.confirmed_ns = self.confirmed_ns.max(out.confirmed.iter().copied().max());
        self.publish(&mut todo, now_ns);
        todo
    }

    fn pass(&mut self, at: LogPosition, members: Option<Vec<u8>>, step: &mut Step<'_>) {
        step.watch.passed(self.id, at, members.as_deref());
        self.shard.set_members(at, members).expect("committed entries come in order");
    }

    fn apply(&mut self, at: LogPosition, bytes: &Bytes, todo: &mut Todo, now_ns: u64, step: &mut Step<'_>) {
        // What another leader put in the place of ours: whoever waits asks again, with the same name.
        while let Some(lost) =
            self.proposed.pop_front_if(|ours| ours.at.index < at.index || ours.at.index == at.index && ours.at != at)
        {
            self.lose(lost);
        }
        let (entry, waiter, ours) = match self.proposed.pop_front_if(|ours| ours.at == at) {
            Some(proposed) => (proposed.entry, proposed.waiter, true),
            None => (Entry::decode(bytes).expect("an entry of this version"), None, false),
        };
        let mut applied = self.shard.apply(at, &entry).expect("committed entries can be applied");
        step.watch.applied(self.me, &self.shard, at, &entry, &applied);
        if self.leading.is_some() {
            self.change(&entry.input, &mut applied, now_ns);
            if ours {
                self.opens.settle(&entry);
            }
            for effect in &applied.effects {
                if let Effect::Opened { fs, session, ino } = effect
                    && step.sabotage != Some(Sabotage::ForgottenOpens)
                {
                    self.opens.opened(*fs, *session, *ino);
                }
            }
        }
        match (applied.reply, &entry.input) {
            (Some(reply), _) => self.answer(waiter, reply),
            (None, Input::Mutate(mutation)) => self.waiting.entry(mutation.id).or_default().extend(waiter),
            (None, _) => self.answer(waiter, MetaReply::Error(MetaError::Busy)),
        }
        for effect in applied.effects {
            if let Effect::Reply { id, reply } = &effect {
                let waiting = self.waiting.remove(id).unwrap_or_default();
                self.answers.extend(waiting.into_iter().map(|waiter| (waiter, reply.clone())));
            }
            todo.effects.push(effect);
        }
    }

    /// Others give up what they believe of what has changed. A client knows which directories its own operation changes
    /// in another shard; of files it learns like everybody.
    fn change(&mut self, input: &Input, applied: &mut Applied, now_ns: u64) {
        let told = Told::of(input, applied.operation);
        let (mut by_author, mut by_anyone) = (std::mem::take(&mut applied.changed), Vec::new());
        if matches!(input, Input::Peer(_)) {
            let is_file = |(fs, ino): &(FsId, InodeId)| {
                let attr = self.shard.attr(*fs, *ino).expect("the store works");
                attr.is_some_and(|attr| attr.kind != FileKind::Directory)
            };
            (by_anyone, by_author) = by_author.into_iter().partition(is_file);
        }
        self.desk.change(by_author, applied.author, told, now_ns);
        self.desk.change(by_anyone, None, told, now_ns);
    }

    fn lose(&mut self, lost: Proposed) {
        self.opens.settle(&lost.entry);
        let error = MetaError::NotServed { shard: self.id, epoch: Epoch(0), leader: None };
        self.answer(lost.waiter, MetaReply::Error(error));
    }

    /// Notices the beginning and the end of this replica's lead.
    fn note_role(&mut self) {
        let standing = self.group.standing();
        let leads = standing.leads.then_some(standing.term);
        if self.leading.map(|(term, _)| term) == leads {
            return;
        }
        if self.leading.is_some() {
            std::mem::take(&mut self.proposed).into_iter().for_each(|lost| self.lose(lost));
            let waiting = std::mem::take(&mut self.waiting).into_values().flatten();
            self.answers.extend(waiting.map(|waiter| (waiter, MetaReply::Error(MetaError::Busy))));
        }
        self.leading = leads.map(|term| (term, false));
        self.confirmed_ns = None;
        self.led_ticks = 0;
        if leads.is_some() {
            // Its first entry stands right after the group's beginning: nobody has led before.
            let first = standing.last <= FIRST.index + 1;
            self.opens = if first { OpenTable::new() } else { OpenTable::after_failover() };
        }
    }

    /// Tells everybody else on the host how the replica stands.
    pub fn publish(&mut self, todo: &mut Todo, now_ns: u64) {
        self.note_role();
        let standing = self.group.standing();
        if let Some((_, taken_over @ false)) = &mut self.leading
            && standing.ready
        {
            *taken_over = true;
            todo.took_over = true;
            let sessions = self.shard.joined().expect("the store works");
            let table = forebay_meta::LeaseTable::new(standing.term, sessions, now_ns);
            self.desk = Desk::new(table);
        }
        let ready = self.leading.and_then(|(term, taken_over)| taken_over.then_some(term));
        self.lead = LeadState { leader: standing.leader, ready, confirmed_ns: self.confirmed_ns };
    }

    /// Cuts the log where it has grown long.
    pub fn truncate(&mut self, batch: &mut Batch) {
        let applied = self.shard.applied().index;
        if applied.saturating_sub(self.group.first()) >= self.log_kept + LOG_SLACK {
            self.group.truncate(batch, applied - self.log_kept).expect("the log can be read back");
        }
    }
}
