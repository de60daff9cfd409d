use crate::record::{BLOCK, Record, RecordKind};
use crate::world::{World, content, key, layout, put};

/// Where the header block of a key's record is on the medium.
fn header_of(world: &mut World, n: u64) -> usize {
    let medium = world.medium();
    let is_it = |block: &[u8]| match Record::decode(block).map(|record| record.kind) {
        Ok(RecordKind::Chunk(chunk)) => chunk.key == key(n),
        _ => false,
    };
    medium.chunks(BLOCK).position(is_it).unwrap() * BLOCK
}

/// Three chunks of one class, one after the other, cleanly closed.
fn three() -> World {
    let mut world = World::new();
    for n in [0, 3, 6] {
        world.put(put(key(n), 0, 2));
        world.drain();
    }
    world.shut_down();
    world
}

#[test]
fn a_damaged_header_in_the_middle_is_reported_and_the_rest_survives() {
    let mut world = three();
    let at = header_of(&mut world, 3);
    world.medium()[at + 50] ^= 1;
    let (medium, layout) = (std::mem::take(world.medium()), layout());
    let mut scan = crate::Scan::new(layout, crate::world::DRIVE);
    while let crate::Need::Read { segment, offset, bytes } = scan.need() {
        let from = segment as usize * layout.segment_bytes as usize + offset as usize;
        scan.feed(Some(&medium[from..from + bytes as usize]));
    }
    let (core, report) = scan.finish().start(9, &mut Vec::new());
    assert_eq!((report.chunks, report.torn_records), (2, 0));
    let found: Vec<u32> = report.corrupt.iter().map(|region| region.bytes).collect();
    assert_eq!(found, [3 * BLOCK as u32], "exactly the damaged record");
    assert!(core.info(key(6)).is_some() && core.info(key(0)).is_some() && core.info(key(3)).is_none());
}

#[test]
fn a_torn_last_payload_is_dropped_and_stays_dropped() {
    let mut world = World::new();
    world.put(put(key(0), 0, 2));
    world.drain();
    world.put(put(key(3), 0, 2));
    world.drain();
    // No later record says that the second was durable, so recovery has to look at it.
    let at = header_of(&mut world, 3);
    world.medium()[at + BLOCK + 7] ^= 1;
    let lost = world.delete(vec![key(3)]);
    assert!(lost > 0);
    let mut world = world.crash(0x5555_0000);
    assert_eq!(world.get(key(0)), Some(Ok(content(key(0), 0, 2))));
    assert_eq!(world.get(key(3)), None);
    world.drain();
    let mut world = world.crash(2);
    assert_eq!((world.report.torn_records, world.get(key(3))), (0, None));
}

#[test]
fn one_bad_copy_of_a_segment_header_is_no_loss_and_two_are_reported() {
    let mut world = three();
    let segment = header_of(&mut world, 0) / layout().segment_bytes as usize * layout().segment_bytes as usize;
    world.medium()[segment + 20] ^= 1;
    let mut world = world.crash(1);
    world.check();
    world.medium()[segment + BLOCK + 20] ^= 1;
    let medium = std::mem::take(world.medium());
    let mut scan = crate::Scan::new(layout(), crate::world::DRIVE);
    while let crate::Need::Read { segment, offset, bytes } = scan.need() {
        let from = segment as usize * layout().segment_bytes as usize + offset as usize;
        scan.feed(Some(&medium[from..from + bytes as usize]));
    }
    let (_, report) = scan.finish().start(9, &mut Vec::new());
    assert_eq!(report.lost_segments.len(), 1);
}

#[test]
fn records_of_an_earlier_use_of_a_segment_are_not_alive() {
    let mut world = World::new();
    for round in 0..40 {
        for n in 0..9 {
            world.put(put(key(n), round % 3, 60));
        }
        world.drain();
        world.delete((0..9).map(key).collect());
        world.drain();
    }
    let world = world.crash(77);
    assert_eq!(world.core.stats().chunks, 0);
}

#[test]
fn an_unreadable_device_is_not_an_empty_one() {
    let mut scan = crate::Scan::new(layout(), crate::world::DRIVE);
    while scan.need() != crate::Need::Nothing {
        scan.feed(None);
    }
    let recovered = scan.finish();
    assert_eq!(recovered.report().lost_segments.len(), layout().segments as usize);
}
