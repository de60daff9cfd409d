use super::*;

fn load(args: &[&str]) -> (Settings, Vec<SettingsError>) {
    let args = args.iter().map(OsString::from);
    Settings::load(args, ("node", "prolog_budget"), Duration::from_secs(15))
}

fn site(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn defaults_where_nothing_is_said() {
    let (settings, problems) = load(&["--site", "/nonexistent/site.toml"]);
    assert!(problems.is_empty());
    assert_eq!(settings.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!(settings.job_dir, Path::new(DEFAULT_JOB_DIR));
    assert_eq!(settings.budget, Duration::from_secs(15));
}

#[test]
fn the_site_overrides_defaults_and_flags_override_the_site() {
    let (_dir, path) = site("[socket]\nnode = \"/a\"\n[node]\nprolog_budget = \"2m\"\n[other]\nkey = 1\n");
    let (settings, problems) = load(&["--site", &path]);
    assert!(problems.is_empty());
    assert_eq!((settings.socket.to_str(), settings.budget), (Some("/a"), Duration::from_secs(120)));
    let (settings, _) = load(&["--site", &path, "--socket", "/b", "--budget-ms", "200", "--job-dir", "/c"]);
    assert_eq!((settings.socket.to_str(), settings.budget), (Some("/b"), Duration::from_millis(200)));
    assert_eq!(settings.job_dir, Path::new("/c"));
}

#[test]
fn what_is_wrong_is_said_and_the_default_used() {
    for (text, said) in [
        ("[node", "defaults are used"),
        ("[node]\nprolog_budget = \"15\"\n", "prolog_budget"),
        ("[node]\nprolog_budget = \"0s\"\n", "prolog_budget"),
        ("[node]\nprolog_budget = \"2h\"\n", "prolog_budget"),
        ("[node]\nprolog_budget = \"99999999999999999h\"\n", "prolog_budget"),
    ] {
        let (_dir, path) = site(text);
        let (settings, problems) = load(&["--site", &path]);
        assert_eq!(settings.budget, Duration::from_secs(15), "{text}");
        assert!(problems.len() == 1 && problems[0].to_string().contains(said), "{text}: {problems:?}");
    }
    for args in [&["--nonsense"][..], &["--socket"], &["--budget-ms", "0"], &["--budget-ms", "x"]] {
        let (settings, problems) = load(&[&["--site", "/nonexistent/site.toml"], args].concat());
        assert_eq!(settings.budget, Duration::from_secs(15));
        assert_eq!(problems.len(), 1, "{args:?}");
    }
}
