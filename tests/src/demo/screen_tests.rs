use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::pty::openpty;

use super::*;

/// A step with a bar that moves, a note and another bar.
fn play(out: impl Into<OwnedFd>) {
    let screen = Screen::on(File::from(out.into()));
    screen.step("A job");
    screen.progress(0, 4, "recalled");
    screen.progress(2, 4, "recalled");
    screen.note("one line\nand another\n");
    screen.progress(4, 4, "recalled");
    screen.note("the end");
}

/// Everything that was written to the other end, which is closed.
fn all(mut end: File) -> String {
    let mut bytes = Vec::new();
    match end.read_to_end(&mut bytes) {
        // How a terminal ends whose other side has gone.
        Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => {}
        read => drop(read.unwrap()),
    }
    String::from_utf8(bytes).unwrap()
}

/// What a person sees: the line discipline's `\r\n`, and what stands on each line after it was erased and written again.
fn seen(bytes: &str) -> Vec<&str> {
    bytes.split("\r\n").map(|line| line.rsplit(CLEAR).next().unwrap_or_default()).collect()
}

#[test]
fn a_terminal_is_shown_a_bar_that_moves_and_leaves_nothing_behind() {
    let pty = openpty(None, None).unwrap();
    play(pty.slave);
    let bytes = all(File::from(pty.master));
    let drawn: Vec<&str> = bytes.split(CLEAR).filter(|part| part.contains(" % recalled")).collect();
    let bars = [(0, "  0"), (15, " 50"), (30, "100")];
    assert_eq!(
        drawn,
        bars.map(|(n, part)| format!("           [{}{}] {part} % recalled", "#".repeat(n), ".".repeat(30 - n)))
    );
    let lines = seen(&bytes);
    assert!(lines[1].ends_with("s] 1. A job"), "{lines:?}");
    assert_eq!(lines[2..], ["           one line", "           and another", "           the end", ""]);
}

#[test]
fn a_pipe_is_given_plain_lines() {
    let (reader, writer) = io::pipe().unwrap();
    play(writer);
    let text = all(File::from(OwnedFd::from(reader)));
    assert!(!text.contains(|c: char| c.is_control() && c != '\n') && !text.contains('%'), "{text:?}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].ends_with("s] 1. A job"), "{lines:?}");
    assert_eq!(lines[2..], ["           one line", "           and another", "           the end"]);
}

#[test]
fn a_screen_that_nobody_reads_any_more_is_no_fault() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    play(writer);
}

#[test]
fn bars_fill_and_sizes_have_units() {
    assert_eq!(bar(0, 0), format!("[{}]   0 %", ".".repeat(30)));
    assert_eq!(bar(1, 2), format!("[{}{}]  50 %", "#".repeat(15), ".".repeat(15)));
    assert_eq!(bar(9, 3), format!("[{}] 100 %", "#".repeat(30)));
    assert_eq!(size(1000), "1000 B");
    assert_eq!(size(1536), "1.5 KiB");
    assert_eq!(size(256 << 20), "256.0 MiB");
    assert_eq!(size(u64::MAX), "16777216.0 TiB");
}
