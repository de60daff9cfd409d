//! From an error to the documented exit code.

use forebay_client::ClientError;
use forebay_net::NetError;
use forebay_wire::cluster::ClusterError;
use forebay_wire::tier::TierError;

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
            ClientError::Posix(forebay_types::Errno::NoEntry) => 3,
            ClientError::Posix(forebay_types::Errno::NoSpace | forebay_types::Errno::Quota) => 4,
            _ => 1,
        });
    }
    cause.downcast_ref::<NetError>().map(net).or_else(|| cause.downcast_ref::<ClusterError>().map(cluster))
}

fn net(error: &NetError) -> u8 {
    match error {
        NetError::Version { .. } => 9,
        NetError::NotSent { .. } | NetError::Unknown { .. } => 8,
        NetError::Auth { .. } | NetError::Frame { .. } => 2,
    }
}

fn tier(error: &TierError) -> u8 {
    match error {
        TierError::Missing { .. } | TierError::Forbidden { .. } | TierError::Changed { .. } => 3,
        TierError::Unavailable { .. } | TierError::TooManyTasks { .. } => 8,
        TierError::Invalid { .. } | TierError::NoTier { .. } | TierError::BadName { .. } => 2,
        TierError::Exists { .. } | TierError::Verify { .. } => 6,
        TierError::Filesystem { .. } | TierError::Held { .. } | TierError::NoTask => 5,
    }
}

fn cluster(error: &ClusterError) -> u8 {
    match error {
        ClusterError::NotHere { .. } | ClusterError::SessionEnded { .. } | ClusterError::Storage { .. } => 8,
        _ => 2,
    }
}
