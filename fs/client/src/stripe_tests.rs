//! Stripes over drives that lose, damage and cut short what they are asked for.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use forebay_net::{ClusterKey, Handler, PeerInfo, Role, Server};
use forebay_types::{Geometry, LifetimeClass, ShardId, Uuid};
use forebay_wire::cluster::{ClusterReply, Formation, FormingHost};
use forebay_wire::frame::Service;

use super::*;
use crate::ClientOptions;

const GEOMETRY: Geometry = Geometry { data: 4, parity: 2 };
const BLOCK: usize = forebay_types::limits::BLOCK_BYTES;
/// Three blocks a chunk, the last one of the data not full.
const DATA_BYTES: usize = 12 * BLOCK - 100;

/// What is wrong with a drive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// It does not work.
    Broken,
    /// It does not have what it is asked for.
    Empty,
    /// One bit of every answer is wrong, and nobody on its host has noticed.
    Flips,
    /// The bytes are those of the chunk, the checksums are not.
    WrongSums,
    /// It sends a block too few, with as many checksums.
    Short,
}

const FAULTS: [Fault; 5] = [Fault::Broken, Fault::Empty, Fault::Flips, Fault::WrongSums, Fault::Short];

type Chunks = HashMap<(DriveId, StripeId, u8), Bytes>;

#[derive(Default)]
struct Drives {
    chunks: Mutex<Chunks>,
    faults: Mutex<HashMap<DriveId, Fault>>,
}

impl Drives {
    fn get(&self, get: &GetChunk) -> (ChunkReply, Bytes) {
        let GetChunk { drive, stripe, index, first_block, blocks } = *get;
        let fault = self.faults.lock().unwrap().get(&drive).copied();
        let whole = self.chunks.lock().unwrap().get(&(drive, stripe, index)).cloned();
        let missing = || (ChunkReply::Error(ChunkError::NotFound { drive, stripe, index }), Bytes::new());
        let Some(whole) = whole else { return missing() };
        let mut payload = whole.slice(first_block as usize * BLOCK..(first_block + blocks) as usize * BLOCK).to_vec();
        let mut crcs = crc::block_crcs(&payload);
        match fault {
            Some(Fault::Broken) => {
                let reason = "it is broken".into();
                return (ChunkReply::Error(ChunkError::Failed { drive, reason }), Bytes::new());
            }
            Some(Fault::Empty) => return missing(),
            Some(Fault::Flips) => payload[BLOCK / 3] ^= 4,
            Some(Fault::WrongSums) => crcs[0] ^= 1,
            Some(Fault::Short) => {
                payload.truncate(payload.len() - BLOCK);
                crcs.pop();
            }
            None => {}
        }
        (ChunkReply::Got { crcs }, payload.into())
    }
}

#[async_trait::async_trait]
impl Handler for Drives {
    async fn handle(&self, _: &PeerInfo, to: Service, body: Bytes, payload: Bytes, _: Duration) -> (Vec<u8>, Bytes) {
        if to == Service::Cluster {
            // A newer map, which there is not.
            return (forebay_wire::encode(&ClusterReply::Map(None)), Bytes::new());
        }
        let (reply, bytes) = match forebay_wire::decode::<ChunkRequest>(&body) {
            Ok(ChunkRequest::Put(put)) => {
                let PutChunk { drive, stripe, index, .. } = put;
                let chunk_bytes = payload.len() as u32;
                self.chunks.lock().unwrap().insert((drive, stripe, index), payload);
                (ChunkReply::Put(Receipt { drive, stripe, index, chunk_bytes, seal: [0; 16] }), Bytes::new())
            }
            Ok(ChunkRequest::Get(get)) => self.get(&get),
            _ => (ChunkReply::Error(ChunkError::Invalid { reason: "not asked here".into() }), Bytes::new()),
        };
        (forebay_wire::encode(&reply), bytes)
    }
}

/// A stripe on six drives.
struct Bench {
    drives: Arc<Drives>,
    stripes: Stripes,
    /// The drives, by the chunk they have.
    group: Vec<DriveId>,
    at: StripeRef,
    data: Bytes,
    _server: Server,
}

impl Bench {
    async fn new() -> Self {
        let (key, drives) = (ClusterKey::from_bytes([1; 32]), Arc::new(Drives::default()));
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), key.clone(), "all", drives.clone()).await.unwrap();
        let host = |n: u8| FormingHost {
            name: format!("h{n}"),
            address: format!("10.0.0.{n}:7440"),
            drives: vec![(Uuid([n; 16]), 1 << 30)],
        };
        let hosts = (0..GEOMETRY.width() as u8).map(host).collect();
        let (name, cluster) = ("t".into(), Uuid([7; 16]));
        let mut map =
            forebay_cluster::form(&Formation { name, cluster, geometry: GEOMETRY, shards: 1, hosts }).unwrap();
        // One host serves the drives of all.
        map.hosts.iter_mut().for_each(|host| host.address = server.local_addr().to_string());
        let group = map.groups[0].drives.clone();
        let stripe = StripeId::new(map.groups[0].id, ShardId(0), LifetimeClass::Job, 1);
        let options = ClientOptions { timeout: Duration::from_millis(100), ..ClientOptions::default() };
        let cluster = Cluster::new(Vec::new(), key, Role::Client, "reader", options);
        cluster.learn(map);
        let stripes = Stripes::new(cluster);
        let data: Vec<u8> = (0..DATA_BYTES as u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let layout = StripeLayout::for_data(GEOMETRY, data.len()).unwrap();
        let mut padded = data.clone();
        padded.resize(layout.data_bytes() as usize, 0);
        assert_eq!(stripes.write(stripe, layout, padded.into()).await.unwrap().len(), GEOMETRY.width());
        let at = StripeRef { stripe, geometry: GEOMETRY, chunk_bytes: layout.chunk_bytes, offset: 0 };
        Self { drives, stripes, group, at, data: data.into(), _server: server }
    }

    /// Makes the drives of these chunks faulty, and no others.
    fn break_drives(&self, faults: &[(usize, Fault)]) {
        let faulty = faults.iter().map(|&(index, fault)| (self.group[index], fault));
        *self.drives.faults.lock().unwrap() = faulty.collect();
    }

    async fn read(&self, from: usize, to: usize) -> Result<Bytes, ReadError> {
        let at = StripeRef { offset: from as u32, ..self.at };
        let mut attempts = Attempts::new(self.stripes.cluster.options().timeout);
        self.stripes.read(at, (to - from) as u32, &mut attempts).await
    }
}

/// All sets of `count` chunks.
fn sets(count: u32) -> Vec<Vec<usize>> {
    let all = 0..1_u32 << GEOMETRY.width();
    let chosen = all.filter(|set| set.count_ones() == count);
    chosen.map(|set| (0..GEOMETRY.width()).filter(|n| set & (1 << n) != 0).collect()).collect()
}

#[tokio::test]
async fn as_many_drives_as_there_are_parity_chunks_may_lie_lose_or_break() {
    let bench = Bench::new().await;
    let ranges = [(0, DATA_BYTES), (5, 6), (BLOCK - 1, 4 * BLOCK + 1), (9 * BLOCK, DATA_BYTES)];
    for set in (0..=u32::from(GEOMETRY.parity)).flat_map(sets) {
        for turn in 0..FAULTS.len() {
            // Each drive another fault, then all the same.
            for step in [1, 0] {
                let fault = |(n, &index): (usize, &usize)| (index, FAULTS[(turn + n * step) % FAULTS.len()]);
                let faults: Vec<_> = set.iter().enumerate().map(fault).collect();
                bench.break_drives(&faults);
                for (from, to) in ranges {
                    match bench.read(from, to).await {
                        Ok(read) => assert!(read == bench.data[from..to], "wrong bytes with {faults:?}"),
                        Err(_) => panic!("{from}..{to} cannot be read with {faults:?}"),
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn with_more_there_is_an_error_and_never_a_wrong_byte() {
    let bench = Bench::new().await;
    for set in sets(u32::from(GEOMETRY.parity) + 1) {
        for fault in [Fault::Flips, Fault::WrongSums] {
            let faults: Vec<_> = set.iter().map(|&index| (index, fault)).collect();
            bench.break_drives(&faults);
            // Chunks that are whole can still be read, one that is not cannot be had.
            let data = set.iter().find(|index| **index < usize::from(GEOMETRY.data));
            let first = *data.expect("there are two parity chunks") * 3 * BLOCK;
            match bench.read(first, first + BLOCK).await {
                Err(ReadError::Failed(ClientError::TooFewChunks { have: 3, need: 4, .. })) => {}
                Err(ReadError::Failed(error)) => panic!("{error} with {faults:?}"),
                Err(ReadError::Gone) => panic!("damaged is not gone: {faults:?}"),
                Ok(_) => panic!("bytes were made of damaged chunks: {faults:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_stripe_that_its_drives_do_not_know_is_gone() {
    let bench = Bench::new().await;
    bench.break_drives(&[(0, Fault::Empty), (1, Fault::Empty), (4, Fault::Empty)]);
    assert!(matches!(bench.read(0, 1).await, Err(ReadError::Gone)));
}
