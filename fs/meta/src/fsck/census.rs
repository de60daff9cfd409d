//! A check of a whole filesystem: what is asked of which shard next, by what was answered.
//!
//! Job: examine all shards, part by part; find what looks wrong between them; have that looked at again while it is
//! watched; choose repairs, have them made, and begin anew until nothing is found or nothing more can be repaired.
//!
//! Protocol: [`Examination::ask`] until it gives nothing, each question's answer to [`Examination::answer`], then
//! [`Examination::advance`], until that says that the check is over. Questions may be asked at the same time and answered
//! in any order; how many at a time, [`Examination::ask`] sees to.
//!
//! Invariant: what is found between shards was so at one moment. From before a watch's first look until after its last
//! nothing watched was named, changed or part of a transaction, and its names were counted in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use forebay_types::{FileKind, FsId, InodeId, ShardId};
use forebay_wire::meta::{
    Finding, FsckHold, FsckPage, FsckRead, FsckReply, FsckSeen, InodeFacts, NameFacts, Part, Repair,
};

use super::verdict::{self, Evidence};
use super::{PART_INODES, plan};

/// Questions under way at a time.
const AT_ONCE: usize = 8;
/// How often an examination of a part begins anew because a leader is gone.
const BEGINNINGS: u32 = 8;
/// How often what does not come to rest is looked at.
const LOOKS: u32 = 6;
/// How often a filesystem is examined and repaired at most.
const ROUNDS: u32 = 10;
/// Most parts: what says how many inodes there are may be what is wrong.
const PARTS_MAX: u64 = 256;
/// Suspects of one watch; the questions that name them stay small.
const WATCHED: usize = 2048;
/// Suspects of a round; what is wrong with more is found in the next one, or the next check.
const SUSPECTS: usize = 1 << 20;

/// What is to be done next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Ask a shard.
    Read(ShardId, FsckRead),
    /// Have a shard repair something.
    Repair(ShardId, Repair),
    /// Find `lost+found` in the root directory, or make it.
    LostAndFound,
    /// Let a moment pass: what is looked at is in use.
    Pause,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A shard's answer.
    Reply(Box<FsckReply>),
    /// The shard's leader does not know the examination.
    Stale,
    /// A directory.
    Directory(InodeId),
    /// It is done, or cannot be done and the next round will tell.
    Done,
}

/// What a check came to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// Inodes checked.
    pub inodes: u64,
    /// Names checked.
    pub names: u64,
    /// Shards checked.
    pub shards: usize,
    /// What was found, and whether it is repaired.
    pub findings: Vec<(Finding, bool)>,
    /// Inodes that were in use all the time, so that nothing can be said of their names.
    pub unsettled: usize,
    /// Whether all could be examined; a check that leaders went away from again and again could not.
    pub complete: bool,
}

/// What is known of an inode of the part under examination.
#[derive(Default)]
struct Known {
    facts: Option<InodeFacts>,
    names: u32,
    dir: InodeId,
    kind: Option<FileKind>,
    kinds_differ: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Collect,
    Watch,
    Before,
    Count,
    After,
    Rest,
    LostAndFound,
    Repair,
    Over,
}

/// See the module.
pub struct Examination {
    fs: FsId,
    shards: Vec<ShardId>,
    repair: bool,
    parts: u32,
    dice: u64,
    phase: Phase,
    part: u32,
    round: u32,
    asks: VecDeque<Ask>,
    outstanding: usize,
    begun: u32,
    begin_anew: bool,
    known: BTreeMap<InodeId, Known>,
    page_findings: Vec<Finding>,
    names: u64,
    parents: Vec<(InodeId, InodeId)>,
    holds: BTreeSet<FsckHold>,
    active: BTreeSet<(ShardId, u64)>,
    suspects: BTreeSet<InodeId>,
    cycles: Vec<Vec<InodeId>>,
    batch: BTreeSet<InodeId>,
    watch: u64,
    before: Vec<(ShardId, FsckSeen)>,
    after: Vec<(ShardId, FsckSeen)>,
    counted: Vec<NameFacts>,
    unsettled: BTreeSet<InodeId>,
    looks: u32,
    at_rest: BTreeMap<InodeId, (u64, u32)>,
    found: BTreeSet<Finding>,
    ever: BTreeSet<Finding>,
    lost_and_found: Option<InodeId>,
    summary: Summary,
}

impl Examination {
    /// A check of a filesystem with about so many inodes, in a cluster of these shards. `seed`: any number, best a random
    /// one.
    #[must_use]
    pub fn new(fs: FsId, shards: Vec<ShardId>, inodes: u64, repair: bool, seed: u64) -> Self {
        let parts = (inodes / PART_INODES + 1).min(PARTS_MAX) as u32;
        let mut this = Self {
            fs,
            repair,
            parts,
            dice: seed | 1,
            phase: Phase::Collect,
            part: 0,
            round: 1,
            asks: VecDeque::new(),
            outstanding: 0,
            begun: 0,
            begin_anew: false,
            known: BTreeMap::new(),
            page_findings: Vec::new(),
            names: 0,
            parents: Vec::new(),
            holds: BTreeSet::new(),
            active: BTreeSet::new(),
            suspects: BTreeSet::new(),
            cycles: Vec::new(),
            batch: BTreeSet::new(),
            watch: 0,
            before: Vec::new(),
            after: Vec::new(),
            counted: Vec::new(),
            unsettled: BTreeSet::new(),
            looks: 0,
            at_rest: BTreeMap::new(),
            found: BTreeSet::new(),
            ever: BTreeSet::new(),
            lost_and_found: None,
            summary: Summary { shards: shards.len(), complete: true, ..Summary::default() },
            shards,
        };
        this.begin_part();
        this
    }

    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice ^ (self.dice >> 31)).max(1)
    }

    /// What is done at present, for people.
    #[must_use]
    pub fn progress(&self) -> String {
        let what = match self.phase {
            Phase::Collect => format!("examining part {} of {}", self.part + 1, self.parts),
            Phase::LostAndFound | Phase::Repair => format!("repairing {} findings", self.found.len()),
            Phase::Over => "over".into(),
            _ => format!("looking again at {} inodes", self.batch.len() + self.suspects.len()),
        };
        format!("round {}: {what}", self.round)
    }

    /// The next question; none where answers, or [`Self::advance`], have to come first.
    pub fn ask(&mut self) -> Option<Ask> {
        // Repairs build on each other.
        let at_once = if self.phase == Phase::Repair { 1 } else { AT_ONCE };
        if self.outstanding >= at_once {
            return None;
        }
        let ask = self.asks.pop_front()?;
        self.outstanding += 1;
        Some(ask)
    }

    /// Takes the answer to a question in.
    pub fn answer(&mut self, ask: Ask, answer: Answer) {
        self.outstanding = self.outstanding.saturating_sub(1);
        match (ask, answer) {
            (Ask::Read(shard, FsckRead::Examine { check, page, part, only }), Answer::Reply(reply)) => {
                let FsckReply::Page(found) = *reply else { return self.begin_anew = true };
                if !found.end && !self.begin_anew {
                    let next = FsckRead::Examine { check, page: page + 1, part, only };
                    self.asks.push_front(Ask::Read(shard, next));
                }
                self.take_page(shard, found);
            }
            (Ask::Read(_, FsckRead::Examine { .. }), _) => {
                // A part's facts are worth nothing without those of all shards.
                self.begin_anew = true;
                self.asks.clear();
            }
            (Ask::Read(shard, FsckRead::Look { .. }), Answer::Reply(reply)) => {
                if let FsckReply::Seen(seen) = *reply {
                    let to = if self.phase == Phase::Before { &mut self.before } else { &mut self.after };
                    to.push((shard, seen));
                }
            }
            (Ask::LostAndFound, Answer::Directory(ino)) => self.lost_and_found = Some(ino),
            _ => {}
        }
    }

    /// Goes on once everything asked is answered; false when the check is over.
    pub fn advance(&mut self) -> bool {
        match self.phase {
            Phase::Collect => self.end_part(),
            Phase::Watch => self.look(Phase::Before),
            Phase::Before if self.batch.is_empty() => self.look(Phase::After),
            Phase::Before => self.count(),
            Phase::Count if self.begin_anew => self.settle(false),
            Phase::Count => self.look(Phase::After),
            Phase::After => self.settle(true),
            Phase::Rest => self.next_batch(),
            Phase::LostAndFound => self.plan_repairs(),
            Phase::Repair => self.next_round(),
            Phase::Over => {}
        }
        self.phase != Phase::Over
    }

    /// What the check has come to.
    #[must_use]
    pub fn into_summary(self) -> Summary {
        self.summary
    }

    fn all(&mut self, phase: Phase, question: impl Fn(ShardId) -> FsckRead) {
        self.phase = phase;
        self.asks = self.shards.iter().map(|shard| Ask::Read(*shard, question(*shard))).collect();
    }

    fn begin_part(&mut self) {
        self.known.clear();
        self.page_findings.clear();
        self.names = 0;
        self.begin_anew = false;
        if self.part == 0 {
            self.holds.clear();
            self.active.clear();
        }
        let (check, part) = (self.roll(), Part { number: self.part, of: self.parts });
        self.all(Phase::Collect, |_| FsckRead::Examine { check, page: 0, part, only: Vec::new() });
    }

    fn take_page(&mut self, shard: ShardId, page: FsckPage) {
        if self.phase == Phase::Count {
            return self.counted.extend(page.names);
        }
        for facts in page.inodes {
            self.known.entry(facts.ino).or_default().facts = Some(facts);
        }
        self.names += page.names.len() as u64;
        for name in page.names {
            let known = self.known.entry(name.ino).or_default();
            known.names = known.names.saturating_add(1);
            known.dir = name.dir;
            known.kinds_differ |= known.kind.is_some_and(|kind| kind != name.kind);
            known.kind = Some(name.kind);
        }
        self.page_findings.extend(page.findings);
        self.holds.extend(page.holds);
        self.active.extend(page.txns.into_iter().map(|number| (shard, number)));
    }

    fn end_part(&mut self) {
        if self.begin_anew {
            self.begun += 1;
            if self.begun < BEGINNINGS {
                self.begin_part();
                self.asks.push_front(Ask::Pause);
                return;
            }
            self.summary.complete = false;
        }
        self.begun = 0;
        let part = Part { number: self.part, of: self.parts };
        let root = self.known.get(&InodeId::ROOT).is_some_and(|known| known.facts.is_some());
        if part.has(InodeId::ROOT.0) && !root && self.summary.complete {
            self.found.insert(Finding::NamesOfNothing { fs: self.fs, dir: InodeId::ROOT });
        }
        for (ino, known) in std::mem::take(&mut self.known) {
            self.summary.inodes += u64::from(self.round == 1 && known.facts.is_some());
            if known.is_odd(ino) && self.suspects.len() < SUSPECTS {
                self.suspects.insert(ino);
            }
            if let Some(facts) = known.facts.filter(|facts| facts.kind == FileKind::Directory && facts.nlink > 0) {
                self.parents.push((ino, facts.parent));
            }
        }
        self.summary.names += if self.round == 1 { self.names } else { 0 };
        for finding in std::mem::take(&mut self.page_findings) {
            // Whether it has names has to be known before it may go.
            if let Finding::Orphan { ino, listed: false, .. } = finding {
                self.suspects.insert(ino);
            }
            self.found.insert(finding);
        }
        self.part += 1;
        if self.part < self.parts {
            return self.begin_part();
        }
        let mut parents = std::mem::take(&mut self.parents);
        self.cycles = verdict::cycles(&mut parents);
        self.suspects.extend(self.cycles.iter().flatten());
        let active = &self.active;
        self.holds.retain(|hold| !active.contains(&(hold.txn.source, hold.txn.number)));
        self.looks = 0;
        self.at_rest.clear();
        self.unsettled.clear();
        self.next_batch();
    }

    fn next_batch(&mut self) {
        if self.suspects.is_empty() {
            if (self.unsettled.is_empty() && self.holds.is_empty()) || self.looks >= LOOKS {
                return self.judged();
            }
            self.looks += 1;
            self.suspects = std::mem::take(&mut self.unsettled);
            let suspects = &self.suspects;
            let of_cycles = self.cycles.iter().filter(|cycle| cycle.iter().any(|ino| suspects.contains(ino)));
            let whole: Vec<InodeId> = of_cycles.flatten().copied().collect();
            self.suspects.extend(whole);
        }
        // Those of a cycle have to be looked at together.
        let of_cycles = self.cycles.iter().flatten().copied().filter(|ino| self.suspects.contains(ino));
        let mut order: Vec<InodeId> = of_cycles.collect();
        order.extend(self.suspects.iter().copied().take(WATCHED));
        self.batch = order.into_iter().take(WATCHED).collect();
        self.suspects.retain(|ino| !self.batch.contains(ino));
        self.before.clear();
        self.after.clear();
        self.counted.clear();
        self.watch = self.roll();
        let (watch, inodes) = (self.watch, Vec::from_iter(self.batch.iter().copied()));
        self.all(Phase::Watch, |_| FsckRead::Watch { watch, inodes: inodes.clone() });
    }

    fn look(&mut self, phase: Phase) {
        let (watch, moving) = (self.watch, Vec::from_iter(self.batch.iter().copied()));
        let lost: Vec<FsckHold> = self.holds.iter().take(FsckRead::INODES_MAX).cloned().collect();
        self.all(phase, |shard| {
            let inodes = moving.iter().copied().filter(|ino| ino.shard() == shard).collect();
            let driven = lost.iter().filter(|hold| hold.txn.source == shard).map(|hold| hold.txn.number);
            let held = lost.iter().filter(|hold| plan::holder_of(hold) == shard);
            let (txns, holds) = match phase {
                Phase::Before => (driven.collect(), Vec::new()),
                _ => (Vec::new(), held.cloned().collect()),
            };
            FsckRead::Look { watch, inodes, moving: moving.clone(), txns, holds }
        });
    }

    fn count(&mut self) {
        self.begin_anew = false;
        let (check, only) = (self.roll(), Vec::from_iter(self.batch.iter().copied()));
        self.all(Phase::Count, |_| FsckRead::Examine { check, page: 0, part: Part::ALL, only: only.clone() });
    }

    /// The end of a watch: what was at rest is judged. `whole`: whether all names were counted.
    fn settle(&mut self, whole: bool) {
        self.begin_anew = false;
        let names = std::mem::take(&mut self.counted);
        let shards = self.shards.len();
        let all_there = whole && self.before.len() == shards && self.after.len() == shards;
        let evidence = Evidence::new(&self.before, &self.after, names);
        for ino in std::mem::take(&mut self.batch) {
            match evidence.at_rest(ino).filter(|_| all_there) {
                None => drop(self.unsettled.insert(ino)),
                Some(inode) => {
                    self.at_rest.insert(ino, (inode.map_or(0, |inode| inode.version), evidence.names_of(ino)));
                    self.found.extend(evidence.judge(self.fs, ino, inode));
                }
            }
        }
        if all_there {
            let fs = self.fs;
            let rest = self.cycles.iter().filter_map(|cycle| evidence.cycle(fs, cycle));
            self.found.extend(rest);
            let over = |hold: &&FsckHold| evidence.is_lost(hold);
            self.found.extend(self.holds.iter().filter(over).cloned().map(Finding::LostHold));
            self.holds.clear();
        }
        self.phase = Phase::Rest;
        let waits = self.suspects.is_empty() && (!self.unsettled.is_empty() || !self.holds.is_empty());
        self.asks = if waits && self.looks < LOOKS { [Ask::Pause].into() } else { VecDeque::new() };
    }

    /// Everything is found that this round finds.
    fn judged(&mut self) {
        self.summary.unsettled = self.unsettled.len();
        self.ever.extend(self.found.iter().cloned());
        if self.found.is_empty() || !self.repair || self.round >= ROUNDS {
            return self.end();
        }
        self.phase = Phase::LostAndFound;
        let lost = |finding: &Finding| matches!(finding, Finding::Unreachable { .. } | Finding::Cycle { .. });
        let needed = self.found.iter().any(lost) && !plan::has_damage_within(&self.found);
        self.asks = if needed { [Ask::LostAndFound].into() } else { VecDeque::new() };
    }

    fn plan_repairs(&mut self) {
        let repairs = plan::repairs(&self.found, &self.at_rest, self.lost_and_found);
        if repairs.is_empty() {
            return self.end();
        }
        self.phase = Phase::Repair;
        self.asks = repairs.into_iter().map(|(shard, repair)| Ask::Repair(shard, repair)).collect();
    }

    fn next_round(&mut self) {
        self.round += 1;
        self.part = 0;
        self.found.clear();
        self.suspects.clear();
        self.begin_part();
    }

    fn end(&mut self) {
        self.phase = Phase::Over;
        let left = &self.found;
        let all = std::mem::take(&mut self.ever).into_iter();
        self.summary.findings = all
            .map(|finding| {
                let repaired = !left.contains(&finding);
                (finding, repaired)
            })
            .collect();
    }
}

impl Known {
    /// Whether names and inode do not fit, if they were read at one moment.
    fn is_odd(&self, ino: InodeId) -> bool {
        let Some(facts) = self.facts else { return self.names > 0 };
        let kind_fits = self.names == 0 || (self.kind == Some(facts.kind) && !self.kinds_differ);
        let fits = match facts.kind {
            FileKind::Directory if ino == InodeId::ROOT => self.names == 0 && facts.parent == ino && facts.nlink > 0,
            FileKind::Directory if facts.nlink == 0 => self.names == 0,
            FileKind::Directory => self.names == 1 && self.dir == facts.parent,
            _ => self.names == facts.nlink,
        };
        !fits || !kind_fits
    }
}
