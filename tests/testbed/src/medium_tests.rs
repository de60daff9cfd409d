use proptest::prelude::*;

use super::*;

fn file(medium: &mut Medium) -> u64 {
    medium.make(ROOT, b"f", nix::libc::S_IFREG | 0o600).unwrap().ino
}

fn all(medium: &Medium, ino: u64) -> Vec<u8> {
    medium.read(ino, 0, u32::MAX).unwrap().to_vec()
}

proptest! {
    /// Where no write is torn, what is left is the file as it was after one of the writes since the last sync, or before.
    #[test]
    fn a_power_failure_takes_back_the_last_writes_and_nothing_that_was_synced(
        steps in proptest::collection::vec((0_u8..8, 0_usize..400, 1_usize..100), 1..40), keep in any::<usize>()
    ) {
        let mut medium = Medium::default();
        let ino = file(&mut medium);
        let mut since = vec![Vec::new()];
        for (n, (what, at, len)) in (1..).zip(steps) {
            match what {
                0 => medium.truncate(ino, at as u64).unwrap(),
                1 => {
                    medium.sync(ino).unwrap();
                    since.clear();
                }
                _ => medium.write(ino, at as u64, &vec![n; len]).unwrap(),
            }
            since.push(all(&medium, ino));
        }
        // Writes are shorter than a sector, so that none is torn.
        medium.lose_power(&mut |below| if below == 2 { keep % 2 } else { keep % below });
        let left = all(&medium, ino);
        prop_assert!(since.contains(&left), "neither before nor after any write");
        medium.lose_power(&mut |_| 0);
        prop_assert_eq!(all(&medium, ino), left, "what has outlived a power failure is durable");
    }
}

#[test]
fn what_nobody_has_synced_may_be_gone_and_space_set_aside_stays() {
    let mut medium = Medium::default();
    let ino = file(&mut medium);
    medium.allocate(ino, 8192).unwrap();
    medium.write(ino, 0, &[1; 4096]).unwrap();
    medium.sync(ino).unwrap();
    medium.write(ino, 2048, &[2; 4096]).unwrap();
    medium.write(ino, 9000, &[3; 10]).unwrap();
    medium.lose_power(&mut |_| 0);
    assert_eq!(all(&medium, ino), [[1; 4096], [0; 4096]].concat());
    medium.write(ino, 2048, &[2; 4096]).unwrap();
    // Half of the blocks of the write were on the medium.
    medium.lose_power(&mut |below| if below == 2 { 0 } else { below / 2 });
    assert_eq!(all(&medium, ino), [&[1; 2048][..], &[2; 2048], &[0; 4096]].concat(), "a write is torn");
}

#[test]
fn names_move_and_go() {
    let mut medium = Medium::default();
    let ino = file(&mut medium);
    let dir = medium.make(ROOT, b"d", nix::libc::S_IFDIR | 0o755).unwrap().ino;
    medium.rename((ROOT, b"f"), (dir, b"g")).unwrap();
    assert_eq!(medium.lookup(dir, b"g").unwrap().ino, ino);
    assert_eq!(medium.lookup(ROOT, b"f").unwrap_err(), Errno::ENOENT);
    assert_eq!(medium.remove(ROOT, b"d"), Err(Errno::ENOTEMPTY));
    medium.link(ino, ROOT, b"f").unwrap();
    assert_eq!(medium.link(ino, ROOT, b"f").unwrap_err(), Errno::EEXIST);
    medium.remove(ROOT, b"f").unwrap();
    medium.remove(dir, b"g").unwrap();
    medium.write(ino, 0, b"still open").unwrap();
    medium.remove(ROOT, b"d").unwrap();
    assert_eq!(medium.list(ROOT).unwrap().len(), 2, "only . and ..");
    assert_eq!(medium.make(dir, b"late", nix::libc::S_IFREG).unwrap_err(), Errno::ENOENT, "it is gone");
}

#[test]
fn a_directory_takes_the_place_of_an_empty_one_only() {
    let mut medium = Medium::default();
    let [a, b] = [&b"a"[..], b"b"].map(|name| medium.make(ROOT, name, nix::libc::S_IFDIR | 0o755).unwrap().ino);
    let kept = medium.make(b, b"kept", nix::libc::S_IFREG).unwrap().ino;
    assert_eq!(medium.rename((ROOT, b"a"), (ROOT, b"b")), Err(Errno::ENOTEMPTY));
    medium.rename((ROOT, b"b"), (ROOT, b"a")).unwrap();
    assert_eq!(medium.lookup(ROOT, b"a").unwrap().ino, b);
    assert_eq!(medium.lookup(b, b"kept").unwrap().ino, kept);
    assert_eq!(medium.make(a, b"late", nix::libc::S_IFREG).unwrap_err(), Errno::ENOENT, "it was replaced");
}
