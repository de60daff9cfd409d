//! What the plugin needs of the program that loaded it.

/// Which program that is, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// `sbatch` or `salloc`: a job is being submitted.
    Allocator,
    /// `srun`: a job or a step is being started.
    Local,
    /// The step daemon on a node.
    Remote,
    /// slurmd itself, or a runner of job scripts: nothing to do there.
    Other,
}

/// The loading program, real ([`crate::slurm::Slurm`]) or a test's.
pub trait Host {
    /// Which program.
    fn context(&self) -> Context;
    /// Slurm's id of the job.
    fn job_id(&self) -> Option<u32>;
    /// The job's user and group.
    fn owner(&self) -> Option<(u32, u32)>;
    /// Which attempt of the job, from 0, at least: Slurm 22.05 tells 0 for all.
    fn restart(&self) -> Option<u32>;
    /// Number of the task within the node, from 0.
    fn local_task(&self) -> Option<u32>;
    /// Name of the machine this runs on, without its domain.
    fn machine(&self) -> String;
    /// A variable of the task's environment.
    fn getenv(&self, name: &str) -> Option<String>;
    /// Sets a variable of the task's environment; on failure, Slurm's error code.
    fn setenv(&mut self, name: &str, value: &str) -> Result<(), i32>;
    /// Registers the plugin's options with the program; on failure, Slurm's error code.
    fn register_options(&mut self) -> Result<(), i32>;
    /// Removes from the program's own environment what starts with `prefix`.
    fn forget_own_env(&mut self, prefix: &str);
    /// Prints a line where the user sees it.
    fn tell_user(&mut self, line: &str);
    /// Writes an error to the program's log; commands print it.
    fn log_error(&mut self, line: &str);
}
