//! The real host: the Slurm program that loaded the plugin.

use std::env;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;

use crate::host::{Context, Host};
use crate::numbers;
use crate::options;
use crate::sys::{self, Handle, SpankOption};

/// Longest value of a variable that is looked at, in bytes.
const MAX_VALUE: usize = 1024;

/// A handle that Slurm gave us, for the time of one call.
pub struct Slurm {
    handle: *mut Handle,
}

impl Slurm {
    /// Takes the handle of a call.
    ///
    /// # Safety
    /// `handle` must be what Slurm passed to the hook that is running, and the value must not outlive that call.
    pub unsafe fn new(handle: *mut Handle) -> Self {
        Self { handle }
    }

    fn item_u32(&self, item: c_int) -> Option<u32> {
        let mut value = 0u32;
        // SAFETY: the handle is that of the running call, and the items asked for write one 32-bit integer.
        let code = unsafe { sys::spank_get_item(self.handle, item, &raw mut value) };
        (code == numbers::SUCCESS).then_some(value)
    }
}

fn check(code: c_int) -> Result<(), i32> {
    if code == numbers::SUCCESS { Ok(()) } else { Err(code) }
}

/// A C string; what follows a NUL is dropped, as C would.
fn c_string(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

impl Host for Slurm {
    fn context(&self) -> Context {
        // SAFETY: takes no argument and reads a variable of the loader.
        match unsafe { sys::spank_context() } {
            numbers::CTX_ALLOCATOR => Context::Allocator,
            numbers::CTX_LOCAL => Context::Local,
            numbers::CTX_REMOTE => Context::Remote,
            _ => Context::Other,
        }
    }

    fn job_id(&self) -> Option<u32> {
        self.item_u32(numbers::JOB_ID)
    }

    fn owner(&self) -> Option<(u32, u32)> {
        Some((self.item_u32(numbers::JOB_UID)?, self.item_u32(numbers::JOB_GID)?))
    }

    fn restart(&self) -> Option<u32> {
        self.item_u32(numbers::SLURM_RESTART_COUNT)
    }

    fn local_task(&self) -> Option<u32> {
        self.item_u32(numbers::TASK_ID)
    }

    fn machine(&self) -> String {
        let name = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        name.split('.').next().unwrap_or_default().to_owned()
    }

    fn getenv(&self, name: &str) -> Option<String> {
        let name = c_string(name);
        let mut buffer = [0u8; MAX_VALUE];
        let len = (MAX_VALUE - 1) as c_int;
        // SAFETY: the name ends with a NUL, and at most `len` bytes of the buffer are written, which is longer.
        let code = unsafe { sys::spank_getenv(self.handle, name.as_ptr(), buffer.as_mut_ptr().cast::<c_char>(), len) };
        if code != numbers::SUCCESS && code != numbers::NOSPACE {
            return None;
        }
        CStr::from_bytes_until_nul(&buffer).ok().map(|value| value.to_string_lossy().into_owned())
    }

    fn setenv(&mut self, name: &str, value: &str) -> Result<(), i32> {
        let (name, value) = (c_string(name), c_string(value));
        // SAFETY: both strings end with a NUL and outlive the call, which copies them.
        check(unsafe { sys::spank_setenv(self.handle, name.as_ptr(), value.as_ptr(), 1) })
    }

    fn register_options(&mut self) -> Result<(), i32> {
        let options = [
            SpankOption {
                name: c"forebay".as_ptr(),
                arginfo: c"spec".as_ptr(),
                usage: c"directives as in #FOREBAY lines, several with ;".as_ptr(),
                has_arg: 1,
                val: options::SPEC,
                cb: Some(option_given),
            },
            SpankOption {
                name: c"forebay-strict".as_ptr(),
                arginfo: ptr::null(),
                usage: c"fail rather than run where Forebay has no view of the job".as_ptr(),
                has_arg: 0,
                val: options::STRICT,
                cb: Some(option_given),
            },
        ];
        for mut option in options {
            // SAFETY: the handle is that of the running call; Slurm copies the option, whose strings are static.
            check(unsafe { sys::spank_option_register(self.handle, &raw mut option) })?;
        }
        Ok(())
    }

    fn forget_own_env(&mut self, prefix: &str) {
        for name in env::vars_os().map(|(name, _)| name) {
            if name.to_string_lossy().starts_with(prefix) {
                // SAFETY: sbatch and salloc have one thread when they call plugins, and Slurm reads `environ` anew.
                unsafe { env::remove_var(name) };
            }
        }
    }

    fn tell_user(&mut self, line: &str) {
        let line = c_string(line);
        // SAFETY: the format takes one string, which ends with a NUL and outlives the call.
        unsafe { sys::slurm_spank_log(c"%s".as_ptr(), line.as_ptr()) };
    }

    fn log_error(&mut self, line: &str) {
        let line = c_string(line);
        // SAFETY: the format takes one string, which ends with a NUL and outlives the call.
        unsafe { sys::slurm_error(c"%s".as_ptr(), line.as_ptr()) };
    }
}

/// Slurm's call for each option given.
extern "C" fn option_given(number: c_int, value: *const c_char, _remote: c_int) -> c_int {
    let kept = std::panic::catch_unwind(|| {
        // SAFETY: Slurm passes null or a string that ends with a NUL and outlives the call.
        let value = (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) }.to_string_lossy());
        options::keep(number, value.as_deref())
    });
    if kept.unwrap_or(false) { numbers::SUCCESS } else { -1 }
}
