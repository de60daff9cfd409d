//! A process that does as it is told, as one user, and says what came of it.
//!
//! A line in is the words of a step; a line out is `ok` and the answer's words, or `error` and the error's name.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::os::fd::OwnedFd;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::fs::Mode;
use rustix::io::Errno;

use super::{CREW, calls};

/// An actor's open files, by their names in scripts.
pub(super) type Open = BTreeMap<String, OwnedFd>;

/// What a step came to.
pub(super) type Outcome = Result<Vec<String>, Errno>;

/// Plays the user `name` on standard input and output until its end.
pub fn play(name: &str) -> anyhow::Result<()> {
    let who = CREW.iter().find(|who| who.name == name);
    let who = who.ok_or_else(|| anyhow::anyhow!("no actor is called {name}"))?;
    setgroups(&who.groups.iter().copied().map(Gid::from_raw).collect::<Vec<_>>())?;
    setgid(Gid::from_raw(who.id))?;
    setuid(Uid::from_raw(who.id))?;
    rustix::process::umask(Mode::empty());
    let mut open = Open::new();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words.split_first() {
            Some((&"reset", _)) => {
                open.clear();
                rustix::process::umask(Mode::empty());
                Ok(Vec::new())
            }
            Some((verb, arguments)) => calls::call(&mut open, verb, arguments),
            None => Err(Errno::INVAL),
        };
        match answer {
            Ok(words) => writeln!(out, "ok {}", words.join(" "))?,
            Err(error) => writeln!(out, "error {:?}", nix::errno::Errno::from_raw(error.raw_os_error()))?,
        }
        out.flush()?;
    }
    Ok(())
}
