//! Linearizability of registers: names in directories, and attributes of inodes.
//!
//! A namespace as a whole is too large a state for a search over all orders of concurrent operations. What makes it
//! tractable: the order in which a register got its values is known, as it is the order of its shard's log. What is left of
//! Wing and Gong's search is then a walk without choices: at each value, take every read that saw it and that nothing
//! unfinished has to precede; then go on to the next value, which must not overtake anything either. A write is placed
//! between the moment when the first replica applied it and the answer to its operation; where there was no answer, at any
//! time after that.
//!
//! What is promised is a little less than linearizability, and that is what is checked: a session that is asked for a lease may
//! be told of the change before it has given it back, so the client may tell the old value from its lease after it was told
//! the new one; the change has not ended then. Likewise the change's own client before its answer, and whoever is refused
//! something because of the change. So what leaders tell is one history, and what a client tells from its leases is held
//! against the reads in it of others, but for those during the client's own changes: it is never older than a write that has
//! ended, or than what others have read.
//!
//! Known gaps, left out here: a client goes on believing attributes of an inode that its own operation has changed in another
//! shard, where the inode is gone or the client did not know that the name led to it.
//!
//! Limits: each register stands alone. That an operation changes two names at one moment (a rename over directories) is not
//! claimed by Forebay, and not checked; that a listing is of one moment is, as it constrains each name by its own interval,
//! checked name by name only. A refusal that can have several reasons (`NoEntry` of a rename, say) says nothing here.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{Attr, Errno, FileKind, InodeId, OpId};
use forebay_wire::meta::RenameHow;

use super::{Rule, Target, Watch};
use crate::history::{Found, History, Op, Place, Record};

/// What a read allows a register to have been.
#[derive(Clone)]
enum Saw<V> {
    This(V),
    /// Anything of which this is true.
    Any(fn(&V) -> bool),
}

impl<V: PartialEq> Saw<V> {
    fn fits(&self, value: &V) -> bool {
        match self {
            Self::This(seen) => seen == value,
            Self::Any(fits) => fits(value),
        }
    }
}

#[derive(Clone)]
struct Read<V> {
    record: usize,
    client: u32,
    believed: bool,
    /// Not a change that was refused, or found that there was nothing to do.
    is_read: bool,
    start: u64,
    end: u64,
    saw: Saw<V>,
}

struct Write<V> {
    start: u64,
    end: u64,
    client: Option<u32>,
    /// Made by an operation that may be of several shards.
    steps: bool,
    value: V,
}

type Reads<K, V> = BTreeMap<K, Vec<Read<V>>>;

/// Checks all registers.
pub(crate) fn check(watch: &mut Watch, history: &History) {
    let (mut names, mut attrs) = (Reads::new(), Reads::new());
    for (n, record) in history.records.iter().enumerate() {
        if let Some((end, found)) = &record.end {
            reads_of(watch, (n, record, *end), found, &mut names, &mut attrs);
        }
    }
    let mut found = Vec::new();
    let record = |op: Option<OpId>| op.and_then(|id| history.of(id)).map(|n| (n, &history.records[n]));
    for (place, reads) in names {
        let all = || watch.names.get(&place).into_iter().flatten();
        let writes = all().map(|w| write(w.at, record(w.op), history, false, w.after)).collect::<Vec<_>>();
        if let Err(stuck) = walks(&writes, &reads) {
            let before = all().map(|w| (w.at, w.op, format!("{:?}", w.after)));
            found.push(describe(&format!("name {:?} of {}", place.1, place.0), &stuck, history, before));
        }
    }
    for (ino, reads) in attrs {
        let all = || watch.attrs.get(&ino).into_iter().flatten();
        let version = |attr: Option<Attr>| attr.map(|attr| attr.version);
        let writes = all().map(|w| write(w.at, record(w.op), history, true, version(w.attr))).collect::<Vec<_>>();
        if let Err(stuck) = walks(&writes, &reads) {
            let before = all().map(|w| (w.at, w.op, format!("version {:?}", version(w.attr))));
            found.push(describe(&format!("attributes of {ino}"), &stuck, history, before));
        }
    }
    found.into_iter().for_each(|detail| watch.violated(Rule::Linearizable, detail));
}

fn write<V>(at: u64, by: Option<(usize, &Record)>, history: &History, is_attr: bool, value: V) -> Write<V> {
    let end = by.map_or(u64::MAX, |(n, _)| history.end_of(n));
    let of_several = |op: &Op| matches!(op, Op::Rename { .. } | Op::Rmdir { .. } | Op::Unlink { .. });
    let steps = is_attr && by.is_some_and(|(_, record)| of_several(&record.op));
    Write { start: at, end, client: by.map(|(_, record)| record.client), steps, value }
}

type Stuck = (String, Option<usize>);

/// The walk over what leaders told, and for each client that over what it believed and what others have read.
fn walks<V: Clone + PartialEq + std::fmt::Debug>(
    writes: &[Write<Option<V>>],
    reads: &[Read<Option<V>>],
) -> Result<(), Stuck> {
    walk(writes, reads.iter().filter(|read| !read.believed).cloned().collect())?;
    let believers: BTreeSet<u32> = reads.iter().filter(|read| read.believed).map(|read| read.client).collect();
    for client in believers {
        let own = || writes.iter().enumerate().filter(|(_, write)| write.client == Some(client));
        let by_others = |read: &&Read<_>| {
            let during = |write: &Write<_>| write.start <= read.end && read.start <= write.end;
            read.is_read && !own().any(|(_, write)| during(write))
        };
        // The known gaps.
        let missed = |read: &&Read<_>| {
            let before = |n: usize| n.checked_sub(1).and_then(|n| writes[n].value.clone());
            own().any(|(n, write)| write.steps && read.saw.fits(&before(n)))
        };
        let counts = |read: &&Read<_>| match (read.believed, read.client == client) {
            (true, true) => !missed(read),
            (false, false) => by_others(read),
            _ => false,
        };
        walk(writes, reads.iter().filter(counts).cloned().collect())?;
    }
    Ok(())
}

/// What is wrong, with the last few writes before.
fn describe(
    register: &str,
    (what, record): &Stuck,
    history: &History,
    writes: impl Iterator<Item = (u64, Option<OpId>, String)>,
) -> String {
    let mut lines = vec![format!("{register}: {what}")];
    let of = |record: &Record| format!("client {}: {record:?}", record.client);
    let end = record.map_or(u64::MAX, |record| history.end_of(record));
    let before: Vec<_> = writes.take_while(|(at, ..)| *at <= end).collect();
    for (at, op, value) in before.iter().rev().take(3).rev() {
        let by = op.and_then(|id| history.of(id)).map(|record| of(&history.records[record]));
        lines.push(format!("    at {at} {value} by {}", by.unwrap_or_else(|| "nobody".into())));
    }
    lines.extend(record.map(|record| format!("    then {}", of(&history.records[record]))));
    lines.join("\n")
}

/// See the module. The error says where it got stuck, and with which operation.
fn walk<V: PartialEq + std::fmt::Debug>(
    writes: &[Write<Option<V>>],
    mut reads: Vec<Read<Option<V>>>,
) -> Result<(), Stuck> {
    // The earliest end of a write and all after it.
    let mut later = vec![u64::MAX; writes.len() + 1];
    for n in (0..writes.len()).rev() {
        later[n] = later[n + 1].min(writes[n].end);
    }
    let mut value = &None;
    for n in 0..=writes.len() {
        loop {
            let bound = reads.iter().map(|read| read.end).min().unwrap_or(u64::MAX).min(later[n]);
            let before = reads.len();
            reads.retain(|read| read.start > bound || !read.saw.fits(value));
            if reads.len() == before {
                break;
            }
        }
        let Some(write) = writes.get(n) else { break };
        if let Some(read) = reads.iter().filter(|read| read.end < write.start).min_by_key(|read| read.end) {
            let what =
                format!("it was {value:?} until {} and a read that ended before saw something else", write.start);
            return Err((what, Some(read.record)));
        }
        if later[n + 1] < write.start {
            return Err((format!("{:?} was applied after a later write was answered", write.value), None));
        }
        value = &write.value;
    }
    match reads.first() {
        Some(read) => Err((format!("a read does not fit in; at last it was {value:?}"), Some(read.record))),
        None => Ok(()),
    }
}

const IS_THERE: Saw<Target> = Saw::Any(Option::is_some);

fn of_kind(directory: bool) -> Saw<Target> {
    if directory {
        Saw::Any(|target| target.is_some_and(|(_, kind)| kind == FileKind::Directory))
    } else {
        Saw::Any(|target| target.is_some_and(|(_, kind)| kind != FileKind::Directory))
    }
}

/// What an answered operation says of registers.
fn reads_of(
    watch: &mut Watch,
    (n, record, end): (usize, &Record, u64),
    found: &Found,
    names: &mut Reads<Place, Target>,
    attrs: &mut Reads<InodeId, Option<u64>>,
) {
    let Record { client, believed, start, .. } = *record;
    let is_read = is_read(&record.op);
    let mut name = |place: &Place, saw| {
        names.entry(place.clone()).or_default().push(Read { record: n, client, believed, is_read, start, end, saw })
    };
    match (&record.op, found) {
        (Op::Lookup { at }, Found::Entry { ino, kind, .. }) => name(at, Saw::This(Some((*ino, *kind)))),
        (Op::Create { at, .. }, Found::Entry { ino, kind, created: false, .. }) => {
            name(at, Saw::This(Some((*ino, *kind))));
        }
        // Where the directory itself is gone so are all its names.
        (Op::Lookup { at } | Op::Unlink { at } | Op::Rmdir { at }, Found::Refused(Errno::NoEntry)) => {
            name(at, Saw::This(None));
        }
        (
            Op::Create { at, .. }
            | Op::Mkdir { at }
            | Op::Link { at, .. }
            | Op::Rename { to: at, how: RenameHow::NoReplace, .. },
            Found::Refused(Errno::Exists),
        ) => name(at, IS_THERE),
        (Op::Unlink { at }, Found::Refused(Errno::IsDirectory)) => name(at, of_kind(true)),
        (Op::Rmdir { at }, Found::Refused(Errno::NotEmpty)) => name(at, of_kind(true)),
        (Op::Rmdir { at }, Found::Refused(Errno::NotDirectory)) => name(at, of_kind(false)),
        (Op::ReadDir { dir }, Found::Names(listed)) => {
            let known = watch.names.range((*dir, bytes::Bytes::new())..).take_while(|((d, _), _)| d == dir);
            let known: BTreeSet<&bytes::Bytes> = known.map(|((_, name), _)| name).collect();
            for known in known {
                let seen = listed.iter().find(|(name, _)| name == known).map(|(_, ino)| *ino);
                let value = watch.names.get(&(*dir, known.clone())).into_iter().flatten();
                let seen = seen.map(|ino| value.filter_map(|w| w.after).find(|(i, _)| *i == ino));
                match seen {
                    None => name(&(*dir, known.clone()), Saw::This(None)),
                    Some(Some(target)) => name(&(*dir, known.clone()), Saw::This(Some(target))),
                    Some(None) => name(&(*dir, known.clone()), Saw::Any(|_| false)),
                }
            }
        }
        _ => {}
    }
    attr_of(watch, (n, record, end), found, attrs);
}

/// What an answered operation says of attributes.
fn attr_of(
    watch: &mut Watch,
    (n, record, end): (usize, &Record, u64),
    found: &Found,
    attrs: &mut Reads<InodeId, Option<u64>>,
) {
    let Record { client, believed, start, .. } = *record;
    let is_read = is_read(&record.op);
    let gone = |op: &Op| match op {
        Op::GetAttr { ino } | Op::SetAttr { ino, .. } => Some(*ino),
        _ => None,
    };
    let told = match found {
        Found::Attr(attr) => Some(**attr),
        Found::Entry { attr, .. } => *attr,
        _ => None,
    };
    if let Some(attr) = told {
        check_content(watch, &attr, record);
        let saw = Saw::This(Some(attr.version));
        attrs.entry(attr.ino).or_default().push(Read { record: n, client, believed, is_read, start, end, saw });
    }
    if let (Found::Refused(Errno::NoEntry), Some(ino)) = (found, gone(&record.op)) {
        attrs.entry(ino).or_default().push(Read {
            record: n,
            client,
            believed,
            is_read,
            start,
            end,
            saw: Saw::This(None),
        });
    }
}

fn is_read(op: &Op) -> bool {
    matches!(op, Op::Lookup { .. } | Op::GetAttr { .. } | Op::ReadDir { .. })
}

/// Equal versions have equal attributes.
fn check_content(watch: &mut Watch, attr: &Attr, record: &Record) {
    let writes = watch.attrs.get(&attr.ino).into_iter().flatten();
    let known = writes.filter_map(|write| write.attr).find(|known| known.version == attr.version);
    if known.as_ref() != Some(attr) {
        let detail = format!("a version of {} was told that never was: {record:?}, but {known:?}", attr.ino);
        watch.violated(Rule::Linearizable, detail);
    }
}
