use super::*;
use std::collections::BTreeMap;

fn state(restart: u32) -> JobState {
    let env = BTreeMap::from([("FOREBAY_WORK".to_owned(), "/mnt/forebay/job/7/work".to_owned())]);
    JobState { restart, view: "/mnt/forebay/job/7".to_owned(), env, fault: None }
}

fn dir() -> (tempfile::TempDir, StateDir) {
    let root = tempfile::tempdir().unwrap();
    let dir = StateDir::new(root.path().join("run/job"));
    (root, dir)
}

#[test]
fn what_is_written_is_read_and_private() {
    let (root, dir) = dir();
    assert_eq!(dir.read(7).unwrap(), None);
    dir.write(7, &state(0)).unwrap();
    dir.write(7, &state(1)).unwrap();
    assert_eq!(dir.read(7).unwrap(), Some(state(1)));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&root.path().join("run/job")), 0o700);
    assert_eq!(mode(&dir.file(7)), 0o600);
    assert_eq!(fs::read_dir(root.path().join("run/job")).unwrap().count(), 1);
    dir.remove(7).unwrap();
    dir.remove(7).unwrap();
    assert_eq!(dir.read(7).unwrap(), None);
}

#[test]
fn a_late_epilog_leaves_the_next_attempt_alone() {
    let (_root, dir) = dir();
    dir.write(7, &state(1)).unwrap();
    dir.remove_unless_newer(7, 0).unwrap();
    assert_eq!(dir.read(7).unwrap(), Some(state(1)));
    dir.remove_unless_newer(7, 1).unwrap();
    assert_eq!(dir.read(7).unwrap(), None);
    dir.remove_unless_newer(7, 1).unwrap();
}

#[test]
fn an_open_directory_is_closed_again() {
    let (root, dir) = dir();
    let path = root.path().join("run/job");
    fs::create_dir_all(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    dir.write(7, &state(0)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn links_and_garbage_are_refused() {
    let (root, dir) = dir();
    dir.write(1, &state(0)).unwrap();
    let elsewhere = root.path().join("elsewhere");
    fs::write(&elsewhere, serde_json::to_vec(&state(0)).unwrap()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.file(2)).unwrap();
    assert!(matches!(dir.read(2), Err(StateError::Io { .. })));
    // Writing replaces the link and leaves alone what it points to.
    dir.write(2, &state(3)).unwrap();
    assert_eq!(dir.read(2).unwrap(), Some(state(3)));
    assert_eq!(fs::read(&elsewhere).unwrap(), serde_json::to_vec(&state(0)).unwrap());

    fs::write(dir.file(3), "{").unwrap();
    assert!(matches!(dir.read(3), Err(StateError::Garbled { .. })));
    fs::write(dir.file(3), vec![b' '; MAX_STATE_BYTES as usize + 1]).unwrap();
    assert!(matches!(dir.read(3), Err(StateError::Garbled { .. })));
    dir.remove_unless_newer(3, 0).unwrap();
    assert_eq!(dir.read(3).unwrap(), None);

    let linked = StateDir::new(root.path().join("link"));
    std::os::unix::fs::symlink(root.path().join("run/job"), root.path().join("link")).unwrap();
    assert!(matches!(linked.write(4, &state(0)), Err(StateError::Io { .. })));
}
