use super::*;

/// What slurmd 22.05 gives Prolog of a two-node job.
const PROLOG: &[(&str, &str)] = &[
    ("SLURMD_NODENAME", "n1"),
    ("SLURM_JOB_ID", "43"),
    ("SLURM_JOB_UID", "2001"),
    ("SLURM_JOB_GID", "2001"),
    ("SLURM_JOB_RESTART_COUNT", "1"),
    ("SLURM_NODELIST", "n[1-2]"),
];

fn vars<'a>(extra: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| {
        let mut all = extra.iter().chain(PROLOG);
        all.find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()).filter(|v| v != "(unset)")
    }
}

#[test]
fn reads_what_slurmd_gives() {
    let key = JobKey::read(vars(&[])).unwrap();
    assert_eq!(key, JobKey { job: 43, leader: 43, restart: 1, node: "n1".to_owned() });
    let placement = Placement::read(vars(&[])).unwrap();
    assert_eq!(placement, Placement { uid: 2001, gid: 2001, nodes: vec!["n1".to_owned(), "n2".to_owned()] });
}

#[test]
fn newer_slurm_and_het_jobs() {
    let placement = Placement::read(vars(&[("SLURM_JOB_NODELIST", "x[8-9]"), ("SLURM_NODELIST", "(unset)")])).unwrap();
    assert_eq!(placement.nodes, ["x8", "x9"]);
    let key = JobKey::read(vars(&[("SLURM_HET_JOB_ID", "42"), ("SLURM_JOB_RESTART_COUNT", "(unset)")])).unwrap();
    assert_eq!((key.job, key.leader, key.restart), (43, 42, 0));
}

#[test]
fn names_the_variable_that_is_wrong() {
    for (name, value) in [
        ("SLURM_JOB_ID", "(unset)"),
        ("SLURM_JOB_ID", "4x"),
        ("SLURMD_NODENAME", "(unset)"),
        ("SLURM_JOB_RESTART_COUNT", "-1"),
    ] {
        assert_eq!(JobKey::read(vars(&[(name, value)])).unwrap_err().name, name);
    }
    for (name, value) in
        [("SLURM_JOB_UID", "(unset)"), ("SLURM_JOB_GID", ""), ("SLURM_NODELIST", "(unset)"), ("SLURM_NODELIST", "n[1")]
    {
        assert_eq!(Placement::read(vars(&[(name, value)])).unwrap_err().name, name);
    }
}
