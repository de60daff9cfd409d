//! What the filesystem's errors mean to a task.

use forebay_client::ClientError;
use forebay_types::Errno;
use forebay_wire::tier::TierError;

/// An error of the filesystem about `path`. What the network or the drives cause may pass.
pub(super) fn filesystem(path: &str, error: ClientError) -> TierError {
    let errno = match error {
        ClientError::Tier(error) => return error,
        ClientError::Posix(errno) => errno,
        // The session is opened anew for the next attempt, which writes everything again.
        ClientError::SessionEnded
        | ClientError::LeaseLost { .. }
        | ClientError::DelegationLost { .. }
        | ClientError::LogRefused { .. } => Errno::Again,
        ClientError::TimedOut { .. } | ClientError::NoHost { .. } | ClientError::Net(_) => Errno::TimedOut,
        ClientError::Cluster(error) => return TierError::Invalid { reason: error.to_string() },
        ClientError::TooFewChunks { .. }
        | ClientError::MetadataStore { .. }
        | ClientError::NotFenced { .. }
        | ClientError::UnexpectedReply { .. }
        | ClientError::NoRandom { .. } => Errno::Io,
    };
    TierError::Filesystem { path: if path.is_empty() { "/" } else { path }.to_owned(), errno }
}

/// Whether the error says that something is not there.
pub(super) fn is_gone(error: &TierError) -> bool {
    matches!(error, TierError::Filesystem { errno: Errno::NoEntry, .. })
}
