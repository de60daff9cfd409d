use super::*;
use forebay_wire::node::NodeRequest;

#[test]
fn requests_are_understood_or_refused_in_words() {
    let call = understand(br#"{"version":1,"request":"status"}"#).unwrap();
    assert_eq!(call.request, NodeRequest::Status);
    let unmount = understand(br#"{"version":1,"request":{"unmount":{"force":true}}}"#).unwrap();
    assert_eq!(unmount.request, NodeRequest::Unmount { force: true });
    let newer = understand(br#"{"version":9,"request":{"dance":{}},"more":1}"#).unwrap_err();
    assert!(newer.contains("version 9") && newer.contains("client 1"), "{newer}");
    for wrong in [&b""[..], b"status\n", br#"{"version":1}"#, br#"{"version":1,"request":"dance"}"#] {
        assert!(understand(wrong).unwrap_err().contains("not one JSON object"));
    }
}

#[test]
fn a_socket_is_taken_over_only_from_the_dead() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/node.sock");
    let first = Listener::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(Listener::bind_now(&path), Err(MountError::SocketTaken { .. })));
    drop(first);
    assert!(!path.exists());
    // A listener that died left its file behind.
    drop(StdListener::bind(&path).unwrap());
    assert!(path.exists());
    Listener::bind(&path).unwrap();
}

/// Found by a mount right after an umount: the first mount's daemon was still writing back.
#[test]
fn a_predecessor_that_is_about_to_end_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.sock");
    let first = Listener::bind(&path).unwrap();
    let waiting = {
        let path = path.clone();
        std::thread::spawn(move || Listener::bind(&path).map(drop))
    };
    // It has looked at least once when it has called.
    first.socket.set_nonblocking(false).unwrap();
    first.socket.accept().unwrap();
    drop(first);
    waiting.join().unwrap().unwrap();
}
