use std::io;
use std::time::Duration;

use super::*;
use crate::abi::Encoded;

/// Holds notices about node 1 until it may not any more.
struct Held(Mutex<std::sync::mpsc::Receiver<()>>);

impl Port for Held {
    fn send(&self, _slot: u64, what: &Encoded) -> io::Result<()> {
        let node = u64::from_ne_bytes(what.head[16..24].try_into().unwrap());
        match node {
            1 => drop(self.0.lock().unwrap().recv()),
            2 => return Err(io::Error::from_raw_os_error(nix::libc::ENOENT)),
            3 => return Err(io::Error::from_raw_os_error(nix::libc::ENODEV)),
            _ => {}
        }
        Ok(())
    }
}

#[tokio::test]
async fn one_notice_that_is_held_up_does_not_hold_up_others() {
    let (release, held) = std::sync::mpsc::channel();
    let port: Arc<dyn Port> = Arc::new(Held(Mutex::new(held)));
    let notifier = Notifier::start(&port).unwrap();
    let first = notifier.clone();
    let first = tokio::spawn(async move { first.inval_inode(NodeId(1), 0, 0).await });
    let others = async {
        notifier.inval_inode(NodeId(4), 0, 0).await.unwrap();
        // What the kernel does not know it cannot believe.
        notifier.inval_entry(NodeId(2), "name".into()).await.unwrap();
        assert_eq!(notifier.delete(NodeId(3), NodeId(5), "name".into()).await, Err(Errno::ENODEV));
        notifier.store(NodeId(4), 0, "data".into()).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(20), others).await.unwrap();
    assert!(!first.is_finished());
    release.send(()).unwrap();
    first.await.unwrap().unwrap();
}
