//! `forebay job check`: what would happen to a script, without submitting it.

use forebay_directive::{Directives, Substitutions};
use forebay_wire::stager::{CheckReport, InputStatus, OutputStatus, Problem};

use crate::core::{read_directives, user_problem};
use crate::perform::{Performer, tier_user};

fn substitutions(script_of: Option<&nix::unistd::User>, uid: u32) -> Substitutions {
    Substitutions {
        job: 1,
        array_job: Some(1),
        array_task: Some(0),
        user: script_of.map_or_else(|| uid.to_string(), |user| user.name.clone()),
        job_name: "job".into(),
        work_dir: script_of.map_or_else(|| "/".into(), |user| user.dir.display().to_string()),
    }
}

/// Whether what a URI becomes is known before the job has an id.
fn is_fixed(uri: &str) -> bool {
    !uri.replace("%%", "").replace("%u", "").contains('%')
}

/// Parses a script and looks at its sources and destinations as its user.
pub async fn check(performer: &Performer, script: &str, uid: u32, gid: u32) -> CheckReport {
    let mut report = CheckReport { inputs: vec![], outputs: vec![], scratch_bytes: 0, problems: vec![] };
    let directives = match read_directives(script, "") {
        Ok(Some(directives)) => directives,
        Ok(None) => {
            let text = "the script has no #FOREBAY lines";
            report.problems.push(user_problem("E-DIR-NONE", text, "put them above the first command"));
            return report;
        }
        Err(problem) => {
            report.problems.push(problem);
            return report;
        }
    };
    report.scratch_bytes = directives.scratch.iter().filter_map(|scratch| scratch.capacity_bytes).sum();
    let user = match tier_user(uid, gid).await {
        Ok(user) => user,
        Err(problem) => {
            report.problems.push(problem);
            return report;
        }
    };
    let account = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    let with = substitutions(account.as_ref(), uid);
    for input in &directives.inputs {
        let looked = look(performer, script, input.source.as_str(), &with, &user, false).await;
        let (files, bytes) = noted(&mut report.problems, looked);
        report.inputs.push(InputStatus {
            name: input.name.clone(),
            uri: input.source.to_string(),
            files,
            bytes,
            ready_files: 0,
            ready_bytes: 0,
        });
    }
    check_outputs(performer, script, &directives, &with, &user, &mut report).await;
    report
}

async fn check_outputs(
    performer: &Performer,
    script: &str,
    directives: &Directives,
    with: &Substitutions,
    user: &forebay_wire::tier::TierUser,
    report: &mut CheckReport,
) {
    for output in &directives.outputs {
        let looked = look(performer, script, output.destination.as_str(), with, user, true).await;
        noted(&mut report.problems, looked);
        report.outputs.push(OutputStatus {
            path: output.path.to_string(),
            uri: output.destination.to_string(),
            files: 0,
            bytes: 0,
            done_files: 0,
            done_bytes: 0,
            committed: false,
            problem: None,
        });
    }
}

/// Files and bytes of one URI. One that depends on the job's id is only known when the job is submitted.
async fn look(
    performer: &Performer,
    script: &str,
    uri: &str,
    with: &Substitutions,
    user: &forebay_wire::tier::TierUser,
    write: bool,
) -> Result<(u64, u64), Problem> {
    let placed = |mut problem: Problem| {
        let at = script.lines().enumerate().find_map(|(line, text)| {
            let column = text.find(uri).filter(|_| text.trim_start().starts_with("#FOREBAY"))?;
            Some((line as u32 + 1, text[..column].chars().count() as u32 + 1))
        });
        (problem.line, problem.column) = at.unwrap_or_default();
        problem
    };
    let expanded = forebay_directive::expand(uri, with)
        .map_err(|error| placed(user_problem("E-DIR-VALUE", error.to_string(), "correct the directive")))?;
    if !is_fixed(uri) && !write {
        return Ok((0, 0));
    }
    let found = performer.probe(&expanded, user.clone(), write).await.map_err(placed)?;
    Ok((found.files, found.bytes))
}

fn noted(problems: &mut Vec<Problem>, looked: Result<(u64, u64), Problem>) -> (u64, u64) {
    looked.unwrap_or_else(|problem| {
        problems.push(problem);
        (0, 0)
    })
}
