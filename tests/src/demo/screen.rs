//! What a person sees: numbered steps, notes below them, and a bar where there is a terminal.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

const BAR_CHARS: usize = 30;
/// To the beginning of the line, and erase it (ECMA-48, EL).
const CLEAR: &str = "\r\x1b[K";

/// Where the demo prints.
pub struct Screen {
    out: RefCell<Box<dyn Write>>,
    terminal: bool,
    start: Instant,
    bar_shown: Cell<bool>,
    step: Cell<u32>,
}

impl Screen {
    /// Standard output.
    pub fn new() -> Self {
        Self::on(io::stdout())
    }

    /// Something else, which may be a terminal.
    pub fn on(out: impl Write + IsTerminal + 'static) -> Self {
        let (terminal, out) = (out.is_terminal(), RefCell::new(Box::new(out) as Box<dyn Write>));
        Screen { out, terminal, start: Instant::now(), bar_shown: Cell::new(false), step: Cell::new(0) }
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Begins a step.
    pub fn step(&self, title: &str) {
        self.step.set(self.step.get() + 1);
        self.print(&format!("\n[{:5.1} s] {}. {title}", self.seconds(), self.step.get()));
    }

    /// Number of the step under way.
    pub fn current_step(&self) -> u32 {
        self.step.get()
    }

    /// A line of what is seen.
    pub fn note(&self, text: &str) {
        text.trim_end().lines().for_each(|line| self.print(&format!("           {line}")));
    }

    /// How far something is: a bar that moves on a terminal, nothing on a pipe.
    pub fn progress(&self, done: u64, of: u64, text: &str) {
        if self.terminal {
            self.write(&format!("{CLEAR}           {} {text}", bar(done, of)));
            self.bar_shown.set(true);
        }
    }

    fn print(&self, line: &str) {
        let clear = if self.bar_shown.replace(false) { CLEAR } else { "" };
        self.write(&format!("{clear}{line}\n"));
    }

    fn write(&self, text: &str) {
        let mut out = self.out.borrow_mut();
        // Where nothing can be written nobody is looking, which is not the demo's fault.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

fn bar(done: u64, of: u64) -> String {
    let part = if of == 0 { 0.0 } else { (done as f64 / of as f64).clamp(0.0, 1.0) };
    let full = (part * BAR_CHARS as f64) as usize;
    format!("[{}{}] {:3.0} %", "#".repeat(full), ".".repeat(BAR_CHARS - full), part * 100.0)
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let place = (0..units.len() - 1).find(|&place| bytes >> (10 * place) < 1024).unwrap_or(units.len() - 1);
    if place == 0 {
        format!("{bytes} B")
    } else {
        format!("{:.1} {}", bytes as f64 / (1u64 << (10 * place)) as f64, units[place])
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
