//! Bytes: extents and what adds up from them, in inodes, stripes and the filesystem's usage.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{FsId, InodeId, Location, SessionId, ShardId, StripeId, Timestamp};
use forebay_wire::meta::{Finding, Part, Quantity};

use super::examine::Row;
use crate::extents;
use crate::key::{self, Keys, Slot};
use crate::record::{ExtentRecord, Inode, StripeRecord, StripeState, Usage};
use crate::shard::has_extents;

/// Extents of an inode that has not been read yet.
#[derive(Default)]
struct Bytes {
    allocated: u64,
    cold: u64,
    /// Where the last extent begins, and the furthest end of any.
    last: u64,
    end: u64,
}

/// See the module.
pub(super) struct Space {
    me: ShardId,
    part: Part,
    bytes: BTreeMap<(FsId, InodeId), Bytes>,
    live: BTreeMap<StripeId, u64>,
    garbage: BTreeSet<Vec<u8>>,
    /// Stripes whose session has not committed them.
    allocated: BTreeSet<(SessionId, StripeId)>,
    said: BTreeMap<FsId, Usage>,
    found: BTreeMap<FsId, Usage>,
    max_stripe: u64,
}

/// Whether an extent can be what it says, wherever it is.
pub(super) fn is_sound(record: &ExtentRecord) -> bool {
    record.location != Location::Hole && extents::fits(&record.location, record.len)
}

impl Space {
    pub fn new(me: ShardId, part: Part) -> Self {
        Self {
            me,
            part,
            bytes: BTreeMap::new(),
            live: BTreeMap::new(),
            garbage: BTreeSet::new(),
            allocated: BTreeSet::new(),
            said: BTreeMap::new(),
            found: BTreeMap::new(),
            max_stripe: 0,
        }
    }

    fn has(&self, stripe: StripeId) -> bool {
        self.part.has(stripe.0 as u64 ^ (stripe.0 >> 64) as u64)
    }

    pub fn extent(&mut self, row: &Row<'_>, record: &ExtentRecord, here: bool, findings: &mut Vec<Finding>) {
        if let Location::Stripe(at) = record.location
            && self.has(at.stripe)
        {
            let live = self.live.entry(at.stripe).or_default();
            *live = live.saturating_add(record.len);
        }
        if !here || !self.part.has(row.ino.0) {
            return;
        }
        let (fs, ino, offset) = (row.fs, row.ino, key::number(row.key, 13));
        let bytes = self.bytes.entry((fs, ino)).or_default();
        let end = offset.saturating_add(record.len);
        if record.len == 0 || offset < bytes.end || end == u64::MAX || !is_sound(record) {
            findings.push(Finding::BadExtent { fs, ino, offset });
        }
        (bytes.last, bytes.end) = (offset, bytes.end.max(end));
        bytes.allocated = bytes.allocated.saturating_add(record.len);
        if let Location::Object(_) = record.location {
            bytes.cold = bytes.cold.saturating_add(record.len);
        }
    }

    pub fn usage_said(&mut self, fs: FsId, said: Usage) {
        self.said.insert(fs, said);
    }

    pub fn count_inode(&mut self, fs: FsId, allocated_bytes: u64) {
        let found = self.found.entry(fs).or_default();
        found.inodes += 1;
        found.bytes = found.bytes.saturating_add(allocated_bytes);
    }

    pub fn inode(&mut self, row: &Row<'_>, inode: &Inode, findings: &mut Vec<Finding>) {
        let (fs, ino, attr) = (row.fs, row.ino, &inode.attr);
        let found = self.bytes.remove(&(fs, ino)).unwrap_or_default();
        let limit = if has_extents(attr.kind) { attr.size } else { 0 };
        if found.end > limit {
            findings.push(Finding::BadExtent { fs, ino, offset: found.last });
        }
        for (what, said, found) in [
            (Quantity::Allocated, attr.allocated_bytes, found.allocated),
            (Quantity::Cold, attr.cold_bytes, found.cold),
            (Quantity::Number, attr.ino.0, ino.0),
        ] {
            if said != found {
                findings.push(Finding::Count { fs, ino, what, said, found });
            }
        }
    }

    /// All inodes were read.
    pub fn end_of_inodes(&mut self, with_usage: bool, findings: &mut Vec<Finding>) {
        for ((fs, ino), bytes) in std::mem::take(&mut self.bytes) {
            findings.push(Finding::BadExtent { fs, ino, offset: bytes.last });
        }
        if !with_usage {
            return;
        }
        let (mut said, mut found) = (std::mem::take(&mut self.said), std::mem::take(&mut self.found));
        let all: BTreeSet<FsId> = said.keys().chain(found.keys()).copied().collect();
        for fs in all {
            let (said, found) = (said.remove(&fs).unwrap_or_default(), found.remove(&fs).unwrap_or_default());
            if said != found {
                findings.push(Finding::Usage {
                    fs,
                    shard: self.me,
                    said_inodes: said.inodes,
                    said_bytes: said.bytes,
                    found_inodes: found.inodes,
                    found_bytes: found.bytes,
                });
            }
        }
    }

    pub fn garbage(&mut self, row: &Row<'_>) {
        if self.has(key::stripe_of(row.key)) {
            self.garbage.insert(row.key.to_vec());
        }
    }

    pub fn stripe(&mut self, row: &Row<'_>, record: &StripeRecord, findings: &mut Vec<Finding>) {
        let stripe = key::stripe_of(row.key);
        self.max_stripe = self.max_stripe.max(stripe.sequence());
        if !self.has(stripe) {
            return;
        }
        let found = self.live.remove(&stripe).unwrap_or(0);
        if record.live_bytes != found {
            findings.push(Finding::StripeLive { shard: self.me, stripe, said: record.live_bytes, found });
        }
        let fits = match record.state {
            StripeState::Allocated => {
                self.allocated.insert((record.session, stripe));
                found == 0
            }
            StripeState::Live => found > 0,
            StripeState::Garbage(at) => found == 0 && self.garbage.remove(&garbage_key(at, stripe)),
        };
        if !fits {
            findings.push(Finding::StripeState { shard: self.me, stripe });
        }
    }

    /// All stripes were read.
    pub fn end_of_stripes(&mut self, findings: &mut Vec<Finding>) {
        let shard = self.me;
        let unknown = std::mem::take(&mut self.live).into_iter();
        findings.extend(unknown.map(|(stripe, found)| Finding::StripeLive { shard, stripe, said: 0, found }));
        let left = std::mem::take(&mut self.garbage).into_iter();
        findings.extend(left.map(|key| Finding::StripeState { shard, stripe: key::stripe_of(&key) }));
    }

    pub fn uncommitted(&mut self, row: &Row<'_>, findings: &mut Vec<Finding>) {
        let stripe = key::stripe_of(row.key);
        let session = SessionId(key::number(row.key, 1));
        if self.has(stripe) && !self.allocated.remove(&(session, stripe)) {
            findings.push(Finding::StripeState { shard: self.me, stripe });
        }
    }

    /// Everything was read.
    pub fn end(&mut self, findings: &mut Vec<Finding>) {
        let shard = self.me;
        let unlisted = std::mem::take(&mut self.allocated).into_iter();
        findings.extend(unlisted.map(|(_, stripe)| Finding::StripeState { shard, stripe }));
    }

    pub fn max_stripe(&self) -> u64 {
        self.max_stripe
    }
}

/// The key of a stripe's listing as garbage, from the table's letter on.
fn garbage_key(at: Timestamp, stripe: StripeId) -> Vec<u8> {
    Keys(Slot::FIRST, ShardId(0)).garbage(at, stripe)[3..].to_vec()
}
