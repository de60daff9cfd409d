//! A leader that is cut off from the other hosts and not from its clients: it may not know that it leads no more, and
//! must not say so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use forebay_client::Filesystem;
use forebay_net::{call_cluster, call_meta};
use forebay_testbed::{FILESYSTEM, Plan, TIMEOUT, Testbed};
use forebay_types::{Cred, Epoch, InodeId, SessionId, ShardId};
use forebay_wire::cluster::{ClusterError, ClusterReply, ClusterRequest};
use forebay_wire::meta::{MetaCall, MetaReply, MetaRequest, NewNode, ReadOp, XattrWhen};
use tokio::task::JoinSet;
use tokio::time::Instant;

const ROOT: Cred = Cred::ROOT;
const NAME: &[u8] = b"user.count";
/// Pause between two looks at what goes on meanwhile.
const LOOK: Duration = Duration::from_millis(2);

/// A number that grows, kept in an attribute of a file, and the highest that was acknowledged.
struct Counter {
    ino: InodeId,
    acknowledged: AtomicU64,
}

/// A counter in every shard.
async fn counters(fs: &Filesystem, shards: u16) -> BTreeMap<ShardId, Arc<Counter>> {
    let mut found = BTreeMap::new();
    for n in 0.. {
        let dir = fs.mkdir(&ROOT, fs.root(), format!("d{n}").as_bytes(), 0o755).await.unwrap().ino;
        if !found.contains_key(&dir.shard()) {
            let ino = fs.create(&ROOT, dir, b"f", NewNode::File, 0o644, true).await.unwrap().attr.ino;
            fs.setxattr(&ROOT, ino, NAME, b"0", XattrWhen::Always).await.unwrap();
            found.insert(ino.shard(), Arc::new(Counter { ino, acknowledged: AtomicU64::new(0) }));
        }
        if found.len() == usize::from(shards) {
            break;
        }
    }
    found
}

/// Counts on for as long as it is let.
async fn count(fs: Filesystem, counter: Arc<Counter>, go_on: Arc<AtomicBool>) {
    while go_on.load(Ordering::SeqCst) {
        let next = counter.acknowledged.load(Ordering::SeqCst) + 1;
        fs.setxattr(&ROOT, counter.ino, NAME, next.to_string().as_bytes(), XattrWhen::Always).await.unwrap();
        counter.acknowledged.store(next, Ordering::SeqCst);
        tokio::time::sleep(LOOK).await;
    }
}

/// What one host says of a counter; nothing where it says that it does not lead, or says nothing.
async fn ask(fs: &Filesystem, address: &str, counter: &Counter) -> Option<u64> {
    let op = ReadOp::GetXattr { ino: counter.ino, name: Bytes::from_static(NAME) };
    // As hosts ask, who need no introduction.
    let call = MetaCall::Read { fs: fs.id(), session: SessionId(0), cred: ROOT, op };
    let request = MetaRequest { shard: counter.ino.shard(), epoch: Epoch(0), number: 0, call };
    match call_meta(&fs.cluster().peer(address), &request, Duration::from_secs(2)).await.map(|answer| answer.reply) {
        Ok(MetaReply::Bytes(text)) => Some(std::str::from_utf8(&text).unwrap().parse().unwrap()),
        _ => None,
    }
}

/// The host that leads each of the shards.
async fn leaders(world: &Testbed, fs: &Filesystem, all: &BTreeMap<ShardId, Arc<Counter>>) -> BTreeMap<ShardId, usize> {
    let until = Instant::now() + TIMEOUT;
    let mut led = BTreeMap::new();
    for (shard, counter) in all {
        while !led.contains_key(shard) {
            for (n, address) in world.addresses().iter().enumerate() {
                if ask(fs, address, counter).await.is_some() {
                    led.insert(*shard, n);
                }
            }
            assert!(Instant::now() < until, "{shard} has no leader");
        }
    }
    led
}

/// Asks one host alone until it does not answer any more; what it says must not be old.
async fn watch(fs: Filesystem, address: String, counter: Arc<Counter>, go_on: Arc<AtomicBool>) -> u64 {
    let mut answers = 0;
    while go_on.load(Ordering::SeqCst) {
        let sure = counter.acknowledged.load(Ordering::SeqCst);
        if let Some(said) = ask(&fs, &address, &counter).await {
            answers += 1;
            assert!(said >= sure, "{} says {said} of {} when {sure} was acknowledged", address, counter.ino.shard());
        }
        tokio::time::sleep(LOOK).await;
    }
    answers
}

/// Asks the cluster group, by all hosts but one: what that one was asked would keep others waiting behind it.
async fn ask_others(fs: &Filesystem, others: &[String], request: &ClusterRequest) -> ClusterReply {
    let until = Instant::now() + TIMEOUT;
    loop {
        for address in others {
            let reply = call_cluster(&fs.cluster().peer(address), request, Duration::from_secs(1)).await;
            match reply {
                Ok(ClusterReply::Error(ClusterError::NotHere { .. })) | Err(_) => {}
                Ok(reply) => return reply,
            }
        }
        assert!(Instant::now() < until, "nobody leads the cluster group");
        tokio::time::sleep(LOOK).await;
    }
}

/// Opens and closes sessions for as long as it is let; the last one that is closed.
async fn open_and_close(fs: Filesystem, others: Vec<String>, closed: Arc<AtomicU64>, go_on: Arc<AtomicBool>) -> u64 {
    let open = ClusterRequest::OpenSession { client: "passer-by".into(), fs: FILESYSTEM.into() };
    while go_on.load(Ordering::SeqCst) {
        let reply = ask_others(&fs, &others, &open).await;
        let ClusterReply::Session { session, .. } = reply else { panic!("{reply:?}") };
        let reply = ask_others(&fs, &others, &ClusterRequest::CloseSession { session }).await;
        assert!(!matches!(reply, ClusterReply::Error(_)), "{reply:?}");
        closed.store(session.0, Ordering::SeqCst);
    }
    0
}

/// Asks one host alone whether the last session that was closed lives.
async fn watch_sessions(fs: Filesystem, address: String, closed: Arc<AtomicU64>, go_on: Arc<AtomicBool>) -> u64 {
    let mut answers = 0;
    while go_on.load(Ordering::SeqCst) {
        let session = SessionId(closed.load(Ordering::SeqCst));
        let request = ClusterRequest::RenewSession { session };
        match call_cluster(&fs.cluster().peer(&address), &request, Duration::from_secs(2)).await {
            Ok(ClusterReply::Session { .. }) => panic!("{address} renews {session}, which was closed"),
            Ok(ClusterReply::Error(ClusterError::SessionEnded { .. })) => answers += 1,
            _ => {}
        }
        tokio::time::sleep(LOOK).await;
    }
    answers
}

async fn all_get_further(all: &BTreeMap<ShardId, Arc<Counter>>, steps: u64) {
    let from: Vec<u64> = all.values().map(|counter| counter.acknowledged.load(Ordering::SeqCst)).collect();
    for ((shard, counter), from) in all.iter().zip(from) {
        // As long as it takes, while it gets further.
        let (mut seen, mut until) = (from, Instant::now() + TIMEOUT);
        while seen < from + steps {
            let now = counter.acknowledged.load(Ordering::SeqCst);
            if now > seen {
                (seen, until) = (now, Instant::now() + TIMEOUT);
            }
            assert!(Instant::now() < until, "{shard} does not get further than {seen}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_leader_cut_off_says_is_never_old() {
    let world = Testbed::start_wired(Plan::SIX).await;
    let (writer, reader) = (world.mount("writer").await, world.mount("reader").await);
    let all = counters(&writer, Plan::SIX.shards).await;
    let writing = Arc::new(AtomicBool::new(true));
    let mut writers = JoinSet::new();
    for counter in all.values() {
        writers.spawn(count(writer.clone(), counter.clone(), writing.clone()));
    }
    // A lead may have moved on just before the wire was cut, but not every time.
    let mut heard = 0;
    for round in 0..4 {
        let led = leaders(&world, &reader, &all).await;
        let leads = |host: usize| led.values().filter(|leader| **leader == host).count();
        let busiest = (0..Plan::SIX.hosts).max_by_key(|host| (leads(*host), (host + round) % Plan::SIX.hosts)).unwrap();
        // In turn the leader of the cluster group, and who leads most.
        let alone = if round % 2 == 0 { led[&ShardId(0)] } else { busiest };
        let watching = Arc::new(AtomicBool::new(true));
        let mut watchers = JoinSet::new();
        if led[&ShardId(0)] == alone {
            let mut others = world.addresses().to_vec();
            let address = others.remove(alone);
            let closed = Arc::new(AtomicU64::new(0));
            watchers.spawn(watch_sessions(reader.clone(), address, closed.clone(), watching.clone()));
            watchers.spawn(open_and_close(writer.clone(), others, closed, watching.clone()));
        }
        for (shard, _) in led.iter().filter(|(_, leader)| **leader == alone) {
            let address = world.addresses()[alone].clone();
            watchers.spawn(watch(reader.clone(), address, all[shard].clone(), watching.clone()));
        }
        all_get_further(&all, 5).await;
        world.cut_off(&[alone]);
        // Through new leaders, for longer than the old one may have thought that it leads.
        all_get_further(&all, 300).await;
        watching.store(false, Ordering::SeqCst);
        while let Some(answers) = watchers.join_next().await {
            heard += answers.unwrap();
        }
        world.cut_off(&[]);
        all_get_further(&all, 5).await;
    }
    assert!(heard > 0, "no leader was ever heard");
    writing.store(false, Ordering::SeqCst);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    writer.unmount().await.unwrap();
    reader.unmount().await.unwrap();
}
