//! The marks that job submission leaves on a job with directives, for the stager and the SPANK plugin to find.
//! An admin comment can only be set by root and Slurm itself, so a user cannot forge one.

/// Admin comment of a batch job with directives, until the stager writes its own. All three comments start with
/// `forebay:`.
pub const COMMENT_WAITING: &str = "forebay: waiting for data";
/// The same for a job that its user has held (`sbatch -H`): the stager stages, but leaves the release to the user.
pub const COMMENT_USER_HOLD: &str = "forebay: waiting for data (held by its user)";
/// Start of the admin comment of a job without a script (`srun`, `salloc`); its option text follows.
pub const COMMENT_REQUEST: &str = "forebay:req ";
/// Variable of a batch job's environment: `1` where the job has directives.
pub const ENVIRONMENT_MARK: &str = "FOREBAY_DIRECTIVES";
/// Variable in which Slurm passes on the text of `--forebay=`.
pub const OPTION_VARIABLE: &str = "_SLURM_SPANK_OPTION_forebay_forebay";
