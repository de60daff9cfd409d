use forebay_types::Cred;
use forebay_wire::meta::MutateOp;

use super::*;

fn entry() -> Entry {
    let mutation = Mutation {
        fs: FsId(1),
        id: OpId { session: SessionId(2), sequence: 3 },
        acknowledged_below: 1,
        cred: Cred { uid: 4, gid: 5, groups: vec![6] },
        op: MutateOp::Unlink { parent: InodeId(7), name: "f".into() },
    };
    Entry {
        now: Timestamp { secs: 8, nanos: 9 },
        closed: vec![InodeId(10)],
        held: false,
        placements: Vec::new(),
        input: Input::Mutate(Box::new(mutation)),
    }
}

#[test]
fn entries_are_encoded_as_they_always_were() {
    let hex: String = entry().encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "04 10 09 010a 00 00 00 01 02 03 01 04 05 01 06 03 07 01 66".replace(' ', ""));
    assert_eq!(Entry::decode(&entry().encode()), Ok(entry()));
}

#[test]
fn an_entry_of_another_version_or_cut_short_is_refused() {
    let mut bytes = entry().encode();
    bytes.pop();
    assert!(matches!(Entry::decode(&bytes), Err(ShardError::Corrupt { .. })));
    bytes[0] = 1;
    assert!(matches!(Entry::decode(&bytes), Err(ShardError::Version { found: 1, .. })));
    assert!(matches!(Entry::decode(&[]), Err(ShardError::Corrupt { .. })));
}
