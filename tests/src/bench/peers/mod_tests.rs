use super::*;

#[test]
fn a_peer_is_found_by_its_label() {
    assert!(Peer::ALL.into_iter().all(|peer| Peer::named(peer.label()) == Some(peer)));
    assert_eq!(Peer::named("nfs"), None);
}

#[test]
fn of_each_log_the_last_lines_are_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("b.log"), "1\n2\n3\n4\n\n5\n").expect("write");
    fs::write(folder.path().join("a.log"), "only\n").expect("write");
    fs::create_dir(folder.path().join("bricks")).expect("make a folder");
    fs::write(folder.path().join("bricks/1.log"), "brick\n").expect("write");
    fs::write(folder.path().join("c.log"), "").expect("write");
    assert_eq!(tails(folder.path()), "a.log: only\nb.log: 2\nb.log: 3\nb.log: 4\nb.log: 5\nbricks/1.log: brick\n");
}
