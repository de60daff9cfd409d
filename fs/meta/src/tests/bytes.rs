//! The map of a file's bytes against an array of where each byte is.

use bytes::Bytes;
use forebay_types::{
    ByteRange, Cred, DriveId, Errno, Extent, InodeId, LifetimeClass, Location, ObjectRef, SessionId, ShardId, StripeId,
    StripeRef, TierId, Timestamp,
};
use forebay_wire::chunk::Receipt;
use forebay_wire::meta::{MetaError, MetaReply, MutateOp, ReadOp, SetAttr};
use proptest::prelude::*;

use super::world::{CODE, FS, World, receipt_key};
use crate::Input;

const CHUNK: u32 = 4096;
const FILE_MAX: u64 = 3000;

/// Where one byte of a file is.
#[derive(Clone, PartialEq, Debug)]
enum Byte {
    Hole,
    Inline(u8),
    Stripe(StripeId, u64),
    Object(u64),
}

fn spread(extent: &Extent, into: &mut [Byte]) {
    for n in 0..extent.range.len {
        into[(extent.range.offset + n) as usize] = match &extent.location {
            Location::Hole => Byte::Hole,
            Location::Inline(bytes) => Byte::Inline(bytes[n as usize]),
            Location::Stripe(at) => Byte::Stripe(at.stripe, u64::from(at.offset) + n),
            Location::Object(at) => Byte::Object(at.offset + n),
        };
    }
}

pub fn stripe_at(stripe: StripeId, offset: u32) -> Location {
    Location::Stripe(StripeRef { stripe, geometry: CODE, chunk_bytes: CHUNK, offset })
}

fn object_at(offset: u64) -> Location {
    let (key, etag) = ("data".into(), "v1".into());
    Location::Object(ObjectRef { tier: TierId(1), key, etag, object_bytes: 1 << 20, offset })
}

pub fn receipts(stripe: StripeId, chunks: u8) -> Vec<Receipt> {
    (0..chunks).map(|n| receipt_key().seal_receipt(DriveId(u32::from(n)), stripe, n, CHUNK)).collect()
}

pub fn allocate(world: &mut World, count: u32) -> Vec<StripeId> {
    let op = MutateOp::AllocateStripes { count, class: LifetimeClass::Job };
    match world.ok(&Cred::ROOT, ShardId(0), op) {
        MetaReply::Stripes { stripes, .. } => stripes,
        other => panic!("{other:?}"),
    }
}

pub fn commit(ino: InodeId, extents: Vec<Extent>, receipts: Vec<Receipt>) -> MutateOp {
    let size_at_least = extents.last().map_or(0, |e| e.range.end());
    let touch = Some(Timestamp { secs: i64::MAX, nanos: 0 });
    MutateOp::Commit { ino, extents, receipts, size_at_least, touch, drop_privileges: false }
}

pub fn extent(offset: u64, len: u64, location: Location) -> Extent {
    Extent { range: ByteRange::new(offset, len), location }
}

fn map(world: &mut World, ino: InodeId) -> Vec<Extent> {
    let op = ReadOp::Extents { ino, range: ByteRange::new(0, u64::MAX) };
    match world.read(&Cred::ROOT, ShardId(0), &op) {
        Ok(MetaReply::Extents { extents, covered_to: u64::MAX, .. }) => extents,
        other => panic!("{other:?}"),
    }
}

fn random_location(world: &mut World, len: u64) -> (Location, Vec<Receipt>) {
    match world.dice.roll(4) {
        0 => (Location::Hole, Vec::new()),
        1 => {
            let seed = world.dice.roll(200) as u8;
            let bytes: Vec<u8> = (0..len).map(|n| seed.wrapping_add(n as u8)).collect();
            (Location::Inline(bytes.into()), Vec::new())
        }
        2 => (object_at(world.dice.roll(5000)), Vec::new()),
        _ => {
            let stripe = allocate(world, 1)[0];
            (stripe_at(stripe, world.dice.roll(2000) as u32), receipts(stripe, 3))
        }
    }
}

fn step(world: &mut World, ino: InodeId, model: &mut Vec<Byte>) {
    let offset = world.dice.roll(FILE_MAX);
    let len = 1 + world.dice.roll(400);
    let root = Cred::ROOT;
    match world.dice.roll(12) {
        10 => {
            let (zero, keep_size) = (world.dice.roll(3) != 0, world.dice.roll(2) == 0);
            let range = ByteRange::new(offset, len);
            let op = MutateOp::Fallocate { ino, range, zero, keep_size, drop_privileges: false };
            world.ok(&root, ShardId(0), op);
            if !keep_size && model.len() < range.end() as usize {
                model.resize(range.end() as usize, Byte::Hole);
            }
            if zero {
                model.iter_mut().skip(offset as usize).take(len as usize).for_each(|byte| *byte = Byte::Hole);
            }
        }
        11 => copy(world, (ino, model), (ino, None), ByteRange::new(offset, len)),
        0 => {
            let set = SetAttr { size: Some(offset), ..SetAttr::default() };
            world.ok(&root, ShardId(0), MutateOp::SetAttr { ino, set });
            model.resize(offset as usize, Byte::Hole);
        }
        1..=3 => exchange(world, ino, model, ByteRange::new(offset, len)),
        _ => {
            let (location, receipts) = random_location(world, len);
            let new = extent(offset, len, location);
            let end = new.range.end() as usize;
            if model.len() < end {
                model.resize(end, Byte::Hole);
            }
            spread(&new, model);
            world.ok(&root, ShardId(0), commit(ino, vec![new], receipts));
        }
    }
}

/// Shares a range of a file with another, or with itself at another place.
fn copy(
    world: &mut World,
    (from, source): (InodeId, &mut Vec<Byte>),
    (to, target): (InodeId, Option<&mut Vec<Byte>>),
    range: ByteRange,
) {
    let to_offset = world.dice.roll(FILE_MAX);
    let op = MutateOp::CopyRange { from, range, to, to_offset, drop_privileges: false };
    let end = (range.end() as usize).min(source.len());
    let bytes = source.get(range.offset as usize..end).unwrap_or_default().to_vec();
    let (own, same) = (ByteRange::new(range.offset, bytes.len() as u64), target.is_none());
    let onto = ByteRange::new(to_offset, bytes.len() as u64);
    if same && own.intersect(onto).is_some() {
        assert_eq!(world.errno(&Cred::ROOT, ShardId(0), op), Some(Errno::Invalid));
        return;
    }
    let MetaReply::Copied { bytes: copied, attr } = world.ok(&Cred::ROOT, ShardId(0), op) else { panic!("copy") };
    assert_eq!(copied, bytes.len() as u64);
    let target = target.unwrap_or(source);
    if !bytes.is_empty() {
        let end = onto.end() as usize;
        target.resize(target.len().max(end), Byte::Hole);
        target[to_offset as usize..end].clone_from_slice(&bytes);
    }
    assert_eq!(attr.size, target.len() as u64);
}

/// Moves a range into a stripe if it is as expected, with what is expected cut differently than it is stored.
fn exchange(world: &mut World, ino: InodeId, model: &mut [Byte], range: ByteRange) {
    let there = map(world, ino);
    let mut expect = Vec::new();
    let middle = range.offset + range.len / 2;
    for part in [ByteRange::between(range.offset, middle), ByteRange::between(middle, range.end())] {
        let mut at = part.offset;
        for piece in there.iter().filter_map(|e| e.clip(part)) {
            if piece.range.offset > at {
                expect.push(extent(at, piece.range.offset - at, Location::Hole));
            }
            at = piece.range.end();
            expect.push(piece);
        }
        if at < part.end() {
            expect.push(extent(at, part.end() - at, Location::Hole));
        }
    }
    let stripe = allocate(world, 1)[0];
    let new = extent(range.offset, range.len, stripe_at(stripe, 0));
    let wrong = world.dice.roll(4) == 0;
    if wrong {
        expect[0].location = object_at(1 << 19);
    }
    let op = MutateOp::Exchange { ino, expect, replace: vec![new.clone()], receipts: receipts(stripe, 3) };
    let fits = range.end() <= model.len() as u64;
    let want = (wrong || !fits).then_some(Errno::Again);
    assert_eq!(world.errno(&Cred::ROOT, ShardId(0), op), want);
    if want.is_none() {
        spread(&new, model);
    }
}

fn compare(world: &mut World, ino: InodeId, model: &[Byte]) {
    let mut got = vec![Byte::Hole; model.len()];
    for extent in map(world, ino) {
        spread(&extent, &mut got);
    }
    assert_eq!(got, model);
    let attr = world.attr(ino);
    let count = |keep: fn(&Byte) -> bool| model.iter().filter(|b| keep(b)).count() as u64;
    let allocated = count(|b| *b != Byte::Hole);
    let cold = count(|b| matches!(b, Byte::Object(_)));
    assert_eq!((attr.size, attr.allocated_bytes, attr.cold_bytes), (model.len() as u64, allocated, cold));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn the_map_is_where_every_byte_was_last_put(seed: u64) {
        let mut world = World::new(1, seed);
        let ino = world.create(&Cred::ROOT, InodeId::ROOT, "f", 0o644);
        let other = world.create(&Cred::ROOT, InodeId::ROOT, "g", 0o644);
        let (mut model, mut copied) = (Vec::new(), Vec::new());
        for n in 0..60 {
            step(&mut world, ino, &mut model);
            if n % 6 == 0 {
                let range = ByteRange::new(world.dice.roll(FILE_MAX), 1 + world.dice.roll(1000));
                copy(&mut world, (ino, &mut model), (other, Some(&mut copied)), range);
            }
            world.check();
            compare(&mut world, ino, &model);
            compare(&mut world, other, &copied);
        }
        for name in ["f", "g"] {
            let gone = MutateOp::Unlink { parent: InodeId::ROOT, name: name.into() };
            world.ok(&Cred::ROOT, ShardId(0), gone);
            world.check();
        }
        world.settle();
        world.check();
        let end = MutateOp::EndSession { session: SessionId(7) };
        world.ok(&Cred::ROOT, ShardId(0), end);
        world.check();
        let later = Timestamp { secs: world.now.secs + 31, nanos: 0 };
        let stripes = world.hosts[0].shard.garbage(later, 1000).unwrap();
        world.submit(ShardId(0), Input::Erased { stripes });
        world.check();
        prop_assert!(world.hosts[0].shard.garbage(later, 1000).unwrap().is_empty());
    }
}

#[test]
fn a_commit_names_only_its_own_durable_stripes_as_they_are() {
    let mut world = World::new(1, 1);
    let root = Cred::ROOT;
    let ino = world.create(&root, InodeId::ROOT, "f", 0o644);
    let stripe = allocate(&mut world, 1)[0];
    let whole = || vec![extent(0, 8192, stripe_at(stripe, 0))];
    let mut call = |op| world.call(&root, ShardId(0), op);
    let few = |have| Err(MetaError::NotDurable { stripe, have, need: 3 });
    assert_eq!(call(commit(ino, whole(), receipts(stripe, 2))), few(2));
    let doubled = [receipts(stripe, 2), receipts(stripe, 2)].concat();
    assert_eq!(call(commit(ino, whole(), doubled)), few(2));
    let mut forged = receipts(stripe, 3);
    forged[1].seal = [0; 16];
    assert_eq!(call(commit(ino, whole(), forged)), few(2));
    let other = StripeId(stripe.0 + 5);
    let unknown = vec![extent(0, 1, stripe_at(other, 0))];
    assert_eq!(call(commit(ino, unknown, receipts(other, 3))), Err(Errno::Invalid.into()));
    let outside = vec![extent(0, 8193, stripe_at(stripe, 0))];
    assert_eq!(call(commit(ino, outside, receipts(stripe, 3))), Err(Errno::Invalid.into()));
    assert!(call(commit(ino, whole(), receipts(stripe, 3))).is_ok());
    // A second file packed into the stripe needs no receipts, but somebody else's session may not name it.
    assert!(call(commit(ino, vec![extent(9000, 10, stripe_at(stripe, 0))], Vec::new())).is_ok());
    let foreign = world.mutation(SessionId(8), &root, commit(ino, whole(), receipts(stripe, 3)));
    assert_eq!(world.send(ShardId(0), &foreign), MetaReply::Error(Errno::Invalid.into()));
    world.check();
}

#[test]
fn a_stripe_whose_first_file_is_gone_still_takes_its_second() {
    let mut world = World::new(1, 1);
    let root = Cred::ROOT;
    let (a, b) = (world.create(&root, InodeId::ROOT, "a", 0o644), world.create(&root, InodeId::ROOT, "b", 0o644));
    let stripe = allocate(&mut world, 1)[0];
    world.ok(&root, ShardId(0), commit(a, vec![extent(0, 10, stripe_at(stripe, 0))], receipts(stripe, 3)));
    world.ok(&root, ShardId(0), MutateOp::Unlink { parent: InodeId::ROOT, name: Bytes::from("a") });
    let later = Timestamp { secs: world.now.secs + 100, nanos: 0 };
    assert_eq!(world.hosts[0].shard.garbage(later, 10).unwrap(), [stripe]);
    world.ok(&root, ShardId(0), commit(b, vec![extent(0, 10, stripe_at(stripe, 10))], Vec::new()));
    assert_eq!(world.hosts[0].shard.garbage(later, 10).unwrap(), []);
    world.check();
}

#[test]
fn an_unlinked_file_keeps_its_bytes_until_it_is_closed() {
    let mut world = World::new(1, 1);
    let root = Cred::ROOT;
    let ino = world.create(&root, InodeId::ROOT, "f", 0o644);
    let open = ReadOp::Open { ino, read: true, write: true };
    world.read(&root, ShardId(0), &open).unwrap();
    world.ok(&root, ShardId(0), MutateOp::Unlink { parent: InodeId::ROOT, name: "f".into() });
    world.settle();
    assert_eq!(world.attr(ino).nlink, 0);
    assert_eq!(world.hosts[0].shard.orphans(None, 10).unwrap(), [(FS, ino)]);
    world.ok(&root, ShardId(0), commit(ino, vec![extent(0, 3, Location::Inline("abc".into()))], Vec::new()));
    world.check();
    world.read(&root, ShardId(0), &ReadOp::Close { ino }).unwrap();
    world.reap(ShardId(0));
    world.settle();
    assert_eq!(world.read(&root, ShardId(0), &ReadOp::GetAttr { ino }), Err(Errno::NoEntry));
    world.check();
}

#[test]
fn a_file_of_very_many_extents_goes_in_pieces() {
    let mut world = World::new(1, 1);
    let root = Cred::ROOT;
    let ino = world.create(&root, InodeId::ROOT, "f", 0o644);
    for part in 0..3 {
        let at = |n: u64| (part * 2000 + n) * 2;
        let extents = (0..2000).map(|n| extent(at(n), 1, Location::Inline("x".into()))).collect();
        world.ok(&root, ShardId(0), commit(ino, extents, Vec::new()));
    }
    world.ok(&root, ShardId(0), MutateOp::Unlink { parent: InodeId::ROOT, name: "f".into() });
    assert_eq!(world.hosts[0].shard.orphans(None, 10).unwrap(), [(FS, ino)]);
    world.check();
    world.settle();
    assert!(world.hosts[0].shard.orphans(None, 10).unwrap().is_empty());
    world.check();
}
