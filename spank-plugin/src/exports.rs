//! The symbols Slurm looks for, and nothing else: what a plugin exports must not clash with other plugins'.

use std::ffi::{CStr, c_char, c_int, c_uint};

use crate::dispatch::{Hook, OK, dispatch};
use crate::numbers;
use crate::slurm::Slurm;
use crate::sys::Handle;

/// Most arguments in `plugstack.conf` that are looked at.
const MAX_ARGS: usize = 64;

#[unsafe(export_name = "plugin_name")]
static PLUGIN_NAME: [u8; 8] = *b"forebay\0";
#[unsafe(export_name = "plugin_type")]
static PLUGIN_TYPE: [u8; 6] = *b"spank\0";
/// Slurm loads the plugin only when this is its own version, up to the last number.
#[unsafe(export_name = "plugin_version")]
static PLUGIN_VERSION: c_uint = include!(concat!(env!("OUT_DIR"), "/slurm_version.rs"));
#[unsafe(export_name = "spank_plugin_version")]
static SPANK_PLUGIN_VERSION: c_uint = 1;
/// Tells Slurm 25.05 and later that a failing start of the plugin is the job's failure, not the node's.
#[unsafe(export_name = "slurm_spank_init_failure_mode")]
static INIT_FAILURE_MODE: c_int = numbers::JOB_FAILURE;

/// Slurm has loaded the plugin.
///
/// # Safety
/// To be called by Slurm only, as every hook here: `handle` its own, `argv` of `argc` strings.
#[unsafe(export_name = "slurm_spank_init")]
unsafe extern "C" fn spank_init(handle: *mut Handle, argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: passed on as Slurm gave it.
    unsafe { enter(Hook::Init, handle, argc, argv) }
}

/// Slurm has handed over the options.
///
/// # Safety
/// As [`spank_init`].
#[unsafe(export_name = "slurm_spank_init_post_opt")]
unsafe extern "C" fn spank_init_post_opt(handle: *mut Handle, argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: passed on as Slurm gave it.
    unsafe { enter(Hook::InitPostOpt, handle, argc, argv) }
}

/// Slurm is about to start a task, still as root.
///
/// # Safety
/// As [`spank_init`].
#[unsafe(export_name = "slurm_spank_task_init_privileged")]
unsafe extern "C" fn spank_task_init_privileged(handle: *mut Handle, argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: passed on as Slurm gave it.
    unsafe { enter(Hook::TaskInitPrivileged, handle, argc, argv) }
}

/// # Safety
/// As [`spank_init`].
unsafe fn enter(hook: Hook, handle: *mut Handle, argc: c_int, argv: *const *const c_char) -> c_int {
    let entered = std::panic::catch_unwind(|| {
        // SAFETY: the caller vouches for `argv`.
        let args = unsafe { arguments(argc, argv) };
        // SAFETY: the caller vouches for the handle, and the value ends with this call.
        let mut host = unsafe { Slurm::new(handle) };
        dispatch(hook, &mut host, &args)
    });
    // Only reading the arguments can have panicked: dispatch answers its own panics.
    entered.unwrap_or(OK)
}

/// # Safety
/// `argv` must be null or point to `argc` strings that end with a NUL.
unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<String> {
    if argv.is_null() {
        return Vec::new();
    }
    let count = usize::try_from(argc).unwrap_or(0).min(MAX_ARGS);
    // SAFETY: the caller vouches for `argc` strings at `argv`.
    let pointers = (0..count).map(|i| unsafe { *argv.add(i) }).filter(|pointer| !pointer.is_null());
    // SAFETY: each is a string of the caller's that ends with a NUL.
    pointers.map(|pointer| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()).collect()
}
