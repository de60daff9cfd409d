use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn inode_id_round_trips(shard in 0u16..1024, counter in 1u64..1 << 50) {
        let ino = InodeId::new(ShardId(shard), counter);
        prop_assert_eq!((ino.shard(), ino.counter()), (ShardId(shard), counter));
    }

    #[test]
    fn stripe_id_round_trips(pg: u32, shard in 0u16..1024, class in 0u8..3, sequence: u64) {
        let class = LifetimeClass::from_u8(class).unwrap();
        let stripe = StripeId::new(PgId(pg), ShardId(shard), class, sequence);
        prop_assert_eq!(
            (stripe.pg(), stripe.shard(), stripe.class(), stripe.sequence()),
            (PgId(pg), ShardId(shard), class, sequence)
        );
        prop_assert_eq!(StripeId::from_bytes(stripe.to_bytes()), stripe);
    }

    #[test]
    fn uuid_text_round_trips(bytes: [u8; 16]) {
        prop_assert_eq!(Uuid(bytes).to_string().parse::<Uuid>().unwrap(), Uuid(bytes));
    }
}

#[test]
fn root_is_the_first_inode_of_shard_zero() {
    assert_eq!(InodeId::ROOT, InodeId::new(ShardId(0), 1));
}

#[test]
fn geometry_parses_and_refuses_with_the_form_it_wants() {
    assert_eq!("4+2".parse::<Geometry>().unwrap(), Geometry { data: 4, parity: 2 });
    for bad in ["", "4", "4-2", "0+2", "33+1", "4+9", "x+y"] {
        assert!(bad.parse::<Geometry>().unwrap_err().contains("K+M"), "{bad}");
    }
}

#[test]
fn write_quorum_is_one_more_than_data_where_there_is_parity() {
    for (k, m, want) in [(4, 2, 5), (1, 0, 1), (1, 1, 2), (2, 1, 3)] {
        assert_eq!(Geometry { data: k, parity: m }.write_quorum(), want);
    }
}
