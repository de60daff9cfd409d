use forebay_types::{OpId, Timestamp};
use forebay_wire::meta::{MutateOp, Mutation};

use super::*;

const FS: FsId = FsId(1);
const FILE: InodeId = InodeId(77);
const ONE: SessionId = SessionId(1);
const TWO: SessionId = SessionId(2);

fn entry(closed: &[InodeId], input: Input) -> Entry {
    Entry { now: Timestamp::default(), closed: closed.to_vec(), held: false, placements: Vec::new(), input }
}

#[test]
fn a_session_that_opens_twice_closes_once() {
    let mut opens = OpenTable::new();
    opens.open(FS, ONE, FILE, false);
    opens.open(FS, ONE, FILE, true);
    opens.open(FS, TWO, FILE, false);
    assert!(opens.holds_for_write(FS, ONE, FILE) && !opens.holds_for_write(FS, TWO, FILE));
    opens.close(FS, ONE, FILE);
    assert!(!opens.holds(FS, ONE, FILE) && opens.is_open(FS, FILE));
    opens.close(FS, TWO, FILE);
    assert_eq!(opens.take_closed(), [(FS, FILE)]);
    assert_eq!(opens.take_closed(), []);
}

#[test]
fn a_new_leader_takes_everything_for_open_until_everybody_has_spoken() {
    let mut opens = OpenTable::after_failover();
    assert!(opens.is_open(FS, FILE));
    let refused = MetaError::NotIntroduced { shard: ShardId(4) };
    assert_eq!(opens.need_introduced(ShardId(4), ONE), Err(refused));
    assert_eq!(opens.need_introduced(ShardId(4), OWN), Ok(()), "hosts have nothing open");
    opens.introduce(FS, ONE, &[OpenInode { ino: FILE, write: true }]);
    assert_eq!(opens.need_introduced(ShardId(4), ONE), Ok(()));
    assert!(opens.holds_for_write(FS, ONE, FILE));
    opens.close(FS, ONE, FILE);
    assert!(opens.is_open(FS, FILE) && opens.take_closed().is_empty(), "another session may have it open");
    opens.complete();
    assert!(!opens.is_open(FS, FILE));
    assert_eq!(opens.take_closed(), [(FS, FILE)], "not forgotten meanwhile");
}

#[test]
fn a_late_copy_of_an_introduction_opens_nothing_again() {
    let mut opens = OpenTable::after_failover();
    let inodes = [OpenInode { ino: FILE, write: false }];
    opens.introduce(FS, ONE, &inodes);
    opens.close(FS, ONE, FILE);
    opens.introduce(FS, ONE, &inodes);
    assert!(!opens.holds(FS, ONE, FILE));
}

#[test]
fn what_an_entry_on_its_way_may_remove_cannot_be_opened() {
    let id = OpId { session: ONE, sequence: 1 };
    let op = MutateOp::Unlink { parent: InodeId::ROOT, name: "f".into() };
    let cred = forebay_types::Cred::ROOT;
    let unlink = Mutation { fs: FS, id, acknowledged_below: 0, cred, op };
    let unlink = entry(&[FILE], Input::Mutate(Box::new(unlink)));
    let reap = entry(&[], Input::Reap { fs: FS, ino: FILE });
    let mut opens = OpenTable::new();
    opens.begin(&unlink);
    opens.begin(&reap);
    opens.settle(&unlink);
    assert!(opens.is_closing(FS, FILE), "the other entry is still on its way");
    opens.settle(&reap);
    assert!(!opens.is_closing(FS, FILE));
    opens.settle(&reap);
    assert!(!opens.is_closing(FS, FILE), "one of another leader's changes nothing");
}
