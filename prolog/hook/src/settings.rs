//! A hook's settings: the command line, else `site.toml`, else defaults. Never the environment, which users reach.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_wire::node::{DEFAULT_JOB_DIR, DEFAULT_SOCKET};

/// Where the site's configuration is unless `--site` says otherwise.
pub const DEFAULT_SITE: &str = "/etc/forebay/site.toml";
/// Longest `site.toml` that is read, in bytes.
const MAX_SITE_BYTES: u64 = 1 << 20;
/// Longest budget that is taken, so that a slip of a unit does not hold a node for days.
const MAX_BUDGET: Duration = Duration::from_secs(3600);

/// A setting that cannot be used; the hook goes on with its default.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// An unknown flag, or one without its value.
    #[error("{flag}: {reason}; known are --site FILE, --socket PATH, --job-dir DIR, --budget-ms N")]
    Flag {
        /// The flag.
        flag: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `site.toml` exists and cannot be read.
    #[error("{}: {reason}; defaults are used until `forebay-site check` passes", path.display())]
    Site {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where a hook asks, where it keeps state, and how long it may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// Directory of job state files.
    pub job_dir: PathBuf,
    /// Longest time the hook may take.
    pub budget: Duration,
}

impl Settings {
    /// Settings of a hook whose budget is `[section] key` of `site.toml`, in words as `15s`, or else `default`. Every
    /// problem is reported beside usable settings, because a hook must go on.
    #[must_use]
    pub fn load(
        args: impl Iterator<Item = OsString>,
        (section, key): (&str, &str),
        default: Duration,
    ) -> (Self, Vec<SettingsError>) {
        let mut problems = Vec::new();
        let flags = Flags::parse(args, &mut problems);
        let site_path = flags.site.unwrap_or_else(|| PathBuf::from(DEFAULT_SITE));
        let site = read_site(&site_path).unwrap_or_else(|reason| {
            problems.push(SettingsError::Site { path: site_path.clone(), reason });
            toml::Table::new()
        });
        let text = |section: &str, key: &str| site.get(section)?.get(key)?.as_str().map(str::to_owned);
        let budget = text(section, key).and_then(|words| {
            let parsed = parse_duration(&words);
            if parsed.is_none() {
                let reason = format!("[{section}] {key} = {words:?} is no duration as \"15s\" of at most 1h");
                problems.push(SettingsError::Site { path: site_path.clone(), reason });
            }
            parsed
        });
        let settings = Self {
            socket: flags.socket.or_else(|| text("socket", "node").map(PathBuf::from)).unwrap_or(DEFAULT_SOCKET.into()),
            job_dir: flags.job_dir.unwrap_or(DEFAULT_JOB_DIR.into()),
            budget: flags.budget.or(budget).unwrap_or(default),
        };
        (settings, problems)
    }
}

#[derive(Default)]
struct Flags {
    site: Option<PathBuf>,
    socket: Option<PathBuf>,
    job_dir: Option<PathBuf>,
    budget: Option<Duration>,
}

impl Flags {
    fn parse(mut args: impl Iterator<Item = OsString>, problems: &mut Vec<SettingsError>) -> Self {
        let mut flags = Self::default();
        while let Some(flag) = args.next() {
            let name = flag.to_string_lossy().into_owned();
            if !["--site", "--socket", "--job-dir", "--budget-ms"].contains(&name.as_str()) {
                problems.push(SettingsError::Flag { flag: name, reason: "unknown" });
                continue;
            }
            let Some(value) = args.next() else {
                problems.push(SettingsError::Flag { flag: name, reason: "value expected" });
                break;
            };
            match name.as_str() {
                "--site" => flags.site = Some(value.into()),
                "--socket" => flags.socket = Some(value.into()),
                "--job-dir" => flags.job_dir = Some(value.into()),
                _ => match value.to_str().and_then(|v| v.parse().ok()).map(Duration::from_millis) {
                    Some(budget) if !budget.is_zero() && budget <= MAX_BUDGET => flags.budget = Some(budget),
                    _ => problems.push(SettingsError::Flag { flag: name, reason: "1 to 3600000 expected" }),
                },
            }
        }
        flags
    }
}

/// Reads `site.toml`; an absent one is an empty one.
fn read_site(path: &Path) -> Result<toml::Table, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(toml::Table::new()),
        Err(e) => return Err(e.to_string()),
    };
    let mut text = String::new();
    file.take(MAX_SITE_BYTES + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > MAX_SITE_BYTES {
        return Err(format!("longer than {MAX_SITE_BYTES} bytes"));
    }
    text.parse::<toml::Table>().map_err(|e| e.message().to_owned())
}

/// A duration in words: a whole number and `ms`, `s`, `m` or `h`, above zero and at most an hour.
fn parse_duration(words: &str) -> Option<Duration> {
    let digits = words.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let value: u64 = digits.parse().ok()?;
    let unit_ms = match &words[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let duration = Duration::from_millis(value.checked_mul(unit_ms)?);
    (!duration.is_zero() && duration <= MAX_BUDGET).then_some(duration)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
