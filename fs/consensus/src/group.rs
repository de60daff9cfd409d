//! One replica of one group.

use bytes::Bytes;
use forebay_env::{Batch, Kv};
use forebay_types::{HostId, LogPosition, ShardId};
use forebay_wire::raft::{Members, MembersChange, RaftBody, RaftMessage};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{Config, ProgressState, RawNode, Ready, SnapshotStatus, StateRole};

use crate::FIRST;
use crate::codec;
use crate::log::{ConsensusError, Log};

/// A follower that has heard nothing of a leader for this many ticks stands for election, at the earliest; one that has
/// gives nobody a vote.
pub const ELECTION_TICKS: u32 = 20;
/// It stands at the latest after this many.
const ELECTION_TICKS_MOST: u32 = 34;
/// The leader says that it is alive every so many ticks; confirmations (see [`Group::confirm`]) say so too.
const HEARTBEAT_TICKS: usize = 4;
/// Bytes of entries in one message.
const MESSAGE_BYTES: u64 = 1 << 20;
/// Messages with entries on their way to one follower.
const IN_FLIGHT: usize = 64;
/// Bytes of entries proposed and not committed, before proposals are refused.
const UNCOMMITTED_BYTES: u64 = 64 << 20;
/// A group that has no leader yet is stood for every so many ticks by the host that should lead it.
const FIRST_ELECTION_TICKS: u32 = 4;
/// A follower that was told to fetch the state, and has not, is told again after this many ticks.
const FETCH_TICKS: u32 = 200;

/// Nobody leads from here, or too much is under way: nothing happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not proposed: this replica does not lead, or has too much under way")]
pub struct Refused;

/// A committed entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// Where it stands.
    pub at: LogPosition,
    /// What it says.
    pub data: CommittedData,
}

/// What a committed entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommittedData {
    /// Nothing.
    Empty,
    /// For the shard.
    Shard(Bytes),
    /// These are the members from now on.
    Members(Members),
}

/// What has to be done for a group.
#[derive(Default, Debug)]
pub struct Outcome {
    /// To be sent; may be lost.
    pub messages: Vec<RaftMessage>,
    /// To be applied, in order.
    pub committed: Vec<Committed>,
    /// Moments handed to [`Group::confirm`] at which this replica led, beyond doubt.
    pub confirmed: Vec<u64>,
    /// The state of this replica was replaced: [`Group::install`] has come through.
    pub installed: bool,
}

/// How a replica stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its term.
    pub term: u64,
    /// Who leads, if it knows.
    pub leader: Option<HostId>,
    /// Whether it leads itself.
    pub leads: bool,
    /// Whether it leads and has applied everything that was committed before it did.
    pub ready: bool,
    /// Last index of its log.
    pub last: u64,
    /// The members.
    pub members: Members,
}

/// See the crate's documentation.
pub struct Group<K: Kv> {
    raw: RawNode<Log<K>>,
    me: HostId,
    /// The host that should lead the group at first.
    first_leader: bool,
    collected: Option<Ready>,
    /// The term and role that the election timeout was drawn for.
    drawn_for: (u64, StateRole),
    timeout: u32,
    /// Ticks until votes may be given.
    quiet: u32,
    ticks: u32,
    /// The term in which leadership was handed over: this replica's promises of leading have no force in it.
    handed_over: Option<u64>,
    /// Followers that have been told to fetch the state, and for how many ticks.
    fetching: Vec<(u64, u32)>,
}

impl<K: Kv> Group<K> {
    /// Writes of a new group, the same on every replica. The shard's state begins at [`FIRST`] too.
    #[must_use]
    pub fn first_batch(shard: ShardId) -> Batch {
        Log::<K>::first_batch(shard, FIRST)
    }

    /// Whether a store has a replica of the group that has a log.
    pub fn exists(kv: &K, shard: ShardId) -> Result<bool, ConsensusError> {
        Ok(Log::exists(kv, shard)?)
    }

    /// Adds to a batch what removes the replica's log, if it may go: a leader of `term`, which had applied everything up
    /// to `applied`, had this host among the members no more, and nothing in the log can be of a later membership (it
    /// ends there at the latest, or in an earlier term). Says whether it may.
    ///
    /// Others may not know yet that this host has gone, and ask for its vote or its word on entries. So what the store
    /// keeps makes a replica that is opened afterwards dumb: it hears nobody of an earlier term, and neither votes nor
    /// stands until its new log has come as far as `applied`.
    pub fn forget(&self, batch: &mut Batch, term: u64, applied: u64) -> Result<bool, ConsensusError> {
        let log = &self.raw.raft.raft_log;
        let may = self.raw.raft.state != StateRole::Leader && (log.last_index() <= applied || log.last_term() < term);
        if may {
            self.raw.store().forget(batch, term, applied)?;
        }
        Ok(may)
    }

    /// Opens a replica. `applied` and `members` are what its shard's state says; a replica that has no state begins
    /// with defaults and is sent one. `first_leader`: it should stand for the first election.
    pub fn open(
        kv: K,
        shard: ShardId,
        me: HostId,
        applied: LogPosition,
        members: &Members,
        first_leader: bool,
    ) -> Result<Self, ConsensusError> {
        let log = Log::open(kv, shard, applied, codec::conf_state(members))?;
        // One that has nothing at all may have had an earlier life, which was erased.
        let fresh = log.last() == FIRST.index;
        let config = Config {
            id: codec::id(me),
            election_tick: ELECTION_TICKS as usize,
            min_election_tick: ELECTION_TICKS as usize,
            max_election_tick: ELECTION_TICKS_MOST as usize,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: applied.index,
            max_size_per_msg: MESSAGE_BYTES,
            max_inflight_msgs: IN_FLIGHT,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: UNCOMMITTED_BYTES,
            max_committed_size_per_ready: 16 << 20,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log, &logger).map_err(|e| failed(shard, &e))?;
        Ok(Self {
            raw,
            me,
            first_leader: first_leader && fresh,
            collected: None,
            drawn_for: (u64::MAX, StateRole::Follower),
            timeout: ELECTION_TICKS,
            quiet: if fresh { 0 } else { ELECTION_TICKS },
            ticks: 0,
            handed_over: None,
            fetching: Vec::new(),
        })
    }

    fn shard(&self) -> ShardId {
        self.raw.store().shard()
    }

    /// How the replica stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        Standing {
            term: raft.term,
            leader: (raft.leader_id != 0).then(|| codec::host(raft.leader_id)),
            leads,
            ready: leads && raft.apply_to_current_term(),
            last: raft.raft_log.last_index(),
            members: codec::members(&self.raw.store().members),
        }
    }

    /// Takes a message in. One that makes no sense any more is dropped. Says whether the state must be fetched from the
    /// sender: then fetch it, and call [`Self::install`].
    pub fn step(&mut self, message: RaftMessage) -> bool {
        if message.to != self.me {
            return false;
        }
        match &message.body {
            RaftBody::FetchState { index, log_term } => {
                let at = LogPosition { index: *index, term: *log_term };
                let alive = RaftBody::Heartbeat { commit: 0, context: Bytes::new() };
                let (from, term) = (message.from, message.term);
                self.step_in(RaftMessage { body: alive, ..message });
                if at.index > self.raw.raft.raft_log.committed {
                    // Until the state is there, the leader has been heard at least.
                    return true;
                }
                // It is there: the library says so to the leader.
                let members = codec::members(&self.raw.store().members);
                self.step_state(from, term, at, &members);
                return false;
            }
            RaftBody::StateFailed => {
                self.raw.report_snapshot(codec::id(message.from), SnapshotStatus::Failure);
                return false;
            }
            // Whoever asks this process may have made promises in an earlier life.
            RaftBody::Vote { .. } if self.quiet > 0 => return false,
            RaftBody::Vote { .. } | RaftBody::TakeOver if !self.raw.store().is_whole() => return false,
            _ => {}
        }
        self.step_in(message);
        false
    }

    fn step_in(&mut self, message: RaftMessage) {
        if let Some(message) = codec::message_in(message) {
            // Refused are messages of strangers and of the past.
            let _ = self.raw.step(message);
        }
    }

    /// Lets a tick pass. `dice(n)` is a number below `n`.
    pub fn tick(&mut self, dice: &mut dyn FnMut(u32) -> u32) {
        self.draw(dice);
        self.quiet = self.quiet.saturating_sub(1);
        self.ticks = self.ticks.wrapping_add(1);
        if self.raw.store().is_whole() {
            self.raw.tick();
        }
        self.give_up_handing_over();
        self.draw(dice);
        let unled = self.raw.raft.leader_id == 0 && self.raw.raft.term == FIRST.term;
        if self.first_leader && unled && self.ticks.is_multiple_of(FIRST_ELECTION_TICKS) {
            // Refused only by a replica that is no voter.
            let _ = self.raw.campaign();
        }
        if self.raw.raft.state == StateRole::Leader {
            self.watch_fetches();
        }
    }

    /// The library draws election timeouts from a source of its own: replaced by ours whenever it may have.
    fn draw(&mut self, dice: &mut dyn FnMut(u32) -> u32) {
        let now = (self.raw.raft.term, self.raw.raft.state);
        if now != self.drawn_for {
            self.drawn_for = now;
            self.timeout = ELECTION_TICKS + dice(ELECTION_TICKS_MOST - ELECTION_TICKS);
        }
        self.raw.raft.set_randomized_election_timeout(self.timeout as usize);
    }

    /// A follower that died while it fetched the state does not say so.
    fn watch_fetches(&mut self) {
        let progress = self.raw.raft.prs().iter();
        let waiting = progress.filter(|(_, p)| p.state == ProgressState::Snapshot).map(|(id, _)| *id);
        let before = std::mem::take(&mut self.fetching);
        let age = |id| before.iter().find(|(other, _)| *other == id).map_or(0, |(_, age)| age + 1);
        self.fetching = waiting.map(|id| (id, age(id))).collect();
        for (id, _) in self.fetching.extract_if(.., |(_, age)| *age >= FETCH_TICKS) {
            self.raw.report_snapshot(id, SnapshotStatus::Failure);
        }
    }

    /// A follower is fetching the state: it is not told again for a while.
    pub fn fetch_goes_on(&mut self, from: HostId) {
        for (id, age) in &mut self.fetching {
            if *id == codec::id(from) {
                *age = 0;
            }
        }
    }

    /// Proposes an entry; says where it will stand if it is committed in this term.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<LogPosition, Refused> {
        if self.raw.raft.state != StateRole::Leader {
            return Err(Refused);
        }
        self.raw.propose(Vec::new(), data).map_err(|_| Refused)?;
        Ok(LogPosition { index: self.raw.raft.raft_log.last_index(), term: self.raw.raft.term })
    }

    /// Proposes a change of the members.
    pub fn change_members(&mut self, change: MembersChange) -> Result<(), Refused> {
        if self.raw.raft.state != StateRole::Leader || self.raw.raft.has_pending_conf() {
            return Err(Refused);
        }
        self.raw.propose_conf_change(Vec::new(), codec::change(change)).map_err(|_| Refused)
    }

    /// Hands leadership to another voter. Until the next term, this replica confirms nothing any more, and what was
    /// confirmed in this term has no force any more: forget it before any message leaves. Where nobody takes over within
    /// [`ELECTION_TICKS`] it leads no more, and is elected again or not.
    pub fn hand_over(&mut self, to: HostId) {
        if self.raw.raft.state == StateRole::Leader && to != self.me {
            self.handed_over = Some(self.raw.raft.term);
            self.raw.transfer_leader(codec::id(to));
        }
    }

    /// Nobody has taken over what was handed over, but may still: this term is of no use any more, and a later one begins.
    fn give_up_handing_over(&mut self) {
        let raft = &mut self.raw.raft;
        let handed_over = raft.state == StateRole::Leader && self.handed_over == Some(raft.term);
        if handed_over && raft.lead_transferee.is_none() {
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
    }

    /// Whether a member has all but the newest entries of the log. One that was sent the state is still probed until the
    /// next entry, which may be long in coming: what it has acknowledged counts.
    #[must_use]
    pub fn caught_up(&self, host: HostId) -> bool {
        let last = self.raw.raft.raft_log.last_index();
        let progress = self.raw.raft.prs().get(codec::id(host));
        progress.is_some_and(|p| p.state != ProgressState::Snapshot && p.matched + 64 >= last)
    }

    /// Asks the voters whether this replica leads at `moment`, which must grow from call to call. The answer is in
    /// [`Outcome::confirmed`]: nobody else could be elected before [`ELECTION_TICKS`] - 1 ticks after the moment. That
    /// holds for no replica that has handed over in its term, which is why none is given there.
    pub fn confirm(&mut self, moment: u64) {
        let raft = &self.raw.raft;
        if raft.state == StateRole::Leader && self.handed_over != Some(raft.term) {
            self.raw.read_index(moment.to_be_bytes().to_vec());
        }
    }

    /// Whether there is something to collect.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.raw.has_ready()
    }

    /// Adds what must be stored to a batch, and to the outcome what may be sent before that. Says whether the batch
    /// must be flushed. Call [`Self::persisted`] once it is written.
    pub fn collect(&mut self, batch: &mut Batch, out: &mut Outcome) -> bool {
        assert!(self.collected.is_none(), "what was collected before has not been written yet");
        let mut ready = self.raw.ready();
        self.send(ready.take_messages(), out);
        let log = self.raw.mut_store();
        if !ready.snapshot().is_empty() {
            let metadata = ready.snapshot().get_metadata();
            let at = LogPosition { index: metadata.index, term: metadata.term };
            log.begin_at(batch, at, metadata.get_conf_state().clone());
            out.installed = true;
        }
        log.append(batch, ready.entries());
        if let Some(promises) = ready.hs() {
            log.promise(batch, promises);
        }
        let flush = ready.must_sync();
        self.collected = Some(ready);
        flush
    }

    /// What was collected is written.
    pub fn persisted(&mut self, out: &mut Outcome) {
        let Some(mut ready) = self.collected.take() else { return };
        let confirmed = ready.take_read_states().into_iter().filter_map(|state| state.request_ctx.try_into().ok());
        let handed_over = self.handed_over == Some(self.raw.raft.term);
        out.confirmed.extend(confirmed.map(u64::from_be_bytes).filter(|_| !handed_over));
        let committed = ready.take_committed_entries();
        self.send(ready.take_persisted_messages(), out);
        self.commit(committed, out);
        let mut light = self.raw.advance_append(ready);
        self.send(light.take_messages(), out);
        self.commit(light.take_committed_entries(), out);
    }

    fn send(&self, messages: Vec<Message>, out: &mut Outcome) {
        let shard = self.shard();
        out.messages.extend(messages.into_iter().filter_map(|message| codec::message_out(shard, message)));
    }

    fn commit(&mut self, entries: Vec<Entry>, out: &mut Outcome) {
        for entry in entries {
            let at = LogPosition { index: entry.index, term: entry.term };
            let data = match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => CommittedData::Empty,
                EntryType::EntryNormal => CommittedData::Shard(Bytes::from(entry.data)),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => self.change(&entry),
            };
            out.committed.push(Committed { at, data });
        }
    }

    fn change(&mut self, entry: &Entry) -> CommittedData {
        // One that makes no sense, such as removing who is no member, changes nothing.
        match self.raw.apply_conf_change(&codec::change(codec::change_of(entry))) {
            Ok(state) => {
                let members = codec::members(&state);
                self.raw.mut_store().members = state;
                CommittedData::Members(members)
            }
            Err(_) => CommittedData::Empty,
        }
    }

    /// The shard has applied everything up to here, or, after [`Self::persisted`], has the state that was installed.
    pub fn applied(&mut self, at: LogPosition) {
        self.raw.mut_store().applied = at;
        self.raw.advance_apply_to(at.index);
    }

    /// A state fetched from `leader` is there, complete: take it in place of the log. Whether it did is in
    /// [`Outcome::installed`], after which the shard must be opened again; the batch collected then must also
    /// contain the change of the state.
    pub fn install(&mut self, leader: HostId, at: LogPosition, members: &Members) {
        self.step_state(leader, self.raw.raft.term, at, members);
    }

    fn step_state(&mut self, from: HostId, term: u64, at: LogPosition, members: &Members) {
        let mut message = Message { from: codec::id(from), to: codec::id(self.me), term, ..Message::default() };
        message.set_msg_type(MessageType::MsgSnapshot);
        *message.mut_snapshot() = codec::snapshot(at, &codec::conf_state(members));
        // Refused are messages of the past.
        let _ = self.raw.step(message);
    }

    /// Cuts off the log up to `upto`, as far as it is applied.
    pub fn truncate(&mut self, batch: &mut Batch, upto: u64) -> Result<(), ConsensusError> {
        self.raw.mut_store().truncate(batch, upto)
    }

    /// First index of the log.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.raw.store().first()
    }

    /// A message to this host was lost.
    pub fn unreachable(&mut self, host: HostId) {
        self.raw.report_unreachable(codec::id(host));
    }
}

fn failed(shard: ShardId, error: &raft::Error) -> ConsensusError {
    ConsensusError::Raft { shard, reason: error.to_string() }
}
