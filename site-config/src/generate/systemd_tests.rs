use super::*;

#[test]
fn mount_units_are_named_after_their_mount_point() {
    for (path, name) in [
        ("/mnt/forebay", "mnt-forebay"),
        ("/mnt/fore-bay/", "mnt-fore\\x2dbay"),
        ("/", "-"),
        ("/.hidden/a.b", "\\x2ehidden-a.b"),
        ("/é", "\\xc3\\xa9"),
    ] {
        assert_eq!(escape_path(path), name);
    }
}

#[test]
fn units_name_the_sites_paths() {
    let text = include_str!("../../site.example.toml");
    let config = SiteConfig::parse(text, std::path::Path::new("site.example.toml")).unwrap();
    let units = systemd(&config, "/etc/forebay/site.toml");
    let names: Vec<&str> = units.iter().map(|unit| unit.name.as_str()).collect();
    assert_eq!(names, ["forebayd@.service", "forebay-stagerd.service", "mnt-forebay.mount"]);
    assert!(units[1].content.contains("Environment=FOREBAY_SITE=/etc/forebay/site.toml\n"));
    let mount = &units[2].content;
    assert!(mount.contains("What=st1.example.org:7440,st2.example.org:7440,st3.example.org:7440/scratch\n"), "{mount}");
    assert!(mount.contains("Where=/mnt/forebay\n") && mount.contains("key=/etc/forebay/cluster.key"), "{mount}");
}
