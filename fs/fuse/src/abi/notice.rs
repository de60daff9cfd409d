//! What the daemon tells the kernel of its own accord.

use bytes::Bytes;

use super::layout::Put;
use super::{Encoded, NodeId};

/// Something the kernel must not believe any more, or may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Attributes of an inode and cached pages of a range are old; `length` 0 means to the end, and a negative `offset`
    /// that only attributes are.
    InvalInode {
        /// The inode.
        node: NodeId,
        /// First byte.
        offset: i64,
        /// Bytes.
        length: i64,
    },
    /// A name is old.
    InvalEntry {
        /// The directory.
        parent: NodeId,
        /// The name.
        name: Bytes,
    },
    /// A name is gone: who watches the directory is told, and if it is a directory nothing below it is found.
    Delete {
        /// The directory.
        parent: NodeId,
        /// The inode it named.
        child: NodeId,
        /// The name.
        name: Bytes,
    },
    /// These bytes are what a range of a file holds: into the page cache with them.
    Store {
        /// The file.
        node: NodeId,
        /// First byte.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
}

impl Notice {
    /// As the kernel reads it.
    #[must_use]
    pub fn encode(self) -> Encoded {
        let mut head = Vec::with_capacity(64);
        head.u32(0).u32(self.code()).u64(0);
        let mut data = Bytes::new();
        match self {
            Self::InvalInode { node, offset, length } => {
                head.u64(node.0).u64(offset.cast_unsigned()).u64(length.cast_unsigned());
            }
            Self::InvalEntry { parent, name } => {
                head.u64(parent.0).u32(name.len() as u32).u32(0);
                put_text(&mut head, &name);
            }
            Self::Delete { parent, child, name } => {
                head.u64(parent.0).u64(child.0).u32(name.len() as u32).u32(0);
                put_text(&mut head, &name);
            }
            Self::Store { node, offset, data: bytes } => {
                head.u64(node.0).u64(offset).u32(bytes.len() as u32).u32(0);
                data = bytes;
            }
        }
        let length = (head.len() + data.len()) as u32;
        head[..4].copy_from_slice(&length.to_ne_bytes());
        Encoded { head, data }
    }

    fn code(&self) -> u32 {
        match self {
            Self::InvalInode { .. } => 2,
            Self::InvalEntry { .. } => 3,
            Self::Store { .. } => 4,
            Self::Delete { .. } => 6,
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
}

#[cfg(test)]
#[path = "notice_tests.rs"]
mod tests;
