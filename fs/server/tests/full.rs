//! A filesystem whose drives are full: writers hear so soon, and nothing that was acknowledged is lost.

use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_client::{ClientError, ClientOptions, Cluster, Filesystem};
use forebay_net::{ClusterKey, Role, call_cluster};
use forebay_server::{DriveSpec, Host, HostConfig};
use forebay_types::{Cred, Errno, Geometry, InodeId, Uuid};
use forebay_wire::cluster::{ClusterReply, ClusterRequest, Formation, FormingHost};
use forebay_wire::meta::NewNode;

const TIMEOUT: Duration = Duration::from_secs(20);
const ROOT: Cred = Cred::ROOT;
const DRIVE_BYTES: u64 = 64 << 20;
const PIECE: usize = 1 << 20;

async fn ask(key: &ClusterKey, address: &str, request: ClusterRequest) -> ClusterReply {
    let cluster = Cluster::new(vec![address.into()], key.clone(), Role::Client, "former", ClientOptions::default());
    call_cluster(&cluster.peer(address), &request, TIMEOUT).await.unwrap()
}

/// Three hosts with a small drive each, and a filesystem on them.
async fn small() -> (tempfile::TempDir, Vec<Host>, Filesystem) {
    let dir = tempfile::tempdir().unwrap();
    let key = ClusterKey::generate().unwrap();
    let (mut hosts, mut forming) = (Vec::new(), Vec::new());
    for n in 0..3 {
        let drive = DriveSpec { path: dir.path().join(format!("h{n}/drive")), size_bytes: DRIVE_BYTES };
        let (name, listen) = (format!("h{n}"), "127.0.0.1:0".parse().unwrap());
        let config = HostConfig { dir: dir.path().join(&name), name, listen, key: key.clone(), drives: vec![drive] };
        let host = Host::start(config).await.unwrap();
        let address = host.address().to_string();
        let ClusterReply::Identity(identity) = ask(&key, &address, ClusterRequest::Identify).await else {
            panic!("no identity")
        };
        forming.push(FormingHost { name: identity.name, address, drives: identity.drives });
        hosts.push(host);
    }
    let addresses = forming.iter().map(|host| host.address.clone()).collect();
    let (name, cluster, geometry) = ("test".into(), Uuid([7; 16]), Geometry { data: 2, parity: 1 });
    let formation = Formation { name, cluster, geometry, shards: 4, hosts: forming };
    let map = forebay_cluster::form(&formation).unwrap();
    for host in &map.hosts {
        ask(&key, &host.address, ClusterRequest::Form { map: Box::new(map.clone()), you: host.id }).await;
    }
    let options = ClientOptions { timeout: TIMEOUT, ..ClientOptions::default() };
    let cluster = Cluster::new(addresses, key, Role::Client, "writer", options);
    cluster.ask(&ClusterRequest::CreateFs { name: "scratch".into() }).await.unwrap();
    let fs = Filesystem::mount(&cluster, "scratch", "writer").await.unwrap();
    (dir, hosts, fs)
}

fn piece(seed: usize) -> Bytes {
    (0..PIECE).map(|at| ((at * 31) ^ (at >> 7) ^ seed) as u8).collect::<Vec<u8>>().into()
}

async fn create(fs: &Filesystem, name: &str) -> InodeId {
    let ino = fs.create(&ROOT, fs.root(), name.as_bytes(), NewNode::File, 0o644, true).await.unwrap().attr.ino;
    fs.open(&ROOT, ino, true, true).await.unwrap();
    ino
}

/// Writes a piece and makes it durable.
async fn append(fs: &Filesystem, ino: InodeId, number: usize) -> Result<(), ClientError> {
    fs.write(ino, (number * PIECE) as u64, piece(number)).await?;
    fs.fsync(ino).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_filesystem_says_enospc_soon_and_keeps_what_it_acknowledged() {
    let (_dir, _hosts, fs) = small().await;
    let ino = create(&fs, "fill").await;
    let mut durable = 0;
    let (error, took) = loop {
        assert!((durable * PIECE) as u64 <= 3 * DRIVE_BYTES, "the drives take more than they hold");
        let begun = Instant::now();
        match append(&fs, ino, durable).await {
            Ok(()) => durable += 1,
            Err(error) => break (error, begun.elapsed()),
        }
    };
    assert_eq!(error.errno(), Errno::NoSpace, "{error}");
    assert!(took < TIMEOUT, "said after {took:?}, when it could have been known at once");
    assert!(durable > 8, "{durable} MiB of {} were taken", 2 * (DRIVE_BYTES >> 20));
    let other = Filesystem::mount(fs.cluster(), "scratch", "reader").await.unwrap();
    let seen = other.lookup(&ROOT, other.root(), b"fill").await.unwrap().ino;
    other.open(&ROOT, seen, true, false).await.unwrap();
    let all = other.read_all(seen, 256 << 20).await.unwrap();
    for number in 0..durable {
        assert!(all[number * PIECE..(number + 1) * PIECE] == piece(number), "MiB {number} is not what was written");
    }
    other.release(seen).await.unwrap();
    // What is small goes into the metadata, so a user can still rename and remove.
    fs.mkdir(&ROOT, fs.root(), b"room", 0o755).await.unwrap();
    fs.unlink(&ROOT, fs.root(), b"fill").await.unwrap();
    other.unmount().await.unwrap();
    fs.abandon().await;
}
