//! Why a call failed, and whether it may have been carried out all the same.

use std::sync::Arc;

use forebay_wire::frame::FrameError;

/// Why a call has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetError {
    /// The request did not leave this process: it was not carried out, and may be sent again.
    #[error("{peer} was sent nothing: {reason}")]
    NotSent {
        /// Address of the peer.
        peer: String,
        /// What was seen.
        reason: String,
    },
    /// The request was sent and not answered: it may or may not have been carried out.
    #[error("{peer} did not answer, and may or may not have done as asked: {reason}")]
    Unknown {
        /// Address of the peer.
        peer: String,
        /// What was seen.
        reason: String,
    },
    /// The peer speaks another version of the protocol. Nothing was carried out.
    #[error("{peer} speaks protocol version {theirs}, this program {ours}: upgrade the older one")]
    Version {
        /// Address of the peer.
        peer: String,
        /// The peer's version.
        theirs: u16,
        /// Ours.
        ours: u16,
    },
    /// The peer has another cluster key than we. Nothing was carried out.
    #[error("{peer} {failure}")]
    Auth {
        /// Address of the peer.
        peer: String,
        /// Which side found the other wanting.
        failure: AuthFailure,
    },
    /// The request is over a limit, or what answers at that address is no host of ours. Nothing was carried out.
    #[error("{peer}: {error}")]
    Frame {
        /// Address of the peer.
        peer: String,
        /// What is wrong.
        #[source]
        error: Arc<FrameError>,
    },
}

/// Which side of a handshake found the other wanting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthFailure {
    /// The peer refused our proof.
    #[error("refused our cluster key: is the key file the cluster's?")]
    Refused,
    /// The peer accepted our proof, and its own is wrong.
    #[error("did not prove that it has our cluster key: is the address a host of this cluster?")]
    Impostor,
}

impl NetError {
    /// Whether the request may have been carried out.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// Whether the same call may succeed later without anybody mending anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::NotSent { .. })
    }
}
