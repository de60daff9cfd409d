use serde::{Deserialize, Serialize};

/// What a session may do with what it was told of an inode until it is told to give that up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum LeaseMode {
    /// Believe it.
    Shared,
    /// Believe it, and keep back what it writes. Nobody else has a lease then.
    Exclusive,
}
