//! `forebay-lab`: the processes a lab is made of, and the way into a lab from another terminal.

use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use forebay_tests::node::User;
use forebay_tests::ns::Namespaces;
use forebay_tests::spec::{self, LabRecord};
use forebay_tests::{Lab, Slurm, SlurmSettings, init, keeper, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const USAGE: &str = "\
usage: forebay-lab list                                          the labs of this machine, with their nodes
       forebay-lab hold NODES HOSTS                              a plain Slurm of NODES nodes beside HOSTS storage hosts, until Ctrl-C
       forebay-lab up NODES HOSTS                                the same, until forebay-lab down
       forebay-lab shell LAB NODE [--user NAME] [COMMAND...]     a shell, or a command, on a node
       forebay-lab down LAB                                      end a lab";
const DOWN: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["__keeper", id] => keeper::run(id).map_err(Into::into),
        ["__hub", state] => init::hub(Path::new(state)).map_err(Into::into),
        ["__node", state, name] => init::node_parent(Path::new(state), name).map_err(Into::into),
        ["__node-init", state, name] => init::node(Path::new(state), name).map_err(Into::into),
        ["list"] => list(),
        ["hold", nodes, hosts] => start(nodes, hosts).and_then(hold),
        ["up", nodes, hosts] => start(nodes, hosts).and_then(up),
        ["down", id] => down(id),
        ["shell", id, node, "--user", user, command @ ..] => return shell(id, node, user, command),
        ["shell", id, node, command @ ..] => return shell(id, node, "root", command),
        ["--help" | "-h" | "help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    done.map_or_else(failed, |()| ExitCode::SUCCESS)
}

fn failed(error: anyhow::Error) -> ExitCode {
    eprintln!("forebay-lab: {error:#}");
    ExitCode::FAILURE
}

fn record(id: &str) -> Result<LabRecord> {
    spec::read(&spec::state_dir(id).join("lab.json"))
        .with_context(|| format!("no lab {id} runs here (forebay-lab list shows them)"))
}

fn list() -> Result<()> {
    for entry in std::fs::read_dir(spec::STATE_PARENT)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(Ok(lab)) = name.strip_prefix(spec::STATE_PREFIX).map(record) {
            println!("{} {}", lab.id, lab.nodes.keys().cloned().collect::<Vec<_>>().join(" "));
        }
    }
    Ok(())
}

/// Prints the footprint as one line of JSON when everything is up.
fn start(nodes: &str, hosts: &str) -> Result<Lab> {
    let (nodes, hosts) = (nodes.parse().context("NODES")?, hosts.parse().context("HOSTS")?);
    let lab = Lab::builder().slurm_nodes(nodes).storage_hosts(hosts).start()?;
    Slurm::start(&lab, &SlurmSettings::default())?;
    println!("{}", serde_json::to_string(&lab.footprint())?);
    Ok(lab)
}

fn hold(lab: Lab) -> Result<()> {
    Ok(lab.wait_for_end()?)
}

fn up(lab: Lab) -> Result<()> {
    println!("forebay-lab shell {0} ctl; forebay-lab down {0}", lab.detach()?);
    Ok(())
}

fn down(id: &str) -> Result<()> {
    let lab = record(id)?;
    kill(Pid::from_raw(lab.keeper_pid.cast_signed()), Signal::SIGTERM).context("signal the lab's keeper")?;
    wait::until_true("the lab has ended", DOWN, || !spec::state_dir(id).exists())?;
    Ok(())
}

fn shell(id: &str, node: &str, user: &str, command: &[&str]) -> ExitCode {
    run_shell(id, node, user, command).unwrap_or_else(failed)
}

fn run_shell(id: &str, node: &str, user: &str, words: &[&str]) -> Result<ExitCode> {
    let lab = record(id)?;
    let Some(&pid) = lab.nodes.get(node) else { bail!("lab {id} has no running node {node}") };
    let user = match user {
        "root" => User::root(),
        "alice" => User::alice(),
        "bob" => User::bob(),
        other => bail!("no user {other} in a lab: root, alice or bob"),
    };
    let (program, args) = words.split_first().unwrap_or((&"/bin/bash", &[]));
    let mut command = Command::new(program);
    command.args(args).env("USER", &user.name).env("LOGNAME", &user.name).env("HOME", &user.home);
    command.env("PATH", forebay_tests::node::PATH).env(spec::MARK, id).env("PS1", format!("{}@{node}$ ", user.name));
    command.current_dir(if user.uid == 0 { "/" } else { &user.home });
    if user.uid != 0 {
        command.uid(user.uid).gid(user.gid);
    }
    let status = Namespaces::of(pid)?.spawn(&mut command).with_context(|| format!("cannot run {program}"))?.wait()?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
