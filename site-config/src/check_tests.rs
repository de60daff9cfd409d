use std::path::Path;

use super::*;
use crate::{GateKind, Retries, Seconds};

const MINIMAL: &str =
    "schema = 1\n[cluster]\nname = \"hpc1\"\n[storage]\nhosts = [\"st1:7000\"]\nfilesystem = \"fs\"\n";
const EXAMPLE: &str = include_str!("../site.example.toml");

fn read(text: &str) -> Result<SiteConfig, SiteError> {
    SiteConfig::parse(text, Path::new("/etc/forebay/site.toml"))
}

fn faults(text: &str) -> Vec<Fault> {
    match read(text) {
        Err(SiteError::Refused { faults, .. }) => faults,
        other => panic!("{text}\n{other:?}"),
    }
}

/// The only fault of the minimal file with `more` at its end, which starts at line 7.
fn fault(more: &str) -> Fault {
    let mut found = faults(&format!("{MINIMAL}{more}"));
    assert_eq!(found.len(), 1, "{more}: {found:?}");
    found.remove(0)
}

#[test]
fn the_example_is_the_defaults() {
    let config = read(EXAMPLE).unwrap();
    let keys: Vec<String> = differences(&config).into_iter().map(|one| one.key).collect();
    assert_eq!(keys, ["cluster.name", "storage.filesystem", "storage.hosts"]);
    assert_eq!(config.gate.hold_max, Seconds(172_800));
    assert_eq!(config.stage_in.retries, Retries::Forever);
}

#[test]
fn the_example_shows_every_key_with_its_default() {
    let mut open = String::new();
    for line in EXAMPLE.lines() {
        let commented = line.strip_prefix("# ").filter(|rest| {
            rest.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        });
        open.push_str(commented.unwrap_or(line));
        open.push('\n');
    }
    let config = read(&open).unwrap();
    assert_eq!(config, read(EXAMPLE).unwrap());
    let written = DeTable::parse(&open).unwrap();
    for (section, keys) in known().as_object().unwrap() {
        for key in keys.as_object().into_iter().flatten().map(|(key, _)| key) {
            assert_ne!(
                span_of(written.get_ref(), section, key),
                span_of(written.get_ref(), section, ""),
                "{section}.{key}"
            );
        }
    }
}

#[test]
fn settings_arrive() {
    let config = read(&format!("{MINIMAL}[gate]\ndefault = \"lazy\"\n[stage_in]\nretries = 3\n")).unwrap();
    assert_eq!((config.gate.default, config.stage_in.retries), (GateKind::Lazy, Retries::AtMost(3)));
    let changed = differences(&config);
    let lazy = changed.iter().find(|one| one.key == "gate.default").unwrap();
    assert_eq!((&lazy.default, &lazy.value), (&Value::from("auto"), &Value::from("lazy")));
    let name = changed.iter().find(|one| one.key == "cluster.name").unwrap();
    assert_eq!((&name.default, &name.value), (&Value::Null, &Value::from("hpc1")));
}

#[test]
fn mistakes_are_named_with_place_and_remedy() {
    for (more, line, column, key, part) in [
        ("[gat]\nx = 1\n", 7, 2, "gat", "nearest is 'gate'"),
        ("[gate]\n  hold_maxx = \"1h\"\n", 8, 3, "gate.hold_maxx", "nearest is 'hold_max'"),
        ("[gate]\nqqqqqqqq = \"1h\"\n", 8, 1, "gate.qqqqqqqq", "known are default, hold_max"),
        ("[gate]\nlazy_allowed = true\n", 8, 1, "gate.lazy_allowed", "not available in this release"),
        ("[cache]\nhigh = 0.92\n", 7, 2, "cache", "not available in this release"),
        ("[endpoints.s3.org]\nurl = \"x\"\n", 7, 2, "endpoints", "forebay fs tier attach"),
        ("[gate]\nhold_max = 48\n", 8, 12, "gate.hold_max", "as in its default, \"2d\""),
        ("[gate]\nhold_max = \"48\"\n", 8, 12, "gate.hold_max", "72h"),
        ("[gate]\ndefault = \"bb\"\n", 8, 11, "gate.default", "`hold`"),
        ("[stage_in]\nretries = \"often\"\n", 8, 11, "stage_in.retries", "\"forever\""),
        ("[stage_in]\nretries = 1.5\n", 8, 11, "stage_in.retries", "\"forever\""),
        ("[stage_in]\nbackoff = [\"5m\", \"1s\"]\n", 8, 11, "stage_in.backoff", "shorter first"),
        ("[stage_in]\nbackoff = [\"5x\", \"1s\"]\n", 8, 11, "stage_in.backoff", "duration"),
        ("[stage_in]\nmax_transfers = 0\n", 8, 17, "stage_in.max_transfers", "at least 1"),
        ("[stage_in]\nmax_transfers = -1\n", 8, 17, "stage_in.max_transfers", "its default, 256"),
        ("[notify]\nadmin_comment = \"yes\"\n", 8, 17, "notify.admin_comment", "boolean"),
        ("[slurm]\npoll = \"0s\"\n", 8, 8, "slurm.poll", "at least"),
        ("[node]\nprolog_budget = \"2h\"\n", 8, 17, "node.prolog_budget", "at most"),
        ("[node]\nmount = \"mnt\"\n", 8, 9, "node.mount", "absolute path"),
        ("[paths]\nspank = \"/a b\"\n", 8, 9, "paths.spank", "without blanks"),
        ("[gate\n", 7, 6, "", "TOML"),
        ("[slurm]\nfull_reconcile = \"60s\"\n", 8, 1, "slurm.full_reconcile", "slurm.poll"),
        ("[breaker]\nmax_drains = 5\n", 7, 2, "breaker", "not available in this release"),
        ("[gate]\nhold_max = \"1s\"\nhold_max = \"2s\"\n", 9, 1, "", "duplicate"),
    ] {
        let found = fault(more);
        assert_eq!((found.line, found.column, found.key.as_str()), (line, column, key), "{found}");
        assert!(found.to_string().contains(part), "{found}");
        assert!(!found.remedy.is_empty());
    }
}

#[test]
fn the_message_starts_with_file_line_and_column() {
    let text = read(&format!("{MINIMAL}[gate]\nhold_maxx = \"1h\"\n")).unwrap_err().to_string();
    assert!(text.starts_with("/etc/forebay/site.toml:8:1: gate.hold_maxx: unknown key of [gate]"), "{text}");
}

#[test]
fn a_section_that_is_no_table_is_named() {
    let found = faults(&format!("gate = 3\n{MINIMAL}"));
    assert_eq!((found[0].line, found[0].column, found[0].key.as_str()), (1, 8, "gate"), "{found:?}");
}

#[test]
fn columns_count_characters() {
    let found = fault("[cluster2] # é\n\"é\" = { \"é\" = 1 }\n");
    assert_eq!((found.line, found.column), (7, 2));
    let found = faults(&MINIMAL.replace("name = \"hpc1\"", "'name' = \"é\", x = 1"));
    assert_eq!(found[0].line, 3);
}

#[test]
fn what_has_no_default_is_required() {
    for (without, named) in [
        ("schema = 1\n", "schema"),
        ("name = \"hpc1\"\n", "name"),
        ("hosts = [\"st1:7000\"]\n", "hosts"),
        ("filesystem = \"fs\"\n", "filesystem"),
    ] {
        let found = faults(&MINIMAL.replace(without, ""));
        assert!(found[0].to_string().contains(&format!("missing field `{named}`")), "{found:?}");
    }
    for (from, to, key) in [
        ("schema = 1", "schema = 2", "schema"),
        ("\"hpc1\"", "\"\"", "cluster.name"),
        ("\"fs\"", "\"a/b\"", "storage.filesystem"),
        ("[\"st1:7000\"]", "[]", "storage.hosts"),
        ("\"st1:7000\"", "\"st1\"", "storage.hosts"),
    ] {
        let found = faults(&MINIMAL.replace(from, to));
        assert_eq!(found[0].key, key, "{found:?}");
    }
}

#[test]
fn all_unknown_keys_are_named_at_once() {
    let found = faults(&format!("{MINIMAL}[gate]\na = 1\nb = 2\n[zzz]\n"));
    assert_eq!(found.iter().map(|one| one.line).collect::<Vec<_>>(), [8, 9, 10]);
}

#[test]
fn every_later_key_is_indeed_unknown() {
    let known = known();
    for (key, _) in LATER {
        let found = match key.split_once('.') {
            Some((section, key)) => known[section].get(key),
            None => known.get(key),
        };
        assert!(found.is_none(), "{key}");
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let error = SiteConfig::load("/nonexistent/site.toml").unwrap_err().to_string();
    assert!(error.contains("/nonexistent/site.toml") && error.contains("--file"), "{error}");
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "([a-z_]{1,9}|[\\[\\]=\".,{}#é \n]|schema|gate){0,24}") {
        let _ = read(&text);
        let _ = read(&format!("{MINIMAL}{text}"));
    }
}
