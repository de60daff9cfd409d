//! Between our messages and the library's: its own encoding is never read from the network.

use bytes::Bytes;
use forebay_types::{HostId, LogPosition, ShardId};
use forebay_wire::raft::{Members, MembersChange, RaftBody, RaftData, RaftEntry, RaftMessage};
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType, ConfState, Entry, EntryType, Message, MessageType, Snapshot};

/// What the library marks the votes of a transfer of leadership with.
const TRANSFER: &[u8] = b"CampaignTransfer";

pub(crate) fn host(id: u64) -> HostId {
    HostId(id as u32)
}

pub(crate) fn id(host: HostId) -> u64 {
    u64::from(host.0)
}

pub(crate) fn conf_state(members: &Members) -> ConfState {
    let ids = |hosts: &[HostId]| hosts.iter().map(|host| id(*host)).collect();
    ConfState { voters: ids(&members.voters), learners: ids(&members.learners), ..ConfState::default() }
}

pub(crate) fn members(state: &ConfState) -> Members {
    let hosts = |ids: &[u64]| ids.iter().map(|id| host(*id)).collect();
    Members { voters: hosts(&state.voters), learners: hosts(&state.learners) }
}

pub(crate) fn snapshot(at: LogPosition, members: &ConfState) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = (at.index, at.term);
    *metadata.mut_conf_state() = members.clone();
    snapshot
}

pub(crate) fn change(change: MembersChange) -> ConfChange {
    let (kind, host) = match change {
        MembersChange::AddLearner(host) => (ConfChangeType::AddLearnerNode, host),
        MembersChange::AddVoter(host) => (ConfChangeType::AddNode, host),
        MembersChange::Remove(host) => (ConfChangeType::RemoveNode, host),
    };
    let mut change = ConfChange { node_id: id(host), ..ConfChange::default() };
    change.set_change_type(kind);
    change
}

/// The change in an entry's data as the library keeps it there, which is where only this process has written.
pub(crate) fn change_of(entry: &Entry) -> MembersChange {
    let mut change = ConfChange::default();
    change.merge_from_bytes(&entry.data).expect("encoded by this process");
    let host = host(change.node_id);
    match change.get_change_type() {
        ConfChangeType::AddNode => MembersChange::AddVoter(host),
        ConfChangeType::RemoveNode => MembersChange::Remove(host),
        ConfChangeType::AddLearnerNode => MembersChange::AddLearner(host),
    }
}

fn encode_change(members: MembersChange) -> Vec<u8> {
    change(members).write_to_bytes().expect("a change of two fields has an encoding")
}

pub(crate) fn entry_out(entry: &Entry) -> RaftEntry {
    let data = match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => RaftData::Empty,
        EntryType::EntryNormal => RaftData::Shard(Bytes::copy_from_slice(&entry.data)),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => RaftData::Members(change_of(entry)),
    };
    RaftEntry { term: entry.term, index: entry.index, data }
}

pub(crate) fn entry_in(entry: RaftEntry) -> Entry {
    let RaftEntry { term, index, data } = entry;
    let mut entry = Entry { term, index, ..Entry::default() };
    match data {
        RaftData::Empty => {}
        RaftData::Shard(data) => entry.data = data.to_vec(),
        RaftData::Members(change) => {
            entry.set_entry_type(EntryType::EntryConfChange);
            entry.data = encode_change(change);
        }
    }
    entry
}

/// The library's message as ours; `None` for kinds that do not travel.
pub(crate) fn message_out(shard: ShardId, message: Message) -> Option<RaftMessage> {
    let kind = message.get_msg_type();
    let (index, log_term, commit, commit_term) = (message.index, message.log_term, message.commit, message.commit_term);
    let context = || Bytes::copy_from_slice(&message.context);
    let body = match kind {
        MessageType::MsgAppend => {
            let entries = message.entries.iter().map(entry_out).collect();
            RaftBody::Append { index, log_term, commit, entries }
        }
        MessageType::MsgAppendResponse => {
            let (reject, reject_hint) = (message.reject, message.reject_hint);
            RaftBody::AppendReply { index, log_term, commit, reject, reject_hint }
        }
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
            let pre = kind == MessageType::MsgRequestPreVote;
            let transfer = &message.context[..] == TRANSFER;
            RaftBody::Vote { pre, index, log_term, commit, commit_term, transfer }
        }
        MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
            let pre = kind == MessageType::MsgRequestPreVoteResponse;
            RaftBody::VoteReply { pre, reject: message.reject, commit, commit_term }
        }
        MessageType::MsgHeartbeat => RaftBody::Heartbeat { commit, context: context() },
        MessageType::MsgHeartbeatResponse => RaftBody::HeartbeatReply { commit, context: context() },
        MessageType::MsgSnapshot => {
            let metadata = message.get_snapshot().get_metadata();
            RaftBody::FetchState { index: metadata.index, log_term: metadata.term }
        }
        MessageType::MsgTimeoutNow => RaftBody::TakeOver,
        _ => return None,
    };
    Some(RaftMessage { shard, from: host(message.from), to: host(message.to), term: message.term, body })
}

/// Our message as the library's; `None` for those it does not know.
pub(crate) fn message_in(message: RaftMessage) -> Option<Message> {
    let RaftMessage { from, to, term, body, .. } = message;
    let mut out = Message { from: id(from), to: id(to), term, ..Message::default() };
    let kind = match body {
        RaftBody::Append { index, log_term, commit, entries } => {
            (out.index, out.log_term, out.commit) = (index, log_term, commit);
            out.entries = entries.into_iter().map(entry_in).collect();
            MessageType::MsgAppend
        }
        RaftBody::AppendReply { index, log_term, commit, reject, reject_hint } => {
            (out.index, out.log_term, out.commit) = (index, log_term, commit);
            (out.reject, out.reject_hint) = (reject, reject_hint);
            MessageType::MsgAppendResponse
        }
        RaftBody::Vote { pre, index, log_term, commit, commit_term, transfer } => {
            (out.index, out.log_term, out.commit, out.commit_term) = (index, log_term, commit, commit_term);
            if transfer {
                out.context = TRANSFER.to_vec();
            }
            if pre { MessageType::MsgRequestPreVote } else { MessageType::MsgRequestVote }
        }
        RaftBody::VoteReply { pre, reject, commit, commit_term } => {
            (out.reject, out.commit, out.commit_term) = (reject, commit, commit_term);
            if pre { MessageType::MsgRequestPreVoteResponse } else { MessageType::MsgRequestVoteResponse }
        }
        RaftBody::Heartbeat { commit, context } => {
            (out.commit, out.context) = (commit, context.to_vec());
            MessageType::MsgHeartbeat
        }
        RaftBody::HeartbeatReply { commit, context } => {
            (out.commit, out.context) = (commit, context.to_vec());
            MessageType::MsgHeartbeatResponse
        }
        RaftBody::TakeOver => MessageType::MsgTimeoutNow,
        RaftBody::FetchState { .. } | RaftBody::StateFailed => return None,
    };
    out.set_msg_type(kind);
    Some(out)
}
