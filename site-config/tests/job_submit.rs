//! The generated `job_submit.lua` accepts and refuses exactly what `forebay-directive` does, with the same words, and
//! marks and holds jobs as the stager expects. Needs a Lua interpreter, 5.1 to 5.4; says so and ends where there is none.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use forebay_directive::{Directives, mark};
use forebay_site_config::generate;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// A job as it comes to slurmctld.
#[derive(Clone, Default, Debug)]
struct Job {
    script: Option<String>,
    option: Option<String>,
    env: Option<&'static str>,
    priority: Option<u32>,
    comment: Option<&'static str>,
    uid: u32,
}

/// The job as job_submit.lua left it.
#[derive(Debug)]
struct Outcome {
    accepted: bool,
    message: String,
    script: Option<String>,
    priority: Option<String>,
    comment: Option<String>,
    env: Option<String>,
}

fn batch(script: &str) -> Job {
    Job { script: Some(script.to_owned()), uid: 1000, ..Job::default() }
}

fn interactive(option: &str) -> Job {
    Job { option: Some(option.to_owned()), uid: 1000, ..Job::default() }
}

/// Every Lua that Slurm may be built with and that is installed here.
fn interpreters() -> Vec<&'static str> {
    let runs = |name: &&str| Command::new(name).arg("-v").output().is_ok();
    let found: Vec<&str> = ["lua5.1", "lua5.2", "lua5.3", "lua5.4", "lua"].into_iter().filter(runs).collect();
    if found.is_empty() {
        eprintln!("SKIPPED: no Lua interpreter, so job_submit.lua is not run; apt-get install lua5.1 lua5.3");
    }
    found
}

fn lua_string(text: &str) -> String {
    text.bytes().fold(String::from("\""), |mut out, byte| {
        write!(out, "\\{byte:03}").unwrap();
        out
    }) + "\""
}

/// Runs the generated script over all jobs, in one interpreter as slurmctld does, once with every Lua there is: all
/// must do the same. `None` where there is none.
fn submit(jobs: &[Job]) -> Option<Vec<Outcome>> {
    let interpreters = interpreters();
    let first = interpreters.first()?;
    let dir = tempfile::tempdir().unwrap();
    let (generated, cases) = (dir.path().join("job_submit.lua"), dir.path().join("cases.lua"));
    std::fs::write(&generated, generate::job_submit()).unwrap();
    let mut text = String::from("local all = {}\n");
    for job in jobs {
        let mut fields = format!("uid = {}", job.uid);
        for (key, value) in [
            ("script", job.script.as_deref()),
            ("option", job.option.as_deref()),
            ("env", job.env),
            ("comment", job.comment),
        ] {
            if let Some(value) = value {
                write!(fields, ", {key} = {}", lua_string(value)).unwrap();
            }
        }
        if let Some(priority) = job.priority {
            write!(fields, ", priority = {priority}").unwrap();
        }
        writeln!(text, "all[#all + 1] = {{ {fields} }}").unwrap();
    }
    text.push_str("return all\n");
    std::fs::write(&cases, text).unwrap();
    // Asked when it runs: two checkouts that share a build folder share the compiled test as well.
    let of_crate = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo or nextest runs this");
    let driver = Path::new(&of_crate).join("tests/driver.lua");
    let run = |lua: &str| {
        let ran = Command::new(lua).args([&driver, &generated, &cases]).output().unwrap();
        assert!(ran.status.success(), "{lua}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    let printed = run(first);
    for other in &interpreters[1..] {
        assert!(run(other) == printed, "{first} and {other} differ");
    }
    let outcomes: Vec<Outcome> = printed.lines().map(outcome).collect();
    assert_eq!(outcomes.len(), jobs.len());
    Some(outcomes)
}

fn outcome(line: &str) -> Outcome {
    let mut fields = line.split(' ').map(|field| {
        let digits = field.strip_prefix('=')?;
        let bytes = (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap());
        Some(String::from_utf8(bytes.collect()).unwrap())
    });
    let accepted = line.starts_with("0 ");
    fields.next();
    let mut next = || fields.next().expect("six fields");
    let message = next().unwrap_or_default();
    Outcome { accepted, message, script: next(), priority: next(), comment: next(), env: next() }
}

/// Asserts that both readers say the same of every job.
fn assert_same(jobs: &[Job]) {
    let Some(outcomes) = submit(jobs) else { return };
    let mut refused = 0;
    for (job, outcome) in jobs.iter().zip(outcomes) {
        let (script, option) = (job.script.as_deref().unwrap_or(""), job.option.as_deref().unwrap_or(""));
        match Directives::from_script_and_option(script, option) {
            Ok(said) => {
                assert!(outcome.accepted, "{job:?}\n{outcome:?}");
                let left = outcome.script.as_deref().unwrap_or("");
                if job.script.is_some() && !option.is_empty() {
                    let mut found = Directives::from_script(left).unwrap();
                    assert!(left.ends_with(script.split_once('\n').map_or("", |(_, rest)| rest)), "{left}");
                    sort(&mut found);
                    let mut said = said.clone();
                    sort(&mut said);
                    assert_eq!(found, said, "{job:?}\n{left}");
                }
                let held = job.priority == Some(0) || outcome.comment.is_some();
                assert_eq!(outcome.priority.is_some(), held, "{job:?}");
            }
            Err(error) => {
                refused += 1;
                assert!(!outcome.accepted, "{job:?}\n{error}");
                assert_eq!(outcome.message, format!("forebay: {error}"), "{job:?}");
                assert_eq!((&outcome.script, &outcome.comment), (&job.script, &None));
            }
        }
    }
    assert!(refused > 0 && refused < jobs.len(), "{refused} of {} refused", jobs.len());
}

/// Option text comes before the script's own lines once it is written into the script.
fn sort(directives: &mut Directives) {
    directives.scratch.sort_by(|a, b| a.name.cmp(&b.name));
    directives.inputs.sort_by(|a, b| a.name.cmp(&b.name));
    directives.outputs.sort_by(|a, b| a.destination.as_str().cmp(b.destination.as_str()));
}

const LINES: &[&str] = &[
    "",
    "# a comment",
    "#FOREBAY",
    "#FOREBAY ",
    "#FOREBAY # only a comment",
    "#FOREBAYin s3://b/x",
    "#FOREBAY_BB v=1",
    " #FOREBAY nonsense",
    "#FOREBAY scratch",
    "#FOREBAY\tscratch\tname=fast  capacity=20TiB keep=72h # why",
    "#FOREBAY scratch name=a name=b",
    "#FOREBAY scratch name=",
    "#FOREBAY scratch name=\"\"",
    "#FOREBAY scratch name=..",
    "#FOREBAY scratch name=\"é\"",
    "#FOREBAY scratch capcity=1G",
    "#FOREBAY scratch Capacity=1G",
    "#FOREBAY scratch pacacity=1G",
    "#FOREBAY scratch layout=striped",
    "#FOREBAY scratch capacity=1",
    "#FOREBAY scratch capacity=0G",
    "#FOREBAY scratch capacity=1.5G",
    "#FOREBAY scratch capacity=8191PiB",
    "#FOREBAY scratch capacity=8192PiB",
    "#FOREBAY scratch capacity=9223372036854775807K",
    "#FOREBAY scratch capacity=00000000000000000000000001kb",
    "#FOREBAY scratch capacity=99999999999999999999999K",
    "#FOREBAY scratch capacity=é",
    "#FOREBAY scratch keep=3650d",
    "#FOREBAY scratch keep=3651d",
    "#FOREBAY scratch keep=87600h",
    "#FOREBAY scratch keep=1w",
    "#FOREBAY scratch word",
    "#FOREBAY scratch nam",
    "#FOREBAY scrath",
    "#FOREBAY SCRATCH",
    "#FOREBAY in=x",
    "#FOREBAY \"in\" s3://b/x",
    "#FOREBAY use dataset=laion@v7",
    "#FOREBAY in",
    "#FOREBAY in s3://org/set/",
    "#FOREBAY in s3://org/my-set as=my.set ready=none",
    "#FOREBAY in s3://org/set_files",
    "#FOREBAY in s3://b",
    "#FOREBAY in s3://b/",
    "#FOREBAY in s3://b//",
    "#FOREBAY in s3://b/a//b",
    "#FOREBAY in s3://b/../b",
    "#FOREBAY in s3://.b/x",
    "#FOREBAY in s3:///x",
    "#FOREBAY in s3://b:c/x",
    "#FOREBAY in s3://b/%u/",
    "#FOREBAY in s3://b/%u/ as=mine",
    "#FOREBAY in s3://b/%é",
    "#FOREBAY in s3://b/%",
    "#FOREBAY in s3://b/100%%",
    "#FOREBAY in s3://b/$HOME",
    "#FOREBAY in \"s3://b/é $HOME\"",
    "#FOREBAY in 's3://b/a b;c' as=x",
    "#FOREBAY in \"s3://b/a \\\"b\\\\\" as=x",
    "#FOREBAY in \"s3://b/a \\x\" as=x",
    "#FOREBAY in \"s3://b/a",
    "#FOREBAY in \"s3://b/a\"b",
    "#FOREBAY in s3://b/a\\ b",
    "#FOREBAY in s3://b/x; scratch",
    "#FOREBAY in s3://b/x\r",
    "#FOREBAY in \"s3://b/\tx\"",
    "#FOREBAY in s3://b/x s3://b/y",
    "#FOREBAY in s3://b/x as = y",
    "#FOREBAY in s3://b/x az=y",
    "#FOREBAY in s3://b/x version=pin ready=100%",
    "#FOREBAY in s3://b/x version=latest",
    "#FOREBAY in s3://b/x ready=10%",
    "#FOREBAY in s3://b/x include=*.jpg,a/**",
    "#FOREBAY in s3://b/x exclude=,a",
    "#FOREBAY in s3://b/x mode=cow",
    "#FOREBAY in /data/x",
    "#FOREBAY in posix:/data/x",
    "#FOREBAY in gs://b/x",
    "#FOREBAY in file:///data/x/",
    "#FOREBAY in file://%d/x",
    "#FOREBAY in file://host/x",
    "#FOREBAY in file:///",
    "#FOREBAY out work:results/ s3://b/results/%j/",
    "#FOREBAY out work: file:///out when=always conflict=version required=no marker=DONE",
    "#FOREBAY out fast:r s3://b/fast",
    "#FOREBAY out work:../x s3://b/",
    "#FOREBAY out work:/x s3://b/",
    "#FOREBAY out results s3://b/",
    "#FOREBAY out work:x",
    "#FOREBAY out work:x s3://b/ when=sometimes",
    "#FOREBAY out work:x s3://b/ pack=none",
    "#FOREBAY opt gate=hold wait=12h",
    "#FOREBAY opt gate=lazy",
    "#FOREBAY opt gate=bb",
    "#FOREBAY opt gate=held",
    "#FOREBAY opt on_error=cancel notify=none",
    "#FOREBAY opt notify=mail,comment",
    "#FOREBAY opt priority=high",
    "#FOREBAY opt",
    "srun true",
];

#[test]
fn every_line_is_judged_alike() {
    let mut jobs: Vec<Job> = LINES.iter().map(|line| batch(&format!("#!/bin/bash\n{line}\nsrun true\n"))).collect();
    jobs.extend(LINES.iter().filter_map(|line| line.strip_prefix("#FOREBAY")).map(interactive));
    for line in LINES {
        jobs.push(batch(&format!("#!/bin/bash\n#FOREBAY scratch\n{line}")));
        jobs.push(Job { option: Some("scratch; in s3://c/set".to_owned()), ..batch(&format!("#!/bin/sh\n{line}\n")) });
    }
    jobs.push(batch(&format!("#!/bin/sh\n{}", "#FOREBAY in s3://b/x\n".repeat(257))));
    jobs.push(batch(&format!("#!/bin/sh\n#FOREBAY in s3://b/{}", "x".repeat(4091))));
    jobs.push(batch(&format!("#!/bin/sh\n#FOREBAY in s3://b/{} as=x", "x".repeat(4089))));
    jobs.push(batch(&format!("#!/bin/sh\n#FOREBAY in s3://{}/x", "b".repeat(64))));
    jobs.push(batch(&format!("#!/bin/sh\n#FOREBAY scratch name={}", "n".repeat(65))));
    jobs.push(interactive(&format!("in s3://b/x include={}", "x".repeat(65536))));
    jobs.push(batch(&format!("{}#FOREBAY scratch\n", "# a long comment at the head\n".repeat(40_000))));
    assert_same(&jobs);
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(LINES).prop_map(|line| format!("{line}\n")),
        2 => prop::sample::select(LINES).prop_flat_map(|line| {
            let characters: Vec<char> = line.chars().collect();
            (0..=characters.len(), 0..3usize, "[ -~é\t]{0,2}").prop_map(move |(at, cut, put)| {
                let end = (at + cut).min(characters.len());
                let head: String = characters[..at].iter().collect();
                let tail: String = characters[end..].iter().collect();
                format!("{head}{put}{tail}\n")
            })
        }),
        1 => "#FOREBAY [a-z]{1,8} [ -~]{0,30}\n",
    ]
}

#[test]
fn thousands_of_scripts_are_judged_alike() {
    let mut runner = TestRunner::deterministic();
    let scripts = prop::collection::vec(piece(), 1..4);
    let options = prop::option::weighted(0.2, prop::collection::vec(piece(), 1..3));
    let jobs: Vec<Job> = (0..4000)
        .map(|_| {
            let script = scripts.new_tree(&mut runner).unwrap().current().concat();
            let option = options.new_tree(&mut runner).unwrap().current();
            let option = option.map(|pieces| pieces.concat().replace("#FOREBAY", "").replace('\n', ";"));
            Job { option, ..batch(&format!("#!/bin/bash\n{script}")) }
        })
        .collect();
    assert_same(&jobs);
}

#[test]
fn jobs_with_directives_are_marked_and_held() {
    let staged = "#!/bin/bash\n#FOREBAY in s3://b/x\nsrun true\n";
    let jobs = [
        batch(staged),
        batch(&format!("#!/bin/bash\n#FOREBAY opt gate=lazy\n{staged}")),
        batch("#!/bin/bash\n#FOREBAY scratch\n"),
        batch("#!/bin/bash\n#FOREBAY in s3://b/x ready=none\n"),
        Job { priority: Some(0), ..batch(staged) },
        interactive("in s3://b/x; scratch"),
        Job { option: Some("in s3://b/y; scratch # said".into()), ..batch("#!/bin/bash") },
    ];
    let Some(out) = submit(&jobs) else { return };
    let comments: Vec<&str> = out.iter().map(|one| one.comment.as_deref().unwrap_or("")).collect();
    assert_eq!(comments[..4], [mark::COMMENT_WAITING; 4]);
    assert_eq!(comments[4], mark::COMMENT_USER_HOLD);
    assert_eq!(comments[5], format!("{}in s3://b/x; scratch", mark::COMMENT_REQUEST));
    let held: Vec<bool> = out.iter().map(|one| one.priority.as_deref() == Some("0")).collect();
    assert_eq!(held, [true; 7]);
    assert!(out.iter().all(|one| one.accepted));
    assert!(out[..5].iter().all(|one| one.env.as_deref() == Some("1")));
    assert_eq!(out[6].script.as_deref(), Some("#!/bin/bash\n#FOREBAY in s3://b/y\n#FOREBAY scratch\n"));
    assert_eq!(out[0].script.as_deref(), Some(staged));
}

#[test]
fn jobs_without_directives_are_left_alone() {
    let plain = "#!/bin/bash\nsrun true\n";
    let jobs = [
        batch(plain),
        Job { env: Some("1"), ..batch(plain) },
        interactive(""),
        Job { comment: Some("forebay: waiting for data"), ..batch(plain) },
        Job { comment: Some("forebay: kept"), uid: 0, ..batch(plain) },
        Job { comment: Some("site note"), ..batch(plain) },
    ];
    let Some(out) = submit(&jobs) else { return };
    assert_eq!(out.iter().map(|one| one.accepted).collect::<Vec<_>>(), [true, true, true, false, true, true]);
    assert!(out.iter().all(|one| one.priority.is_none()));
    assert_eq!(out[0].script.as_deref(), Some(plain));
    assert_eq!((out[0].env.as_deref(), out[1].env.as_deref()), (None, Some("0")));
    assert!(out[3].message.contains("kept for jobs with directives"));
}
