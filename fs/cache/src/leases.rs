//! What a client may believe: attributes and names that shards told it, for as long as its leases of them are good.
//!
//! A grant comes with an answer, a revocation by another way, so either may overtake the other. Every call takes a
//! *ticket* before it is sent; what is granted with an answer counts only if nothing about the inode was given up
//! since that ticket was taken. Newer attributes are told from older ones by their version.
//!
//! Names that this client is changing are *in flux*: they are neither believed nor learned until the change has been
//! answered, and a name that two changes met in is not learned from either. Nor is one of a directory that was not believed
//! all the while: the answer may be late, and others may have changed the name since.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use forebay_types::{Attr, FileKind, InodeId, LeaseMode, ShardId};

/// Nanoseconds of a monotonic clock.
type Nanos = u64;

/// What a name stands for; `None` where there is no such name.
pub type Target = Option<(InodeId, FileKind)>;

/// Version of attributes that are not known any more: those of inodes begin with 1.
const UNKNOWN: u64 = 0;
/// Most names kept of one directory.
const MOST_NAMES: usize = 1 << 17;

/// A call under way that may be answered with grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    shard: ShardId,
    number: u64,
}

/// How this client stands with a shard's leader.
#[derive(Default, Debug)]
struct Standing {
    /// The number of its introduction; 0 before the first.
    number: u64,
    /// The last revocation it knows of.
    seen: u64,
    good_until: Nanos,
    /// Its leases have run out, and that was noticed.
    lapsed: bool,
    /// Calls under way.
    tickets: BTreeMap<u64, ()>,
    /// The last ticket taken when something about an inode was given up; only while such tickets are out.
    given_up: HashMap<InodeId, u64>,
}

#[derive(Debug)]
struct Belief {
    mode: LeaseMode,
    attr: Attr,
    names: HashMap<Bytes, Target>,
}

/// See the module.
#[derive(Default, Debug)]
pub struct LeaseCache {
    shards: HashMap<ShardId, Standing>,
    beliefs: HashMap<InodeId, Belief>,
    flux: HashMap<(InodeId, Bytes), Flux>,
    last_ticket: u64,
}

#[derive(Default, Debug)]
struct Flux {
    changes: u32,
    /// Nothing is learned of it: changes met, or the directory was not believed for a while.
    met: bool,
}

impl LeaseCache {
    /// The number of the introduction to a shard's leader; 0 where there is none.
    #[must_use]
    pub fn number(&self, shard: ShardId) -> u64 {
        self.shards.get(&shard).map_or(0, |standing| standing.number)
    }

    /// Shards with an introduction: shard, its number, the last revocation known.
    pub fn standings(&self) -> impl Iterator<Item = (ShardId, u64, u64)> {
        self.shards.iter().filter(|(_, s)| s.number != 0).map(|(shard, s)| (*shard, s.number, s.seen))
    }

    /// When the first of the leases runs out that are good at `now`.
    #[must_use]
    pub fn next_end(&self, now: Nanos) -> Option<Nanos> {
        self.shards.values().map(|standing| standing.good_until).filter(|until| *until > now).min()
    }

    /// Shards whose leases have run out at `now`; each is told once.
    pub fn lapse(&mut self, now: Nanos) -> Vec<ShardId> {
        let late = self.shards.iter_mut().filter(|(_, s)| s.number != 0 && !s.lapsed && s.good_until <= now);
        late.map(|(shard, standing)| {
            standing.lapsed = true;
            *shard
        })
        .collect()
    }

    /// Whether what is believed of a shard's inodes is good at `now`.
    #[must_use]
    pub fn is_good(&self, shard: ShardId, now: Nanos) -> bool {
        self.shards.get(&shard).is_some_and(|standing| now < standing.good_until)
    }

    /// A call is about to be sent.
    pub fn begin(&mut self, shard: ShardId) -> Ticket {
        self.last_ticket += 1;
        let number = self.last_ticket;
        self.shards.entry(shard).or_default().tickets.insert(number, ());
        Ticket { shard, number }
    }

    /// It is over: what was granted with its answer has been learned, or never will be.
    pub fn end(&mut self, ticket: Ticket) {
        let Some(standing) = self.shards.get_mut(&ticket.shard) else { return };
        standing.tickets.remove(&ticket.number);
        let oldest = standing.tickets.keys().next().copied();
        standing.given_up.retain(|_, last| oldest.is_some_and(|oldest| oldest <= *last));
    }

    /// An introduction begins: until it is answered nothing is believed or learned of the shard, since the leader may have
    /// forgotten by then what was granted before. Until when the leases were good.
    pub fn begin_introduction(&mut self, shard: ShardId) -> Nanos {
        let standing = self.shards.entry(shard).or_default();
        standing.number = 0;
        std::mem::take(&mut standing.good_until)
    }

    /// The shard's leader knows this client by a number now; leases from there are good until a time, and of those from
    /// before only the exclusive ones that are named.
    pub fn introduced(&mut self, shard: ShardId, number: u64, kept: &[InodeId], good_until: Nanos) {
        self.give_up_shard(shard, kept);
        for ino in kept {
            if let Some(belief) = self.beliefs.get_mut(ino) {
                belief.attr.version = UNKNOWN;
            }
        }
        let standing = self.shards.entry(shard).or_default();
        standing.number = number;
        standing.seen = 0;
        standing.good_until = good_until;
        standing.lapsed = false;
    }

    /// The leader has heard of this client: leases are good until a later time. `seen`: the last revocation it told of.
    pub fn renewed(&mut self, shard: ShardId, number: u64, seen: u64, good_until: Nanos) {
        let standing = self.shards.entry(shard).or_default();
        if standing.number == number {
            standing.seen = seen.max(standing.seen);
            standing.good_until = good_until.max(standing.good_until);
            standing.lapsed = false;
        }
    }

    /// Learns what an answer has granted; `number` is that of the introduction the call was made under. Says whether that
    /// counts. Where it does not, and the inode is believed since, newer attributes are taken all the same: the leader does not
    /// tell again what this client was told of its own changes.
    pub fn learn(&mut self, ticket: Ticket, number: u64, attr: &Attr, mode: LeaseMode) -> bool {
        let Some(standing) = self.shards.get(&ticket.shard) else { return false };
        let given_up = standing.given_up.get(&attr.ino).is_some_and(|last| ticket.number <= *last);
        let granted = standing.number == number && !given_up;
        match self.beliefs.get_mut(&attr.ino) {
            Some(belief) => {
                let known = belief.attr.version;
                if attr.version >= known && (granted || known != UNKNOWN) {
                    belief.attr = *attr;
                }
                if granted {
                    belief.mode = belief.mode.max(mode);
                }
            }
            None if granted => {
                self.beliefs.insert(attr.ino, Belief { mode, attr: *attr, names: HashMap::new() });
            }
            None => {}
        }
        granted
    }

    /// Learns what a name stood for when its directory had a version.
    pub fn learn_name(&mut self, dir: InodeId, version: u64, name: &Bytes, target: Target) {
        if self.flux.contains_key(&(dir, name.clone())) {
            return;
        }
        if let Some(belief) = self.beliefs.get_mut(&dir)
            && belief.attr.version == version
            && belief.names.len() < MOST_NAMES
        {
            belief.names.insert(name.clone(), target);
        }
    }

    /// This client begins to change a name.
    pub fn begin_change(&mut self, dir: InodeId, name: &Bytes) {
        let belief = self.beliefs.get_mut(&dir);
        let believed = belief.map(|belief| belief.names.remove(name)).is_some();
        let flux = self.flux.entry((dir, name.clone())).or_default();
        flux.met |= flux.changes > 0 || !believed;
        flux.changes += 1;
    }

    /// The change has been answered, and the name stands for this now; or nobody knows. Learned only where the directory
    /// is believed.
    pub fn end_change(&mut self, dir: InodeId, name: &Bytes, now: Option<Target>) {
        let key = (dir, name.clone());
        let Some(flux) = self.flux.get_mut(&key) else { return };
        flux.changes -= 1;
        if flux.changes > 0 {
            return;
        }
        let met = flux.met;
        self.flux.remove(&key);
        if let (Some(target), false, Some(belief)) = (now, met, self.beliefs.get_mut(&dir))
            && belief.names.len() < MOST_NAMES
        {
            belief.names.insert(name.clone(), target);
        }
    }

    /// Attributes, where they are believed.
    #[must_use]
    pub fn attr(&self, ino: InodeId, now: Nanos) -> Option<&Attr> {
        self.believed(ino, now).map(|belief| &belief.attr).filter(|attr| attr.version != UNKNOWN)
    }

    /// What may be done with an inode.
    #[must_use]
    pub fn mode(&self, ino: InodeId, now: Nanos) -> Option<LeaseMode> {
        self.believed(ino, now).map(|belief| belief.mode)
    }

    /// What a name stands for, where that is believed.
    #[must_use]
    pub fn name(&self, dir: InodeId, name: &[u8], now: Nanos) -> Option<Target> {
        self.believed(dir, now)?.names.get(name).copied()
    }

    fn believed(&self, ino: InodeId, now: Nanos) -> Option<&Belief> {
        self.is_good(ino.shard(), now).then(|| self.beliefs.get(&ino)).flatten()
    }

    /// For how long what is believed of a shard's inodes is good from `now` on, in nanoseconds.
    #[must_use]
    pub fn good_for(&self, shard: ShardId, now: Nanos) -> Nanos {
        self.shards.get(&shard).map_or(0, |standing| standing.good_until.saturating_sub(now))
    }

    /// A lease is given up, or what of it may not be kept; what it was. Calls that are under way grant nothing of it any
    /// more.
    pub fn give_up(&mut self, ino: InodeId, keep: Option<LeaseMode>) -> Option<LeaseMode> {
        let before = self.beliefs.get(&ino).map(|belief| belief.mode);
        let standing = self.shards.entry(ino.shard()).or_default();
        if let Some((last, ())) = standing.tickets.last_key_value() {
            standing.given_up.insert(ino, *last);
        }
        match (keep, self.beliefs.get_mut(&ino)) {
            (Some(keep), Some(belief)) => belief.mode = belief.mode.min(keep),
            _ => {
                self.beliefs.remove(&ino);
                self.flux.iter_mut().filter(|((dir, _), _)| *dir == ino).for_each(|(_, flux)| flux.met = true);
            }
        }
        before
    }

    /// All leases of a shard are given up but these exclusive ones, of which attributes have to be asked for again.
    pub fn give_up_shard(&mut self, shard: ShardId, but: &[InodeId]) {
        let gone: Vec<InodeId> = self.of_shard(shard).filter(|ino| !but.contains(ino)).collect();
        for ino in gone {
            self.give_up(ino, None);
        }
    }

    /// Inodes of a shard that are believed, good or not.
    pub fn of_shard(&self, shard: ShardId) -> impl Iterator<Item = InodeId> {
        self.beliefs.keys().copied().filter(move |ino| ino.shard() == shard)
    }

    /// Inodes of a shard of which there is an exclusive lease, good or not, each with the version of its attributes; 0
    /// where they are not known.
    #[must_use]
    pub fn exclusive(&self, shard: ShardId) -> Vec<(InodeId, u64)> {
        let here = self.beliefs.iter().filter(|(ino, _)| ino.shard() == shard);
        let exclusive = here.filter(|(_, belief)| belief.mode == LeaseMode::Exclusive);
        exclusive.map(|(ino, belief)| (*ino, belief.attr.version)).collect()
    }

    /// Inodes of a shard that are believed, good or not, and not written behind.
    #[must_use]
    pub fn shared(&self, shard: ShardId) -> Vec<InodeId> {
        self.of_shard(shard).filter(|ino| self.beliefs[ino].mode == LeaseMode::Shared).collect()
    }

    /// Inodes believed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.beliefs.len()
    }

    /// Whether nothing is believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.beliefs.is_empty()
    }

    /// Some inodes that are believed, those first that are not written behind: for somebody who has to make room.
    #[must_use]
    pub fn some(&self, count: usize) -> Vec<InodeId> {
        let of = |mode| self.beliefs.iter().filter(move |(_, belief)| belief.mode == mode).map(|(ino, _)| *ino);
        of(LeaseMode::Shared).chain(of(LeaseMode::Exclusive)).take(count).collect()
    }
}

#[cfg(test)]
#[path = "leases_tests.rs"]
mod tests;
