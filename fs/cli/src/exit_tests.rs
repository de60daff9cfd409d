use std::path::PathBuf;

use forebay_types::TierId;

use super::*;

fn of(error: impl std::error::Error + Send + Sync + 'static) -> u8 {
    // Behind a context, as commands give them one.
    code(&anyhow::Error::new(error).context("filesystem 'scratch'"))
}

#[test]
fn every_class_of_failure_has_its_documented_code() {
    let url = || "s3://b/k".to_owned();
    let path = || "/data".to_owned();
    let full = TierError::Filesystem { path: path(), errno: Errno::NoSpace };
    for (error, expected) in [
        (TierError::Missing { url: url() }, 3),
        (TierError::Forbidden { url: url(), reason: String::new() }, 3),
        (TierError::Changed { url: url(), expected: String::new(), found: String::new() }, 3),
        (full, 4),
        (TierError::Held { path: path(), holder: String::new() }, 5),
        (TierError::Exists { url: url() }, 6),
        (TierError::Unavailable { url: url(), reason: String::new() }, 8),
        (TierError::NoTier { tier: TierId(1) }, 2),
    ] {
        let text = error.to_string();
        assert_eq!(of(ClientError::Tier(error)), expected, "{text}");
    }
    assert_eq!(of(ClientError::Posix(Errno::NoEntry)), 3);
    assert_eq!(of(ClientError::Posix(Errno::Quota)), 4);
    assert_eq!(of(ClientError::Posix(Errno::Io)), 1);
    assert_eq!(of(ClientError::NoHost { seeds: String::new(), reason: String::new() }), 8);
    let missing = ClusterError::NoFilesystem { name: "scratsh".into(), have: "scratch".into() };
    assert_eq!(of(ClientError::Cluster(missing)), 2);
    assert_eq!(of(KeyError::Exists { path: PathBuf::from("/k") }), 2);
    assert_eq!(of(UsageError::NoTier { fs: "scratch".into() }), 2);
    let away = || std::io::Error::from(std::io::ErrorKind::NotFound);
    assert_eq!(of(NodeCallError::Away { socket: PathBuf::from("/s"), source: away() }), 8);
    assert_eq!(of(NodeCallError::Garbled { socket: PathBuf::from("/s"), reason: String::new() }), 9);
    assert_eq!(of(away()), 1);
}

#[test]
fn the_help_lists_every_code_once() {
    let listed: Vec<&str> = HELP.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}
