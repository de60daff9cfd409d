//! In `sbatch`, `salloc` and `srun`: refuse wrong directives before there is a job.

use forebay_directive::Directives;

use crate::dispatch::Refused;
use crate::host::{Context, Host};
use crate::options::Chosen;

/// Variables of ours all start so.
pub const OUR_ENV: &str = "FOREBAY_";

/// Checks the text of `--forebay=`. A submission from within a job must not carry that job's variables into the new
/// one, where they would name its data, or claim directives that the new job does not have.
pub fn check(host: &mut dyn Host, chosen: &Chosen) -> Result<(), Refused> {
    if host.context() == Context::Allocator {
        host.forget_own_env(OUR_ENV);
    }
    let Some(spec) = &chosen.spec else { return Ok(()) };
    let problem = match Directives::from_option(spec) {
        Ok(directives) if directives.is_empty() => {
            "--forebay: column 1: nothing is asked for; write a directive as in --forebay=\"in s3://bucket/set/ as=set\""
                .to_owned()
        }
        Ok(_) => return Ok(()),
        Err(error) => error.to_string(),
    };
    host.log_error(&problem);
    Err(Refused)
}

#[cfg(test)]
#[path = "submit_tests.rs"]
mod tests;
