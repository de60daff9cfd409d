use std::collections::BTreeMap;
use std::path::Path;

use super::*;

fn config(more: &str) -> SiteConfig {
    let text = format!(
        "schema = 1\ncluster = {{ name = \"c\" }}\nstorage = {{ hosts = [\"h:1\"], filesystem = \"f\" }}\n{more}"
    );
    SiteConfig::parse(&text, Path::new("site.toml")).unwrap()
}

fn keys(text: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    for (key, value) in text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')) {
        assert!(found.insert(key, value).is_none(), "{key} is there twice");
    }
    found
}

#[test]
fn slurm_conf_has_what_the_hooks_need() {
    let text = slurm_conf(&config("paths = { libexec = \"/opt/fb\" }\n"), SlurmVersion::Auto);
    let keys = keys(&text);
    for (key, value) in [
        ("PrologFlags", "Alloc,Contain,DeferBatch"),
        ("Prolog", "/opt/fb/prolog"),
        ("Epilog", "/opt/fb/epilog"),
        ("PrologEpilogTimeout", "120"),
        ("SchedulerParameters", "nohold_on_prolog_fail"),
        ("JobSubmitPlugins", "lua"),
        ("JobRequeue", "1"),
    ] {
        assert_eq!(keys.get(key), Some(&value), "{text}");
    }
    assert!(text.contains("Slurm 22.05"));
}

#[test]
fn slurm_never_kills_a_hook_within_its_budget() {
    let slow = config("node = { prolog_budget = \"10m\" }\nflush = { epilog_budget = \"20m\" }\n");
    assert_eq!(keys(&slurm_conf(&slow, SlurmVersion::OLDEST))["PrologEpilogTimeout"], "2430");
    let text = slurm_conf(&slow, SlurmVersion::Release(25, 5));
    let keys = keys(&text);
    assert_eq!((keys["PrologTimeout"], keys["EpilogTimeout"]), ("1230", "2430"));
    assert!(!keys.contains_key("PrologEpilogTimeout"));
}

#[test]
fn plugstack_loads_the_plugin() {
    let text = plugstack(&config("paths = { spank = \"/usr/lib/x/spank_forebay.so\" }\n"));
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["required /usr/lib/x/spank_forebay.so"]);
}

#[test]
fn job_submit_knows_every_word() {
    let text = job_submit();
    assert!(!text.contains("@TABLES@"));
    for verb in forebay_directive::grammar::VERBS {
        assert!(text.contains(&format!("name = \"{}\"", verb.name)));
        assert!(verb.keys.iter().all(|key| text.contains(&format!("name = \"{}\"", key.name))));
    }
}
