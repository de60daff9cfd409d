//! The wires between hosts, which can be cut: a forwarder in front of each host, whose address the map has.
//!
//! A host that is cut off reaches no other host and is reached by none. Clients reach all of them: that is what makes
//! a leader that has been deposed, and does not know, dangerous. Who is at the near end is read from the handshake
//! (see [`forebay_net::handshake`]), which is not encrypted.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use forebay_net::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes with which both sides open: magic, version, nonce.
const HELLO_BYTES: usize = 8 + 2 + 32;
const PROOF_BYTES: usize = 32;

/// Name of host `n`.
pub(crate) fn name(n: usize) -> String {
    format!("h{n}")
}

fn number(name: &[u8]) -> Option<usize> {
    std::str::from_utf8(name).ok()?.strip_prefix('h')?.parse().ok()
}

/// See the module. Everything is cut when it is dropped.
#[derive(Debug)]
pub(crate) struct Wires {
    cut: watch::Sender<BTreeSet<usize>>,
    forwarders: JoinSet<()>,
}

impl Wires {
    pub fn new() -> Self {
        Self { cut: watch::Sender::default(), forwarders: JoinSet::new() }
    }

    /// An address that leads to host `to`, which listens at `target`.
    pub async fn lead_to(&mut self, to: usize, target: SocketAddr) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for the forwarder");
        let address = listener.local_addr().expect("a listening port has an address");
        let cut = self.cut.subscribe();
        self.forwarders.spawn(async move {
            let mut bridges = JoinSet::new();
            // Connections that fail are tried again by whoever made them.
            while let Ok((near, _)) = listener.accept().await {
                while bridges.try_join_next().is_some() {}
                bridges.spawn(bridge(near, to, target, cut.clone()));
            }
        });
        address.to_string()
    }

    /// Cuts these hosts off from all others, and connects all others again.
    pub fn cut(&self, hosts: &[usize]) {
        self.cut.send_replace(hosts.iter().copied().collect());
    }
}

/// Forwards until one end closes or the wire is cut.
async fn bridge(
    mut near: TcpStream,
    to: usize,
    target: SocketAddr,
    mut cut: watch::Receiver<BTreeSet<usize>>,
) -> io::Result<()> {
    let mut far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let mut hello = [0; HELLO_BYTES];
    near.read_exact(&mut hello).await?;
    far.write_all(&hello).await?;
    far.read_exact(&mut hello).await?;
    near.write_all(&hello).await?;
    let mut endpoint = vec![0; 2];
    near.read_exact(&mut endpoint).await?;
    let name_end = endpoint.len() + usize::from(endpoint[1]);
    endpoint.resize(name_end + PROOF_BYTES, 0);
    near.read_exact(&mut endpoint[2..]).await?;
    let from = number(&endpoint[2..name_end]).filter(|_| endpoint[0] == Role::Host as u8);
    let apart =
        |cut: &BTreeSet<usize>| from.is_some_and(|from| from != to && (cut.contains(&from) || cut.contains(&to)));
    if apart(&cut.borrow()) {
        return Ok(());
    }
    far.write_all(&endpoint).await?;
    tokio::select! {
        forwarded = copy_bidirectional(&mut near, &mut far) => forwarded.map(drop),
        _ = cut.wait_for(apart) => Ok(()),
    }
}
