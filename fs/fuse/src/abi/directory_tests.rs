use std::time::Duration;

use super::*;
use crate::abi::{Attr, NodeId, Time};

fn bytes(listing: Listing) -> Bytes {
    match listing.done() {
        Reply::Data(data) => data,
        other => panic!("{other:?} is no listing"),
    }
}

#[test]
fn entries_are_added_while_they_fit() {
    let mut listing = Listing::new(72);
    assert!(listing.add(7, 1, nix::libc::S_IFDIR, b"directory"));
    assert!(!listing.add(8, 2, nix::libc::S_IFREG, b"far too long for what is left"));
    assert!(listing.add(9, 3, nix::libc::S_IFREG, b"x"), "a short one fits");
    let bytes = bytes(listing);
    assert_eq!(bytes.len(), 40 + 32);
    assert_eq!(&bytes[..8], 7u64.to_ne_bytes());
    assert_eq!((&bytes[16..20], &bytes[20..24]), (&9u32.to_ne_bytes()[..], &4u32.to_ne_bytes()[..]));
    assert_eq!(&bytes[24..40], b"directory\0\0\0\0\0\0\0");
}

#[test]
fn attributes_come_before_the_name() {
    let time = Time::default();
    let attr = Attr {
        ino: 7,
        mode: nix::libc::S_IFREG | 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        blocks: 0,
        block_bytes: 4096,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
    };
    let life = Duration::ZERO;
    let entry = Entry { node: NodeId(7), generation: 0, name_life: life, attr_life: life, attr };
    let mut listing = Listing::new(170);
    assert!(listing.add_plus(&entry, 1, b"name"));
    assert!(!listing.add_plus(&entry, 2, b""));
    let bytes = bytes(listing);
    assert_eq!(bytes.len(), 128 + 32);
    assert_eq!((&bytes[128 + 20..128 + 24], &bytes[128 + 24..128 + 28]), (&8u32.to_ne_bytes()[..], &b"name"[..]));
}

#[test]
fn no_room_is_an_empty_listing() {
    let mut listing = Listing::new(0);
    assert!(!listing.add(7, 1, nix::libc::S_IFREG, b""));
    assert!(bytes(listing).is_empty());
}
