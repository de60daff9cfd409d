//! The power of all hosts fails at once: what was acknowledged as durable is there when they are back.

use std::time::Duration;

use bytes::Bytes;
use forebay_client::{ClientError, Filesystem};
use forebay_testbed::{Disk, Plan, TIMEOUT, Testbed};
use forebay_types::{Cred, InodeId};
use forebay_wire::meta::{NewNode, RenameHow};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

const ROOT: Cred = Cred::ROOT;
/// How long writers try what does not work any more.
const PATIENCE: Duration = Duration::from_secs(2);
const WRITERS: usize = 3;
/// Inline, inline of several blocks, and stripes, one and more.
const SIZES: [usize; 5] = [100, 5_000, 20_000, 300_000, 1_500_000];

/// What a writer has been told.
enum Said {
    /// The file of this number is durable.
    Written(String, usize),
    /// It is about to be moved.
    Moving(String),
    /// It has been.
    Moved(String),
}

/// A file that must be there, under the one name or the other.
#[derive(Debug)]
struct Durable {
    names: Vec<String>,
    number: usize,
}

fn content(number: usize) -> Bytes {
    let len = SIZES[number % SIZES.len()];
    let byte = |at: usize| ((at + number) as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0];
    (0..len).map(byte).collect::<Vec<u8>>().into()
}

/// Writes and moves files until something fails.
async fn write(fs: Filesystem, me: String, said: UnboundedSender<Said>) -> Result<(), ClientError> {
    let dir = fs.mkdir(&ROOT, fs.root(), me.as_bytes(), 0o755).await?.ino;
    for number in 0.. {
        let name = format!("f{number}");
        let ino = fs.create(&ROOT, dir, name.as_bytes(), NewNode::File, 0o644, true).await?.attr.ino;
        fs.open(&ROOT, ino, true, true).await?;
        fs.write(ino, 0, content(number)).await?;
        fs.fsync(ino).await?;
        // Nobody listens any more when the power has failed.
        let _ = said.send(Said::Written(format!("{me}/{name}"), number));
        fs.release(ino).await?;
        if number % 3 == 0 {
            let new = format!("m{number}");
            let _ = said.send(Said::Moving(format!("{me}/{new}")));
            let (from, to) = ((dir, name.as_bytes()), (dir, new.as_bytes()));
            fs.rename(&ROOT, from, to, RenameHow::Replace).await?;
            let _ = said.send(Said::Moved(format!("{me}/{new}")));
        }
    }
    Ok(())
}

/// Takes in what a writer has been told.
fn note(durable: &mut Vec<Durable>, said: Said) {
    match said {
        Said::Written(name, number) => durable.push(Durable { names: vec![name], number }),
        Said::Moving(name) => durable.last_mut().expect("it was written").names.push(name),
        Said::Moved(name) => durable.last_mut().expect("it was written").names = vec![name],
    }
}

async fn find(fs: &Filesystem, file: &Durable) -> InodeId {
    let mut errors = Vec::new();
    for name in &file.names {
        match fs.resolve(&ROOT, name).await {
            Ok(attr) => return attr.ino,
            Err(error) => errors.push(error.to_string()),
        }
    }
    panic!("{file:?} was durable and is not there: {errors:?}");
}

async fn check(fs: &Filesystem, durable: &[Durable]) {
    for file in durable {
        let ino = find(fs, file).await;
        fs.open(&ROOT, ino, true, false).await.unwrap();
        let read = fs.read_all(ino, 4 << 20).await.unwrap_or_else(|error| panic!("{file:?}: {error}"));
        assert!(read == content(file.number), "{file:?} was durable and is something else");
        fs.release(ino).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_synced_outlives_a_power_failure_of_every_host() {
    let disk = Disk::mount();
    let plan = Plan { drive_bytes: 96 << 20, ..Plan::THREE };
    let mut world = Testbed::start_on(plan, &disk).await;
    let mut durable: Vec<Durable> = Vec::new();
    for round in 0..4_u64 {
        let fs = world.mount_within("writer", PATIENCE).await;
        let mut writers = tokio::task::JoinSet::new();
        let mut lines: Vec<UnboundedReceiver<Said>> = Vec::new();
        for n in 0..WRITERS {
            let (said, line) = unbounded_channel();
            lines.push(line);
            writers.spawn(write(fs.clone(), format!("r{round}w{n}"), said));
        }
        let mut told: Vec<Vec<Durable>> = (0..WRITERS).map(|_| Vec::new()).collect();
        // The others are somewhere in between when the first one has got so far.
        while told[0].len() < 4 + round as usize * 2 {
            let next = tokio::time::timeout(TIMEOUT, lines[0].recv()).await.expect("the writer gets further");
            note(&mut told[0], next.expect("the writer goes on"));
        }
        disk.lose_power(round * 7919 + 1);
        let ended = tokio::time::timeout(TIMEOUT * 2, async {
            while let Some(ended) = writers.join_next().await {
                assert!(ended.unwrap().is_err(), "a writer is told that its bytes are durable, with the power off");
            }
        });
        ended.await.expect("writers give up");
        for (line, told) in lines.iter_mut().zip(&mut told) {
            while let Some(said) = line.recv().await {
                note(told, said);
            }
        }
        durable.extend(told.into_iter().flatten());
        (0..plan.hosts).for_each(|n| world.kill(n));
        disk.return_power();
        for n in 0..plan.hosts {
            world.restart(n).await;
        }
        fs.abandon().await;
        let reader = world.mount("reader").await;
        check(&reader, &durable).await;
        reader.unmount().await.unwrap();
    }
}

/// A host answered for a chunk that its drive had not flushed yet: that is over too soon for the power to fail in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_syncs_waits_for_the_drives() {
    let disk = Disk::mount();
    let world = Testbed::start_on(Plan { drive_bytes: 96 << 20, ..Plan::THREE }, &disk).await;
    let fs = world.mount("writer").await;
    let ino = fs.create(&ROOT, fs.root(), b"f", NewNode::File, 0o644, true).await.unwrap().attr.ino;
    fs.open(&ROOT, ino, true, true).await.unwrap();
    // Whatever a first write needs is there.
    fs.write(ino, 0, content(3)).await.unwrap();
    fs.fsync(ino).await.unwrap();
    disk.hold_syncs("drive");
    fs.write(ino, 0, content(8)).await.unwrap();
    let syncing = fs.clone();
    let sync = tokio::spawn(async move { syncing.fsync(ino).await });
    let until = Instant::now() + TIMEOUT;
    while disk.syncs_held() < Plan::THREE.hosts {
        assert!(Instant::now() < until, "{} drives flush", disk.syncs_held());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The metadata goes on: what it was asked before these is done when they are.
    for n in 0..20 {
        fs.mkdir(&ROOT, fs.root(), format!("d{n}").as_bytes(), 0o755).await.unwrap();
    }
    assert!(!sync.is_finished(), "synced, with no drive flushed");
    disk.release_syncs();
    sync.await.unwrap().unwrap();
    fs.release(ino).await.unwrap();
    fs.unmount().await.unwrap();
}
