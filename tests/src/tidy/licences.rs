//! Licences of all dependencies, and crates that may not be among them, from `cargo metadata`.

use serde_json::Value;

use super::tree::Finding;

/// Licences that fit Apache-2.0.
const ALLOWED: [&str; 14] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "CC0-1.0",
    "Unlicense",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
];
/// Crates that may not be used, with the reason.
const BANNED: [(&str, &str); 5] = [
    ("bincode", "unmaintained (RUSTSEC-2025-0141): use postcard"),
    ("async-rdma", "GPL-3"),
    ("zerofs_nfsserve", "AGPL"),
    ("openssl-sys", "use rustls"),
    ("native-tls", "use rustls"),
];

/// Checks the packages of `cargo metadata --format-version 1`.
pub fn check(metadata: &Value) -> Vec<Finding> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages.iter().filter_map(package).collect()
}

fn package(package: &Value) -> Option<Finding> {
    let name = package["name"].as_str()?;
    let problem = |text: String| Some(Finding::new("Cargo.lock", 1, format!("{name} {}: {text}", package["version"])));
    if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) {
        return problem(format!("banned: {reason}"));
    }
    match package["license"].as_str() {
        Some(licence) if allows(licence) => None,
        Some(licence) => problem(format!("licence {licence} is not among those allowed: leave it out")),
        None => problem("says no licence: leave it out".to_owned()),
    }
}

/// Whether an SPDX expression can be met with allowed licences: OR needs one side, AND both. `/` is an old OR.
fn allows(expression: &str) -> bool {
    let expression = expression.trim();
    let sides = |separator| split_outside(expression, separator);
    for or in [" OR ", "/"] {
        let sides = sides(or);
        if sides.len() > 1 {
            return sides.iter().any(|side| allows(side));
        }
    }
    let both = sides(" AND ");
    if both.len() > 1 {
        return both.iter().all(|side| allows(side));
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => allows(inner),
        None => ALLOWED.contains(&expression),
    }
}

/// Splits at `separator` where no parenthesis is open.
fn split_outside<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    for (at, _) in text.match_indices(separator) {
        let open = text[..at].matches('(').count() > text[..at].matches(')').count();
        if !open {
            parts.push(&text[start..at]);
            start = at + separator.len();
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
#[path = "licences_tests.rs"]
mod tests;
