//! What sessions may believe of a shard's inodes, as its leader keeps it: the twin of `Desk` in `server`'s
//! `metadata/leases.rs`.

use std::collections::{BTreeMap, BTreeSet};

use forebay_meta::{Barrier, Input, LeaseTable};
use forebay_types::{FsId, InodeId, OpId, SessionId};
use forebay_wire::meta::TxnId;

type Inode = (FsId, InodeId);

/// Somebody who must not be told of a change yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Told {
    Mutation(OpId),
    Step(TxnId, u32),
}

impl Told {
    /// Who is told of an input. `operation`: the mutation that applying it belonged to.
    pub fn of(input: &Input, operation: Option<OpId>) -> Option<Self> {
        match input {
            Input::Peer(step) => Some(Self::Step(step.txn, step.step)),
            _ => operation.map(Self::Mutation),
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Desk {
    pub table: LeaseTable,
    unsettled: BTreeMap<Told, Vec<Barrier>>,
    own_changes: BTreeMap<OpId, BTreeSet<InodeId>>,
}

impl Desk {
    /// The desk of a lead that begins.
    pub fn new(table: LeaseTable) -> Self {
        Self { table, ..Self::default() }
    }

    /// Whether there is nothing any more that others must give up before this one is told.
    pub fn may_tell(&mut self, told: Told) -> bool {
        let Some(barriers) = self.unsettled.get_mut(&told) else { return true };
        barriers.retain(|barrier| !self.table.settled(barrier));
        let may = barriers.is_empty();
        if may {
            self.unsettled.remove(&told);
        }
        may
    }

    /// What a mutation has changed of what its session believed. Those before `acknowledged_below` have been answered.
    pub fn take_own_changes(&mut self, id: OpId, acknowledged_below: u64) -> BTreeSet<InodeId> {
        // Kept until it is acknowledged: the answer may be lost, and asked for again.
        let own = self.own_changes.get(&id).cloned().unwrap_or_default();
        let answered = OpId { sequence: 0, ..id }..OpId { sequence: acknowledged_below, ..id };
        let answered: Vec<OpId> = self.own_changes.range(answered).map(|(id, _)| *id).collect();
        answered.into_iter().for_each(|id| drop(self.own_changes.remove(&id)));
        own
    }

    /// Others give up what they believe of these inodes before `told` is answered; `author` is told of what it believes
    /// itself.
    pub fn change(&mut self, changed: Vec<Inode>, author: Option<SessionId>, told: Option<Told>, now_ns: u64) {
        if let (Some(author), Some(Told::Mutation(id))) = (author, told) {
            let own = changed.iter().filter(|inode| self.table.holds(**inode, author)).map(|(_, ino)| *ino);
            let own: Vec<InodeId> = own.collect();
            if !own.is_empty() {
                self.own_changes.entry(id).or_default().extend(own);
            }
        }
        if let (Some(barrier), Some(told)) = (self.table.changed(changed, author, now_ns), told) {
            self.unsettled.entry(told).or_default().push(barrier);
        }
    }

    /// Ends the leases that have run out.
    pub fn lapse(&mut self, now_ns: u64) {
        self.table.expire(now_ns);
        let table = &self.table;
        self.own_changes.retain(|id, _| table.is_member(id.session));
        self.unsettled.retain(|_, barriers| {
            barriers.retain(|barrier| !table.settled(barrier));
            !barriers.is_empty()
        });
    }
}
