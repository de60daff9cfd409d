use super::*;
use std::fs;

fn header(name: &str) -> String {
    fs::read_to_string(format!("{}/slurm/{name}", env!("FOREBAY_SLURM_INCLUDE"))).unwrap()
}

/// The comma-separated names after `start` and before the closing brace, comments dropped.
fn names(text: &str, start: &str) -> Vec<String> {
    let body = text.split(start).nth(1).unwrap().split('}').next().unwrap();
    let mut bare = String::new();
    for (i, piece) in body.split("/*").enumerate() {
        bare.push_str(if i == 0 { piece } else { piece.split_once("*/").unwrap().1 });
    }
    bare.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

#[test]
fn numbers_are_those_of_the_installed_headers() {
    let spank = header("spank.h");
    let items = names(&spank, "enum spank_item {");
    for (name, ours) in [
        ("S_JOB_UID", JOB_UID),
        ("S_JOB_GID", JOB_GID),
        ("S_JOB_ID", JOB_ID),
        ("S_TASK_ID", TASK_ID),
        ("S_SLURM_RESTART_COUNT", SLURM_RESTART_COUNT),
    ] {
        assert_eq!(items[ours as usize], name);
    }
    let contexts = names(&spank, "enum spank_context {");
    for (name, ours) in [("S_CTX_LOCAL", CTX_LOCAL), ("S_CTX_REMOTE", CTX_REMOTE), ("S_CTX_ALLOCATOR", CTX_ALLOCATOR)] {
        assert_eq!(contexts[ours as usize], name);
    }
    let errors = header("slurm_errno.h");
    assert!(errors.contains(&format!("#define ESPANK_SUCCESS {SUCCESS}")));
    let errors = names(&errors, "/* SPANK errors */");
    assert!(errors[0].starts_with("ESPANK_ERROR") && errors[0].ends_with("3000"));
    let number = |name: &str| errors.iter().position(|n| n == name).map(|i| 3000 + i as c_int);
    assert_eq!(number("ESPANK_NOSPACE"), Some(NOSPACE));
    // Older Slurm has none.
    assert!(number("ESPANK_JOB_FAILURE").is_none_or(|theirs| theirs == JOB_FAILURE));
}
