//! The handshake that begins every connection.
//!
//! ```text
//! connector → acceptor   "forebay\n"  version (2, little-endian)  nonce (32, random)
//! acceptor  → connector  "forebay\n"  version (2, little-endian)  nonce (32, random)
//! connector → acceptor   role (1)  name length (1)  name  proof (32)
//! acceptor  → connector  1  role (1)  name length (1)  name  proof (32)       or  0, where the proof is wrong
//! ```
//! With `key` derived from the cluster's key for this purpose alone, and `t` the version, the connector's nonce, the
//! acceptor's nonce and the connector's role, name length and name, as they were sent:
//!
//! * connector's proof = BLAKE3 keyed with `key` over `"C"`, `t`
//! * acceptor's proof = BLAKE3 keyed with `key` over `"A"`, `t`, its own role, name length and name
//!
//! Each proof covers a nonce that the other side drew, so none can be replayed, and the letter keeps one side's proof
//! from serving as the other's. Proofs are compared in constant time. The first ten bytes each way are the same in
//! every version of the protocol: a peer of another version gets them, so that both can say which is older, and then
//! a close. Whoever has not proved the key learns the version, and that the proof was wrong; nothing else.
//!
//! The handshake says who is at the other end when the connection begins. It does not encrypt, and what follows
//! carries checksums, not seals: the storage network is trusted to deliver what was sent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use forebay_wire::VERSION;
use forebay_wire::frame::FrameError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::{AuthFailure, NetError};
use crate::key::ClusterKey;

/// Longest a handshake may take.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Longest name, in bytes.
pub const NAME_MAX_BYTES: usize = 255;
const CONTEXT: &str = "forebay 2026 network handshake proof";
const MAGIC: [u8; 8] = *b"forebay\n";
const PREFIX_BYTES: usize = MAGIC.len() + 2;
const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;

/// What a process is to the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Role {
    /// It stores: forebayd.
    Host = 1,
    /// It uses: a client daemon, the stager, the command line.
    Client = 2,
}

/// Who is at one end of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// What it is.
    pub role: Role,
    /// Its name, for people; at most [`NAME_MAX_BYTES`], the rest is cut off.
    pub name: String,
}

/// How a handshake fails on the accepting side; the connector's side has [`NetError`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Connection lost.
    #[error("connection lost in the handshake: {0}")]
    Io(#[from] io::Error),
    /// Not our protocol.
    #[error("not a Forebay program: something else is using this port")]
    Foreign,
    /// Another version.
    #[error("it speaks protocol version {theirs}, this program {VERSION}: upgrade the older one")]
    Version {
        /// The connector's.
        theirs: u16,
    },
    /// Wrong proof.
    #[error("it has another cluster key: is its key file the cluster's?")]
    Proof,
    /// A role or name that no program of ours sends.
    #[error("it does not say properly who it is")]
    Endpoint,
}

/// The prefix and nonce that one side opens with.
struct Hello {
    nonce: [u8; NONCE_BYTES],
}

impl Hello {
    fn draw() -> io::Result<Self> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(Self { nonce })
    }

    fn encode(&self) -> [u8; PREFIX_BYTES + NONCE_BYTES] {
        let mut out = [0; PREFIX_BYTES + NONCE_BYTES];
        out[..PREFIX_BYTES].copy_from_slice(&prefix());
        out[PREFIX_BYTES..].copy_from_slice(&self.nonce);
        out
    }
}

fn prefix() -> [u8; PREFIX_BYTES] {
    let mut out = [0; PREFIX_BYTES];
    out[..MAGIC.len()].copy_from_slice(&MAGIC);
    out[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    out
}

/// Reads the other side's prefix: its version, or none where it is not our protocol.
async fn read_version(stream: &mut TcpStream) -> io::Result<Option<u16>> {
    let mut theirs = [0; PREFIX_BYTES];
    stream.read_exact(&mut theirs).await?;
    let version = u16::from_le_bytes([theirs[MAGIC.len()], theirs[MAGIC.len() + 1]]);
    Ok((theirs[..MAGIC.len()] == MAGIC).then_some(version))
}

async fn read_nonce(stream: &mut TcpStream) -> io::Result<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    stream.read_exact(&mut nonce).await?;
    Ok(nonce)
}

fn encode_endpoint(endpoint: &Endpoint) -> Vec<u8> {
    let mut end = endpoint.name.len().min(NAME_MAX_BYTES);
    while !endpoint.name.is_char_boundary(end) {
        end -= 1;
    }
    let mut out = vec![endpoint.role as u8, end as u8];
    out.extend_from_slice(&endpoint.name.as_bytes()[..end]);
    out
}

/// Reads an endpoint and the proof after it, as they were sent; what they say is looked at once the proof is right.
async fn read_endpoint(stream: &mut TcpStream) -> io::Result<(Vec<u8>, blake3::Hash)> {
    let mut raw = vec![0; 2];
    stream.read_exact(&mut raw).await?;
    raw.resize(2 + usize::from(raw[1]), 0);
    stream.read_exact(&mut raw[2..]).await?;
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await?;
    Ok((raw, blake3::Hash::from_bytes(proof)))
}

fn decode_endpoint(raw: &[u8]) -> Option<Endpoint> {
    let role = match raw[0] {
        1 => Role::Host,
        2 => Role::Client,
        _ => return None,
    };
    Some(Endpoint { role, name: String::from_utf8(raw[2..].to_vec()).ok()? })
}

/// `C` or `A`, then what both sides have seen, in order.
fn proof(key: &ClusterKey, side: u8, parts: &[&[u8]]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(&key.derive(CONTEXT));
    hasher.update(&[side]).update(&VERSION.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// Begins a connection that we made. `peer` is its address, for errors. Does not limit its own time.
pub(crate) async fn connect(
    stream: &mut TcpStream,
    key: &ClusterKey,
    us: &Endpoint,
    peer: &str,
) -> Result<Endpoint, NetError> {
    let lost = |e: io::Error| NetError::NotSent {
        peer: peer.to_owned(),
        reason: format!("connection lost in the handshake: {e}"),
    };
    let hello = Hello::draw().map_err(lost)?;
    stream.write_all(&hello.encode()).await.map_err(lost)?;
    match read_version(stream).await.map_err(lost)? {
        Some(VERSION) => {}
        Some(theirs) => return Err(NetError::Version { peer: peer.to_owned(), theirs, ours: VERSION }),
        None => return Err(foreign(peer)),
    }
    let nonce = read_nonce(stream).await.map_err(lost)?;
    let ours = encode_endpoint(us);
    let mut message = ours.clone();
    message.extend_from_slice(proof(key, b'C', &[&hello.nonce, &nonce, &ours]).as_bytes());
    stream.write_all(&message).await.map_err(lost)?;
    let fail = |failure| NetError::Auth { peer: peer.to_owned(), failure };
    match stream.read_u8().await.map_err(lost)? {
        1 => {}
        0 => return Err(fail(AuthFailure::Refused)),
        _ => return Err(foreign(peer)),
    }
    let (theirs, their_proof) = read_endpoint(stream).await.map_err(lost)?;
    if their_proof != proof(key, b'A', &[&hello.nonce, &nonce, &ours, &theirs]) {
        return Err(fail(AuthFailure::Impostor));
    }
    decode_endpoint(&theirs).ok_or_else(|| foreign(peer))
}

fn foreign(peer: &str) -> NetError {
    NetError::Frame { peer: peer.to_owned(), error: Arc::new(FrameError::Magic(*b"??")) }
}

/// Begins a connection that was made to us. Does not limit its own time.
pub(crate) async fn accept(stream: &mut TcpStream, key: &ClusterKey, us: &Endpoint) -> Result<Endpoint, Refusal> {
    match read_version(stream).await? {
        Some(VERSION) => {}
        Some(theirs) => {
            stream.write_all(&prefix()).await?;
            return Err(Refusal::Version { theirs });
        }
        None => return Err(Refusal::Foreign),
    }
    let nonce = read_nonce(stream).await?;
    let hello = Hello::draw()?;
    stream.write_all(&hello.encode()).await?;
    let (theirs, their_proof) = read_endpoint(stream).await?;
    if their_proof != proof(key, b'C', &[&nonce, &hello.nonce, &theirs]) {
        stream.write_all(&[0]).await?;
        return Err(Refusal::Proof);
    }
    let endpoint = decode_endpoint(&theirs).ok_or(Refusal::Endpoint)?;
    let ours = encode_endpoint(us);
    let mut message = vec![1];
    message.extend_from_slice(&ours);
    message.extend_from_slice(proof(key, b'A', &[&nonce, &hello.nonce, &theirs, &ours]).as_bytes());
    stream.write_all(&message).await?;
    Ok(endpoint)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
