//! Tests of the whole core, through its public interface.

mod bytes;
mod delegation;
mod errnos;
mod fsck;
mod lists;
mod namespace;
mod permissions;
mod quota;
mod sessions;
mod shapes;
pub(crate) mod world;
