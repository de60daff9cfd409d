//! What every connection's socket is set to.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// A peer that acknowledges nothing for this long is gone.
const DEAD_AFTER: Duration = Duration::from_secs(15);
/// Silence on an idle connection after which the kernel asks whether the peer is still there.
const PROBE_AFTER: Duration = Duration::from_secs(5);
/// Between such questions.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Sends at once, and notices a peer that has vanished without a word.
pub(crate) fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL).with_retries(2))?;
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))
}

/// Reads and forgets until the peer closes, at most `limit` long: closing a socket that has unread bytes resets the
/// connection, and the peer would lose what we said last.
pub(crate) async fn drain<R: tokio::io::AsyncRead + Unpin>(mut from: R, limit: Duration) {
    let mut sink = [0; 4096];
    // Whatever ends the reading ends the connection; there is nothing left to tell anybody.
    let _ = tokio::time::timeout(limit, async { while matches!(from.read(&mut sink).await, Ok(n) if n > 0) {} }).await;
}
