//! The model of a POSIX namespace: what each operation may have changed, by its answer.
//!
//! It is a model by effects. For every operation the names that were changed on its behalf are compared with those that
//! POSIX says it changes: an operation that was refused changed none, one whose answer nobody got changed none or all. Names
//! that nobody asked to be changed must not change.

use std::collections::BTreeMap;

use forebay_types::FileKind;
use forebay_wire::meta::RenameHow;

use super::{Rule, Target, Watch};
use crate::history::{Found, History, Op, Place, Record};

/// A name with what it stood for before and after.
type Change = (Place, Target, Target);

/// Checks every operation.
pub(crate) fn check(watch: &mut Watch, history: &History) {
    let mut changes: BTreeMap<usize, Vec<Change>> = BTreeMap::new();
    let mut late = Vec::new();
    let mut nobodys = Vec::new();
    for (place, writes) in &watch.names {
        for write in writes {
            let Some(record) = write.op.and_then(|id| history.of(id)) else {
                nobodys.push(format!("{place:?}: {write:?}"));
                continue;
            };
            if write.at > history.end_of(record) || write.at < history.records[record].start {
                late.push(format!("{place:?}: {write:?} outside {:?}", history.records[record]));
            }
            changes.entry(record).or_default().push((place.clone(), write.before, write.after));
        }
    }
    nobodys.into_iter().for_each(|detail| watch.violated(Rule::Namespace, format!("nobody asked for: {detail}")));
    late.into_iter().for_each(|detail| watch.violated(Rule::Namespace, detail));
    for (n, record) in history.records.iter().enumerate() {
        let changed = changes.remove(&n).unwrap_or_default();
        if let Some((rule, reason)) = judge(record, &changed) {
            watch.violated(rule, format!("{reason}: {record:?} changed {changed:?}"));
        }
    }
    attributes(watch, history);
}

/// Why the changes of an operation are not those that it should have made.
fn judge(record: &Record, changed: &[Change]) -> Option<(Rule, &'static str)> {
    let mut places: Vec<&Place> = changed.iter().map(|(place, ..)| place).collect();
    places.sort();
    if places.windows(2).any(|pair| pair[0] == pair[1]) {
        return Some((Rule::ExactlyOnce, "a name was changed twice by one operation"));
    }
    let found = record.end.as_ref().map(|(_, found)| found);
    match found {
        Some(Found::Refused(_)) => (!changed.is_empty()).then_some((Rule::ExactlyOnce, "it was refused")),
        None if changed.is_empty() => None,
        found => match fits(&record.op, found, changed) {
            true => None,
            false => Some((Rule::Namespace, "that is not what it does")),
        },
    }
}

fn is_file(target: Target) -> bool {
    target.is_some_and(|(_, kind)| kind != FileKind::Directory)
}

fn is_directory(target: Target) -> bool {
    target.is_some_and(|(_, kind)| kind == FileKind::Directory)
}

/// Whether these are the changes of an operation that succeeded. `found`: its answer, where it is known.
fn fits(op: &Op, found: Option<&Found>, changed: &[Change]) -> bool {
    let one = match changed {
        [(place, before, after)] => Some((place, *before, *after)),
        _ => None,
    };
    let told = |after: Target| match found {
        Some(Found::Entry { ino, kind, .. }) => after == Some((*ino, *kind)),
        Some(_) => false,
        None => true,
    };
    match op {
        Op::Create { at, exclusive, .. } => match found {
            Some(Found::Entry { created: false, .. }) => !exclusive && changed.is_empty(),
            _ => one.is_some_and(|(p, before, after)| p == at && before.is_none() && is_file(after) && told(after)),
        },
        Op::Mkdir { at } => {
            one.is_some_and(|(p, before, after)| p == at && before.is_none() && is_directory(after) && told(after))
        }
        Op::Link { ino, at } => one.is_some_and(|(p, before, after)| {
            p == at && before.is_none() && is_file(after) && after.is_some_and(|(linked, _)| linked == *ino)
        }),
        Op::Unlink { at } => one.is_some_and(|(p, before, after)| p == at && is_file(before) && after.is_none()),
        Op::Rmdir { at } => one.is_some_and(|(p, before, after)| p == at && is_directory(before) && after.is_none()),
        Op::Rename { from, to, how } => renamed(from, to, *how, changed),
        Op::SetAttr { .. }
        | Op::Lookup { .. }
        | Op::GetAttr { .. }
        | Op::ReadDir { .. }
        | Op::Open { .. }
        | Op::Close { .. }
        | Op::Reopen { .. }
        | Op::Forget { .. } => changed.is_empty(),
    }
}

/// Whether these are the changes of a rename. None is right where both names stand for the same inode.
fn renamed(from: &Place, to: &Place, how: RenameHow, changed: &[Change]) -> bool {
    if changed.is_empty() {
        return how != RenameHow::NoReplace;
    }
    let of = |place: &Place| changed.iter().find(|(p, ..)| p == place).map(|(_, before, after)| (*before, *after));
    let (Some(source), Some(dest), 2) = (of(from), of(to), changed.len()) else { return false };
    let moved = source.0.is_some() && dest.1 == source.0;
    let replaced = is_directory(dest.0) == is_directory(source.0) || dest.0.is_none();
    match how {
        RenameHow::Replace => moved && source.1.is_none() && replaced,
        RenameHow::NoReplace => moved && source.1.is_none() && dest.0.is_none(),
        RenameHow::Exchange => moved && dest.0.is_some() && source.1 == dest.0,
    }
}

/// Every change of attributes that a program asked for was made once, and is what it asked for.
fn attributes(watch: &mut Watch, history: &History) {
    let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
    let mut found = Vec::new();
    for (ino, writes) in &watch.attrs {
        for write in writes {
            let Some(record) = write.op.and_then(|id| history.of(id)) else { continue };
            let Op::SetAttr { ino: asked, mark } = &history.records[record].op else { continue };
            *counts.entry(record).or_default() += 1;
            let is = write.attr.map(|attr| attr.mtime.secs);
            if asked != ino || is != Some(*mark) {
                found.push((Rule::Namespace, format!("{:?} made {write:?} of {ino}", history.records[record])));
            }
        }
    }
    for (n, record) in history.records.iter().enumerate().filter(|(_, r)| matches!(r.op, Op::SetAttr { .. })) {
        let count = counts.get(&n).copied().unwrap_or(0);
        let right = match record.end.as_ref().map(|(_, found)| found) {
            Some(Found::Refused(_)) => count == 0,
            Some(_) => count == 1,
            None => count <= 1,
        };
        if !right {
            found.push((Rule::ExactlyOnce, format!("{record:?} was carried out {count} times")));
        }
    }
    found.into_iter().for_each(|(rule, detail)| watch.violated(rule, detail));
}
