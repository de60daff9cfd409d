use super::*;

#[test]
fn what_is_not_being_written_is_what_lies_between() {
    assert_eq!(gaps(&[]), [(0, None)]);
    assert_eq!(gaps(&[(0, 4096)]), [(4096, None)]);
    assert_eq!(
        gaps(&[(4096, 8192), (4096, 12288), (16384, 20480)]),
        [(0, Some(4096)), (12288, Some(16384)), (20480, None)]
    );
}

#[test]
fn a_directory_is_forgotten_when_its_names_have_ended_and_its_own() {
    let (mut told, now) = (Told::default(), Instant::now());
    let (top, dir, other) = (InodeId(1), InodeId(2), InodeId(3));
    let seconds = Duration::from_secs;
    told.tell(dir, None, now, seconds(2));
    told.tell(top, Some((dir, FileKind::Directory)), now, seconds(3));
    told.tell(dir, Some((other, FileKind::Directory)), now, seconds(1));
    assert_eq!(told.take(other), Some(now + seconds(1)));
    assert_eq!(told.take(dir), Some(now + seconds(3)));
    assert_eq!(told.take(dir), None);
    assert_eq!(told.take(top), Some(now + seconds(3)));
}
