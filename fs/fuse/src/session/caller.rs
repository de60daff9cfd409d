//! What has become of a caller: the signals that wait for it, from `/proc`.
//!
//! The kernel says that a signal has come, not which, and says it once. Most signals are no reason to break off:
//! timers of profilers and the preemption of some runtimes come many times a second, and programs that would never see
//! `EINTR` on a local disk would see it here.

/// Signals by number, bit 0 for signal 1.
type Set = u64;

/// What is to be done for a caller that has had a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Urgency {
    /// It is to end, or asked to: break off.
    Now,
    /// It can wait a little.
    Later,
}

/// Signals that a person or a batch system sends to end something, whether or not it has a handler for them.
const ASKS_TO_END: [i32; 4] = [nix::libc::SIGHUP, nix::libc::SIGINT, nix::libc::SIGQUIT, nix::libc::SIGTERM];
/// Signals that end nobody who does not handle them.
const HARMLESS: [i32; 8] = [
    nix::libc::SIGCHLD,
    nix::libc::SIGCONT,
    nix::libc::SIGURG,
    nix::libc::SIGWINCH,
    nix::libc::SIGSTOP,
    nix::libc::SIGTSTP,
    nix::libc::SIGTTIN,
    nix::libc::SIGTTOU,
];
/// `PF_EXITING`: the process is past its last instruction.
const EXITING: u64 = 4;

fn set(signals: &[i32]) -> Set {
    signals.iter().fold(0, |set, signal| set | 1 << (signal - 1))
}

/// How a thread takes the signals that wait for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Signals {
    pending: Set,
    blocked: Set,
    ignored: Set,
    caught: Set,
}

impl Signals {
    /// From `/proc/PID/status`.
    fn parse(status: &str) -> Self {
        let mut signals = Self::default();
        for line in status.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let Ok(value) = Set::from_str_radix(value.trim(), 16) else { continue };
            match key {
                "SigPnd" | "ShdPnd" => signals.pending |= value,
                "SigBlk" => signals.blocked = value,
                "SigIgn" => signals.ignored = value,
                "SigCgt" => signals.caught = value,
                _ => {}
            }
        }
        signals
    }

    fn urgency(self) -> Urgency {
        let taken = self.pending & !self.blocked & !self.ignored;
        let deadly = taken & !self.caught & !set(&HARMLESS);
        if deadly != 0 || taken & set(&ASKS_TO_END) != 0 { Urgency::Now } else { Urgency::Later }
    }
}

/// How urgent it is for a thread that has had a signal. For one that cannot be seen, or has gone: not.
pub(super) fn urgency(pid: u32) -> Urgency {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Signals::parse(&status).urgency()
}

/// Whether a thread is ending: no signal reaches it any more, and nobody sees what it is answered.
pub(super) fn is_ending(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    flags(&stat).is_some_and(|flags| flags & EXITING != 0)
}

/// The ninth field of `/proc/PID/stat`; the second is a name in parentheses that can hold anything.
fn flags(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
#[path = "caller_tests.rs"]
mod tests;
