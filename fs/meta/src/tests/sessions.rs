//! Exactly once, and the end of a session.

use forebay_types::{Cred, InodeId, OpId, SessionId, ShardId, Timestamp};
use forebay_wire::meta::{MetaError, MetaReply, MutateOp, NewNode};

use super::bytes::allocate;
use super::world::{World, entry, make};
use crate::Input;

#[test]
fn a_mutation_sent_again_has_the_first_answer_and_no_effect() {
    let mut world = World::new(1, 1);
    let op = make(InodeId::ROOT, "f", NewNode::File, 0o644);
    let create = world.mutation(SessionId(3), &Cred::ROOT, op);
    let first = world.send(ShardId(0), &create);
    let unlink = MutateOp::Unlink { parent: InodeId::ROOT, name: "f".into() };
    world.ok(&Cred::ROOT, ShardId(0), unlink);
    assert_eq!(world.send(ShardId(0), &create), first);
    let other = MutateOp::Unlink { parent: InodeId::ROOT, name: "f".into() };
    assert!(world.call(&Cred::ROOT, ShardId(0), other).is_err(), "the name must not be back");
}

#[test]
fn a_copy_of_an_acknowledged_mutation_does_nothing() {
    let mut world = World::new(1, 1);
    let op = make(InodeId::ROOT, "f", NewNode::File, 0o644);
    let create = world.mutation(SessionId(3), &Cred::ROOT, op);
    world.send(ShardId(0), &create);
    let unlink = MutateOp::Unlink { parent: InodeId::ROOT, name: "f".into() };
    let mut next = world.mutation(SessionId(3), &Cred::ROOT, unlink);
    next.acknowledged_below = create.id.sequence + 1;
    assert_eq!(world.send(ShardId(0), &next), MetaReply::Done);
    assert!(matches!(world.send(ShardId(0), &create), MetaReply::Error(_)));
    assert!(world.call(&Cred::ROOT, ShardId(0), make(InodeId::ROOT, "f", NewNode::File, 0o644)).is_ok());
}

#[test]
fn an_ended_session_is_not_heard_and_leaves_its_stripes_as_garbage() {
    let mut world = World::new(1, 1);
    let stripes = allocate(&mut world, 5);
    let session = SessionId(7);
    let end = world.mutation(SessionId(99), &Cred::ROOT, MutateOp::EndSession { session });
    assert_eq!(world.send(ShardId(0), &end), MetaReply::Done);
    world.check();
    let late = world.mutation(session, &Cred::ROOT, make(InodeId::ROOT, "f", NewNode::File, 0o644));
    assert_eq!(world.send(ShardId(0), &late), MetaReply::Error(MetaError::SessionEnded(session)));
    let after = |secs| Timestamp { secs, nanos: 0 };
    let shard = &world.hosts[0].shard;
    assert!(shard.garbage(after(world.now.secs), 10).unwrap().is_empty(), "within the grace");
    let mut garbage = shard.garbage(after(world.now.secs + 31), 10).unwrap();
    garbage.sort_by_key(|s| s.sequence());
    assert_eq!(garbage, stripes);
}

#[test]
fn a_mutation_sent_again_while_its_transaction_goes_on_waits_for_the_same_answer() {
    let mut world = World::new(8, 1);
    let remote = (0..50)
        .map(|n| MutateOp::Mkdir { parent: InodeId::ROOT, name: format!("d{n}").into(), mode: 0o755.into() })
        .find_map(|op| {
            let mutation = world.mutation(SessionId(3), &Cred::ROOT, op);
            let reply = world.submit(ShardId(0), Input::Mutate(Box::new(mutation.clone())));
            reply.is_none().then_some(mutation)
        })
        .expect("most directories go to other shards");
    assert_eq!(world.submit(ShardId(0), Input::Mutate(Box::new(remote.clone()))), None);
    let made = entry(&world.send(ShardId(0), &remote));
    assert_eq!(entry(&world.send(ShardId(0), &remote)), made);
    assert_ne!(made.shard(), ShardId(0));
    assert_eq!(remote.id, OpId { session: SessionId(3), sequence: remote.id.sequence });
    world.settle();
    world.check_tree();
}
