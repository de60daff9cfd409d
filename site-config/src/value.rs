//! Values with a form of their own.

use std::fmt;
use std::str::FromStr;

use forebay_directive::{parse_duration_s, print_duration};
use serde::{Deserialize, Serialize};

/// A duration, written as in "30m" or "72h".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seconds(pub u64);

impl Seconds {
    /// The same as the standard library's.
    #[must_use]
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0)
    }
}

impl TryFrom<String> for Seconds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration_s(&text).map(Self).map_err(|found| format!("{}; {}", found.text, found.remedy))
    }
}

impl From<Seconds> for String {
    fn from(seconds: Seconds) -> Self {
        seconds.to_string()
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print_duration(self.0))
    }
}

/// How often something is tried: "forever", or a number of at least 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "RetriesForm", into = "RetriesForm")]
pub enum Retries {
    /// Until another limit ends it.
    Forever,
    /// This often.
    AtMost(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "retries is \"forever\" or a number from 1; write retries = \"forever\" or retries = 5")]
enum RetriesForm {
    Number(u32),
    Word(String),
}

impl TryFrom<RetriesForm> for Retries {
    type Error = String;

    fn try_from(form: RetriesForm) -> Result<Self, String> {
        match form {
            RetriesForm::Number(n) if n > 0 => Ok(Self::AtMost(n)),
            RetriesForm::Word(word) if word == "forever" => Ok(Self::Forever),
            RetriesForm::Number(n) => Err(format!("{n} retries; write \"forever\" or a number from 1")),
            RetriesForm::Word(word) => Err(format!("'{word}' retries; write \"forever\" or a number from 1")),
        }
    }
}

impl From<Retries> for RetriesForm {
    fn from(retries: Retries) -> Self {
        match retries {
            Retries::Forever => Self::Word("forever".to_owned()),
            Retries::AtMost(n) => Self::Number(n),
        }
    }
}

/// Waits between tries: the first, doubled each time up to the longest. Written `["1s", "5m"]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "(Seconds, Seconds)", into = "(Seconds, Seconds)")]
pub struct Backoff {
    /// Wait before the second try.
    pub first: Seconds,
    /// Longest wait.
    pub longest: Seconds,
}

impl TryFrom<(Seconds, Seconds)> for Backoff {
    type Error = String;

    fn try_from((first, longest): (Seconds, Seconds)) -> Result<Self, String> {
        if first.0 == 0 || first > longest {
            return Err(format!("backoff from {first} to {longest}; write the shorter first, at least \"1s\""));
        }
        Ok(Self { first, longest })
    }
}

impl From<Backoff> for (Seconds, Seconds) {
    fn from(backoff: Backoff) -> Self {
        (backoff.first, backoff.longest)
    }
}

impl Backoff {
    /// The wait after `failures` tries that failed, in seconds.
    #[must_use]
    pub fn wait_s(self, failures: u32) -> u64 {
        let doubled = self.first.0.checked_mul(1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX));
        doubled.unwrap_or(u64::MAX).min(self.longest.0)
    }
}

/// The address of a storage host, "host:port".
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    /// Name or address; an IPv6 address is in brackets.
    pub host: String,
    /// TCP port, not 0.
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is not an address; write host:port, as in \"st1:7000\" or \"[fe80::1]:7000\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let inner = if bracketed { &host[1..host.len() - 1] } else { host };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || (bracketed && c == ':');
        if inner.is_empty() || !inner.chars().all(allowed) {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A version of Slurm, or "auto".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SlurmVersion {
    /// Whatever is installed.
    #[default]
    Auto,
    /// This one: year and month, as in 22.05.
    Release(u16, u16),
}

impl SlurmVersion {
    /// The oldest release that Forebay's hooks and options work with.
    pub const OLDEST: Self = Self::Release(22, 5);

    /// The version in what `scontrol --version` prints, as in `slurm-wlm 22.05.8`.
    #[must_use]
    pub fn find_in(printed: &str) -> Option<Self> {
        printed.split_whitespace().find_map(|word| {
            let mut parts = word.split('.');
            let year = parts.next()?.parse().ok()?;
            let month = parts.next()?.parse().ok()?;
            Some(Self::Release(year, month))
        })
    }
}

impl TryFrom<String> for SlurmVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match Self::find_in(&text) {
            Some(version) if version >= Self::OLDEST => Ok(version),
            Some(version) => Err(format!("Slurm {version} is too old; {} is the oldest that works", Self::OLDEST)),
            None => Err(format!("'{text}' is no version of Slurm; write \"auto\" or as in \"22.05\"")),
        }
    }
}

impl From<SlurmVersion> for String {
    fn from(version: SlurmVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for SlurmVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Release(year, month) => write!(f, "{year}.{month:02}"),
        }
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
