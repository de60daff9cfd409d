//! What clients asked for and what they were told, with the time of each: the histories that checkers look at.

use std::collections::BTreeMap;

use bytes::Bytes;
use forebay_types::{Attr, Errno, FileKind, InodeId, OpId};
use forebay_wire::meta::RenameHow;

/// A name in a directory.
pub(crate) type Place = (InodeId, Bytes);

/// An operation of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Create {
        at: Place,
        exclusive: bool,
        open: bool,
    },
    Mkdir {
        at: Place,
    },
    Unlink {
        at: Place,
    },
    Rmdir {
        at: Place,
    },
    Rename {
        from: Place,
        to: Place,
        how: RenameHow,
    },
    Link {
        ino: InodeId,
        at: Place,
    },
    /// Changes a file's attributes to ones that no other operation gives any.
    SetAttr {
        ino: InodeId,
        mark: i64,
    },
    Lookup {
        at: Place,
    },
    GetAttr {
        ino: InodeId,
    },
    ReadDir {
        dir: InodeId,
    },
    Open {
        ino: InodeId,
        write: bool,
    },
    Close {
        ino: InodeId,
    },
    /// Says again to the shard that a file is open.
    Reopen {
        ino: InodeId,
    },
    /// Says to the shard that a file is not open, where that is not certain.
    Forget {
        ino: InodeId,
    },
}

/// What a client was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    Entry { ino: InodeId, kind: FileKind, attr: Option<Attr>, created: bool },
    Attr(Box<Attr>),
    Names(Vec<(Bytes, InodeId)>),
    Done,
    Refused(Errno),
}

/// An operation with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub client: u32,
    pub op: Op,
    /// When it was asked for.
    pub start: u64,
    /// When it was answered, and how; none where nobody knows whether it happened.
    pub end: Option<(u64, Found)>,
    /// Answered from what the client believed.
    pub believed: bool,
}

/// All of them, in the order in which they were asked for.
#[derive(Default)]
pub(crate) struct History {
    pub records: Vec<Record>,
    by_id: BTreeMap<OpId, usize>,
}

impl History {
    pub fn begin(&mut self, client: u32, op: Op, start: u64) -> usize {
        self.records.push(Record { client, op, start, end: None, believed: false });
        self.records.len() - 1
    }

    /// The operation is sent as this mutation.
    pub fn name(&mut self, record: usize, id: OpId) {
        self.by_id.insert(id, record);
    }

    pub fn end(&mut self, record: usize, at: u64, found: Found) {
        self.records[record].end = Some((at, found));
    }

    /// The operation that a mutation belongs to.
    pub fn of(&self, id: OpId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Until when an operation's effects may begin to show.
    pub fn end_of(&self, record: usize) -> u64 {
        self.records[record].end.as_ref().map_or(u64::MAX, |(end, _)| *end)
    }
}
