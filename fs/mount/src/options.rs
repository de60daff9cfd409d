//! What `mount` is told: the source and the options.

use std::path::PathBuf;
use std::time::Duration;

use forebay_wire::node::DEFAULT_SOCKET;

use crate::MountError;

/// Port of a host that is named without one.
pub const DEFAULT_PORT: u16 = 7440;
/// Where the cluster's key is unless `key=` says otherwise.
pub const DEFAULT_KEY: &str = "/etc/forebay/cluster.key";
/// Where the daemon logs unless `log=` says otherwise.
pub const DEFAULT_LOG: &str = "/var/log/forebay-client.log";
/// How long an operation is tried unless `timeo=` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of fstab, mount(8) and systemd that mean nothing to us.
const IGNORED: [&str; 15] = [
    "defaults",
    "auto",
    "noauto",
    "user",
    "users",
    "nouser",
    "owner",
    "group",
    "nofail",
    "_netdev",
    "relatime",
    "norelatime",
    "strictatime",
    "silent",
    "loud",
];

/// Which filesystem: `HOST[:PORT][,HOST...]/FILESYSTEM`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountSource {
    /// Addresses of hosts, each with its port.
    pub seeds: Vec<String>,
    /// Name of the filesystem.
    pub filesystem: String,
    /// As it was given, which is what `/proc/mounts` shows.
    pub text: String,
}

impl MountSource {
    /// Reads a source.
    pub fn parse(text: &str) -> Result<Self, MountError> {
        let wrong = |reason| MountError::Source { given: text.into(), reason };
        let (hosts, filesystem) = text.rsplit_once('/').ok_or_else(|| wrong("names no filesystem"))?;
        if filesystem.is_empty() {
            return Err(wrong("names no filesystem"));
        }
        let seeds: Option<Vec<String>> = hosts.split(',').map(address).collect();
        let seeds = seeds.ok_or_else(|| wrong("has a host that is none"))?;
        Ok(Self { seeds, filesystem: filesystem.into(), text: text.into() })
    }
}

/// A host with its port, [`DEFAULT_PORT`] where it has none; an IPv6 address in brackets. `None` where it is no host.
fn address(host: &str) -> Option<String> {
    let bare_v6 = !host.starts_with('[') && host.matches(':').count() > 1;
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !bare_v6 && !port.ends_with(']') => (name, port.parse().ok().filter(|port| *port != 0)?),
        _ => (host, DEFAULT_PORT),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-:[]%".contains(c);
    if name.is_empty() || !name.chars().all(legal) {
        return None;
    }
    Some(if bare_v6 { format!("[{name}]:{port}") } else { format!("{name}:{port}") })
}

/// The options after `-o`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountOptions {
    /// `ro`: nothing can be written.
    pub read_only: bool,
    /// `suid`: programs' set-user-id bits count. Off unless asked for.
    pub suid: bool,
    /// `dev`: device files are devices. Off unless asked for.
    pub dev: bool,
    /// `exec`: programs may be run.
    pub exec: bool,
    /// `noatime`.
    pub no_atime: bool,
    /// `sync`: every write is durable when it returns.
    pub sync: bool,
    /// `timeo=SECONDS`: how long an operation is tried before it fails.
    pub timeout: Duration,
    /// `key=FILE`.
    pub key: PathBuf,
    /// `node_socket=PATH`, absent for `none`.
    pub node_socket: Option<PathBuf>,
    /// `log=FILE`.
    pub log: PathBuf,
    /// `name=NAME`: this client's name, for people; else the host's.
    pub name: Option<String>,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            suid: false,
            dev: false,
            exec: true,
            no_atime: false,
            sync: false,
            timeout: DEFAULT_TIMEOUT,
            key: DEFAULT_KEY.into(),
            node_socket: Some(DEFAULT_SOCKET.into()),
            log: DEFAULT_LOG.into(),
            name: None,
        }
    }
}

impl MountOptions {
    /// Reads a list as mount(8) gives it. Where one says the opposite of an earlier one, the later counts. With
    /// `sloppy`, options nobody knows are passed over.
    pub fn parse(list: &str, sloppy: bool) -> Result<Self, MountError> {
        let mut options = Self::default();
        for option in list.split(',').filter(|option| !option.is_empty()) {
            let known = match option.split_once('=') {
                Some((key, value)) => options.take_value(key, value, option)?,
                None => options.take_flag(option),
            };
            if !known && !sloppy {
                return Err(unknown(option));
            }
        }
        Ok(options)
    }

    fn take_flag(&mut self, option: &str) -> bool {
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "suid" => self.suid = true,
            "nosuid" => self.suid = false,
            "dev" => self.dev = true,
            "nodev" => self.dev = false,
            "exec" => self.exec = true,
            "noexec" => self.exec = false,
            "atime" => self.no_atime = false,
            "noatime" => self.no_atime = true,
            "sync" => self.sync = true,
            "async" => self.sync = false,
            other => return IGNORED.contains(&other) || other.starts_with("x-"),
        }
        true
    }

    fn take_value(&mut self, key: &str, value: &str, option: &str) -> Result<bool, MountError> {
        let wrong = |reason: &str| MountError::Option { option: option.into(), reason: reason.into() };
        let path = || match value.starts_with('/') {
            true => Ok(PathBuf::from(value)),
            false => Err(wrong("must name a file by its absolute path")),
        };
        match key {
            "timeo" => {
                let seconds = value.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
                let seconds = seconds.ok_or_else(|| wrong("must be a number of seconds, from 1 to 86400"))?;
                self.timeout = Duration::from_secs(seconds);
            }
            "key" => self.key = path()?,
            "log" => self.log = path()?,
            "node_socket" if value == "none" => self.node_socket = None,
            "node_socket" => self.node_socket = Some(path()?),
            "name" if value.is_empty() => return Err(wrong("must not be empty")),
            "name" => self.name = Some(value.into()),
            "comment" => {}
            other => return Ok(other.starts_with("x-")),
        }
        Ok(true)
    }
}

fn unknown(option: &str) -> MountError {
    let reason = match option {
        "remount" => "is not supported: umount, then mount with the new options".into(),
        _ => "is not known; there are ro, rw, suid, dev, noexec, noatime, sync, timeo=SECONDS, key=FILE, log=FILE, \
              node_socket=PATH|none and name=NAME"
            .into(),
    };
    MountError::Option { option: option.into(), reason }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
