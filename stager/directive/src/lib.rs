//! What a user may ask Forebay for: `#FOREBAY` lines at the head of a job script, and the text of `--forebay=`.
//!
//! Job: turn text into [`Directives`], or into one [`DirectiveError`] that names line, column, the nearest known word
//! and the remedy; print directives back; expand `%` substitutions once the job is known. Invariants: nothing panics
//! on any text; what is printed parses to the same directives; every size and duration is exact; whatever is not
//! understood, or not supported yet, is refused and never ignored. The words themselves are data in [`grammar`],
//! because the same rules are also generated for Slurm's own job submission. This crate knows no I/O, no clock and
//! no Slurm.
//!
//! ```
//! use forebay_directive::Directives;
//! let script = "#!/bin/bash\n#FOREBAY in s3://org/set/ as=set\n#FOREBAY scratch capacity=2GiB\nsrun true\n";
//! let directives = Directives::from_script(script).unwrap();
//! assert_eq!(directives.inputs[0].name, "set");
//! assert_eq!(directives.scratch[0].capacity_bytes, Some(2 << 30));
//! ```
#![forbid(unsafe_code)]

mod choice;
mod error;
pub mod grammar;
pub mod mark;
mod parse;
mod pattern;
mod print;
mod scan;
mod statement;
mod target;
mod value;

pub use choice::{Commit, Conflict, Gate, Notify, OnError, Ready, Version, When};
pub use error::{Code, DirectiveError, ExpandError, ValueError};
pub use pattern::matches as pattern_matches;
pub use statement::{Directives, Input, Options, Output, Scratch};
pub use target::{Place, ScratchPath, Substitutions, Uri, expand};
pub use value::{
    DURATION_UNITS, MAX_CAPACITY_BYTES, MAX_DURATION_S, UNITS, check_name, env_name, parse_capacity, parse_duration_s,
    parse_size_bytes, print_duration, print_size,
};
