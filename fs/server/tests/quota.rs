//! Quotas over a whole cluster: shared out, enforced, and kept when hosts die.

use std::time::Duration;

use bytes::Bytes;
use forebay_client::{ClientError, Filesystem};
use forebay_testbed::{Plan, Testbed};
use forebay_types::{Cred, Errno, InodeId, Limits, Owner, Quota, ShardId, Space};
use forebay_wire::meta::{NewNode, QuotaChange, RenameHow};
use tokio::time::Instant;

const ROOT: Cred = Cred::ROOT;
/// Longest wait for every shard to have heard of a change.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

fn alice() -> Cred {
    Cred { uid: 1000, gid: 1000, groups: Vec::new() }
}

fn hard(bytes: Option<u64>, inodes: Option<u64>) -> Quota {
    Quota { hard: Limits { bytes, inodes }, ..Quota::default() }
}

async fn until(what: &str, fs: &Filesystem, owner: Owner, done: impl Fn(Space, bool) -> bool) {
    let until = Instant::now() + HEARD_WITHIN;
    loop {
        let (used, limited) = fs.owner_usage(&[owner]).await.unwrap()[0];
        if done(used, limited) {
            return;
        }
        assert!(Instant::now() < until, "{what}: {owner} has {used:?}, limited: {limited}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until there is no quota any more.
async fn definitions_go(fs: &Filesystem) {
    let gone = Instant::now() + HEARD_WITHIN;
    while !fs.quotas().await.unwrap().is_empty() {
        assert!(Instant::now() < gone, "the definition stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn limit(fs: &Filesystem, owner: Owner, quota: Quota) {
    fs.change_quota(QuotaChange::Set { owner, quota }).await.unwrap();
    until("limited", fs, owner, |_, limited| limited).await;
}

async fn directory(fs: &Filesystem, parent: InodeId, name: &str) -> InodeId {
    fs.mkdir(&ROOT, parent, name.as_bytes(), 0o777).await.unwrap().ino
}

/// Makes a file of some bytes, as a program would, and has it durable.
async fn write(fs: &Filesystem, cred: &Cred, dir: InodeId, name: &str, bytes: usize) -> Result<(), ClientError> {
    let made = fs.create_open(cred, dir, name.as_bytes(), 0o644.into(), true).await?.attr.ino;
    let written = async {
        for at in (0..bytes).step_by(1 << 20) {
            let len = (bytes - at).min(1 << 20);
            fs.write(made, at as u64, Bytes::from(vec![7; len])).await?;
        }
        fs.fsync(made).await
    };
    let written = written.await;
    let _ = fs.release(made).await;
    written
}

fn is_quota<T>(result: &Result<T, ClientError>) -> bool {
    matches!(result, Err(ClientError::Posix(Errno::Quota)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_gets_all_of_its_quota_over_all_shards_and_no_more() {
    let testbed = Testbed::start(Plan::THREE).await;
    let fs = testbed.mount("client").await;
    let mut dirs = Vec::new();
    for n in 0..8 {
        dirs.push(directory(&fs, fs.root(), &format!("d{n}")).await);
    }
    let owner = Owner::User(1000);
    let most = 24 << 20;
    limit(&fs, owner, hard(Some(most), Some(1000))).await;
    let mut kept = 0;
    for n in 0.. {
        let result = write(&fs, &alice(), dirs[n % dirs.len()], &format!("f{n}"), 1 << 20).await;
        if is_quota(&result) {
            break;
        }
        result.unwrap();
        kept += 1;
        assert!(kept <= 24, "more than the limit");
    }
    assert_eq!(kept, 24, "less than the limit");
    let (used, _) = fs.owner_usage(&[owner]).await.unwrap()[0];
    assert_eq!(used.bytes, most);
    // Others are not concerned, nor is what takes no room.
    write(&fs, &ROOT, dirs[0], "root's", 1 << 20).await.unwrap();
    fs.create(&alice(), dirs[1], b"empty", NewNode::File, 0o644, true).await.unwrap();
    fs.unlink(&ROOT, dirs[0], b"f0").await.unwrap();
    // What is freed in one shard is there for another with the next round.
    let soon = Instant::now() + HEARD_WITHIN;
    while let Err(error) = write(&fs, &alice(), dirs[3], "again", 1 << 20).await {
        assert!(Instant::now() < soon, "{error}");
        fs.unlink(&ROOT, dirs[3], b"again").await.unwrap();
    }
    assert!(is_quota(&write(&fs, &alice(), dirs[4], "too much", 1 << 20).await));
    // More is given at once.
    limit(&fs, owner, hard(Some(2 * most), Some(1000))).await;
    while let Err(error) = write(&fs, &alice(), dirs[4], "now", 1 << 20).await {
        assert!(Instant::now() < soon, "{error}");
        fs.unlink(&ROOT, dirs[4], b"now").await.unwrap();
    }
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_on_by_itself_passes_the_limit_by_its_log_at_most() {
    let testbed = Testbed::start(Plan::THREE).await;
    let fs = testbed.mount_delegating("client").await;
    let dir = directory(&fs, fs.root(), "d").await;
    let owner = Owner::User(1000);
    let most = 600;
    limit(&fs, owner, hard(None, Some(most))).await;
    let mut made = 0_u64;
    let refused = loop {
        let name = format!("f{made}");
        let result = fs.create(&alice(), dir, name.as_bytes(), NewNode::File, 0o644, true).await;
        if result.is_err() {
            break result;
        }
        made += 1;
        assert!(made < most + 8192, "nobody is refused");
    };
    assert!(is_quota(&refused), "{refused:?}");
    assert!(made >= most, "{made}");
    fs.sync_names().await.unwrap();
    assert_eq!(fs.owner_usage(&[owner]).await.unwrap()[0].0.inodes, made);
    // It stays refused, however often it is tried, and so is another client.
    let other = testbed.mount_delegating("other").await;
    for n in 0..20 {
        let name = format!("more{n}");
        let fs = if n % 2 == 0 { &fs } else { &other };
        let result = fs.create(&alice(), dir, name.as_bytes(), NewNode::File, 0o644, true).await;
        assert!(is_quota(&result), "{result:?}");
    }
    // Somebody else makes files there meanwhile.
    fs.create(&ROOT, dir, b"root's", NewNode::File, 0o644, true).await.unwrap();
    limit(&fs, owner, hard(None, Some(made + 10))).await;
    let soon = Instant::now() + HEARD_WITHIN;
    while let Err(error) = fs.create(&alice(), dir, b"again", NewNode::File, 0o644, true).await {
        assert!(Instant::now() < soon, "{error}");
    }
    other.unmount().await.unwrap();
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_counts_for_its_directory_and_what_is_moved_there_too() {
    let testbed = Testbed::start(Plan::THREE).await;
    let fs = testbed.mount("client").await;
    let team = directory(&fs, fs.root(), "team").await;
    let outside = directory(&fs, fs.root(), "outside").await;
    let mut at = team;
    for depth in 0..4 {
        for n in 0..5 {
            write(&fs, &alice(), at, &format!("f{n}"), 1000).await.unwrap();
        }
        at = directory(&fs, at, &format!("sub{depth}")).await;
    }
    let told = fs.set_directory_quota(team, None, hard(Some(100_000), None)).await.unwrap();
    assert_eq!(told, 1 + 4 + 20);
    let owner = Owner::Directory(team);
    until("limited", &fs, owner, |_, limited| limited).await;
    assert_eq!(fs.owner_usage(&[owner]).await.unwrap()[0].0, Space { bytes: 20_000, inodes: 25 });
    assert!(is_quota(&write(&fs, &alice(), at, "large", 80_001).await));
    write(&fs, &alice(), at, "just", 50_000).await.unwrap();
    // A file that was refused has lost what it could not keep, and its name is there.
    assert_eq!(fs.lookup(&ROOT, at, b"large").await.unwrap().size, 0);
    write(&fs, &alice(), outside, "big", 50_000).await.unwrap();
    let moved = fs.rename(&ROOT, (outside, b"big"), (team, b"big"), RenameHow::Replace).await;
    assert!(matches!(moved, Err(ClientError::Posix(Errno::Quota | Errno::CrossDevice))), "{moved:?}");
    let moved = fs.rename(&ROOT, (fs.root(), b"outside"), (team, b"outside"), RenameHow::Replace).await;
    assert!(matches!(moved, Err(ClientError::Posix(Errno::CrossDevice))), "{moved:?}");
    assert_eq!(fs.unset_directory_quota(team, None).await.unwrap(), 27);
    until("not limited", &fs, owner, |used, limited| !limited && used == Space::default()).await;
    write(&fs, &alice(), at, "large2", 200_000).await.unwrap();
    definitions_go(&fs).await;
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_removed_takes_its_quota_along() {
    let testbed = Testbed::start(Plan::THREE).await;
    let fs = testbed.mount("client").await;
    let dir = directory(&fs, fs.root(), "job").await;
    fs.set_directory_quota(dir, None, hard(Some(1 << 20), None)).await.unwrap();
    until("limited", &fs, Owner::Directory(dir), |_, limited| limited).await;
    fs.rmdir(&ROOT, fs.root(), b"job").await.unwrap();
    definitions_go(&fs).await;
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_and_are_shared_out_after_a_host_died() {
    let mut testbed = Testbed::start(Plan::SIX).await;
    let fs = testbed.mount("client").await;
    let dir = directory(&fs, fs.root(), "d").await;
    let owner = Owner::User(1000);
    limit(&fs, owner, hard(None, Some(100))).await;
    for n in 0..50 {
        fs.create(&alice(), dir, format!("f{n}").as_bytes(), NewNode::File, 0o644, true).await.unwrap();
    }
    let status = fs.status().await.unwrap();
    let leads = |host: forebay_types::HostId| {
        let mut all = status.replicas.iter().filter(|(of, _)| *of == host).flat_map(|(_, replicas)| replicas);
        all.any(|replica| replica.shard == ShardId(0) && replica.leads)
    };
    let leader = status.map.hosts.iter().position(|host| leads(host.id)).expect("shard 0 is led");
    testbed.kill(leader);
    for n in 50..100 {
        fs.create(&alice(), dir, format!("f{n}").as_bytes(), NewNode::File, 0o644, true).await.unwrap();
    }
    let result = fs.create(&alice(), dir, b"more", NewNode::File, 0o644, true).await;
    assert!(is_quota(&result), "{result:?}");
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_limit_holds_when_its_grace_is_over() {
    let testbed = Testbed::start(Plan::THREE).await;
    let fs = testbed.mount("client").await;
    let dir = directory(&fs, fs.root(), "d").await;
    let owner = Owner::User(1000);
    let soft = Limits { bytes: None, inodes: Some(5) };
    limit(&fs, owner, Quota { hard: Limits::default(), soft, grace_secs: 2 }).await;
    for n in 0..10 {
        fs.create(&alice(), dir, format!("f{n}").as_bytes(), NewNode::File, 0o644, true).await.unwrap();
    }
    let over = Instant::now() + HEARD_WITHIN;
    let mut n = 10;
    while !is_quota(&fs.create(&alice(), dir, format!("f{n}").as_bytes(), NewNode::File, 0o644, true).await) {
        n += 1;
        assert!(Instant::now() < over, "the grace never ends");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(fs.quotas().await.unwrap()[0].over.inodes.is_some());
    for n in 0..=n - 5 {
        fs.unlink(&ROOT, dir, format!("f{n}").as_bytes()).await.ok();
    }
    let again = Instant::now() + HEARD_WITHIN;
    while fs.create(&alice(), dir, b"again", NewNode::File, 0o644, true).await.is_err() {
        assert!(Instant::now() < again, "it stays refused");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fs.unmount().await.unwrap();
}
