//! What a client makes of answers: what it learns of names, and what it has open. The twin of `client`'s `namespace.rs`.

use forebay_cache::Target;
use forebay_types::{Errno, FileKind, InodeId};
use forebay_wire::meta::{MetaAnswer, MetaError, MetaReply, RenameHow};

use super::programs::{Doing, is_missing};
use super::{Client, INTRODUCTIONS_NS, Open};
use crate::check::Rule;
use crate::event::Step;
use crate::history::{Found, Op, Place};

/// What was believed of the names that an operation changes when it began.
#[derive(Default)]
pub(super) struct Changing {
    places: Vec<Place>,
    /// What a rename moves, and what it finds.
    moved: Target,
    known_to: Option<Target>,
}

/// An answer as histories have it.
pub(super) fn found(reply: &MetaReply) -> Found {
    match reply {
        MetaReply::Entry { ino, kind, attr, created } => {
            Found::Entry { ino: *ino, kind: *kind, attr: *attr, created: *created }
        }
        MetaReply::Attr(attr) => Found::Attr(Box::new(*attr)),
        MetaReply::Entries { entries, .. } => {
            Found::Names(entries.iter().map(|entry| (entry.name.clone(), entry.ino)).collect())
        }
        MetaReply::Error(MetaError::Posix(errno)) => Found::Refused(*errno),
        _ => Found::Done,
    }
}

impl Client {
    /// Answers from what is believed, where that can be.
    pub(super) fn answer_here(&self, op: &Op, step: &Step<'_>) -> Option<Found> {
        let now = self.now(step);
        match op {
            Op::Lookup { at: (dir, name) } => Some(match self.cache.name(*dir, name, now)? {
                Some((ino, kind)) => Found::Entry { ino, kind, attr: None, created: false },
                None => Found::Refused(Errno::NoEntry),
            }),
            Op::GetAttr { ino } => self.cache.attr(*ino, now).map(|attr| Found::Attr(Box::new(*attr))),
            _ => None,
        }
    }

    /// The names that an operation changes are in flux until [`Self::conclude`].
    pub(super) fn begin_changes(&mut self, op: &Op, step: &Step<'_>) -> Changing {
        let now = self.now(step);
        let mut changing = Changing::default();
        match op {
            Op::Create { at, .. } | Op::Mkdir { at } | Op::Unlink { at } | Op::Rmdir { at } | Op::Link { at, .. } => {
                changing.moved = self.cache.name(at.0, &at.1, now).flatten();
                changing.places.push(at.clone());
            }
            Op::Rename { from, to, .. } => {
                changing.moved = self.cache.name(from.0, &from.1, now).flatten();
                changing.known_to = self.cache.name(to.0, &to.1, now);
                changing.places.extend([from.clone(), to.clone()]);
            }
            _ => {}
        }
        for (dir, name) in &changing.places {
            self.cache.begin_change(*dir, name);
        }
        changing
    }

    /// An inode is listed as open from before its first `Open` is sent.
    pub(super) fn note_opening(&mut self, op: &Op) {
        if let Op::Open { ino, write } = op {
            let open = self.opens.entry(*ino).or_default();
            open.count += 1;
            open.write |= write;
        }
    }

    /// An operation has ended.
    pub(super) fn conclude(
        &mut self,
        n: usize,
        doing: &Doing,
        answer: Option<&MetaAnswer>,
        found: Option<&Found>,
        step: &mut Step<'_>,
    ) {
        self.end_changes(doing, found);
        if let Some(answer) = answer {
            self.learn_names(&doing.op, answer);
        }
        match (&doing.op, found) {
            (Op::Create { open: true, .. }, Some(Found::Entry { ino, created: true, .. })) => {
                let open = self.opens.entry(*ino).or_default();
                open.count += 1;
                open.write = true;
                if self.introduced.get(&ino.shard()).copied().unwrap_or(0) == doing.introductions {
                    open.since.get_or_insert(step.now);
                } else {
                    // A new leader was told what is open meanwhile, and may not have heard of it.
                    self.then(n, Op::Reopen { ino: *ino });
                }
            }
            (Op::Open { ino, .. } | Op::Reopen { ino }, Some(Found::Attr(_))) => {
                if let Some(open) = self.opens.get_mut(ino) {
                    open.since.get_or_insert(step.now);
                }
            }
            // It may have been carried out all the same, or been on the list for a new leader.
            (Op::Open { ino, .. }, _) if self.close(*ino) => self.then(n, Op::Forget { ino: *ino }),
            (Op::GetAttr { ino }, _) if is_missing(found) => self.missing(*ino, doing, step),
            _ => {}
        }
    }

    /// One `Open` less; whether it was the last.
    pub(super) fn close(&mut self, ino: InodeId) -> bool {
        let Some(Open { count, .. }) = self.opens.get_mut(&ino) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.opens.remove(&ino);
        }
        last
    }

    fn missing(&self, ino: InodeId, doing: &Doing, step: &mut Step<'_>) {
        let start = step.history.records[doing.record].start;
        let open = self.opens.get(&ino).and_then(|open| open.since).is_some_and(|since| since <= start);
        let known = self.known_at.get(&ino.shard()).is_some_and(|at| step.now < at + INTRODUCTIONS_NS);
        if open && known && !step.ended.contains(&self.session) {
            let detail = format!("{ino} is open at client {} and not there at {}", self.id, step.now);
            step.watch.violated(Rule::OpenFilesStay, detail);
        }
    }

    fn learn_names(&mut self, op: &Op, answer: &MetaAnswer) {
        let version = |dir: InodeId| answer.grants.iter().find(|g| g.attr.ino == dir).map(|grant| grant.attr.version);
        match (op, &answer.reply) {
            (Op::Lookup { at: (dir, name) }, reply) => {
                let target = match reply {
                    MetaReply::Entry { ino, kind, .. } => Some(Some((*ino, *kind))),
                    MetaReply::Error(MetaError::Posix(Errno::NoEntry)) => Some(None),
                    _ => None,
                };
                if let (Some(version), Some(target)) = (version(*dir), target) {
                    self.cache.learn_name(*dir, version, name, target);
                }
            }
            (Op::ReadDir { dir }, MetaReply::Entries { entries, .. }) => {
                let Some(version) = version(*dir) else { return };
                for entry in entries {
                    self.cache.learn_name(*dir, version, &entry.name, Some((entry.ino, entry.kind)));
                }
            }
            _ => {}
        }
    }

    fn end_changes(&mut self, doing: &Doing, found: Option<&Found>) {
        let changing = &doing.changing;
        let mut now: Vec<Option<Target>> = vec![None; changing.places.len()];
        match (&doing.op, found) {
            (Op::Create { .. } | Op::Mkdir { .. }, Some(Found::Entry { ino, kind, .. })) => {
                now[0] = Some(Some((*ino, *kind)));
            }
            (Op::Unlink { .. } | Op::Rmdir { .. }, Some(Found::Done)) => now[0] = Some(None),
            (Op::Rename { from, to, how }, found) => {
                self.forget_moved(from, to, changing);
                if let (Some(Found::Done), Some(moved), true) = (found, changing.moved, from != to) {
                    now[1] = Some(Some(moved));
                    now[0] = match (how, changing.known_to) {
                        (RenameHow::Exchange, Some(known)) => Some(known),
                        // Two names of one file: nothing has happened.
                        (_, Some(Some((ino, _)))) if ino == moved.0 => Some(Some(moved)),
                        (RenameHow::Replace | RenameHow::NoReplace, Some(_)) => Some(None),
                        (_, None) => None,
                    };
                }
            }
            _ => {}
        }
        if let (Op::Rmdir { .. }, Some((ino, _))) = (&doing.op, changing.moved) {
            self.cache.give_up(ino, None);
        }
        for ((dir, name), now) in changing.places.iter().zip(now) {
            self.cache.end_change(*dir, name, now);
        }
    }

    /// Directories that are changed by steps of which only their shards know.
    fn forget_moved(&mut self, from: &Place, to: &Place, changing: &Changing) {
        let directories = [changing.moved, changing.known_to.flatten()].into_iter().flatten();
        let directories = directories.filter(|(_, kind)| *kind == FileKind::Directory).map(|(ino, _)| ino);
        let beside = directories.chain((from.0 != to.0).then_some(to.0));
        for ino in beside {
            self.cache.give_up(ino, None);
        }
    }
}
