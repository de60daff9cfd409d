//! From an error to the documented exit code.

use forebay_client::ClientError;
use forebay_mount::node::{ForceError, NodeCallError};
use forebay_net::{KeyError, NetError};
use forebay_site_config::SiteError;
use forebay_types::Errno;
use forebay_wire::cluster::ClusterError;
use forebay_wire::tier::TierError;

use crate::error::UsageError;

/// The codes, as `forebay --help` and the README list them.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  anything that is not below
  2  wrong usage: arguments, a name that is not there, a site.toml or a key that is refused
  3  a source is missing, may not be accessed or has changed
  4  out of space or quota
  5  staging failed: a job or a file could not be brought in
  6  output failed: results could not be delivered
  7  not there yet: what is waited for takes longer than --timeout
  8  the stager, the cluster, a cold tier or this node's client cannot be reached
  9  another version answers: install both of one release";

/// The exit code of an error.
pub fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(known).unwrap_or(1)
}

fn known(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = cause.downcast_ref::<ClientError>() {
        return Some(match error {
            ClientError::Net(error) => net(error),
            ClientError::NoHost { .. } | ClientError::TimedOut { .. } => 8,
            ClientError::Tier(error) => tier(error),
            ClientError::Cluster(error) => cluster(error),
            ClientError::Posix(errno) => posix(*errno).unwrap_or(1),
            _ => 1,
        });
    }
    let is_usage = cause.is::<UsageError>() || cause.is::<KeyError>() || cause.is::<SiteError>();
    let local = || cause.downcast_ref::<NodeCallError>().map(node).or(cause.is::<ForceError>().then_some(2));
    is_usage
        .then_some(2)
        .or_else(|| cause.downcast_ref::<NetError>().map(net))
        .or_else(|| cause.downcast_ref::<ClusterError>().map(cluster))
        .or_else(local)
}

fn net(error: &NetError) -> u8 {
    match error {
        NetError::Version { .. } => 9,
        NetError::NotSent { .. } | NetError::Unknown { .. } => 8,
        NetError::Auth { .. } | NetError::Frame { .. } => 2,
    }
}

fn posix(errno: Errno) -> Option<u8> {
    match errno {
        Errno::NoEntry => Some(3),
        Errno::NoSpace | Errno::Quota => Some(4),
        _ => None,
    }
}

fn tier(error: &TierError) -> u8 {
    match error {
        TierError::Missing { .. } | TierError::Forbidden { .. } | TierError::Changed { .. } => 3,
        TierError::Unavailable { .. } | TierError::TooManyTasks { .. } => 8,
        TierError::Invalid { .. } | TierError::NoTier { .. } | TierError::BadName { .. } => 2,
        TierError::Exists { .. } | TierError::Verify { .. } => 6,
        TierError::Filesystem { errno, .. } => posix(*errno).unwrap_or(5),
        TierError::Held { .. } | TierError::NoTask => 5,
    }
}

fn cluster(error: &ClusterError) -> u8 {
    match error {
        ClusterError::NotHere { .. } | ClusterError::SessionEnded { .. } | ClusterError::Storage { .. } => 8,
        _ => 2,
    }
}

fn node(error: &NodeCallError) -> u8 {
    match error {
        NodeCallError::Away { .. } | NodeCallError::Broken { .. } => 8,
        NodeCallError::Garbled { .. } => 9,
    }
}

#[cfg(test)]
#[path = "exit_tests.rs"]
mod tests;
