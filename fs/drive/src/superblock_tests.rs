use super::*;

fn superblock() -> Superblock {
    Superblock {
        cluster: Uuid([0xc1; 16]),
        drive: Uuid([0xd2; 16]),
        drive_id: DriveId(7),
        layout: Layout::new(64 << 20, 1 << 20).unwrap(),
        starts: 3,
    }
}

#[test]
fn bytes_are_those_of_version_one() {
    let block = superblock().encode();
    let mut want = b"FOREBAYD\x01\0\0\0".to_vec();
    want.extend([0xc1; 16]);
    want.extend([0xd2; 16]);
    want.extend([7, 0, 0, 0, 0, 0, 0x10, 0, 63, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(&block[..want.len()], want);
    assert!(block[want.len()..BLOCK - 4].iter().all(|byte| *byte == 0));
    assert_eq!(Superblock::decode(&block), Ok(superblock()));
}

#[test]
fn what_is_wrong_is_said() {
    let good = superblock().encode();
    assert_eq!(Superblock::decode(&[0; BLOCK]), Err(SuperblockError::NotADrive));
    assert_eq!(Superblock::decode(&good[..100]), Err(SuperblockError::NotADrive));
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    assert_eq!(Superblock::decode(&flipped), Err(SuperblockError::Damaged));
    let mut other = Writer::new();
    other.bytes(&MAGIC).u16(9);
    assert_eq!(Superblock::decode(&seal(other)), Err(SuperblockError::Version { found: 9 }));
}
