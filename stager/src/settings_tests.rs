use std::path::Path;

use forebay_site_config::SiteConfig;

use super::{Settings, read_offset};

#[test]
fn what_a_site_sets_arrives() {
    let text = "schema = 1\n[cluster]\nname = \"hpc1\"\n[storage]\nhosts = [\"st1:7000\"]\nfilesystem = \"fs\"\n";
    let of = |more: &str| Settings::of(&SiteConfig::parse(&format!("{text}{more}"), Path::new("site.toml")).unwrap());
    let policy = of("").policy;
    assert_eq!((policy.tries, policy.out_tries), (u32::MAX, u32::MAX));
    assert_eq!((policy.backoff_ms, policy.out_backoff_ms), ((1_000, 300_000), (5_000, 900_000)));
    let more =
        "[stage_in]\nretries = 3\nbackoff = [\"2s\", \"4s\"]\n[stage_out]\nretries = 5\nbackoff = [\"6s\", \"1m\"]\n";
    let policy = of(more).policy;
    assert_eq!((policy.tries, policy.out_tries), (3, 5));
    assert_eq!((policy.backoff_ms, policy.out_backoff_ms), ((2_000, 4_000), (6_000, 60_000)));
}

#[test]
fn offsets_are_read() {
    assert_eq!(read_offset("+0000\n"), Some(0));
    assert_eq!(read_offset("+0530"), Some(19_800));
    assert_eq!(read_offset("-0800"), Some(-28_800));
    assert_eq!(read_offset("UTC"), None);
}
