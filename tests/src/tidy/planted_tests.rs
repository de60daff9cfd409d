use super::*;

/// Text that a rule looks for, put together so that the rule does not find it here.
const IGNORE: &str = concat!("#[ig", "nore]");
const UNSAFE: &str = concat!("un", "safe");

fn manifest(name: &str, dependencies: &str) -> String {
    format!("[package]\nname = \"forebay-{name}\"\n[dependencies]\n{dependencies}")
}

fn at(found: &[Finding]) -> Vec<(&str, usize)> {
    found.iter().map(|finding| (finding.file.as_str(), finding.line)).collect()
}

#[test]
fn a_core_that_knows_a_door_and_a_hook_that_knows_a_core_are_found() {
    let meta = manifest("meta", "forebay-types.workspace = true\nforebay-net.workspace = true\n");
    let prolog = manifest("prolog", "forebay-hook.workspace = true\nforebay-client.workspace = true\n");
    let server = manifest("server", "forebay-client.workspace = true\n");
    let cli = manifest("cli", "forebay-server.workspace = true\nforebay-directive.workspace = true\n");
    let tree = Tree::of(&[
        ("fs/meta/Cargo.toml", &meta),
        ("prolog/Cargo.toml", &prolog),
        ("fs/server/Cargo.toml", &server),
        ("fs/cli/Cargo.toml", &cli),
    ]);
    let found = arrows(&tree);
    assert_eq!(at(&found), [("fs/meta/Cargo.toml", 5), ("prolog/Cargo.toml", 5)]);
    assert!(found[0].message.starts_with("meta does not know net"), "{}", found[0]);
}

#[test]
fn arrows_of_one_platform_count_and_those_of_tests_do_not() {
    let text = "[package]\nname = \"forebay-drive\"\n[target.'cfg(unix)'.dependencies]\nforebay-storage = \"1\"\n\
                [dev-dependencies]\nforebay-server = \"1\"\n";
    assert_eq!(at(&arrows(&Tree::of(&[("fs/drive/Cargo.toml", text)]))), [("fs/drive/Cargo.toml", 4)]);
}

#[test]
fn a_crate_without_a_layer_is_found() {
    let found = arrows(&Tree::of(&[("fs/blob/Cargo.toml", &manifest("blob", ""))]));
    assert!(found[0].message.contains("no place among the layers"), "{found:?}");
}

#[test]
fn a_strange_name_at_the_top_is_found_and_dot_files_are_not() {
    let tree = Tree::of(&[("docs/x.md", ""), (".ci/run", ""), ("fs/a/src/lib.rs", ""), ("README.md", "")]);
    assert_eq!(at(&files(&tree)), [("docs", 1)]);
}

#[test]
fn a_long_file_is_found_and_a_longish_one_listed() {
    let (long, longish) = ("x\n".repeat(701), "x\n".repeat(501));
    let tree = Tree::of(&[("fs/a/src/a.rs", &long), ("fs/a/src/b.rs", &longish)]);
    assert_eq!(at(&files(&tree)), [("fs/a/src/a.rs", 700)]);
    assert_eq!(at(&long_files(&tree)), [("fs/a/src/a.rs", 500), ("fs/a/src/b.rs", 500)]);
}

#[test]
fn tests_inside_orphaned_tests_ignored_tests_and_unfinished_code_are_found() {
    let inside = "fn f() {}\n#[cfg(test)]\nmod tests {\n}\n";
    let ignored = format!("#[test]\n{IGNORE}\nfn f() {{}}\n");
    let unfinished = concat!("fn f() {\n    to", "do!()\n}\n");
    let good = "#[cfg(test)]\n#[path = \"good_tests.rs\"]\nmod tests;\n";
    let tree = Tree::of(&[
        ("fs/a/src/inside.rs", inside),
        ("fs/a/src/orphan_tests.rs", ""),
        ("fs/a/src/ignored.rs", &ignored),
        ("fs/a/src/unfinished.rs", unfinished),
        ("fs/a/src/good.rs", good),
        ("fs/a/src/good_tests.rs", ""),
    ]);
    let found = files(&tree);
    let want = [
        ("fs/a/src/inside.rs", 3),
        ("fs/a/src/orphan_tests.rs", 1),
        ("fs/a/src/ignored.rs", 2),
        ("fs/a/src/unfinished.rs", 2),
    ];
    assert_eq!(at(&found), want);
}

#[test]
fn empty_words_in_names_are_found_wherever_they_name_something() {
    let tree = Tree::of(&[
        ("fs/a/src/utils.rs", ""),
        (
            "fs/a/src/a.rs",
            "pub struct LeaseManager;\nlet helper = 1;\npub(crate) mod storage_v2;\nfn common_prefix() {}\n",
        ),
        ("fs/common/Cargo.toml", "[package]\nname = \"forebay-common\"\n"),
    ]);
    let mut found = names(&tree);
    found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    let want = [
        ("fs/a/src/a.rs", 1),
        ("fs/a/src/a.rs", 3),
        ("fs/a/src/utils.rs", 1),
        ("fs/common/Cargo.toml", 1),
        ("fs/common/Cargo.toml", 1),
    ];
    assert_eq!(at(&found), want);
}

#[test]
fn clocks_threads_and_randomness_in_pure_crates_are_found_but_not_in_their_tests_or_comments() {
    let clock = "// std::time::Instant::now() is banned\nlet now = Instant::now();\noperand::x();\nrand::random();\n";
    let tree = Tree::of(&[
        ("fs/meta/src/lib.rs", clock),
        ("fs/meta/src/lib_tests.rs", clock),
        ("fs/server/src/lib.rs", clock),
        ("fs/tier/Cargo.toml", &manifest("tier", "tokio.workspace = true\n")),
    ]);
    assert_eq!(at(&purity(&tree)), [("fs/meta/src/lib.rs", 2), ("fs/meta/src/lib.rs", 4), ("fs/tier/Cargo.toml", 4)]);
}

#[test]
fn raw_code_outside_its_crates_is_found() {
    let raw = format!("#![forbid({UNSAFE}_code)]\nlet x = {UNSAFE} {{ *p }};\n");
    let tree = Tree::of(&[("fs/client/src/a.rs", &raw), ("fs/storage/src/a.rs", &raw), ("fs/net/src/tcp.rs", &raw)]);
    assert_eq!(at(&purity(&tree)), [("fs/client/src/a.rs", 2), ("fs/net/src/tcp.rs", 2)]);
}

#[test]
fn a_readme_that_names_missing_commands_is_found() {
    let text = "```sh\ntests/demo\ntests/gone --x\nforebay status\nforebay-nothing\nsbatch x\n```\nforebay-prose\n";
    let mut tree = Tree::of(&[
        ("README.md", text),
        ("tests/demo", "#!/bin/bash\n"),
        ("fs/cli/Cargo.toml", "[package]\nname = \"forebay-cli\"\n[[bin]]\nname = \"forebay\"\n"),
    ]);
    assert_eq!(at(&readme(&tree)), [("README.md", 2), ("README.md", 3), ("README.md", 5)]);
    tree.files[1].executable = true;
    assert_eq!(at(&readme(&tree)), [("README.md", 3), ("README.md", 5)]);
}
