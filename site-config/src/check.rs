//! Reads `site.toml` and says what is wrong with it, and how a configuration differs from the defaults.
//!
//! Keys are compared with the defaults' own serialised form, so that the schema is written down once.

use std::path::Path;

use forebay_directive::grammar::nearest;
use serde::Serialize;
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::error::{Fault, SiteError};
use crate::schema::SiteConfig;

/// Keys and sections of the design that this release does nothing with, and what holds instead.
const LATER: &[(&str, &str)] = &[
    ("socket.shim", "there is no burst buffer gate in this release"),
    ("store.sync", "the journal is always synchronous"),
    ("store.ha_peer", "one stager runs a cluster in this release"),
    ("store.lease", "one stager runs a cluster in this release"),
    ("slurm.api", "Slurm is read with squeue --json"),
    ("slurm.url", "Slurm is read with squeue --json"),
    ("slurm.api_versions", "Slurm is read with squeue --json"),
    ("slurm.fallback", "Slurm is read with squeue --json"),
    ("slurm.full_reconcile", "every look at the queue compares every record: set slurm.poll"),
    ("slurm.min_poll_interval", "set slurm.poll"),
    ("slurm.user_token", "Slurm is read with squeue --json"),
    ("slurm.comment_rate", "set slurm.comment_min_interval"),
    ("gate.bb_max_stage", "there is no burst buffer gate in this release"),
    ("gate.release_margin", "jobs are released when their data is there"),
    ("gate.lazy_allowed", "the lazy gate is allowed"),
    ("gate.late_wait", "what starts without its data reads it through"),
    ("gate.partial_min", "inputs are staged whole in this release"),
    ("gate.on_stagerd_down", "jobs wait while the stager is down"),
    ("stage_in.horizon", "staging starts when a job is submitted"),
    ("stage_in.lead_factor", "staging starts when a job is submitted"),
    ("stage_in.max_active_jobs", "set stage_in.max_transfers"),
    ("stage_in.part", "transfers choose their own sizes"),
    ("stage_in.coalesce", "transfers choose their own sizes"),
    ("stage_in.verify", "size and etag are always verified"),
    ("stage_out.attached_max", "stage-out never keeps a job attached"),
    ("stage_out.priority_boost", "outputs have no priorities in this release"),
    ("stage_out.default_when", "outputs are copied after success unless they say when="),
    ("flush.dirty_max_per_node", "the client bounds its own dirty data"),
    ("flush.on_expire", "the client daemon goes on flushing, and no node is drained for it"),
    ("breaker", "a hook drains a node only for a fault proven to be of that node"),
    ("node.client", "the mount is a systemd unit, see: forebay-site gen systemd"),
    ("node.mountpoint_guard", "hooks always look at what is mounted"),
    ("notify.mail", "users are told in the admin comment"),
    ("notify.webhook", "users are told in the admin comment"),
    ("paths.posix", "attach cold tiers with: forebay fs tier attach"),
    ("cache", "evict with: forebay fs evict"),
    ("fairness", "transfers are served in the order of submission"),
    ("limits", "there are no limits per user in this release"),
    ("array", "every array task is staged alike"),
    ("endpoints", "attach cold tiers with: forebay fs tier attach"),
    ("metrics", "there is no metrics listener in this release"),
    ("log", "daemons log to standard error"),
    ("compat", "there are no other directive formats in this release"),
];

/// Longest budget of a hook that runs while a node can do nothing else, in seconds.
const MAX_HOOK_BUDGET_S: u64 = 3_600;

/// Parses and checks `text`.
pub(crate) fn parse(text: &str, path: &Path) -> Result<SiteConfig, SiteError> {
    let refused = |faults| SiteError::Refused { path: path.to_path_buf(), faults };
    let tree = DeTable::parse(text).map_err(|found| refused(vec![syntax(text, &found)]))?;
    let mut faults = Vec::new();
    unknown_keys(text, tree.get_ref(), &mut faults);
    if !faults.is_empty() {
        return Err(refused(faults));
    }
    let config: SiteConfig = toml::from_str(text).map_err(|found| refused(vec![wrong_value(text, &tree, &found)]))?;
    let faults = impossible(text, &tree, &config);
    match faults.is_empty() {
        true => Ok(config),
        false => Err(refused(faults)),
    }
}

/// Line and column of a byte, both from 1, the column in characters.
fn position(text: &str, at: usize) -> (u32, u32) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    let lines = before.iter().filter(|b| **b == b'\n').count();
    let characters = String::from_utf8_lossy(&before[line_start..]).chars().count();
    (u32::try_from(lines + 1).unwrap_or(u32::MAX), u32::try_from(characters + 1).unwrap_or(u32::MAX))
}

fn fault_at(text: &str, at: usize, key: &str, what: String, remedy: String) -> Fault {
    let (line, column) = position(text, at);
    Fault { line, column, key: key.to_owned(), text: what, remedy }
}

fn syntax(text: &str, found: &toml::de::Error) -> Fault {
    let at = found.span().map_or(0, |span| span.start);
    fault_at(text, at, "", found.message().to_owned(), "write it as TOML, as in site.example.toml".to_owned())
}

/// The defaults as data: sections and keys with their values.
fn known() -> Value {
    serde_json::to_value(SiteConfig::blank()).unwrap_or_default()
}

fn unknown_keys(text: &str, tree: &DeTable<'_>, faults: &mut Vec<Fault>) {
    let known = known();
    for (section, value) in tree {
        let at = section.span().start;
        let name: &str = section.get_ref();
        let Some(keys) = known.get(name) else {
            faults.push(unknown(text, at, name, name, &known, "section or key"));
            continue;
        };
        let (DeValue::Table(table), true) = (value.get_ref(), keys.is_object()) else { continue };
        for key in table.keys() {
            let inner: &str = key.get_ref();
            if keys.get(inner).is_none() {
                let full = format!("{name}.{inner}");
                faults.push(unknown(text, key.span().start, &full, inner, keys, &format!("key of [{name}]")));
            }
        }
    }
    faults.sort_by_key(|fault| (fault.line, fault.column));
}

fn unknown(text: &str, at: usize, full: &str, name: &str, among: &Value, what: &str) -> Fault {
    let later = LATER.iter().find(|(key, _)| *key == full).map(|(_, instead)| *instead);
    if let Some(instead) = later {
        let what = format!("is not available in this release ({instead})");
        return fault_at(text, at, full, what, "remove it".to_owned());
    }
    let names: Vec<&str> = among.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let near = nearest(name, names.iter().copied());
    let near = near.map(|near| format!(", nearest is '{near}'")).unwrap_or_default();
    fault_at(text, at, full, format!("unknown {what}{near}"), format!("known are {}", names.join(", ")))
}

/// The key that a byte of the text belongs to, as in `gate.default`.
fn key_at(tree: &DeTable<'_>, at: usize) -> String {
    for (section, value) in tree {
        if let DeValue::Table(table) = value.get_ref() {
            for (key, inner) in table {
                if key.span().start <= at && at < inner.span().end {
                    return format!("{}.{}", section.get_ref(), key.get_ref());
                }
            }
        }
        if section.span().start <= at && at < value.span().end {
            return section.get_ref().to_string();
        }
    }
    String::new()
}

fn wrong_value(text: &str, tree: &toml::Spanned<DeTable<'_>>, found: &toml::de::Error) -> Fault {
    let Some(span) = found.span().filter(|span| !span.is_empty()) else {
        let remedy = "add it, as in site.example.toml".to_owned();
        return Fault { line: 0, column: 0, key: String::new(), text: found.message().to_owned(), remedy };
    };
    let key = key_at(tree.get_ref(), span.start);
    let example = key
        .split_once('.')
        .and_then(|(section, key)| known().get(section)?.get(key).cloned())
        .filter(|value| value.as_str() != Some("") && value.as_array().is_none_or(|list| !list.is_empty()));
    let message = found.message();
    let (what, remedy) = match (message.split_once("; "), example) {
        (Some((what, remedy)), _) => (what.to_owned(), remedy.to_owned()),
        (None, Some(value)) => (message.to_owned(), format!("write it as in its default, {value}")),
        (None, None) => (message.to_owned(), "write it as in site.example.toml".to_owned()),
    };
    fault_at(text, span.start, &key, what, remedy)
}

/// Where a key's value stands, or its section where the key is not written.
fn span_of(tree: &DeTable<'_>, section: &str, key: &str) -> usize {
    let Some((name, value)) = tree.get_key_value(section) else { return 0 };
    match value.get_ref() {
        DeValue::Table(table) => table.get(key).map_or(name.span().start, |value| value.span().start),
        _ => value.span().start,
    }
}

/// Values that are well formed and cannot work.
fn impossible(text: &str, tree: &toml::Spanned<DeTable<'_>>, config: &SiteConfig) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut refuse = |section: &str, key: &str, what: String, remedy: &str| {
        let full = if key.is_empty() { section.to_owned() } else { format!("{section}.{key}") };
        faults.push(fault_at(text, span_of(tree.get_ref(), section, key), &full, what, remedy.to_owned()));
    };
    if config.schema != SiteConfig::SCHEMA {
        refuse("schema", "", format!("schema {} is of another release", config.schema), "write schema = 1");
    }
    for (section, key, name) in
        [("cluster", "name", &config.cluster.name), ("storage", "filesystem", &config.storage.filesystem)]
    {
        if forebay_directive::check_name(name).is_err() {
            refuse(section, key, format!("'{name}' is not a name"), "use letters, digits, '.', '_' and '-'");
        }
    }
    if config.storage.hosts.is_empty() {
        refuse("storage", "hosts", "no storage host".to_owned(), "name at least one, as in hosts = [\"st1:7000\"]");
    }
    for (section, key, path) in config.every_path() {
        let written = path.to_str().unwrap_or_default();
        let plain =
            |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\'' | '\\' | '%' | '$' | '#');
        if !path.is_absolute() || !written.chars().all(plain) {
            let remedy = "write an absolute path without blanks, quotes, %, $ and #";
            refuse(section, key, format!("'{}' cannot be used", path.display()), remedy);
        }
    }
    for (section, key, seconds) in [
        ("slurm", "poll", config.slurm.poll),
        ("gate", "hold_max", config.gate.hold_max),
        ("node", "prolog_budget", config.node.prolog_budget),
        ("flush", "epilog_budget", config.flush.epilog_budget),
    ] {
        if seconds.0 == 0 {
            refuse(section, key, "no time at all".to_owned(), "write at least \"1s\"");
        }
    }
    for (section, key, seconds) in
        [("node", "prolog_budget", config.node.prolog_budget), ("flush", "epilog_budget", config.flush.epilog_budget)]
    {
        if seconds.0 > MAX_HOOK_BUDGET_S {
            refuse(section, key, format!("{seconds} would block a node"), "write at most \"1h\"");
        }
    }
    if config.stage_in.max_transfers == 0 {
        refuse("stage_in", "max_transfers", "no transfer could ever start".to_owned(), "write at least 1");
    }
    faults
}

/// One setting that is not the default.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Difference {
    /// The key, as in `gate.default`.
    pub key: String,
    /// The default; null where there is none.
    pub default: Value,
    /// What holds.
    pub value: Value,
}

/// The settings of `config` that differ from the defaults, in alphabetical order.
#[must_use]
pub fn differences(config: &SiteConfig) -> Vec<Difference> {
    let known = known();
    let effective = serde_json::to_value(config).unwrap_or_default();
    let mut found = Vec::new();
    for (section, keys) in effective.as_object().into_iter().flatten() {
        for (key, value) in keys.as_object().into_iter().flatten() {
            let default = &known[section][key];
            if default != value {
                let none = default.as_str() == Some("") || default.as_array().is_some_and(Vec::is_empty);
                let default = if none { Value::Null } else { default.clone() };
                found.push(Difference { key: format!("{section}.{key}"), default, value: value.clone() });
            }
        }
    }
    found
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
