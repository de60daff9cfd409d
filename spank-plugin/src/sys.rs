//! The functions and structures of `slurm/spank.h` that are used, written by hand.

use std::ffi::{c_char, c_int};

/// `struct spank_handle`, Slurm's own.
#[repr(C)]
pub struct Handle {
    opaque: [u8; 0],
}

/// `spank_opt_cb_f`
pub type OptionCallback = extern "C" fn(val: c_int, optarg: *const c_char, remote: c_int) -> c_int;

/// `struct spank_option`
#[repr(C)]
pub struct SpankOption {
    /// Long name, without dashes.
    pub name: *const c_char,
    /// What stands for the argument in the help, null without one.
    pub arginfo: *const c_char,
    /// Help text.
    pub usage: *const c_char,
    /// Whether there is an argument.
    pub has_arg: c_int,
    /// Handed to the callback.
    pub val: c_int,
    /// Called when the option is given.
    pub cb: Option<OptionCallback>,
}

unsafe extern "C" {
    pub fn spank_context() -> c_int;
    pub fn spank_option_register(spank: *mut Handle, option: *mut SpankOption) -> c_int;
    pub fn spank_get_item(spank: *mut Handle, item: c_int, ...) -> c_int;
    pub fn spank_getenv(spank: *mut Handle, name: *const c_char, buffer: *mut c_char, len: c_int) -> c_int;
    pub fn spank_setenv(spank: *mut Handle, name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int;
    pub fn slurm_error(format: *const c_char, ...);
    pub fn slurm_spank_log(format: *const c_char, ...);
}
