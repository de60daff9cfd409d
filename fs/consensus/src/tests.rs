//! A few replicas of one group, the messages between them in any order, twice or never, and crashes.

mod cases;
mod world;
