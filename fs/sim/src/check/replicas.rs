//! Replicas of shards: each by itself, each with the others, and all shards together once they are at rest.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{FileKind, HostId, InodeId, ShardId};

use super::{Rule, Watch, listing};
use crate::host::{FS, Host, Replica, rows};

type Hosts = BTreeMap<HostId, Host>;

/// Checks the tables of a replica by themselves, which hold at any moment.
pub(crate) fn fsck(watch: &mut Watch, host: HostId, replica: &Replica) {
    match replica.shard.fsck() {
        Ok(findings) if findings.is_empty() => {}
        Ok(findings) => {
            let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
            watch.violated(Rule::FsckClean, format!("{} on {host}: {}", replica.id, all.join("; ")));
        }
        Err(error) => watch.violated(Rule::FsckClean, format!("{} on {host}: {error}", replica.id)),
    }
}

/// Why the hosts are not at rest: nothing is under way, every replica has everything, no orphan is left.
pub(crate) fn unrest(hosts: &Hosts, shards: u16) -> Option<String> {
    for shard in (0..shards).map(ShardId) {
        let all = || hosts.values().filter_map(|host| Some((host, host.replicas.get(&shard)?)));
        let Some((host, leader)) = all().find(|(_, replica)| replica.leads()) else {
            return Some(format!("{shard} has no leader"));
        };
        let last = leader.group.standing().last;
        if let Some((behind, replica)) = all().find(|(_, replica)| replica.shard.applied().index < last) {
            let applied = replica.shard.applied().index;
            return Some(format!("{shard} on {} is at {applied} of {last}", behind.id));
        }
        let under_way = leader.shard.outbox(usize::MAX).expect("the store works");
        if let Some((to, step)) = under_way.first() {
            return Some(format!("{shard} on {} waits for {to} to do {step:?}", host.id));
        }
        let orphans = leader.shard.orphans(None, usize::MAX).expect("the store works");
        if !orphans.is_empty() {
            return Some(format!("{shard} on {} has orphans: {orphans:?}", host.id));
        }
    }
    None
}

/// Checks everything, at rest.
pub(crate) fn at_rest(watch: &mut Watch, hosts: &Hosts, shards: u16) {
    for shard in (0..shards).map(ShardId) {
        let mut first = None;
        for (host, replica) in hosts.values().filter_map(|host| Some((host, host.replicas.get(&shard)?))) {
            fsck(watch, host.id, replica);
            let state = rows(replica);
            match &first {
                None => first = Some((host.id, state)),
                Some((other, same)) if *same != state => {
                    let differs = same.iter().zip(&state).find(|(a, b)| a != b);
                    let detail = format!("{shard} on {other} and {} differ: {differs:?}", host.id);
                    watch.violated(Rule::ReplicasAgree, detail);
                }
                Some(_) => {}
            }
        }
    }
    tree(watch, hosts);
}

fn leader(hosts: &Hosts, shard: ShardId) -> Option<&Replica> {
    let replicas = hosts.values().filter_map(|host| host.replicas.get(&shard));
    replicas.max_by_key(|replica| (replica.leads(), replica.shard.applied().index))
}

/// Everything is reachable from the root: each directory once, each file as often as it has links.
fn tree(watch: &mut Watch, hosts: &Hosts) {
    let mut names: BTreeMap<InodeId, u32> = BTreeMap::new();
    let (mut todo, mut seen) = (vec![InodeId::ROOT], BTreeSet::new());
    while let Some(dir) = todo.pop() {
        if !seen.insert(dir) {
            watch.violated(Rule::TreeWhole, format!("{dir} is in two places"));
            continue;
        }
        let Some(replica) = leader(hosts, dir.shard()) else { continue };
        for (ino, kind) in listing(&replica.shard, dir).into_values() {
            *names.entry(ino).or_default() += 1;
            if kind == FileKind::Directory {
                todo.push(ino);
            }
        }
    }
    for (ino, count) in &names {
        let attr =
            leader(hosts, ino.shard()).and_then(|replica| replica.shard.attr(FS, *ino).expect("the store works"));
        match attr {
            None => watch.violated(Rule::TreeWhole, format!("a name leads to {ino}, which is not there")),
            Some(attr) if attr.kind != FileKind::Directory && attr.nlink != *count => {
                let detail = format!("{ino} has {count} names and says {}", attr.nlink);
                watch.violated(Rule::TreeWhole, detail);
            }
            Some(_) => {}
        }
    }
    let lost: Vec<InodeId> = watch
        .attrs
        .iter()
        .filter(|(ino, writes)| {
            let there = writes.last().is_some_and(|write| write.attr.is_some());
            there && **ino != InodeId::ROOT && !names.contains_key(ino)
        })
        .map(|(ino, _)| *ino)
        .collect();
    if !lost.is_empty() {
        watch.violated(Rule::TreeWhole, format!("inodes that no name leads to: {lost:?}"));
    }
}
