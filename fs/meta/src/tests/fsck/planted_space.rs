//! Damage to extents, stripes and what they add up to.

use forebay_types::{Geometry, InodeId, Location, SessionId, ShardId, StripeId, StripeRef, Timestamp};
use forebay_wire::meta::{Finding, Quantity};

use super::{Tree, assert_repaired, listing, tree};
use crate::record::{ExtentRecord, Inode, StripeRecord, StripeState, decode};
use crate::tests::world::FS;

const S0: ShardId = ShardId(0);

/// The one stripe that is in use.
fn stripe(tree: &mut Tree) -> (Vec<u8>, StripeId, StripeRecord) {
    let rows = tree.world.rows(S0).all(b'S');
    let [(key, value)] = rows.as_slice() else { panic!("one stripe, not {}", rows.len()) };
    (key.clone(), crate::key::stripe_of(key), decode("stripe", value).unwrap())
}

fn put_extent(tree: &mut Tree, ino: InodeId, offset: u64, len: u64, location: Location) {
    let mut rows = tree.world.rows(ino.shard());
    rows.put(rows.keys.extent(FS, ino, offset), &ExtentRecord { len, location });
}

fn bad(finding: &Finding) -> bool {
    matches!(finding, Finding::BadExtent { .. })
}

#[test]
fn bytes_of_a_file_are_counted() {
    for cold in [false, true] {
        let mut tree = tree();
        let (before, file) = (listing(&mut tree.world), tree.file);
        let mut rows = tree.world.rows(S0);
        rows.change(rows.keys.inode(FS, file), |inode: &mut Inode| {
            let count = if cold { &mut inode.attr.cold_bytes } else { &mut inode.attr.allocated_bytes };
            *count = 1 << 40;
        });
        let expected = if cold { Quantity::Cold } else { Quantity::Allocated };
        assert_repaired(&mut tree.world, |f| matches!(f, Finding::Count { what, .. } if *what == expected));
        assert_eq!(listing(&mut tree.world), before);
    }
}

#[test]
fn extents_that_overlap_are_cut_and_the_file_is_named() {
    let mut tree = tree();
    let file = tree.file;
    // Over the end of the inline bytes and into the stripe's.
    put_extent(&mut tree, file, 1, 20, Location::Inline(vec![b'x'; 20].into()));
    let found = assert_repaired(&mut tree.world, bad);
    assert!(found.iter().filter(|f| bad(f)).all(|f| f.inode() == Some(file)), "{found:?}");
    let all = &listing(&mut tree.world)["/file"];
    assert!(all.contains("0..3") && all.contains("3..21") && all.contains("21..110"), "{all}");
}

#[test]
fn extents_that_cannot_be_are_removed() {
    for (place, (len, location)) in [
        (0, Location::Inline(Default::default())),
        (5, Location::Hole),
        (5, Location::Inline("abc".into())),
        (u64::MAX, Location::Inline("abc".into())),
    ]
    .into_iter()
    .enumerate()
    {
        let mut tree = tree();
        let (before, file) = (listing(&mut tree.world), tree.file);
        put_extent(&mut tree, file, 4 + place as u64, len, location);
        assert_repaired(&mut tree.world, bad);
        assert_eq!(listing(&mut tree.world)["/file"], before["/file"]);
    }
}

#[test]
fn extents_past_the_end_of_a_file_are_cut() {
    let mut tree = tree();
    let file = tree.file;
    let mut rows = tree.world.rows(S0);
    rows.change(rows.keys.inode(FS, file), |inode: &mut Inode| inode.attr.size = 50);
    assert_repaired(&mut tree.world, bad);
    let all = &listing(&mut tree.world)["/file"];
    assert!(all.contains("0..3") && all.contains("10..50"), "{all}");
    assert_eq!(stripe(&mut tree).2.live_bytes, 40);
}

#[test]
fn extents_of_nothing_become_a_file_in_lost_and_found() {
    let mut tree = tree();
    let ino = InodeId::new(S0, 7_000_000);
    put_extent(&mut tree, ino, 5, 3, Location::Inline("abc".into()));
    assert_repaired(&mut tree.world, bad);
    let all = listing(&mut tree.world);
    assert!(all[&format!("/lost+found/{}", ino.0)].contains("5..8"), "{all:?}");
}

#[test]
fn a_directory_has_no_extents() {
    let mut tree = tree();
    let (before, a) = (listing(&mut tree.world), tree.a);
    put_extent(&mut tree, a, 0, 3, Location::Inline("abc".into()));
    assert_repaired(&mut tree.world, bad);
    assert_eq!(listing(&mut tree.world), before);
}

#[test]
fn a_stripe_that_is_named_is_alive_whatever_its_record_said() {
    let garbage = Timestamp { secs: 5, nanos: 0 };
    type Damage = fn(&mut StripeRecord);
    let damages: [Damage; 4] = [
        |record| record.live_bytes = 0,
        |record| record.live_bytes = 1 << 40,
        |record| record.state = StripeState::Allocated,
        |record| record.state = StripeState::Garbage(Timestamp { secs: 5, nanos: 0 }),
    ];
    for damage in damages {
        let mut tree = tree();
        let (before, (key, id, good)) = (listing(&mut tree.world), stripe(&mut tree));
        let mut rows = tree.world.rows(S0);
        rows.put_raw(rows.keys.garbage(garbage, id), b"");
        rows.put_raw(rows.keys.uncommitted(SessionId(99), id), b"");
        rows.change(key, damage);
        assert_repaired(&mut tree.world, |f| matches!(f, Finding::StripeState { .. } | Finding::StripeLive { .. }));
        assert_eq!(stripe(&mut tree).2, good);
        assert_eq!(listing(&mut tree.world), before);
    }
}

#[test]
fn a_stripe_without_a_record_gets_one_if_it_is_named() {
    let mut tree = tree();
    let (before, (key, id, good)) = (listing(&mut tree.world), stripe(&mut tree));
    let mut rows = tree.world.rows(S0);
    rows.delete(key);
    let stray = StripeId(id.0 + 1);
    rows.put_raw(rows.keys.garbage(Timestamp { secs: 5, nanos: 0 }, stray), b"");
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::StripeLive { said: 0, .. }));
    assert_eq!(stripe(&mut tree).2, StripeRecord { session: SessionId(0), ..good });
    assert_eq!(listing(&mut tree.world), before);
    assert!(tree.world.rows(S0).all(b'G').is_empty());
}

#[test]
fn a_stripe_that_nothing_names_is_garbage_and_one_that_is_not_committed_is_listed() {
    let mut tree = tree();
    let (_, id, _) = stripe(&mut tree);
    let geometry = Geometry { data: 2, parity: 1 };
    let record = |session, state| StripeRecord { session, geometry, state, chunk_bytes: 4096, live_bytes: 0 };
    let mut rows = tree.world.rows(S0);
    let (dead, waits) = (StripeId(id.0 + 1), StripeId(id.0 + 2));
    rows.put(rows.keys.stripe(dead), &record(SessionId(7), StripeState::Live));
    rows.put(rows.keys.stripe(waits), &record(SessionId(7), StripeState::Allocated));
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::StripeState { .. }));
    let rows = tree.world.rows(S0);
    let listed = |table: u8| rows.all(table).iter().map(|(key, _)| crate::key::stripe_of(key)).collect::<Vec<_>>();
    assert_eq!((listed(b'G'), listed(b'U')), (vec![dead], vec![waits]));
}

#[test]
fn bytes_of_stripes_that_do_not_fit_are_not_kept() {
    let mut tree = tree();
    let (file, (_, stripe, _)) = (tree.file, stripe(&mut tree));
    let at = StripeRef { stripe, geometry: Geometry { data: 2, parity: 1 }, chunk_bytes: 4096, offset: 8190 };
    put_extent(&mut tree, file, 4, 4, Location::Stripe(at));
    let before = listing(&mut tree.world);
    assert_repaired(&mut tree.world, bad);
    assert_ne!(listing(&mut tree.world), before);
}
