//! Nothing is found in what is in use, whatever is under way.

use bytes::Bytes;
use forebay_types::{Cred, InodeId, SessionId};
use forebay_wire::meta::{MutateOp, RenameHow};
use proptest::prelude::*;

use super::assert_clean;
use crate::tests::world::World;

/// Names come, go and move over shards between any two questions.
fn churn(world: &mut World, dirs: &[InodeId], files: &[InodeId]) {
    let any = |world: &mut World| dirs[world.dice.roll(dirs.len() as u64) as usize];
    let name = |world: &mut World| Bytes::from(format!("n{}", world.dice.roll(8)));
    for _ in 0..2 {
        let (a, b) = (any(world), any(world));
        let (from, to) = (name(world), name(world));
        let op = match world.dice.roll(9) {
            0 => crate::tests::world::make(
                a,
                &format!("n{}", world.dice.roll(8)),
                forebay_wire::meta::NewNode::File,
                0o644,
            ),
            1 => MutateOp::Mkdir { parent: a, name: to, mode: 0o755_u16.into() },
            2 => MutateOp::Unlink { parent: a, name: from },
            3 => MutateOp::Rmdir { parent: a, name: from },
            4 => {
                let ino = files[world.dice.roll(files.len() as u64) as usize];
                MutateOp::Link { ino, parent: b, name: to }
            }
            5 => MutateOp::Rename { parent: a, name: from, new_parent: b, new_name: to, how: RenameHow::Exchange },
            _ => MutateOp::Rename { parent: a, name: from, new_parent: b, new_name: to, how: RenameHow::Replace },
        };
        let mutation = world.mutation(SessionId(9), &Cred::ROOT, op);
        world.submit(a.shard(), crate::Input::Mutate(Box::new(mutation)));
        for _ in 0..world.dice.roll(4) {
            world.happen();
        }
    }
}

fn run(seed: u64, trouble: u64, crashes: u64) {
    let mut world = World::new(4, seed);
    let root = Cred::ROOT;
    let dirs: Vec<InodeId> = (0..5).map(|n| world.mkdir(&root, InodeId::ROOT, &format!("d{n}"), 0o755)).collect();
    let files: Vec<InodeId> = (0..5).map(|n| world.create(&root, dirs[n], &format!("kept{n}"), 0o644)).collect();
    for n in 0..8 {
        world.create(&root, dirs[n % 5], &format!("n{n}"), 0o644);
    }
    (world.trouble, world.crashes) = (trouble, crashes);
    for repair in [false, true, false] {
        let summary = world.fsck_while(repair, &mut |world| churn(world, &dirs, &files));
        assert_eq!(summary.findings, [], "seed {seed}");
    }
    (world.trouble, world.crashes) = (0, 0);
    world.settle();
    for _ in 0..200 {
        world.happen();
    }
    assert_clean(&mut world);
    world.check_tree();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 10, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_found_while_names_come_and_go(seed: u64) {
        run(seed, 0, 0);
    }

    #[test]
    fn nothing_is_found_while_messages_are_lost_and_hosts_crash(seed: u64) {
        run(seed, 6, 12);
    }
}
