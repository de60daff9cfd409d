//! Jobs with directives on a real Slurm: what users and nodes go through when things go well, and when they do not.

use std::time::{Duration, Instant};

use forebay_tests::demo::cold::{self, ColdTier};
use forebay_tests::demo::dataset::Recipe;
use forebay_tests::demo::verify;
use forebay_tests::slurm::Job;
use forebay_tests::{Cluster, ClusterSettings, Lab, Site, User, wait};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(120);

/// A site with a dataset `set` in its cold tier.
struct Stage {
    site: Site,
    cold: ColdTier,
    // After the site: their end ends everything.
    cluster: Cluster,
    lab: Lab,
}

fn start(s3: bool, recipe: Recipe) -> Stage {
    let builder = Lab::builder().slurm_nodes(2).storage_hosts(6);
    let lab = if s3 { builder.node(cold::NODE) } else { builder }.start().unwrap();
    let cluster = Cluster::start(&lab, &ClusterSettings::default()).unwrap();
    let cold = ColdTier::start(&lab, s3).unwrap();
    cold.attach(&cluster).unwrap();
    recipe.lay(&cold.folder(&lab, "set").unwrap(), &lab.shared().join("sums")).unwrap();
    cold.publish("set").unwrap();
    let site = Site::start(&lab, &cluster).unwrap();
    Stage { site, cold, cluster, lab }
}

const SMALL: Recipe = Recipe { seed: 9, small_files: 60, large_mib: 4 };

impl Stage {
    /// A batch script on both nodes with these directives and commands.
    fn script(&self, directives: &str, body: &str) -> String {
        let directives = directives.replace("COLD", &self.cold.url);
        format!("#!/bin/bash\n#SBATCH -N 2 -o /run/lab/shared/%j.out\n{directives}{body}")
    }

    /// Submits as alice.
    fn submit(&self, directives: &str, body: &str) -> u32 {
        self.site.slurm.submit(&User::alice(), &self.script(directives, body), &[]).unwrap()
    }

    fn output(&self, id: u32) -> String {
        std::fs::read_to_string(self.lab.shared().join(format!("{id}.out"))).unwrap_or_default()
    }

    fn ends(&self, id: u32, state: &str) -> Job {
        let job = self.site.slurm.wait_job_end(id, SOON).unwrap();
        assert_eq!(job.state(), state, "{}\n{}\n{:?}", job.text, self.output(id), self.site.status(id));
        job
    }

    fn waits_with(&self, id: u32, text: &str) -> Job {
        let has = |job: &Job| job.field("AdminComment").contains(text);
        self.site.slurm.wait_job(id, &format!("has {text} in its comment"), SOON, has).unwrap()
    }

    /// What `forebay job args…` says to alice, with its exit code.
    fn job(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.site.job(&User::alice(), args).unwrap().output().unwrap();
        (output.status.code(), output.stdout + &output.stderr)
    }

    fn assert_delivered(&self, id: u32, objects: u64) {
        let (code, said) = self.job(&["wait", &id.to_string(), "--for", "out", "--timeout", "60"]);
        assert_eq!(code, Some(0), "{said}");
        let dir = self.cold.objects.join(format!("results/{id}"));
        let found = verify::results(&dir, &self.lab.shared().join(format!("recorded-{id}"))).unwrap();
        assert_eq!(found, verify::Verdict { objects, verified: objects, missing: 0, marked: true });
    }
}

const IN: &str = "#FOREBAY in COLD/set/ as=set\n";
const SCRATCH: &str = "#FOREBAY scratch capacity=1GiB\n";
const OUT: &str = "#FOREBAY out work:results/ COLD/results/%j/\n";
/// Checks the dataset on every node and leaves one result of each.
const WORK: &str =
    "srun bash -c 'cd $FOREBAY_IN_SET && sha256sum -c --quiet /run/lab/shared/sums && mkdir -p $FOREBAY_WORK/results &&
    { hostname; id -un; } >$FOREBAY_WORK/results/$SLURMD_NODENAME' || exit 1\n";
/// Records what is to arrive.
const RECORD: &str = "cd $FOREBAY_WORK/results && sha256sum * >/run/lab/shared/recorded-$SLURM_JOB_ID || exit 1\n";

#[test]
fn a_job_finds_its_data_on_all_nodes_and_its_results_arrive() {
    let at = start(false, SMALL);
    let id = at.submit(&format!("{IN}{SCRATCH}{OUT}"), &format!("{WORK}{RECORD}env | grep ^FOREBAY_ | sort\n"));
    at.ends(id, "COMPLETED");
    at.assert_delivered(id, 2);
    let seen = at.output(id);
    for line in
        [format!("FOREBAY_WORK=/mnt/forebay/job/{id}/work"), format!("FOREBAY_IN_SET=/mnt/forebay/job/{id}/in/set")]
    {
        assert!(seen.contains(&line), "{seen}");
    }
    let results = at.cold.objects.join(format!("results/{id}/n1"));
    assert_eq!(std::fs::read_to_string(&results).unwrap(), "n1\nalice\n");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&results).unwrap());
    assert_eq!(owner, User::alice().uid, "results belong to the user");
    // bob sees neither the job's files nor what the stager knows about it.
    let id = at.submit(&format!("{IN}{SCRATCH}"), "until [ -e /run/lab/shared/go ]; do sleep 0.1; done\n");
    at.site.slurm.wait_job(id, "runs", SOON, |job| job.state() == "RUNNING").unwrap();
    let look =
        at.lab.node("n1").command("ls").arg(format!("/mnt/forebay/job/{id}/work")).user(&User::bob()).output().unwrap();
    assert!(look.stderr.contains("Permission denied"), "{look:?}");
    let asked = at.site.job(&User::bob(), &["status", &id.to_string()]).unwrap().output().unwrap();
    assert!(!asked.status.success(), "bob is told about alice's job: {}", asked.stdout);
    std::fs::write(at.lab.shared().join("go"), "").unwrap();
    at.ends(id, "COMPLETED");
    at.site.assert_none_drained().unwrap();
    // A job without directives has nothing to do with any of this.
    let id = at.submit("", "env | grep -c ^FOREBAY_ && exit 1; exit 0\n");
    at.ends(id, "COMPLETED");
    assert_eq!(at.site.phase(id), "", "a plain job has no record");
}

#[test]
fn mistakes_of_users_are_told_in_the_queue_or_at_submit_and_touch_no_node() {
    let at = start(false, SMALL);
    // Syntax: refused at submit, with line and column.
    let bad = at.script("#FOREBAY in COLD/set/ as=set redy=10%\n", "true\n");
    let refused = at.site.slurm.command(&User::alice(), "sbatch").input(bad.clone()).output().unwrap();
    assert!(
        !refused.status.success() && refused.stderr.contains("line 3, column") && refused.stderr.contains("redy"),
        "{refused:?}"
    );
    let put = "cat >bad.sh";
    at.lab.node("ctl").command("/bin/bash").args(["-euc", put]).user(&User::alice()).input(bad).run().unwrap();
    let (code, said) = at.job(&["check", "bad.sh"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("redy") && said.contains("E-DIR"), "{said}");
    // A source that is not there: pends with text, and runs when it has been put there.
    let missing = at.script("#FOREBAY in COLD/absent/ as=set\n", WORK);
    at.lab
        .node("ctl")
        .command("/bin/bash")
        .args(["-euc", "cat >missing.sh"])
        .user(&User::alice())
        .input(missing)
        .run()
        .unwrap();
    let (code, said) = at.job(&["check", "missing.sh"]);
    assert_eq!(code, Some(3), "{said}");
    let id = at.submit(&format!("#FOREBAY in COLD/absent/ as=set\n{SCRATCH}"), WORK);
    let job = at.waits_with(id, "E-IN-404");
    let comment = job.field("AdminComment");
    assert!(
        job.state() == "PENDING" && comment.contains("absent") && comment.contains(&format!("forebay job retry {id}")),
        "{}",
        job.text
    );
    assert_eq!(at.site.phase(id), "WAIT_USER");
    let (code, said) = at.job(&["wait", &id.to_string(), "--timeout", "5"]);
    assert_eq!(code, Some(5), "{said}");
    SMALL.lay(&at.cold.folder(&at.lab, "absent").unwrap(), &at.lab.shared().join("sums")).unwrap();
    let (code, said) = at.job(&["retry", &id.to_string()]);
    assert_eq!(code, Some(0), "{said}");
    at.ends(id, "COMPLETED");
    // A source that alice may not read.
    let secret = at.cold.folder(&at.lab, "secret").unwrap();
    std::fs::write(secret.join("x"), "x").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let id = at.submit("#FOREBAY in COLD/secret/ as=set\n", "true\n");
    let job = at.waits_with(id, "E-IN-403");
    assert!(job.field("AdminComment").contains("secret"), "{}", job.text);
    at.site.slurm.command(&User::alice(), "scancel").arg(id.to_string()).run().unwrap();
    at.ends(id, "CANCELLED");
    at.site.wait_phase(id, &["CLOSED"], SOON).unwrap();
    // No tier has it.
    let id = at.submit("#FOREBAY in s3://nowhere/set/ as=set\n", "true\n");
    at.waits_with(id, "E-IN-TIER");
    at.site.assert_none_drained().unwrap();
    let idle = at.site.slurm.command(&User::root(), "sinfo").args(["-h", "-o", "%T"]).run().unwrap();
    assert_eq!(idle.trim(), "idle");
}

#[test]
fn a_pending_job_shows_its_reason_and_progress_and_takes_no_node() {
    let mut at = start(true, Recipe { large_mib: 256, ..SMALL });
    let id = at.submit(&format!("{IN}{SCRATCH}"), WORK);
    let queue = |format: &str| {
        let asked = ["-h", "-j", &id.to_string(), "-O", format].map(str::to_owned);
        at.site.slurm.command(&User::alice(), "squeue").args(asked).run().unwrap()
    };
    // As soon as progress is shown the store hangs, so that there is time to look.
    let shown = wait::until("squeue shows progress", SOON, || {
        // As Slurm 22.05 spells it; later versions say AdminComment.
        let comment = queue("admin_comment:200");
        Ok(if comment.contains("% ") { wait::Seen::Yes(comment) } else { wait::Seen::NotYet(comment) })
    });
    at.cold.server().unwrap().signal(Signal::SIGSTOP).unwrap();
    let shown = shown.unwrap();
    assert!(shown.starts_with("forebay: ") && shown.contains("/256M"), "percent and bytes of 256 MiB: {shown}");
    assert_eq!(queue("Reason:40,State:20").split_whitespace().collect::<Vec<_>>(), ["JobHeldUser", "PENDING"]);
    let idle = at.site.slurm.command(&User::root(), "sinfo").args(["-h", "-o", "%T"]).run().unwrap();
    assert_eq!(idle.trim(), "idle", "a node was taken while the data was on its way");
    let (code, said) = at.job(&["status", &id.to_string()]);
    assert!(code == Some(0) && said.contains("STAGING") && said.contains(" hot, "), "{said}");
    let (code, said) = at.job(&["wait", &id.to_string(), "--timeout", "1"]);
    assert_eq!(code, Some(7), "{said}");
    let (code, said) = at.job(&["status", &id.to_string(), "--json"]);
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(code == Some(0) && status[0]["inputs"][0]["bytes"].as_u64() > Some(256 << 20), "{said}");
    at.cold.server().unwrap().signal(Signal::SIGCONT).unwrap();
    at.ends(id, "COMPLETED");
}

#[test]
fn a_requeued_job_finds_its_scratch_which_has_its_capacity_and_delivers_once() {
    let at = start(false, SMALL);
    let body = format!(
        "if [ \"${{FOREBAY_RESUMED:-0}}\" = 0 ]; then
            dd if=/dev/zero of=$FOREBAY_WORK/big bs=1M count=48 conv=fsync 2>&1 | grep 'Disk quota exceeded' || exit 7
            rm $FOREBAY_WORK/big; echo first >$FOREBAY_WORK/state; sync; touch /run/lab/shared/began; sleep 600
        fi
        grep -q first $FOREBAY_WORK/state || exit 1\n{WORK}{RECORD}"
    );
    let id = at.submit(&format!("{IN}#FOREBAY scratch capacity=16MiB\n{OUT}"), &body);
    let began = wait::until_true("the first attempt has begun", SOON, || at.lab.shared().join("began").exists());
    assert!(began.is_ok(), "{began:?}: {}", at.output(id));
    let control = |args: &[&str]| at.site.slurm.command(&User::root(), "scontrol").args(args).run().unwrap();
    control(&["requeue", &id.to_string()]);
    at.site.slurm.wait_job(id, "is queued again", SOON, |job| job.state() == "PENDING").unwrap();
    assert!(!at.cold.objects.join(format!("results/{id}")).exists(), "a requeued job's results were delivered");
    // Slurm itself waits two minutes here, in which the stager sees the second attempt.
    wait::until_true("the stager knows the second attempt", SOON, || {
        at.site.status(id).is_ok_and(|status| status["restart"] == 1 && status["phase"] == "READY")
    })
    .unwrap();
    control(&["update", &format!("jobid={id}"), "starttime=now"]);
    at.ends(id, "COMPLETED");
    at.assert_delivered(id, 2);
    at.site.assert_none_drained().unwrap();
}

#[test]
fn a_job_cancelled_while_its_data_comes_is_forgotten_and_one_released_early_fails_with_text() {
    let mut at = start(true, Recipe { large_mib: 64, ..SMALL });
    // The store hangs, so that staging does not end by itself.
    let store = at.cold.server().unwrap();
    store.signal(Signal::SIGSTOP).unwrap();
    let id = at.submit(&format!("{IN}{SCRATCH}"), WORK);
    at.site.wait_phase(id, &["RESOLVING", "STAGING", "WAIT_INFRA"], SOON).unwrap();
    assert_eq!(at.site.slurm.job(id).unwrap().state(), "PENDING");
    at.site.slurm.command(&User::alice(), "scancel").arg(id.to_string()).run().unwrap();
    at.ends(id, "CANCELLED");
    at.site.wait_phase(id, &["CANCELLING", "CLOSED"], SOON).unwrap();
    // alice may release the hold herself; then the job gets nodes and has to fail on them, with text.
    let id = at.submit(&format!("{IN}{SCRATCH}"), WORK);
    at.site.slurm.command(&User::alice(), "scontrol").args(["release", &id.to_string()]).run().unwrap();
    let job = at.site.slurm.wait_job_end(id, SOON).unwrap();
    assert_eq!(job.state(), "FAILED", "{}\n{}", job.text, at.output(id));
    let said = at.output(id);
    assert!(said.contains("forebay: E-"), "{said}");
    at.site.assert_none_drained().unwrap();
    at.cold.server().unwrap().signal(Signal::SIGCONT).unwrap();
    // A store that is away delays a job, and nobody has to do anything when it is back.
    at.cold.server().unwrap().kill().unwrap();
    let id = at.submit(&format!("{IN}{SCRATCH}{OUT}"), &format!("{WORK}{RECORD}"));
    at.site.wait_phase(id, &["WAIT_INFRA"], SOON).unwrap();
    at.waits_with(id, "waiting since");
    at.cold.server().unwrap().restart().unwrap();
    at.ends(id, "COMPLETED");
    at.assert_delivered(id, 2);
}

#[test]
fn the_stager_may_die_in_every_phase() {
    let mut at = start(false, Recipe { small_files: 300, large_mib: 64, ..SMALL });
    let id = at.submit(&format!("{IN}{SCRATCH}{OUT}"), &format!("{WORK}{RECORD}"));
    let (mut killed, start) = (Vec::new(), Instant::now());
    loop {
        let phase = at.site.phase(id);
        if !phase.is_empty() && !killed.contains(&phase) {
            at.site.crash_stagerd().unwrap();
            killed.push(phase.clone());
        }
        if phase == "CLOSED" {
            break;
        }
        assert!(start.elapsed() < 2 * SOON, "stuck in {phase} after {killed:?}: {:?}", at.site.status(id));
    }
    for phase in ["STAGING", "RUNNING", "CLOSED"] {
        assert!(killed.iter().any(|seen| seen == phase), "never seen in {phase}: {killed:?}");
    }
    at.ends(id, "COMPLETED");
    at.assert_delivered(id, 2);
    at.site.assert_none_drained().unwrap();
    let (code, said) = at.job(&["report", &id.to_string()]);
    assert!(code == Some(0) && said.contains("COMPLETED"), "{said}");
}

#[test]
fn a_node_without_its_client_fails_jobs_with_text_and_stays_in_service() {
    let at = start(false, SMALL);
    let n1 = at.lab.node("n1");
    n1.shell(&User::root(), "pkill -9 -x forebay-client; umount -l /mnt/forebay").unwrap();
    let id =
        at.site.slurm.submit(&User::alice(), &at.script(&format!("{IN}{SCRATCH}"), WORK), &["--no-requeue"]).unwrap();
    let job = at.site.slurm.wait_job_end(id, SOON).unwrap();
    assert_ne!(job.state(), "COMPLETED", "{}\n{}", job.text, at.output(id));
    assert!(at.output(id).contains("forebay: E-"), "{}\n{}", at.output(id), job.text);
    at.site.assert_none_drained().unwrap();
    // Jobs that do not ask for Forebay do not notice.
    let plain = at.submit("", "srun hostname\n");
    at.ends(plain, "COMPLETED");
    at.cluster.mount(&n1).unwrap();
    let id = at.submit(&format!("{IN}{SCRATCH}"), WORK);
    at.ends(id, "COMPLETED");
    // The client dies while a job runs: Epilog finds it dead, and the node is not drained for it.
    let id = at.submit(&format!("{IN}{SCRATCH}"), "touch /run/lab/shared/runs; sleep 600\n");
    wait::until_true("it runs", SOON, || at.lab.shared().join("runs").exists()).unwrap();
    n1.shell(&User::root(), "pkill -9 -x forebay-client; umount -l /mnt/forebay").unwrap();
    at.site.slurm.command(&User::alice(), "scancel").arg(id.to_string()).run().unwrap();
    at.ends(id, "CANCELLED");
    at.site.assert_none_drained().unwrap();
}
