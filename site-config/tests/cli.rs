//! `forebay-site` as a site uses it: output, messages and exit codes.

use std::path::PathBuf;
use std::process::{Command, Output};

fn example() -> PathBuf {
    // Asked when it runs: two checkouts that share a build folder share the compiled test as well.
    let of_crate = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo or nextest runs this");
    PathBuf::from(of_crate).join("site.example.toml")
}

fn site(arguments: &[&str], file: Option<&PathBuf>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay-site"));
    command.args(arguments).env_remove("FOREBAY_SITE");
    if let Some(file) = file {
        command.arg("--file").arg(file);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn check_says_what_differs() {
    let out = site(&["check"], Some(&example()));
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("cluster.name = \"hpc1\""), "{}", text(&out.stdout));
    let out = site(&["check", "--json"], Some(&example()));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["differences"].as_array().unwrap().len(), 3);
}

#[test]
fn a_refused_file_is_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.toml");
    let good = std::fs::read_to_string(example()).unwrap();
    std::fs::write(&file, good.replace("[notify]", "[notfy]")).unwrap();
    let out = site(&["check"], Some(&file));
    assert_eq!(out.status.code(), Some(2));
    let place = format!("{}:55:2: notfy: unknown section or key, nearest is 'notify'", file.display());
    assert!(text(&out.stderr).starts_with(&place), "{}", text(&out.stderr));
    let out = site(&["check", "--json"], Some(&file));
    assert_eq!(out.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&report["ok"], &report["faults"][0]["line"]), (&false.into(), &55.into()));
    for arguments in [&["gen", "slurm.conf"], &["gen", "systemd"]] {
        assert_eq!(site(arguments, Some(&file)).status.code(), Some(2));
    }
    assert_eq!(site(&["check"], Some(&dir.path().join("none.toml"))).status.code(), Some(2));
    assert_eq!(site(&["gen", "nonsense"], None).status.code(), Some(2));
}

#[test]
fn everything_is_generated() {
    for (what, part) in [
        ("slurm.conf", "PrologFlags=Alloc,Contain"),
        ("plugstack", "required /usr/lib64/slurm/spank_forebay.so"),
        ("job_submit", "function slurm_job_submit("),
        ("systemd", "# mnt-forebay.mount: compute nodes"),
    ] {
        let out = site(&["gen", what], Some(&example()));
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        assert!(text(&out.stdout).contains(part), "{what}");
        let out = site(&["gen", what, "--json"], Some(&example()));
        let files: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&out.stdout).unwrap();
        assert!(files.values().any(|content| content.as_str().unwrap().contains(part)), "{what}");
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    assert_eq!(site(&["gen", "systemd", "--dir", at], Some(&example())).status.code(), Some(0));
    assert!(dir.path().join("forebayd@.service").exists());
    assert_eq!(site(&["gen", "plugstack", "--dir", at], Some(&example())).status.code(), Some(2));
}

#[test]
fn the_environment_names_the_file_and_help_explains() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay-site"));
    let out = command.arg("check").env("FOREBAY_SITE", example()).output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    let help = site(&["gen", "--help"], None);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("job_submit.lua"));
}
