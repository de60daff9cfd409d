//! The numbers of `slurm/spank.h` and `slurm/slurm_errno.h` that are used. Slurm only ever appends to these lists; a
//! test compares them with the installed headers.

use std::ffi::c_int;

/// `S_CTX_LOCAL`
pub const CTX_LOCAL: c_int = 1;
/// `S_CTX_REMOTE`
pub const CTX_REMOTE: c_int = 2;
/// `S_CTX_ALLOCATOR`
pub const CTX_ALLOCATOR: c_int = 3;

/// `S_JOB_UID`, a `uid_t *`
pub const JOB_UID: c_int = 0;
/// `S_JOB_GID`, a `gid_t *`
pub const JOB_GID: c_int = 1;
/// `S_JOB_ID`, a `uint32_t *`
pub const JOB_ID: c_int = 2;
/// `S_TASK_ID`, an `int *`
pub const TASK_ID: c_int = 11;
/// `S_SLURM_RESTART_COUNT`, a `uint32_t *`
pub const SLURM_RESTART_COUNT: c_int = 29;

/// `ESPANK_SUCCESS`
pub const SUCCESS: c_int = 0;
/// `ESPANK_NOSPACE`
pub const NOSPACE: c_int = 3005;
/// `ESPANK_JOB_FAILURE` of Slurm 25.05 and later; older ones do not look.
pub const JOB_FAILURE: c_int = 3012;

#[cfg(test)]
#[path = "numbers_tests.rs"]
mod tests;
