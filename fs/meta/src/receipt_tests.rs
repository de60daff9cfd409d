use forebay_types::{LifetimeClass, PgId, ShardId};

use super::*;

#[test]
fn a_receipt_is_good_only_as_it_was_sealed() {
    let key = ReceiptKey::derive(b"cluster key");
    let stripe = StripeId::new(PgId(7), ShardId(3), LifetimeClass::Job, 9);
    let good = key.seal_receipt(DriveId(1), stripe, 2, 4096);
    assert!(key.check_receipt(&good));
    assert!(!ReceiptKey::derive(b"another key").check_receipt(&good));
    for bad in [
        Receipt { drive: DriveId(2), ..good },
        Receipt { stripe: StripeId(stripe.0 + 1), ..good },
        Receipt { index: 3, ..good },
        Receipt { chunk_bytes: 8192, ..good },
        Receipt { seal: [0; 16], ..good },
    ] {
        assert!(!key.check_receipt(&bad), "{bad:?}");
    }
}
