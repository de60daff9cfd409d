use forebay_types::Timestamp;

use super::*;

const SHARD: ShardId = ShardId(0);

fn attr(n: u64, version: u64) -> Attr {
    let at = Timestamp::default();
    Attr {
        ino: InodeId::new(SHARD, n),
        kind: FileKind::Directory,
        mode: 0o755,
        nlink: 2,
        uid: 0,
        gid: 0,
        size: 0,
        allocated_bytes: 0,
        cold_bytes: 0,
        atime: at,
        mtime: at,
        ctime: at,
        btime: at,
        rdev: 0,
        generation: 0,
        version,
        acl: false,
        capability: false,
    }
}

fn good() -> LeaseCache {
    let mut cache = LeaseCache::default();
    cache.introduced(SHARD, 7, &[], 100);
    cache
}

fn learn(cache: &mut LeaseCache, n: u64, version: u64) {
    let ticket = cache.begin(SHARD);
    assert!(cache.learn(ticket, 7, &attr(n, version), LeaseMode::Shared));
    cache.end(ticket);
}

#[test]
fn what_was_granted_is_believed_until_the_lease_ends() {
    let mut cache = good();
    learn(&mut cache, 1, 3);
    let ino = attr(1, 3).ino;
    assert_eq!(cache.attr(ino, 99).map(|attr| attr.version), Some(3));
    assert_eq!(cache.good_for(ino.shard(), 90), 10);
    assert_eq!(cache.attr(ino, 100), None);
    assert_eq!(cache.lapse(99), []);
    assert_eq!(cache.lapse(100), [SHARD]);
    assert_eq!(cache.lapse(101), [], "once");
    cache.renewed(SHARD, 7, 0, 150);
    assert_eq!(cache.attr(ino, 149).map(|attr| attr.version), Some(3));
    cache.renewed(SHARD, 6, 0, 900);
    assert_eq!(cache.attr(ino, 200), None, "that was another introduction");
}

#[test]
fn a_grant_that_a_revocation_has_overtaken_is_not_believed() {
    let mut cache = good();
    let ino = attr(1, 3).ino;
    let (before, other) = (cache.begin(SHARD), cache.begin(SHARD));
    cache.give_up(ino, None);
    let after = cache.begin(SHARD);
    assert!(!cache.learn(before, 7, &attr(1, 3), LeaseMode::Shared));
    cache.end(before);
    assert!(!cache.learn(other, 7, &attr(1, 3), LeaseMode::Shared));
    cache.end(other);
    assert!(cache.learn(after, 7, &attr(1, 4), LeaseMode::Shared));
    cache.end(after);
    assert!(cache.shards[&SHARD].given_up.is_empty(), "nothing is kept of it");
}

#[test]
fn a_grant_under_another_introduction_is_not_believed() {
    let mut cache = good();
    let ticket = cache.begin(SHARD);
    cache.introduced(SHARD, 8, &[], 200);
    assert!(!cache.learn(ticket, 7, &attr(1, 3), LeaseMode::Shared));
}

/// The leader forgets what it granted when it takes an introduction in, which is before its answer arrives.
#[test]
fn nothing_is_learned_or_believed_while_an_introduction_is_under_way() {
    let mut cache = good();
    learn(&mut cache, 1, 3);
    let ticket = cache.begin(SHARD);
    assert_eq!(cache.begin_introduction(SHARD), 100);
    assert_eq!(cache.attr(attr(1, 3).ino, 50), None);
    assert!(!cache.learn(ticket, 7, &attr(2, 3), LeaseMode::Shared));
    cache.renewed(SHARD, 7, 0, 500);
    assert_eq!(cache.attr(attr(1, 3).ino, 50), None, "an answer to an older poll renews nothing");
    assert_eq!(cache.begin_introduction(SHARD), 0, "the one before has not been answered");
    cache.introduced(SHARD, 8, &[], 200);
    assert!(cache.is_good(SHARD, 150));
}

#[test]
fn older_attributes_do_not_replace_newer_ones() {
    let mut cache = good();
    learn(&mut cache, 1, 5);
    learn(&mut cache, 1, 4);
    assert_eq!(cache.attr(attr(1, 0).ino, 0).map(|attr| attr.version), Some(5));
}

#[test]
fn names_are_believed_as_of_their_directory() {
    let mut cache = good();
    let (dir, name) = (attr(1, 0).ino, Bytes::from_static(b"n"));
    cache.learn_name(dir, 5, &name, None);
    assert_eq!(cache.name(dir, b"n", 0), None, "the directory is not believed");
    learn(&mut cache, 1, 5);
    cache.learn_name(dir, 4, &name, None);
    assert_eq!(cache.name(dir, b"n", 0), None, "what was told is older than the directory");
    cache.learn_name(dir, 5, &name, None);
    assert_eq!(cache.name(dir, b"n", 0), Some(None));
    cache.give_up(dir, None);
    learn(&mut cache, 1, 6);
    assert_eq!(cache.name(dir, b"n", 0), None);
}

#[test]
fn a_name_in_flux_is_not_believed_and_learned_when_its_only_change_is_answered() {
    let mut cache = good();
    let (dir, name) = (attr(1, 0).ino, Bytes::from_static(b"n"));
    let made = Some((attr(2, 0).ino, FileKind::Regular));
    learn(&mut cache, 1, 5);
    cache.learn_name(dir, 5, &name, None);
    cache.begin_change(dir, &name);
    assert_eq!(cache.name(dir, b"n", 0), None);
    cache.learn_name(dir, 5, &name, None);
    assert_eq!(cache.name(dir, b"n", 0), None);
    cache.end_change(dir, &name, Some(made));
    assert_eq!(cache.name(dir, b"n", 0), Some(made));
    // Two at once: who was first nobody knows.
    cache.begin_change(dir, &name);
    cache.begin_change(dir, &name);
    cache.end_change(dir, &name, Some(None));
    cache.end_change(dir, &name, Some(made));
    assert_eq!(cache.name(dir, b"n", 0), None);
    assert!(cache.flux.is_empty());
}

#[test]
fn a_new_leader_is_told_of_exclusive_leases_and_the_rest_is_given_up() {
    let mut cache = good();
    learn(&mut cache, 1, 5);
    let ticket = cache.begin(SHARD);
    for n in [2, 3] {
        assert!(cache.learn(ticket, 7, &attr(n, 1), LeaseMode::Exclusive));
    }
    cache.end(ticket);
    let mut exclusive = cache.exclusive(SHARD);
    exclusive.sort_unstable();
    assert_eq!(exclusive, [(attr(2, 0).ino, 1), (attr(3, 0).ino, 1)]);
    cache.introduced(SHARD, 8, &[attr(3, 0).ino], 200);
    assert_eq!(cache.len(), 1);
    assert_eq!(cache.attr(attr(3, 0).ino, 150), None, "others may have linked it meanwhile");
    assert_eq!(cache.mode(attr(3, 0).ino, 150), Some(LeaseMode::Exclusive));
    cache.give_up(attr(3, 0).ino, Some(LeaseMode::Shared));
    assert_eq!(cache.mode(attr(3, 0).ino, 150), Some(LeaseMode::Shared));
}

/// Found by the simulator (seed 123): a program's slow call changed a directory that was given up and believed again meanwhile.
#[test]
fn newer_attributes_are_taken_from_an_answer_whose_grant_was_overtaken() {
    let mut cache = good();
    let slow = cache.begin(SHARD);
    learn(&mut cache, 1, 3);
    let ino = attr(1, 3).ino;
    cache.give_up(ino, None);
    learn(&mut cache, 1, 4);
    assert!(!cache.learn(slow, 7, &attr(1, 5), LeaseMode::Exclusive));
    assert_eq!(cache.attr(ino, 50).map(|attr| attr.version), Some(5));
    assert_eq!(cache.mode(ino, 50), Some(LeaseMode::Shared), "no more than that");
}

/// Found by the simulator (seed 208): the answer to a create came late, when another client had removed the name again.
#[test]
fn a_name_is_not_learned_from_a_change_that_began_before_its_directory_was_believed() {
    let (mut cache, name) = (good(), Bytes::from_static(b"n"));
    let dir = attr(1, 3).ino;
    cache.begin_change(dir, &name);
    learn(&mut cache, 1, 3);
    cache.end_change(dir, &name, Some(Some((attr(2, 1).ino, FileKind::Regular))));
    assert_eq!(cache.name(dir, b"n", 50), None);
    cache.begin_change(dir, &name);
    cache.give_up(dir, None);
    learn(&mut cache, 1, 4);
    cache.end_change(dir, &name, Some(None));
    assert_eq!(cache.name(dir, b"n", 50), None);
}
