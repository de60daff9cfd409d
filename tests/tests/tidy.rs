//! The source tree keeps the rules of the house; each failure names the file, the line and the remedy.

use std::process::Command;

use forebay_tests::paths;
use forebay_tests::tidy::{self, Finding, Tree};

fn tree() -> Tree {
    Tree::read(&paths::workspace()).expect("the workspace is a git checkout")
}

fn assert_none(found: &[Finding]) {
    let list: String = found.iter().map(|finding| format!("{finding}\n")).collect();
    assert!(found.is_empty(), "{} place(s):\n{list}", found.len());
}

#[test]
fn imports_point_up_the_list() {
    assert_none(&tidy::arrows(&tree()));
}

#[test]
fn files_stand_where_they_belong_and_stay_short() {
    let tree = tree();
    tidy::long_files(&tree).iter().for_each(|finding| eprintln!("getting long: {finding}"));
    assert_none(&tidy::files(&tree));
}

#[test]
fn names_say_something() {
    assert_none(&tidy::names(&tree()));
}

#[test]
fn cores_are_pure_and_raw_code_stays_in_its_crates() {
    assert_none(&tidy::purity(&tree()));
}

#[test]
fn the_readme_s_commands_exist() {
    assert_none(&tidy::readme(&tree()));
}

#[test]
fn licences_of_all_dependencies_fit() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(paths::workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_none(&tidy::licences(&serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")));
}
