//! Replicas over stores that can crash, a network that loses, doubles and reorders, and what must hold at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_env::{Batch, Durability, Kv, MemoryKv};
use forebay_types::{HostId, LogPosition, ShardId};
use forebay_wire::raft::{Members, RaftBody, RaftMessage};

use crate::{CommittedData, ELECTION_TICKS, FIRST, Group, Outcome, decode_members, encode_members};

const SHARD: ShardId = ShardId(3);

/// Small, seeded, and good enough to choose what happens next.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(sides.max(1))) as u32
    }
}

/// A replica with the simplest state there is: the list of what was applied.
pub struct Replica {
    pub kv: Arc<MemoryKv>,
    pub group: Group<Arc<MemoryKv>>,
    pub applied: Vec<(LogPosition, Vec<u8>)>,
    at: LogPosition,
    members: Members,
    confirmed: Option<(u64, u64)>,
    fetch: Option<HostId>,
    alive: bool,
}

pub struct World {
    pub replicas: BTreeMap<HostId, Replica>,
    pub dice: Dice,
    pub now: u64,
    /// One in so many messages is lost, and as many are doubled; 0 for a calm world.
    pub trouble: u32,
    /// One in so many steps is a crash; 0 for none.
    pub crashes: u32,
    /// Hosts that hear nobody and are not heard.
    pub cut_off: BTreeSet<HostId>,
    /// What leaders have said of hosts that were no members any more: host, term, and what they had applied.
    pub strangers: Vec<(HostId, u64, u64)>,
    /// Entries a leader keeps behind what it has applied.
    pub log_kept: u64,
    flying: Vec<RaftMessage>,
    /// Everything that any replica has applied, by index.
    pub history: BTreeMap<u64, (u64, Vec<u8>)>,
    next: u32,
}

fn state_rows(kv: &MemoryKv) -> Vec<(Vec<u8>, Vec<u8>)> {
    kv.scan(b"s", b"t", usize::MAX).unwrap()
}

fn position(bytes: &[u8]) -> LogPosition {
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    LogPosition { index: number(0), term: number(8) }
}

fn position_bytes(at: LogPosition) -> Vec<u8> {
    [at.index.to_be_bytes(), at.term.to_be_bytes()].concat()
}

fn open(kv: Arc<MemoryKv>, me: HostId, first: bool) -> Replica {
    let at = kv.get(b"s-at").unwrap().map_or(LogPosition::default(), |bytes| position(&bytes));
    let members = kv.get(b"s-members").unwrap().map_or(Members::default(), |bytes| decode_members(&bytes).unwrap());
    let rows = kv.scan(b"s/", b"s0", usize::MAX).unwrap();
    let applied = rows.into_iter().map(|(_, value)| (position(&value), value[16..].to_vec())).collect();
    let group = Group::open(kv.clone(), SHARD, me, at, &members, first).unwrap();
    Replica { kv, group, applied, at, members, confirmed: None, fetch: None, alive: true }
}

impl World {
    /// `count` replicas with votes, and `spare` hosts with nothing.
    pub fn new(count: u32, spare: u32, seed: u64) -> Self {
        let voters: Vec<HostId> = (1..=count).map(HostId).collect();
        let members = Members { voters: voters.clone(), learners: Vec::new() };
        let replicas = (1..=count + spare).map(HostId).map(|host| {
            let kv = Arc::new(MemoryKv::new());
            if voters.contains(&host) {
                let mut batch = Group::<Arc<MemoryKv>>::first_batch(SHARD);
                batch.put(*b"s-at", position_bytes(FIRST));
                batch.put(*b"s-members", encode_members(&members));
                kv.write(batch, Durability::Flushed).unwrap();
            }
            (host, open(kv, host, host == voters[0]))
        });
        Self {
            replicas: replicas.collect(),
            dice: Dice(seed),
            now: 0,
            trouble: 0,
            crashes: 0,
            cut_off: BTreeSet::new(),
            strangers: Vec::new(),
            log_kept: u64::MAX,
            flying: Vec::new(),
            history: BTreeMap::new(),
            next: 0,
        }
    }

    pub fn leader(&self) -> Option<HostId> {
        let leads = |replica: &Replica| replica.alive && replica.group.standing().ready;
        let all = self.replicas.iter().filter(|(_, replica)| leads(replica));
        all.max_by_key(|(_, replica)| replica.group.standing().term).map(|(host, _)| *host)
    }

    pub fn group(&mut self, host: HostId) -> &mut Group<Arc<MemoryKv>> {
        &mut self.replicas.get_mut(&host).unwrap().group
    }

    pub fn hand_over(&mut self, from: HostId, to: HostId) {
        let replica = self.replicas.get_mut(&from).unwrap();
        replica.confirmed = None;
        replica.group.hand_over(to);
        self.work(from);
    }

    /// Proposes something that was never proposed before.
    pub fn propose(&mut self, at: HostId) -> Option<(LogPosition, Vec<u8>)> {
        self.next += 1;
        let data = format!("entry {}", self.next).into_bytes();
        let position = self.group(at).propose(data.clone()).ok()?;
        self.work(at);
        Some((position, data))
    }

    /// Kills a replica: of what was not flushed, some survives.
    pub fn kill(&mut self, host: HostId) {
        let replica = self.replicas.get_mut(&host).unwrap();
        let keep = self.dice.roll(replica.kv.unflushed() as u32 + 1);
        replica.kv.crash(keep as usize);
        replica.alive = false;
    }

    pub fn restart(&mut self, host: HostId) {
        let kv = self.replicas[&host].kv.clone();
        self.replicas.insert(host, open(kv, host, false));
    }

    /// Notes which hosts are no members any more, as the leader has applied it.
    pub fn note_strangers(&mut self) {
        let Some(leader) = self.leader() else { return };
        let term = self.group(leader).standing().term;
        let Replica { at, members, .. } = &self.replicas[&leader];
        let member = |host: &HostId| members.voters.contains(host) || members.learners.contains(host);
        let strangers = self.replicas.keys().copied().filter(|host| !member(host));
        self.strangers.extend(strangers.map(|host| (host, term, at.index)));
    }

    /// Erases the replica of a host of which that was said some time ago, if it may go; whether it went.
    pub fn erase_stranger(&mut self) -> bool {
        if self.strangers.is_empty() {
            return false;
        }
        let at = self.dice.roll(self.strangers.len() as u32) as usize;
        let (host, term, applied) = self.strangers.swap_remove(at);
        let replica = &self.replicas[&host];
        let kv = replica.kv.clone();
        let mut batch = Batch::default();
        if !replica.alive || !replica.group.forget(&mut batch, term, applied).unwrap() {
            return false;
        }
        state_rows(&kv).into_iter().for_each(|(key, _)| batch.delete(key));
        kv.write(batch, Durability::Flushed).unwrap();
        let left = kv.scan(b"", &[0xff], usize::MAX).unwrap();
        assert!(left.len() == 2 && !Group::exists(&kv, SHARD).unwrap(), "its term and its floor: {left:?}");
        self.replicas.insert(host, open(kv, host, false));
        true
    }

    /// Nothing that a host has said, and nothing that was said of its going, is on its way any more: it has stayed away
    /// for long, and is wanted again.
    pub fn forget_words_of(&mut self, host: HostId) {
        self.flying.retain(|message| message.from != host);
        self.strangers.retain(|(stranger, ..)| *stranger != host);
    }

    /// A tick for everyone, and some of the messages.
    pub fn tick(&mut self) {
        self.now += 1;
        for host in self.replicas.keys().copied().collect::<Vec<_>>() {
            // Some clocks are late; none is early.
            let late = self.trouble > 0 && self.dice.roll(10) == 0;
            if !self.replicas[&host].alive || late {
                continue;
            }
            let (now, dice) = (self.now, &mut self.dice);
            let group = &mut self.replicas.get_mut(&host).unwrap().group;
            group.tick(&mut |sides| dice.roll(sides));
            if now.is_multiple_of(2) {
                group.confirm(now);
            }
            self.work(host);
        }
        let rounds = if self.trouble == 0 { usize::MAX } else { self.dice.roll(60) as usize };
        for _ in 0..rounds {
            if self.flying.is_empty() {
                break;
            }
            self.deliver();
        }
        if self.crashes > 0 && self.dice.roll(self.crashes) == 0 {
            let host = HostId(1 + self.dice.roll(self.replicas.len() as u32));
            if self.replicas[&host].alive { self.kill(host) } else { self.restart(host) }
        }
        self.check();
    }

    pub fn ticks(&mut self, count: u32) {
        (0..count).for_each(|_| self.tick());
    }

    /// Ticks until it is so.
    pub fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if so(self) {
                return;
            }
            self.tick();
        }
        for (host, replica) in &self.replicas {
            eprintln!(
                "{host} alive {} at {:?} members {:?}: {:?}",
                replica.alive,
                replica.at,
                replica.members,
                replica.group.standing()
            );
        }
        panic!("never: {what}");
    }

    fn deliver(&mut self) {
        let at = if self.trouble == 0 { 0 } else { self.dice.roll(self.flying.len() as u32) as usize };
        let message = self.flying.remove(at);
        let (from, to) = (message.from, message.to);
        let apart = self.cut_off.contains(&from) != self.cut_off.contains(&to);
        let lost = self.trouble > 0 && self.dice.roll(self.trouble) == 0;
        if self.trouble > 0 && self.dice.roll(self.trouble) == 0 {
            self.flying.push(message.clone());
        }
        if apart || lost || !self.replicas.get(&to).is_some_and(|replica| replica.alive) {
            self.group(from).unreachable(to);
            return;
        }
        let replica = self.replicas.get_mut(&to).unwrap();
        if replica.group.step(message) {
            replica.fetch = Some(from);
        }
        self.fetch(to);
        self.work(to);
    }

    /// Copies the whole state, or fails to.
    fn fetch(&mut self, host: HostId) {
        let Some(from) = self.replicas.get_mut(&host).unwrap().fetch.take() else { return };
        if self.trouble > 0 && self.dice.roll(3) == 0 {
            let (shard, term) = (SHARD, self.replicas[&host].group.standing().term);
            self.flying.push(RaftMessage { shard, from: host, to: from, term, body: RaftBody::StateFailed });
            return;
        }
        let rows = state_rows(&self.replicas[&from].kv);
        let get = |key: &[u8]| rows.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
        let (Some(at), Some(members)) = (get(b"s-at"), get(b"s-members")) else { return };
        let (at, members) = (position(&at), decode_members(&members).unwrap());
        self.group(host).install(from, at, &members);
        self.work_with(host, Some(rows));
    }

    pub fn work(&mut self, host: HostId) {
        self.work_with(host, None);
    }

    fn work_with(&mut self, host: HostId, mut rows: Option<Vec<(Vec<u8>, Vec<u8>)>>) {
        let log_kept = self.log_kept;
        let replica = self.replicas.get_mut(&host).unwrap();
        while replica.group.has_ready() {
            let (mut batch, mut out) = (Batch::default(), Outcome::default());
            let flush = replica.group.collect(&mut batch, &mut out);
            if out.installed {
                state_rows(&replica.kv).into_iter().for_each(|(key, _)| batch.delete(key));
                rows.take().expect("fetched").into_iter().for_each(|(key, value)| batch.put(key, value));
            }
            // As after every flush that ends in a crash: nothing was sent that rests on it.
            let durability = if flush { Durability::Flushed } else { Durability::Buffered };
            replica.kv.write(batch, durability).unwrap();
            if out.installed {
                let fresh = open_state(&replica.kv);
                (replica.at, replica.members, replica.applied) = fresh;
            }
            replica.group.persisted(&mut out);
            if out.installed {
                replica.group.applied(replica.at);
            }
            for committed in std::mem::take(&mut out.committed) {
                apply(replica, &mut self.history, committed.at, committed.data);
            }
            let term = replica.group.standing().term;
            if let Some(moment) = out.confirmed.iter().max() {
                replica.confirmed = Some((term, *moment));
            }
            self.flying.append(&mut out.messages);
            let mut batch = Batch::default();
            replica.group.truncate(&mut batch, replica.at.index.saturating_sub(log_kept)).unwrap();
            replica.kv.write(batch, Durability::Buffered).unwrap();
        }
    }

    /// What holds at every step.
    fn check(&self) {
        for (host, replica) in &self.replicas {
            let Some((term, moment)) = replica.confirmed.filter(|_| replica.alive) else { continue };
            let standing = replica.group.standing();
            let leads = standing.leads && standing.term == term;
            if !leads || self.now >= moment + u64::from(ELECTION_TICKS) - 1 {
                continue;
            }
            for (other, theirs) in &self.replicas {
                let rival = theirs.group.standing();
                assert!(
                    !(theirs.alive && rival.leads && rival.term > term),
                    "{other} leads in term {} while {host} is confirmed in {term}",
                    rival.term
                );
            }
        }
    }

    /// Heals everything and lets it come to rest: every replica must have everything.
    pub fn settle(&mut self) {
        (self.trouble, self.crashes) = (0, 0);
        self.cut_off.clear();
        for host in self.replicas.keys().copied().collect::<Vec<_>>() {
            if !self.replicas[&host].alive {
                self.restart(host);
            }
        }
        self.until("a leader", |world| world.leader().is_some());
        let leader = self.leader().unwrap();
        self.propose(leader);
        self.until("everybody has everything", |world| {
            let Some(leader) = world.leader() else { return false };
            let (at, members) = (world.replicas[&leader].at, &world.replicas[&leader].members);
            let all = members.voters.iter().chain(&members.learners);
            at.index == *world.history.keys().max().unwrap() && all.into_iter().all(|h| world.replicas[h].at == at)
        });
    }
}

fn open_state(kv: &MemoryKv) -> (LogPosition, Members, Vec<(LogPosition, Vec<u8>)>) {
    let at = position(&kv.get(b"s-at").unwrap().unwrap());
    let members = decode_members(&kv.get(b"s-members").unwrap().unwrap()).unwrap();
    let rows = kv.scan(b"s/", b"s0", usize::MAX).unwrap();
    (at, members, rows.into_iter().map(|(_, value)| (position(&value), value[16..].to_vec())).collect())
}

fn apply(replica: &mut Replica, history: &mut BTreeMap<u64, (u64, Vec<u8>)>, at: LogPosition, data: CommittedData) {
    assert_eq!(at.index, replica.at.index + 1, "applied out of order");
    let mut batch = Batch::default();
    let said = match data {
        CommittedData::Empty => b"empty".to_vec(),
        CommittedData::Members(members) => {
            batch.put(*b"s-members", encode_members(&members));
            replica.members = members;
            b"members".to_vec()
        }
        CommittedData::Shard(bytes) => {
            let value = [position_bytes(at), bytes.to_vec()].concat();
            batch.put([&b"s/"[..], &at.index.to_be_bytes()].concat(), value);
            replica.applied.push((at, bytes.to_vec()));
            bytes.to_vec()
        }
    };
    // Everybody applies the same at the same place, for ever.
    let known = history.entry(at.index).or_insert_with(|| (at.term, said.clone()));
    assert_eq!((known.0, &known.1), (at.term, &said), "two histories at {}", at.index);
    batch.put(*b"s-at", position_bytes(at));
    replica.kv.write(batch, Durability::Buffered).unwrap();
    replica.at = at;
    replica.group.applied(at);
}
