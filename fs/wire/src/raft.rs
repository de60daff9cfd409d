//! Service *raft*: the replicas of a metadata shard to each other.
//!
//! Raft's own messages travel in batches, one frame for all shards of two hosts ([`RaftRequest::Messages`]); they may be
//! lost, doubled and reordered. A replica that is too far behind for the log fetches the leader's whole state, page by
//! page, as of one moment ([`RaftRequest::OpenState`]).

use bytes::Bytes;
use forebay_types::{HostId, ShardId};
use serde::{Deserialize, Serialize};

/// What can be asked of the raft service. Only hosts may ask.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum RaftRequest {
    /// Messages, in the order they were sent.
    Messages(Vec<RaftMessage>),
    /// Begin to send the state of a shard.
    OpenState {
        /// The shard.
        shard: ShardId,
    },
    /// The next page of a state.
    NextRows {
        /// What [`RaftReply::State`] said.
        transfer: u64,
        /// Which page, from 0. The same page may be asked for again until the next one has been.
        page: u32,
    },
}

/// What the raft service answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum RaftReply {
    /// Messages taken in.
    Taken,
    /// A transfer has begun.
    State {
        /// Its name.
        transfer: u64,
    },
    /// A page.
    Rows {
        /// Keys and values, in order.
        rows: Vec<(Bytes, Bytes)>,
        /// Whether it is the last one.
        end: bool,
    },
    /// Refused; the reason is for the log.
    Refused {
        /// Why.
        reason: String,
    },
}

/// One message of one group.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct RaftMessage {
    /// The group.
    pub shard: ShardId,
    /// The sender.
    pub from: HostId,
    /// The receiver.
    pub to: HostId,
    /// The sender's term.
    pub term: u64,
    /// The message.
    pub body: RaftBody,
}

/// The messages of Raft (Ongaro, *Consensus: bridging theory and practice*, 2014), with pre-votes (9.6), leadership
/// transfer (3.10) and read confirmation (6.4).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum RaftBody {
    /// Entries after the one at `index`, which has `log_term`; none to probe.
    Append {
        /// Index of the entry before the first.
        index: u64,
        /// Its term.
        log_term: u64,
        /// The leader's commit index.
        commit: u64,
        /// The entries.
        entries: Vec<RaftEntry>,
    },
    /// Answer to an append.
    AppendReply {
        /// Last index that matches the leader's log; for a refusal the index that does not.
        index: u64,
        /// Term at the hint, for a refusal.
        log_term: u64,
        /// The sender's commit index.
        commit: u64,
        /// Whether it was refused.
        reject: bool,
        /// For a refusal: an index that may match.
        reject_hint: u64,
    },
    /// Vote for me.
    Vote {
        /// Asks only whether a vote would be given.
        pre: bool,
        /// Last index of the candidate's log.
        index: u64,
        /// Its term.
        log_term: u64,
        /// The candidate's commit index.
        commit: u64,
        /// The term of that.
        commit_term: u64,
        /// Whether the leader asked the candidate to take over.
        transfer: bool,
    },
    /// Answer to [`RaftBody::Vote`].
    VoteReply {
        /// For a pre-vote.
        pre: bool,
        /// Whether it was refused.
        reject: bool,
        /// The sender's commit index.
        commit: u64,
        /// The term of that.
        commit_term: u64,
    },
    /// The leader is alive.
    Heartbeat {
        /// What the receiver may commit up to.
        commit: u64,
        /// Comes back with the answer.
        context: Bytes,
    },
    /// Answer to a heartbeat.
    HeartbeatReply {
        /// The sender's commit index.
        commit: u64,
        /// What the heartbeat said.
        context: Bytes,
    },
    /// The log is cut off where the receiver needs it: fetch the state at the sender.
    FetchState {
        /// Index the sender has applied.
        index: u64,
        /// Its term.
        log_term: u64,
    },
    /// The state could not be fetched: send [`RaftBody::FetchState`] again.
    StateFailed,
    /// Take over now.
    TakeOver,
}

/// One entry of a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct RaftEntry {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// What it is.
    pub data: RaftData,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum RaftData {
    /// Nothing: a new leader's first entry.
    Empty,
    /// For the shard.
    Shard(Bytes),
    /// A change of the group's members.
    Members(MembersChange),
}

/// A change of a group's members, one at a time.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum MembersChange {
    /// Send it the log; it has no vote.
    AddLearner(HostId),
    /// Give it a vote.
    AddVoter(HostId),
    /// It is no member any more.
    Remove(HostId),
}

/// The members of a group.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Members {
    /// Those with a vote.
    pub voters: Vec<HostId>,
    /// Those without.
    pub learners: Vec<HostId>,
}
