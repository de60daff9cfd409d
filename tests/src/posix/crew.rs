//! All actors: one for each user on each mount.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::CREW;

/// An actor's process.
struct Actor {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Actors of all users on some mounts of one filesystem.
pub struct Crew {
    /// In the order of [`CREW`], for one mount after the other.
    actors: Vec<Actor>,
    roots: Vec<PathBuf>,
}

impl Crew {
    /// Starts actors from this program, for folders that are the same one on different mounts.
    pub fn start(roots: &[PathBuf]) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut actors = Vec::new();
        for _ in roots {
            for who in &CREW {
                let mut command = Command::new(&program);
                command.args(["__actor", who.name]).stdin(Stdio::piped()).stdout(Stdio::piped());
                let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
                let input = child.stdin.take();
                let output = child.stdout.take().context("an actor's output is piped")?;
                actors.push(Actor { child, input, output: BufReader::new(output) });
            }
        }
        Ok(Self { actors, roots: roots.to_vec() })
    }

    /// How many mounts there are.
    pub fn mounts(&self) -> usize {
        self.roots.len()
    }

    /// Sends every actor to a folder below its mount, with nothing open.
    pub fn gather(&mut self, below: &Path) -> Result<()> {
        for mount in 0..self.roots.len() {
            let folder = self.roots[mount].join(below);
            let folder = folder.to_str().context("the folder's name is plain")?.to_owned();
            for who in &CREW {
                self.tell(mount, who.name, &["reset".to_owned()])?;
                let answer = self.tell(mount, who.name, &["cd".to_owned(), folder.clone()])?;
                if answer != "ok " {
                    bail!("{} cannot go to {folder}: {answer}", who.name);
                }
            }
        }
        Ok(())
    }

    /// Lets one of them do a step; the answer's line.
    pub fn tell(&mut self, mount: usize, who: &str, words: &[String]) -> Result<String> {
        let place = CREW.iter().position(|known| known.name == who).with_context(|| format!("nobody is {who}"))?;
        let actor = &mut self.actors[mount * CREW.len() + place];
        let input = actor.input.as_mut().context("an actor has its input until the end")?;
        writeln!(input, "{}", words.join(" "))?;
        let mut line = String::new();
        actor.output.read_line(&mut line)?;
        if !line.ends_with('\n') {
            bail!("{who} has ended at: {}", words.join(" "));
        }
        line.pop();
        Ok(line)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for actor in &mut self.actors {
            actor.input = None;
        }
        for actor in &mut self.actors {
            // An actor ends with its input.
            let _ = actor.child.wait();
        }
    }
}
