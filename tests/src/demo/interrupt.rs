//! Ctrl-C: takes the lab down in order, says what is left, and ends the program.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::footprint::Footprint;
use crate::lab::Stopper;
use crate::wait;

/// Exit code after SIGINT.
const EXIT_INTERRUPTED: i32 = 130;
const GONE: Duration = Duration::from_secs(60);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Watches for SIGINT, SIGTERM and SIGHUP from now on, for the lab that `stopper` ends.
pub fn watch(stopper: Stopper, footprint: Footprint) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [mut int, mut term, mut hup] = [signal(kinds[0])?, signal(kinds[1])?, signal(kinds[2])?];
    drop(entered);
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = int.recv() => {} _ = term.recv() => {} _ = hup.recv() => {} }
        });
        INTERRUPTED.store(true, Ordering::SeqCst);
        say("\ninterrupted: taking everything down");
        if let Err(error) = stopper.stop() {
            say(&error.to_string());
        }
        let gone = wait::until_true("nothing is left", GONE, || footprint.leftovers().is_empty());
        match gone {
            Ok(()) => say("nothing is left"),
            Err(_) => say(&format!("still there: {:?}", footprint.leftovers())),
        }
        exit(EXIT_INTERRUPTED);
    })?;
    Ok(())
}

/// Says it, if anybody can be told: the signal may have come because the terminal has gone.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Does not return when a signal has come: its thread ends the program, and what fails meanwhile fails because of it.
pub fn yield_to_signal() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}
