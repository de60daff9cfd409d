//! What programs ask for: operations on few names in few directories, so that clients get into each other's way.

use bytes::Bytes;
use forebay_types::{Errno, FileKind, InodeId};
use forebay_wire::meta::RenameHow;

use crate::dice::Dice;
use crate::history::{Found, Op, Place};

/// Directories and files that a client keeps in mind.
const DIRECTORIES: usize = 6;
const FILES: usize = 8;

/// What a client's programs know of, and what they do.
pub(crate) struct Workload {
    client: u32,
    names: u64,
    marks: i64,
    directories: Vec<InodeId>,
    files: Vec<InodeId>,
    /// How often each kind of operation is chosen.
    weights: [u64; 12],
}

impl Workload {
    pub fn drawn(client: u32, names: u64, dice: &mut Dice) -> Self {
        let mut weights = [0; 12];
        weights.iter_mut().for_each(|weight| *weight = *dice.pick(&[0, 1, 4, 4, 10]));
        // Without these nothing is there.
        weights[0] = weights[0].max(4);
        weights[1] = weights[1].max(1);
        Self { client, names, marks: 0, directories: vec![InodeId::ROOT], files: Vec::new(), weights }
    }

    fn place(&self, dice: &mut Dice) -> Place {
        let name = format!("n{}", dice.below(self.names));
        (*dice.pick(&self.directories), Bytes::from(name))
    }

    /// The next operation. `open`: what the client has open.
    pub fn choose(&mut self, dice: &mut Dice, open: &[InodeId]) -> Op {
        let mut at = dice.below(self.weights.iter().sum());
        let kind = self.weights.iter().position(|weight| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        let place = self.place(dice);
        let file = if self.files.is_empty() { None } else { Some(*dice.pick(&self.files)) };
        match (kind.unwrap_or(0), file) {
            (1, _) => Op::Mkdir { at: place },
            (2, _) => Op::Unlink { at: place },
            (3, _) => Op::Rmdir { at: place },
            (4, _) => {
                let how =
                    *dice.pick(&[RenameHow::Replace, RenameHow::Replace, RenameHow::NoReplace, RenameHow::Exchange]);
                Op::Rename { from: place, to: self.place(dice), how }
            }
            (5, _) => Op::ReadDir { dir: place.0 },
            (6, _) => Op::Lookup { at: place },
            (7, Some(ino)) => Op::Link { ino, at: place },
            (8, Some(ino)) => {
                self.marks += 1;
                Op::SetAttr { ino, mark: (i64::from(self.client) << 32) + self.marks }
            }
            (9, Some(ino)) => Op::Open { ino, write: dice.chance(500) },
            (10, _) if !open.is_empty() => Op::Close { ino: *dice.pick(open) },
            (11, _) => {
                let all: Vec<InodeId> = self.directories.iter().chain(&self.files).chain(open).copied().collect();
                Op::GetAttr { ino: *dice.pick(&all) }
            }
            _ => Op::Create { at: place, exclusive: dice.chance(600), open: dice.chance(300) },
        }
    }

    /// An operation was answered.
    pub fn learn(&mut self, op: &Op, found: &Found, dice: &mut Dice) {
        match (op, found) {
            (_, Found::Entry { ino, kind: FileKind::Directory, .. }) => {
                keep(&mut self.directories, *ino, DIRECTORIES, dice);
                // The root is where everybody meets.
                self.directories[0] = InodeId::ROOT;
            }
            (_, Found::Entry { ino, .. }) => keep(&mut self.files, *ino, FILES, dice),
            (Op::ReadDir { dir: ino } | Op::GetAttr { ino }, Found::Refused(Errno::NoEntry)) => {
                self.directories.retain(|dir| dir != ino || *dir == InodeId::ROOT);
                self.files.retain(|file| file != ino);
            }
            _ => {}
        }
    }
}

fn keep(known: &mut Vec<InodeId>, ino: InodeId, most: usize, dice: &mut Dice) {
    if known.contains(&ino) {
        return;
    }
    if known.len() < most {
        known.push(ino);
    } else {
        let at = dice.below(most as u64) as usize;
        known[at] = ino;
    }
}
