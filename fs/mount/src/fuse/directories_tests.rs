use super::*;
use forebay_types::FileKind;

fn entry(cookie: u64) -> DirEntry {
    DirEntry {
        name: cookie.to_string().into(),
        ino: InodeId(2048 + cookie),
        kind: FileKind::Regular,
        cookie,
        attr: None,
    }
}

fn known(after: u64, cookies: &[u64], end: bool) -> Known {
    Known { after, entries: cookies.iter().copied().map(entry).collect(), end }
}

fn cookies(known: &Known) -> Vec<u64> {
    known.entries.iter().map(|entry| entry.cookie).collect()
}

#[test]
fn reading_on_keeps_what_is_left() {
    let mut known = known(2, &[5, 6, 9], true);
    known.go_to(6);
    assert_eq!((known.after, cookies(&known), known.end), (6, vec![9], true));
    known.go_to(9);
    assert_eq!((cookies(&known), known.end), (vec![], true));
}

#[test]
fn going_back_asks_again() {
    for to in [0, 1] {
        let mut known = known(2, &[5, 6, 9], true);
        known.go_to(to);
        assert_eq!((known.after, cookies(&known), known.end), (to, vec![], false));
    }
}

#[test]
fn jumping_beyond_asks_again() {
    let mut known = known(2, &[5, 6, 9], true);
    known.go_to(12);
    assert_eq!((known.after, cookies(&known), known.end), (12, vec![], false));
}

#[test]
fn a_cookie_between_two_entries_is_a_place_too() {
    let mut known = known(2, &[5, 6, 9], false);
    known.go_to(7);
    assert_eq!((known.after, cookies(&known), known.end), (7, vec![9], false));
}

#[test]
fn handles_are_never_used_twice() {
    let listings = Listings::default();
    let first = listings.open(Cred::ROOT);
    listings.close(first);
    let second = listings.open(Cred::ROOT);
    assert_ne!(first, second);
    assert_eq!(listings.lock().len(), 1);
}
