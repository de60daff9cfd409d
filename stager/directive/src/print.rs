//! Prints directives back: as script lines, or as option text. What is printed parses to the same directives.

use std::fmt;

use crate::choice::{Commit, Conflict, Gate, Notify, OnError, Ready, When};
use crate::grammar::MAGIC;
use crate::statement::{Directives, Input, Options, Output, Scratch};
use crate::value::{print_duration, print_size};

impl fmt::Display for Directives {
    /// One `#FOREBAY` line a statement, each ending in a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.statements().iter().try_for_each(|statement| writeln!(f, "{MAGIC} {statement}"))
    }
}

impl Directives {
    /// The same in the form of `--forebay=`.
    #[must_use]
    pub fn to_option_text(&self) -> String {
        self.statements().join("; ")
    }

    fn statements(&self) -> Vec<String> {
        let mut all: Vec<String> = self.scratch.iter().map(Scratch::to_string).collect();
        all.extend(self.inputs.iter().map(Input::to_string));
        all.extend(self.outputs.iter().map(Output::to_string));
        if self.options != Options::default() {
            all.push(self.options.to_string());
        }
        all
    }
}

/// Writes a value, quoted where it would not be read as one word otherwise.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| !matches!(c, ' ' | ';' | '"' | '\'' | '\\');
        if self.0.chars().all(plain) && !self.0.is_empty() {
            return f.write_str(self.0);
        }
        write!(f, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

impl fmt::Display for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scratch name={}", self.name)?;
        if let Some(bytes) = self.capacity_bytes {
            write!(f, " capacity={}", print_size(bytes))?;
        }
        if let Some(keep_s) = self.keep_s {
            write!(f, " keep={}", print_duration(keep_s))?;
        }
        Ok(())
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {} as={}", Quoted(self.source.as_str()), self.name)?;
        if self.ready != Ready::default() {
            write!(f, " ready={}", self.ready)?;
        }
        for (key, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            if !patterns.is_empty() {
                write!(f, " {key}={}", Quoted(&patterns.join(",")))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out {} {}", Quoted(&self.path.to_string()), Quoted(self.destination.as_str()))?;
        if self.when != When::default() {
            write!(f, " when={}", self.when)?;
        }
        if self.conflict != Conflict::default() {
            write!(f, " conflict={}", self.conflict)?;
        }
        if self.required != Commit::default() {
            write!(f, " required={}", self.required)?;
        }
        if self.marker != Self::DEFAULT_MARKER {
            write!(f, " marker={}", self.marker)?;
        }
        Ok(())
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opt")?;
        if self.gate != Gate::default() {
            write!(f, " gate={}", self.gate)?;
        }
        if self.on_error != OnError::default() {
            write!(f, " on_error={}", self.on_error)?;
        }
        if let Some(seconds) = self.wait_s {
            write!(f, " wait={}", print_duration(seconds))?;
        }
        if self.notify != Notify::default() {
            write!(f, " notify={}", self.notify)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "print_tests.rs"]
mod tests;
