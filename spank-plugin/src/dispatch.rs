//! Which call of Slurm's is for whom, and what a failure or a panic means there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::host::{Context, Host};
use crate::options::{self, PluginArgs};
use crate::{submit, task};

/// Answer to Slurm: all is well.
pub const OK: i32 = 0;
/// Answer to Slurm: refuse the submission, or fail the task.
pub const FAILED: i32 = -1;

/// The calls the plugin takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// The plugin has been loaded.
    Init,
    /// The options are known.
    InitPostOpt,
    /// A task is about to start, and we are still root.
    TaskInitPrivileged,
}

/// Takes a call. `args` are the plugin's arguments in `plugstack.conf`.
pub fn dispatch(hook: Hook, host: &mut dyn Host, args: &[String]) -> i32 {
    // Whatever was half done is ended with this call: the program refuses, or the task ends.
    match catch_unwind(AssertUnwindSafe(|| take(hook, host, &PluginArgs::parse(args)))) {
        Ok(answer) => answer,
        Err(_) => {
            host.log_error("forebay: the SPANK plugin has a bug (see the panic above); please report it");
            if may_fail(hook, host.context()) { FAILED } else { OK }
        }
    }
}

/// Whether a failure of this call harms the caller only. On a node every call but the last before a task drains it.
fn may_fail(hook: Hook, context: Context) -> bool {
    match context {
        Context::Allocator | Context::Local => true,
        Context::Remote => hook == Hook::TaskInitPrivileged,
        Context::Other => false,
    }
}

fn take(hook: Hook, host: &mut dyn Host, args: &PluginArgs) -> i32 {
    let context = host.context();
    let result = match (hook, context) {
        (_, Context::Other) => Ok(()),
        (Hook::Init, _) => init(host, args),
        (Hook::InitPostOpt, Context::Allocator | Context::Local) => submit::check(host, &options::kept()),
        (Hook::TaskInitPrivileged, Context::Remote) => task::prepare(host, args, &options::kept()),
        (Hook::InitPostOpt | Hook::TaskInitPrivileged, _) => Ok(()),
    };
    match result {
        Ok(()) => OK,
        Err(_) if !may_fail(hook, context) => OK,
        Err(Refused) => FAILED,
    }
}

/// The call is refused, and the user knows why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

fn init(host: &mut dyn Host, args: &PluginArgs) -> Result<(), Refused> {
    for arg in &args.unknown {
        host.log_error(&format!(
            "forebay: plugstack.conf: {arg:?} is not understood; known are job_dir=/DIRECTORY and socket=/PATH"
        ));
    }
    host.register_options().map_err(|code| {
        host.log_error(&format!(
            "forebay: Slurm does not take the plugin's options (error {code}); is it of another Slurm?"
        ));
        Refused
    })
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
