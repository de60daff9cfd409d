//! One shard as it is at one moment, read once from the first row to the last.
//!
//! Rows come in the order of their tables' letters: names (`D`) and extents (`E`) before the inodes (`I`) they belong to,
//! then places of names (`K`), what transactions hold (`M`, `N`), orphans (`O`), stripes (`S`), transactions (`T`) and owners (`V`). What
//! an inode is compared with is summed up before it comes. Names go out as they are read.

use std::collections::BTreeSet;

use forebay_env::Kv;
use forebay_types::{FsId, InodeId, ShardId};
use forebay_wire::meta::{CounterOf, Finding, FsckHold, FsckPage, Held, NameFacts, Part, QuotaState, TxnId};
use serde::de::DeserializeOwned;

use super::names::Directories;
use super::owners::Owners;
use super::space::Space;
use crate::error::ShardError;
use crate::key;
use crate::name::{self, NameKind};
use crate::quota::BudgetRecord;
use crate::record::{Counters, Dentry, Inode, TxnRecord, Usage, decode};
use crate::shard::Export;

/// Names, inodes and findings of a page, about.
const PAGE_ROWS: usize = 4096;

/// What to examine.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The filesystem; all where absent.
    pub fs: Option<FsId>,
    /// Which of its inodes, and which of the shard's stripes.
    pub part: Part,
    /// Where there are any: only their names, and nothing else.
    pub only: BTreeSet<InodeId>,
}

/// Takes a page, and says whether to go on.
pub type Emit<'a> = dyn FnMut(FsckPage) -> bool + 'a;

/// A row, its key cut where the filesystem and the inode are.
pub(super) struct Row<'a> {
    /// All of the key, from the table's letter on.
    pub key: &'a [u8],
    pub fs: FsId,
    pub ino: InodeId,
    /// What follows them.
    pub rest: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> Row<'a> {
    fn new(key: &'a [u8], value: &'a [u8]) -> Self {
        let fs = FsId(key.get(1..5).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes));
        // Owners are no inodes: their rows count as the first's.
        let ino = if matches!(key.first(), Some(b'V' | b'W' | b'Y')) { 0 } else { key::number(key, 5) };
        Self { key, fs, ino: InodeId(ino), rest: key.get(13..).unwrap_or_default(), value }
    }

    pub fn table(&self) -> u8 {
        self.key.first().copied().unwrap_or(0)
    }
}

/// Whether a row may be where it is, by its key alone: inodes are in the shard that their numbers say, and names are
/// legal.
pub(super) fn belongs(me: ShardId, key: &[u8]) -> bool {
    match key.first() {
        Some(b'D') => {
            InodeId(key::number(key, 5)).shard() == me && name::check(&key[13.min(key.len())..]) == Ok(NameKind::Plain)
        }
        Some(b'E' | b'I' | b'K') => InodeId(key::number(key, 5)).shard() == me,
        _ => true,
    }
}

impl<K: Kv> Export<K> {
    /// Examines the shard as it is at the moment of the call, page by page; ends early when `emit` says false.
    pub fn examine(&self, scope: &Scope, emit: &mut Emit<'_>) -> Result<(), ShardError> {
        let mut check = Check::new(self.shard(), scope);
        let mut wanted = true;
        self.visit(&mut |key, value| {
            let goes_on = check.row(&Row::new(key, value));
            wanted = give(&mut check.page, emit);
            goes_on && wanted
        })?;
        if wanted {
            check.finish();
            if give(&mut check.page, emit) {
                check.page.end = true;
                emit(check.page);
            }
        }
        Ok(())
    }
}

/// Gives full pages of what is there; whether more are wanted.
fn give(page: &mut FsckPage, emit: &mut Emit<'_>) -> bool {
    while page.names.len() + page.inodes.len() + page.findings.len() + page.holds.len() + page.txns.len() >= PAGE_ROWS {
        let full = FsckPage {
            inodes: some(&mut page.inodes),
            names: some(&mut page.names),
            holds: some(&mut page.holds),
            txns: some(&mut page.txns),
            findings: some(&mut page.findings),
            end: false,
        };
        if !emit(full) {
            return false;
        }
    }
    true
}

/// As many as fit onto a page, taken off the end.
fn some<T>(rows: &mut Vec<T>) -> Vec<T> {
    rows.split_off(rows.len().saturating_sub(PAGE_ROWS))
}

/// What is found so far.
struct Check<'a> {
    me: ShardId,
    scope: &'a Scope,
    page: FsckPage,
    directories: Directories,
    space: Space,
    owners: Owners,
    counters: Option<Counters>,
    /// Inodes without links that the list of orphans has to have.
    unlinked: BTreeSet<(FsId, InodeId)>,
    /// The table that was read last.
    table: u8,
    max_inode: u64,
    max_txn: u64,
    min_txn: Option<u64>,
    active: u64,
}

impl<'a> Check<'a> {
    fn new(me: ShardId, scope: &'a Scope) -> Self {
        Self {
            me,
            scope,
            page: FsckPage::default(),
            directories: Directories::default(),
            space: Space::new(me, scope.part),
            owners: Owners::default(),
            counters: None,
            unlinked: BTreeSet::new(),
            table: 0,
            max_inode: 0,
            max_txn: 0,
            min_txn: None,
            active: 0,
        }
    }

    fn of_scope(&self, fs: FsId) -> bool {
        self.scope.fs.is_none_or(|wanted| wanted == fs)
    }

    /// What a row's value says; a finding where it cannot be read.
    fn read<T: DeserializeOwned>(&mut self, row: &Row<'_>) -> Option<T> {
        let read = decode("row", row.value);
        if read.is_err() {
            self.misplaced(row);
        }
        read.ok()
    }

    fn readable<T: DeserializeOwned>(&mut self, row: &Row<'_>) {
        let _: Option<T> = self.read(row);
    }

    fn misplaced(&mut self, row: &Row<'_>) {
        if self.scope.part.has(row.ino.0) {
            let key = row.key.to_vec().into();
            self.page.findings.push(Finding::Unreadable { shard: self.me, key });
        }
    }

    /// Takes a row in; whether more are wanted.
    fn row(&mut self, row: &Row<'_>) -> bool {
        let table = row.table();
        if !self.scope.only.is_empty() {
            if table == b'D' && self.of_scope(row.fs) {
                self.only_name(row);
            }
            return table <= b'D';
        }
        self.pass(table);
        let here = self.of_scope(row.fs);
        if here && !belongs(self.me, row.key) {
            self.misplaced(row);
            return true;
        }
        match table {
            b'C' => self.counters = self.read(row),
            b'D' if here => self.name(row),
            b'E' => {
                if let Some(record) = self.read(row) {
                    self.space.extent(row, &record, here, &mut self.page.findings);
                }
            }
            b'F' if here && self.scope.part.is_first() => {
                if let Some(said) = self.read::<Usage>(row) {
                    self.space.usage_said(row.fs, said);
                }
            }
            b'G' => self.space.garbage(row),
            b'I' if here => self.inode(row),
            b'K' if here => {
                if self.scope.part.has(row.ino.0)
                    && let Some(record) = self.read(row)
                {
                    self.directories.cookie(row, &record, &mut self.page.findings);
                }
            }
            b'M' | b'N' if here && self.scope.part.is_first() => {
                if let Some(txn) = self.read::<TxnId>(row) {
                    self.hold(row, txn);
                }
            }
            b'O' if here && self.scope.part.has(row.ino.0) && !self.unlinked.remove(&(row.fs, row.ino)) => {
                self.page.findings.push(Finding::Orphan { fs: row.fs, ino: row.ino, listed: true });
            }
            b'S' => {
                if let Some(record) = self.read(row) {
                    self.space.stripe(row, &record, &mut self.page.findings);
                }
            }
            b'T' if self.scope.part.is_first() => self.txn(row),
            b'U' => self.space.uncommitted(row, &mut self.page.findings),
            b'V' | b'W' | b'Y' if here && self.scope.part.is_first() => self.owner(row),
            _ => {}
        }
        true
    }

    fn only_name(&mut self, row: &Row<'_>) {
        if let Ok(Dentry { ino, kind, .. }) = decode("dentry", row.value)
            && self.scope.only.contains(&ino)
        {
            let name = row.rest.to_vec().into();
            self.page.names.push(NameFacts { dir: row.ino, name, ino, kind });
        }
    }

    fn owner(&mut self, row: &Row<'_>) {
        let owner = key::owner_at(row.key.get(5..).unwrap_or_default());
        match (row.table(), owner) {
            (b'W', _) => self.readable::<BudgetRecord>(row),
            (b'Y', _) => self.readable::<QuotaState>(row),
            (_, None) => self.misplaced(row),
            (_, Some(owner)) => {
                if let Some(said) = self.read(row) {
                    self.owners.said(row.fs, owner, said);
                }
            }
        }
    }

    fn name(&mut self, row: &Row<'_>) {
        let Some(dentry) = self.read::<Dentry>(row) else { return };
        let Dentry { ino, kind, .. } = dentry;
        if self.scope.part.has(ino.0) {
            let name = row.rest.to_vec().into();
            self.page.names.push(NameFacts { dir: row.ino, name, ino, kind });
        }
        if self.scope.part.has(row.ino.0) {
            self.directories.name(row, &dentry);
        }
    }

    fn inode(&mut self, row: &Row<'_>) {
        let Some(inode) = self.read::<Inode>(row) else { return };
        let (fs, ino) = (row.fs, row.ino);
        if self.scope.part.is_first() {
            self.space.count_inode(fs, inode.attr.allocated_bytes);
            self.owners.inode(fs, &inode);
            let counter = ino.counter();
            // Greater ones were chosen by other shards.
            if counter < 1 << 40 {
                self.max_inode = self.max_inode.max(counter);
            }
        }
        if !self.scope.part.has(ino.0) {
            return;
        }
        self.page.inodes.push(super::look::facts(ino, &inode));
        if let Some(txn) = inode.dying {
            self.page.holds.push(FsckHold { fs, what: Held::Directory { ino }, txn });
        }
        if inode.attr.nlink == 0 {
            self.unlinked.insert((fs, ino));
        }
        if ino == InodeId::ROOT && !inode.is_dir() {
            self.page.findings.push(Finding::NamesOfNothing { fs, dir: ino });
        }
        self.directories.inode(row, &inode, &mut self.page.findings);
        self.space.inode(row, &inode, &mut self.page.findings);
    }

    fn hold(&mut self, row: &Row<'_>, txn: TxnId) {
        let what = match row.table() {
            b'M' => Held::Moves,
            _ => Held::Name { dir: row.ino, name: row.rest.to_vec().into() },
        };
        self.page.holds.push(FsckHold { fs: row.fs, what, txn });
    }

    fn txn(&mut self, row: &Row<'_>) {
        let Some(record) = self.read::<TxnRecord>(row) else { return };
        let number = key::number(row.key, 1);
        if record.step.txn != (TxnId { source: self.me, number }) {
            return self.misplaced(row);
        }
        self.active += 1;
        self.max_txn = self.max_txn.max(number);
        self.min_txn = Some(self.min_txn.map_or(number, |min| min.min(number)));
        self.page.txns.push(number);
    }

    /// The rows of a table begin: what earlier tables have to have is judged.
    fn pass(&mut self, table: u8) {
        if table == self.table {
            return;
        }
        let passed = |end: u8| self.table <= end && table > end;
        let (inodes, places, orphans, stripes) = (passed(b'I'), passed(b'K'), passed(b'O'), passed(b'S'));
        self.table = table;
        let findings = &mut self.page.findings;
        if inodes {
            self.directories.end_of_inodes(findings);
            self.space.end_of_inodes(self.scope.part.is_first(), findings);
        }
        if places {
            self.directories.end_of_places(findings);
        }
        if orphans {
            let missing = std::mem::take(&mut self.unlinked);
            findings.extend(missing.into_iter().map(|(fs, ino)| Finding::Orphan { fs, ino, listed: false }));
        }
        if stripes {
            self.space.end_of_stripes(findings);
        }
    }

    fn finish(&mut self) {
        if !self.scope.only.is_empty() {
            return;
        }
        self.pass(u8::MAX);
        self.space.end(&mut self.page.findings);
        self.owners.end(self.me, &mut self.page.findings);
        if !self.scope.part.is_first() {
            return;
        }
        let said = self.counters.unwrap_or_default();
        let max_stripe = self.space.max_stripe();
        let mut wrong = |what, said: u64, found: u64, holds: bool| {
            if !holds {
                self.page.findings.push(Finding::Counter { shard: self.me, what, said, found });
            }
        };
        wrong(CounterOf::Inodes, said.inode, self.max_inode + 1, said.inode > self.max_inode);
        wrong(CounterOf::Stripes, said.stripe, max_stripe + 1, said.stripe > max_stripe);
        wrong(CounterOf::Transactions, said.txn, self.max_txn + 1, said.txn > self.max_txn);
        wrong(CounterOf::Active, said.active_txns.into(), self.active, u64::from(said.active_txns) == self.active);
        let oldest = self.min_txn.unwrap_or(said.oldest_txn);
        wrong(CounterOf::Oldest, said.oldest_txn, oldest, said.oldest_txn <= oldest);
    }
}
