//! Golden encodings: what is on the wire today must be readable tomorrow, so these bytes do not change within a
//! protocol version. A change that is meant comes with a new [`forebay_wire::VERSION`] and new files, written by
//! running this test with `FOREBAY_WRITE_GOLDEN=1`.

use std::fmt::Debug;
use std::path::PathBuf;

use forebay_types::{
    ByteRange, Cred, DriveId, Epoch, Errno, Extent, FileLock, FsId, Geometry, HostId, InodeId, LeaseMode,
    LifetimeClass, Limits, Location, LockKind, LockMode, NewMode, ObjectRef, OpId, OverSince, Owner, PgId, Quota,
    SessionId, ShardId, StripeId, StripeRef, TierId, Timestamp, Uuid,
};
use forebay_wire::chunk::{ChunkError, ChunkReply, ChunkRequest, GetChunk, PutChunk, Receipt};
use forebay_wire::cluster::{
    AdminRequest, ClusterReply, ClusterRequest, FormingHost, Heartbeat, ReplicaStatus, UnwantedReplica,
};
use forebay_wire::lease::{Given, Known, LeaseReply, LeaseRequest, Revoke, Standing};
use forebay_wire::lock::{LockCall, LockRefusal, LockReply, LockRequest};
use forebay_wire::meta::{
    Allowance, Behind, Budget, CounterOf, Finding, FsckHold, FsckPage, FsckRead, FsckReply, FsckSeen, Held, InodeFacts,
    LocksHeld, MetaAnswer, MetaCall, MetaError, MetaReply, MetaRequest, MutateOp, Mutation, NameFacts, OpenInode, Part,
    PeerAction, PeerStep, QuotaChange, QuotaState, ReadOp, Repair, TxnId,
};
use forebay_wire::raft::{MembersChange, RaftBody, RaftData, RaftEntry, RaftMessage, RaftReply, RaftRequest};
use forebay_wire::tier::{Progress, TaskSpec, TaskState, TierReply, TierRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    // Asked when it runs: two checkouts that share a build folder share the compiled test as well.
    let of_crate = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo or nextest runs this");
    let path = PathBuf::from(of_crate).join("tests/golden").join(format!("{name}.hex"));
    let hex: String = forebay_wire::encode(value).iter().map(|byte| format!("{byte:02x}")).collect();
    if std::env::var_os("FOREBAY_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{hex}\n")).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let golden = golden.trim();
    assert_eq!(hex, golden, "{name} is encoded otherwise than in version {}", forebay_wire::VERSION);
    let bytes: Vec<u8> =
        (0..golden.len()).step_by(2).map(|i| u8::from_str_radix(&golden[i..i + 2], 16).unwrap()).collect();
    assert_eq!(&forebay_wire::decode::<T>(&bytes).unwrap(), value, "{name}");
}

const CODE: Geometry = Geometry { data: 4, parity: 2 };

fn stripe() -> StripeId {
    StripeId::new(PgId(3), ShardId(1), LifetimeClass::Dataset, 77)
}

fn receipt() -> Receipt {
    Receipt { drive: DriveId(2), stripe: stripe(), index: 1, chunk_bytes: 4096, seal: [9; 16] }
}

fn lock() -> FileLock {
    let (session, kind, mode) = (SessionId(5), LockKind::Posix, LockMode::Exclusive);
    FileLock { session, kind, owner: 1 << 40, handle: 6, first: 0, last: i64::MAX as u64, mode, pid: 4711 }
}

fn extents() -> Vec<Extent> {
    let at = StripeRef { stripe: stripe(), geometry: CODE, chunk_bytes: 65_536, offset: 12 };
    let object =
        ObjectRef { tier: TierId(1), key: "a/b".into(), etag: "\"e\"".into(), object_bytes: 1 << 40, offset: 5 };
    [Location::Hole, Location::Inline("abc".as_bytes().into()), Location::Stripe(at), Location::Object(object)]
        .into_iter()
        .zip(0..)
        .map(|(location, n)| Extent { range: ByteRange::new(n * 3, 3), location })
        .collect()
}

fn mutation(op: MutateOp) -> MetaRequest {
    let id = OpId { session: SessionId(5), sequence: 300 };
    let cred = Cred { uid: 1000, gid: 100, groups: vec![4, 5] };
    let mutation = Mutation { fs: FsId(1), id, acknowledged_below: 299, cred, op };
    MetaRequest { shard: ShardId(7), epoch: Epoch(12), number: 3, call: MetaCall::Mutate(Box::new(mutation)) }
}

#[test]
fn meta_messages() {
    let ino = InodeId::new(ShardId(7), 9);
    let create = MutateOp::Create {
        parent: InodeId::ROOT,
        name: "file".as_bytes().into(),
        node: forebay_wire::meta::NewNode::File,
        mode: NewMode { mode: 0o666, umask: 0o022 },
        exclusive: true,
        open: true,
        content: None,
    };
    check("meta-create", &mutation(create));
    let commit = MutateOp::Commit {
        ino,
        extents: extents(),
        receipts: vec![receipt()],
        size_at_least: 12,
        touch: Some(Timestamp { secs: 1_700_000_000, nanos: 5 }),
        drop_privileges: false,
    };
    check("meta-commit", &mutation(commit));
    let op = ReadOp::Lookup { parent: InodeId::ROOT, name: "x".as_bytes().into() };
    let call = MetaCall::Read { fs: FsId(1), session: SessionId(5), cred: Cred::ROOT, op };
    check("meta-lookup", &MetaRequest { shard: ShardId(0), epoch: Epoch(1), number: 3, call });
    let step = PeerStep {
        txn: TxnId { source: ShardId(1), number: 4 },
        step: 2,
        forget_below: 3,
        fs: FsId(1),
        author: SessionId(5),
        now: Timestamp { secs: 1_700_000_000, nanos: 5 },
        action: PeerAction::AddLink { ino, quota_dir: None },
    };
    check("meta-peer", &MetaRequest { shard: ShardId(2), epoch: Epoch(1), number: 3, call: MetaCall::Peer(step) });
    let introduce = ReadOp::Introduce {
        inodes: vec![OpenInode { ino, write: true }],
        exclusive: vec![Behind { ino, version: 9, good: true }],
        locks: LocksHeld { good: true, locks: vec![(ino, lock())] },
    };
    let call = MetaCall::Read { fs: FsId(1), session: SessionId(5), cred: Cred::ROOT, op: introduce };
    check("meta-introduce", &MetaRequest { shard: ShardId(7), epoch: Epoch(1), number: 0, call });
    let introduced = MetaReply::Introduced { number: 1 << 32, exclusive: vec![ino], lost: vec![(ino, lock())] };
    check("meta-answer", &MetaAnswer { reply: introduced, grants: Vec::new(), stale: vec![ino] });
    check("meta-stripes", &MetaReply::Stripes { stripes: vec![stripe()], geometries: vec![CODE] });
    let owner = Owner::Directory(ino);
    let allowance = Allowance { up_to: 1 << 30, is_last: true };
    let budget = Some(Budget { bytes: Some(allowance), inodes: None });
    check("meta-quota-share", &mutation(MutateOp::Quota(QuotaChange::Share { owner, after: 3, budget })));
    let limits = Limits { bytes: Some(1 << 40), inodes: Some(1000) };
    let quota = Quota { hard: limits, soft: Limits::default(), grace_secs: 604_800 };
    check("meta-quota-set", &mutation(MutateOp::Quota(QuotaChange::Set { owner: Owner::User(1000), quota })));
    let state = QuotaState { owner, quota: Some(quota), over: OverSince::default(), is_whole: true };
    check("meta-quotas", &MetaReply::Quotas(vec![state]));
    check("meta-error", &MetaReply::Error(MetaError::Posix(Errno::NotEmpty)));
    check("meta-busy", &MetaReply::Error(MetaError::Busy));
}

#[test]
fn fsck_messages() {
    let (fs, shard, ino, dir) = (FsId(1), ShardId(7), InodeId::new(ShardId(7), 9), InodeId::ROOT);
    let (name, kind): (bytes::Bytes, _) = ("n".as_bytes().into(), forebay_types::FileKind::Directory);
    let hold = FsckHold { fs, what: Held::Name { dir, name: name.clone() }, txn: TxnId { source: shard, number: 4 } };
    let part = Part { number: 1, of: 3 };
    let reads = [
        FsckRead::Examine { check: 9, page: 1, part, only: vec![ino] },
        FsckRead::Watch { watch: 5, inodes: vec![ino] },
        FsckRead::Look { watch: 5, inodes: vec![ino], moving: vec![ino], txns: vec![4], holds: vec![hold.clone()] },
    ];
    check("fsck-reads", &reads.map(ReadOp::Fsck).to_vec());
    let facts = InodeFacts { ino, kind, nlink: 2, version: 300, parent: dir };
    let findings = vec![
        Finding::Counter { shard, what: CounterOf::Oldest, said: 1, found: 2 },
        Finding::LostHold(hold.clone()),
        Finding::StripeState { shard, stripe: stripe() },
    ];
    let names = vec![NameFacts { dir, name: name.clone(), ino, kind }];
    let page = FsckPage { inodes: vec![facts], names, holds: vec![hold.clone()], txns: vec![4], findings, end: true };
    let seen =
        FsckSeen { inodes: vec![facts], moving: vec![ino], txns: vec![4], holds: vec![hold.clone()], named: None };
    let replies = [FsckReply::Page(page), FsckReply::Watching, FsckReply::Seen(seen)];
    check("fsck-replies", &replies.map(|reply| MetaReply::Fsck(Box::new(reply))).to_vec());
    let repairs = [
        Repair::Row { key: name.clone() },
        Repair::Inode { ino },
        Repair::Orphan { ino, version: 300 },
        Repair::Links { ino, version: 300, names: 2 },
        Repair::Parent { ino, version: 300, parent: dir },
        Repair::Name { dir, name, ino, kind: Some(kind) },
        Repair::Attach { dir, ino, kind },
        Repair::Hold(hold),
        Repair::Stripes { stripes: vec![stripe()] },
        Repair::Usage,
        Repair::Counters,
    ];
    check("fsck-repairs", &repairs.map(MutateOp::Repair).to_vec());
}

#[test]
fn chunk_messages() {
    let put = PutChunk {
        drive: DriveId(2),
        stripe: stripe(),
        index: 5,
        geometry: CODE,
        epoch: Epoch(12),
        crcs: vec![1, u32::MAX],
    };
    check("chunk-put", &ChunkRequest::Put(put));
    let get = GetChunk { drive: DriveId(2), stripe: stripe(), index: 0, first_block: 3, blocks: 61 };
    check("chunk-get", &ChunkRequest::Get(get));
    check("chunk-receipt", &ChunkReply::Put(receipt()));
    let corrupt = ChunkError::Corrupt { drive: DriveId(2), stripe: stripe(), index: 0, block: 3 };
    check("chunk-corrupt", &ChunkReply::Error(corrupt));
}

#[test]
fn cluster_messages() {
    check("cluster-get-map", &ClusterRequest::GetMap { newer_than: Epoch(300) });
    check("cluster-open", &ClusterRequest::OpenSession { client: "n1".into(), fs: "scratch".into() });
    let admin = |request| ClusterRequest::Admin { id: Uuid([3; 16]), request };
    let host =
        FormingHost { name: "s7".into(), address: "10.0.0.7:7440".into(), drives: vec![(Uuid([4; 16]), 1 << 40)] };
    check("cluster-add-host", &admin(AdminRequest::AddHost(host)));
    check("cluster-remove-host", &admin(AdminRequest::RemoveHost { name: "s7".into(), force: true }));
    let replica = ReplicaStatus {
        shard: ShardId(7),
        leads: true,
        term: 9,
        applied: 300,
        last: 301,
        voters: vec![HostId(1), HostId(2)],
        learners: vec![HostId(3)],
    };
    let beat = Heartbeat {
        host: HostId(1),
        epoch: Epoch(12),
        drives: Vec::new(),
        sessions: vec![SessionId(5)],
        replicas: vec![replica],
        flush_us: 4000,
        answers_us: vec![(HostId(2), 250)],
    };
    check("cluster-heartbeat", &ClusterRequest::Heartbeat(beat));
    let unwanted = vec![UnwantedReplica { shard: ShardId(7), term: 9, applied: 300 }];
    check("cluster-beaten", &ClusterReply::Heartbeat { epoch: Epoch(12), ended: vec![SessionId(5)], unwanted });
    check("cluster-session", &ClusterReply::Session { session: SessionId(5), timeout_ms: 30_000 });
}

#[test]
fn tier_messages() {
    let spec = TaskSpec::Recall { fs: FsId(1), root: InodeId::ROOT, range: Some(ByteRange::new(0, 4096)) };
    check("tier-start", &TierRequest::Start { task: Uuid([3; 16]), spec: Box::new(spec) });
    let progress = Progress {
        version: 4,
        state: TaskState::Running,
        files: 10,
        done_files: 9,
        bytes: 1 << 33,
        done_bytes: 1 << 32,
        moved_bytes: 7,
    };
    check("tier-progress", &TierReply::Progress(progress));
    let probed = TierReply::Probed { files: 1, bytes: 2, file: Some("f".into()), pin: Uuid([8; 16]) };
    check("tier-probed", &probed);
}

#[test]
fn raft() {
    let message = |body| RaftMessage { shard: ShardId(7), from: HostId(1), to: HostId(2), term: 9, body };
    let entry = |index, data| RaftEntry { term: 9, index, data };
    let entries = vec![
        entry(6, RaftData::Empty),
        entry(7, RaftData::Shard("abc".as_bytes().into())),
        entry(8, RaftData::Members(MembersChange::AddLearner(HostId(3)))),
    ];
    let bodies = [
        RaftBody::Append { index: 5, log_term: 5, commit: 5, entries },
        RaftBody::AppendReply { index: 8, log_term: 0, commit: 7, reject: false, reject_hint: 0 },
        RaftBody::Vote { pre: true, index: 8, log_term: 9, commit: 7, commit_term: 9, transfer: false },
        RaftBody::VoteReply { pre: true, reject: true, commit: 7, commit_term: 9 },
        RaftBody::Heartbeat { commit: 7, context: "12345678".as_bytes().into() },
        RaftBody::HeartbeatReply { commit: 7, context: "12345678".as_bytes().into() },
        RaftBody::FetchState { index: 7, log_term: 9 },
        RaftBody::StateFailed,
        RaftBody::TakeOver,
    ];
    check("raft_messages", &RaftRequest::Messages(bodies.into_iter().map(message).collect()));
    check("raft_open_state", &RaftRequest::OpenState { shard: ShardId(7) });
    check("raft_next_rows", &RaftRequest::NextRows { transfer: 4, page: 2 });
    let rows = vec![("k".as_bytes().into(), "v".as_bytes().into())];
    check("raft_rows", &RaftReply::Rows { rows, end: true });
}

#[test]
fn lease_messages() {
    let (fs, ino, keep) = (FsId(1), InodeId::new(ShardId(7), 9), Some(LeaseMode::Shared));
    let shards = vec![Known { shard: ShardId(7), number: 1 << 32, seen: 4 }];
    check("lease-poll", &LeaseRequest::Poll { session: SessionId(5), shards, wait_ms: 2500 });
    let leases = vec![Given { fs, ino, keep, number: 5 }];
    check("lease-give", &LeaseRequest::Give { session: SessionId(5), shard: ShardId(7), number: 1 << 32, leases });
    let revokes = vec![Revoke { fs, ino, keep: None, number: 5 }];
    check("lease-standings", &LeaseReply::Standings(vec![Standing::Good { told: 5, revokes }, Standing::Unknown]));
}

#[test]
fn lock_messages() {
    let (ino, lock) = (InodeId::new(ShardId(7), 9), lock());
    let calls = [
        LockCall::Test { ino, lock },
        LockCall::Try { ino, lock },
        LockCall::Wait { ino, lock, wait: 3, overtakes: true, wait_ms: 2500 },
        LockCall::Withdraw { ino, lock, wait: 3, asked: 8, before: vec![lock] },
        LockCall::Unlock { ino, span: lock.span() },
        LockCall::Close { ino, handle: 6, flock: Some(7) },
    ];
    let (fs, session, shard) = (FsId(1), SessionId(5), ShardId(7));
    let request = |call| LockRequest { shard, fs, session, number: 1 << 32, op: 9, answered_below: 8, call };
    check("lock-calls", &calls.into_iter().map(request).collect::<Vec<_>>());
    let refusals = [LockRefusal::Conflict, LockRefusal::Deadlock, LockRefusal::TooMany].map(LockReply::Refused);
    let replies = [LockReply::Held, LockReply::Waits, LockReply::InTheWay(Some(lock)), LockReply::Done];
    check("lock-replies", &replies.into_iter().chain(refusals).collect::<Vec<_>>());
    check("lock-error", &LockReply::Error(MetaError::Busy));
}
