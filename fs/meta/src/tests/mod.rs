//! Tests of the whole core, through its public interface.

mod bytes;
mod errnos;
mod namespace;
mod permissions;
mod sessions;
mod world;
