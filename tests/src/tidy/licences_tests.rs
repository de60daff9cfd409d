use serde_json::json;

use super::*;

#[test]
fn expressions_are_met_by_one_side_of_or_and_both_of_and() {
    for good in
        ["MIT", "MIT OR Apache-2.0", "GPL-3.0 OR MIT", "MIT/GPL-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "(MIT)"]
    {
        assert!(allows(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-2.0 OR AGPL-3.0) AND MIT", ""] {
        assert!(!allows(bad), "{bad}");
    }
}

#[test]
fn a_banned_or_unlicensed_crate_is_named() {
    let metadata = json!({"packages": [
        {"name": "fine", "version": "1.0.0", "license": "MIT"},
        {"name": "bincode", "version": "1.3.3", "license": "MIT"},
        {"name": "closed", "version": "1.0.0", "license": null},
        {"name": "copyleft", "version": "1.0.0", "license": "AGPL-3.0"},
    ]});
    let found: Vec<String> = check(&metadata).into_iter().map(|finding| finding.message).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].contains("bincode") && found[1].contains("no licence") && found[2].contains("AGPL-3.0"),
        "{found:?}"
    );
}
