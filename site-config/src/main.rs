//! `forebay-site`: checks `site.toml` and generates what Slurm and systemd need from it.
//!
//! Exit codes: 0 done, 2 wrong usage or a `site.toml` that is refused.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use forebay_site_config::{SiteConfig, SiteError, SlurmVersion, differences, generate};

/// Check site.toml, and generate Slurm's and systemd's configuration from it.
///
/// Exit codes: 0 done; 2 wrong usage, or a site.toml that is refused.
#[derive(Parser)]
#[command(name = "forebay-site", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Read site.toml, say what is wrong with it (file:line:column), or which settings are not the defaults.
    Check {
        #[command(flatten)]
        source: Source,
        /// Print one JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Print generated configuration to standard output.
    ///
    /// slurm.conf: lines to include from slurm.conf. plugstack: the line of plugstack.conf. job_submit:
    /// job_submit.lua, to lie beside slurm.conf. systemd: units, each after a comment with its name.
    Gen {
        /// What to generate.
        what: What,
        #[command(flatten)]
        source: Source,
        /// systemd only: write each unit as a file into this directory instead.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Print one JSON object, file names to contents, instead of text.
        #[arg(long, conflicts_with = "dir")]
        json: bool,
    },
}

#[derive(clap::Args)]
struct Source {
    /// The file to read [default: $FOREBAY_SITE, or /etc/forebay/site.toml].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Source {
    fn path(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(SiteConfig::default_path)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    #[value(name = "slurm.conf")]
    SlurmConf,
    #[value(name = "plugstack")]
    Plugstack,
    #[value(name = "job_submit")]
    JobSubmit,
    #[value(name = "systemd")]
    Systemd,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Task::Check { source, json } => check(&source.path(), json),
        Task::Gen { what, source, dir, json } => produce(what, &source.path(), dir.as_deref(), json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Writes to standard output; a reader that went away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

fn check(path: &Path, json: bool) -> anyhow::Result<()> {
    let config = SiteConfig::load(path);
    if json {
        let report = match &config {
            Ok(config) => serde_json::json!({ "ok": true, "file": path, "differences": differences(config) }),
            Err(SiteError::Refused { faults, .. }) => {
                serde_json::json!({ "ok": false, "file": path, "faults": faults })
            }
            Err(error) => serde_json::json!({ "ok": false, "file": path, "error": error.to_string() }),
        };
        print(&format!("{report}\n"))?;
    }
    let config = config?;
    if json {
        return Ok(());
    }
    let mut text = format!("{}: fine\n", path.display());
    for one in differences(&config) {
        let default = if one.default.is_null() { String::new() } else { format!("  (default {})", one.default) };
        text.push_str(&format!("  {} = {}{default}\n", one.key, one.value));
    }
    print(&text)
}

fn produce(what: What, path: &Path, dir: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let config = SiteConfig::load(path)?;
    if dir.is_some() && what != What::Systemd {
        bail!("--dir is for systemd's units; write the others with > FILE");
    }
    let files: Vec<(String, String)> = match what {
        What::SlurmConf => {
            let version = slurm_version(&config);
            vec![("slurm.conf".to_owned(), generate::slurm_conf(&config, version))]
        }
        What::Plugstack => vec![("plugstack.conf".to_owned(), generate::plugstack(&config))],
        What::JobSubmit => vec![("job_submit.lua".to_owned(), generate::job_submit())],
        What::Systemd => {
            let site = std::path::absolute(path).context("the path of site.toml")?;
            let units = generate::systemd(&config, &site.to_string_lossy());
            let titled = |unit: generate::Unit| {
                let title = format!("# {}: {}, by `forebay-site gen systemd`\n", unit.name, unit.hosts);
                (unit.name, title + &unit.content)
            };
            units.into_iter().map(titled).collect()
        }
    };
    if let Some(dir) = dir {
        for (name, content) in &files {
            let target = dir.join(name);
            std::fs::write(&target, content).with_context(|| format!("cannot write {}", target.display()))?;
        }
        return Ok(());
    }
    if json {
        let object: serde_json::Map<_, _> = files.into_iter().map(|(name, text)| (name, text.into())).collect();
        return print(&format!("{}\n", serde_json::Value::Object(object)));
    }
    let texts: Vec<String> = files.into_iter().map(|(_, content)| content).collect();
    print(&texts.join("\n"))
}

/// The version to generate for: as configured, or as the installed Slurm says, or else the oldest that works.
fn slurm_version(config: &SiteConfig) -> SlurmVersion {
    if config.cluster.slurm != SlurmVersion::Auto {
        return config.cluster.slurm;
    }
    let scontrol = &config.slurm.scontrol;
    let ask = |program: &Path, flag: &str| {
        let asked = Command::new(program).arg(flag).env("SLURM_CONF", &config.slurm.conf).output().ok()?;
        SlurmVersion::find_in(&String::from_utf8_lossy(&asked.stdout))
    };
    // The daemons answer without any configuration; scontrol waits long for a slurm.conf that is not there.
    let daemon = |name: &str| scontrol.parent()?.parent().map(|prefix| prefix.join("sbin").join(name));
    let found = daemon("slurmd")
        .and_then(|slurmd| ask(&slurmd, "-V"))
        .or_else(|| ask(&daemon("slurmctld")?, "-V"))
        .or_else(|| if config.slurm.conf.exists() { ask(scontrol, "--version") } else { None });
    found.unwrap_or_else(|| {
        let oldest = SlurmVersion::OLDEST;
        eprintln!(
            "forebay-site: {} and the daemons beside it do not tell Slurm's version, so {oldest} is assumed; set [cluster] slurm",
            scontrol.display()
        );
        oldest
    })
}
