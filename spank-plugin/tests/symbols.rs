//! The built plugin exports what SPANK needs and nothing more.

use std::path::PathBuf;
use std::process::Command;

/// Builds the library, which cargo does not do for tests of a crate that is nothing else, and says where it lies.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/symbols-…
    let target = test.ancestors().nth(3).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "forebay-spank-plugin", "--target-dir"])
        .arg(target)
        .current_dir(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo or nextest runs this"))
        .status()
        .unwrap();
    assert!(built.success());
    target.join("debug/libspank_forebay.so")
}

#[test]
fn exports_what_spank_needs_and_nothing_more() {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library()).output().expect("nm of binutils");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut symbols: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    symbols.sort_unstable();
    let expected: &[&str] = if cfg!(slurm_headers) {
        &[
            "plugin_name",
            "plugin_type",
            "plugin_version",
            "slurm_spank_init",
            "slurm_spank_init_failure_mode",
            "slurm_spank_init_post_opt",
            "slurm_spank_task_init_privileged",
            "spank_plugin_version",
        ]
    } else {
        &[]
    };
    assert_eq!(symbols, expected);
}
