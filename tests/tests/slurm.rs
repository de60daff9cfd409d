//! The base configuration of the lab's Slurm, without any part of Forebay.

use std::time::Duration;

use forebay_tests::{Lab, Slurm, SlurmSettings, User};

const END: Duration = Duration::from_secs(60);

fn start(settings: &SlurmSettings) -> (Lab, Slurm) {
    let lab = Lab::builder().slurm_nodes(2).start().expect("the lab starts");
    let slurm = Slurm::start(&lab, settings).expect("Slurm starts");
    (lab, slurm)
}

#[test]
fn slurm_runs_a_plain_job() {
    let (lab, slurm) = start(&SlurmSettings::default());
    let script = "#!/bin/bash\n#SBATCH -N 2\n#SBATCH -o /run/lab/shared/out\nsrun -l --ntasks-per-node=1 hostname | sort\nid -un\n";
    let id = slurm.submit(&User::alice(), script, &[]).unwrap();
    let job = slurm.wait_job_end(id, END).unwrap();
    assert_eq!(job.state(), "COMPLETED", "{}", job.text);
    assert_eq!(std::fs::read_to_string(lab.shared().join("out")).unwrap(), "0: n1\n1: n2\nalice\n");
    assert_eq!(slurm.drained_nodes().unwrap(), []);
}

#[test]
fn a_job_outlives_a_killed_controller_and_jobs_are_remembered() {
    let (_lab, mut slurm) = start(&SlurmSettings::default());
    let script = "#!/bin/bash\nuntil test -e /run/lab/shared/go; do sleep 0.1; done\n";
    let id = slurm.submit(&User::alice(), script, &["-o", "/dev/null"]).unwrap();
    slurm.wait_job(id, "runs", END, |job| job.state() == "RUNNING").unwrap();
    slurm.slurmctld().kill().unwrap();
    slurm.command(&User::alice(), "touch").arg("/run/lab/shared/go").run().unwrap();
    slurm.slurmctld().restart().unwrap();
    let job = slurm.wait_job_end(id, END).unwrap();
    assert_eq!(job.state(), "COMPLETED", "{}", job.text);
}

#[test]
fn the_caller_s_fragment_hooks_and_job_submit_script_are_in_force() {
    let settings = SlurmSettings {
        fragment: "JobSubmitPlugins=lua\nProlog=/etc/slurm/prolog.sh\n".to_owned(),
        job_submit_lua: Some(
            "function slurm_job_submit(job, parts, uid)\n  job.admin_comment = 'seen by lua: ' .. uid\n  return slurm.SUCCESS\nend\n\
             function slurm_job_modify(job, rec, parts, uid) return slurm.SUCCESS end\nreturn slurm.SUCCESS\n"
                .to_owned(),
        ),
        files: vec![("prolog.sh".to_owned(), "#!/bin/bash\necho $SLURM_JOB_ID >/run/lab/shared/prolog\n".to_owned())],
        ..SlurmSettings::default()
    };
    let (lab, slurm) = start(&settings);
    let prolog = lab.slurm_dir().join("prolog.sh");
    std::fs::set_permissions(prolog, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let id = slurm.submit(&User::bob(), "#!/bin/bash\nexit 3\n", &["-o", "/dev/null"]).unwrap();
    let job = slurm.wait_job_end(id, END).unwrap();
    assert_eq!((job.state(), job.field("ExitCode")), ("FAILED", "3:0"));
    assert_eq!(job.field("AdminComment"), "seen by lua: 2002");
    assert_eq!(std::fs::read_to_string(lab.shared().join("prolog")).unwrap().trim(), id.to_string());
}

#[test]
fn a_node_that_lost_power_comes_back() {
    let (lab, mut slurm) = start(&SlurmSettings::default());
    slurm.power_fail(&lab, "n2").unwrap();
    slurm.boot(&lab, "n2").unwrap();
    slurm.wait_idle(END).unwrap();
    let said = slurm.command(&User::alice(), "srun").args(["-N2", "-l", "hostname"]).run().unwrap();
    assert!(said.contains("n1") && said.contains("n2"), "{said}");
}
