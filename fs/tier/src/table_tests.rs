use forebay_types::{FsId, InodeId, Uuid};
use proptest::prelude::*;

use super::*;

fn spec(root: u64) -> TaskSpec {
    TaskSpec::Recall { fs: FsId(1), root: InodeId(root), range: None }
}

fn id(n: u8) -> TaskId {
    Uuid([n; 16])
}

fn table(running: u32, ended: usize) -> TaskTable<u32> {
    TaskTable::new(TableLimits { running, ended })
}

#[test]
fn a_task_is_joined_while_it_runs_and_when_it_is_done_and_restarted_when_it_failed() {
    let mut table = table(8, 8);
    assert_eq!(table.start(id(1), &spec(1), |_| 10).unwrap(), Started::New(10));
    assert_eq!(table.start(id(1), &spec(1), |_| 11).unwrap(), Started::Joined(10));
    assert!(matches!(table.start(id(1), &spec(2), |_| 11), Err(TierError::Invalid { .. })));
    table.end(id(1), true);
    assert_eq!(table.start(id(1), &spec(1), |_| 11).unwrap(), Started::Joined(10));
    table.start(id(2), &spec(1), |_| 20).unwrap();
    table.end(id(2), false);
    assert_eq!(table.start(id(2), &spec(1), |before| before.unwrap() + 1).unwrap(), Started::New(21));
    assert_eq!(table.running().copied().collect::<Vec<_>>(), [21]);
}

#[test]
fn the_host_has_a_limit_and_forgets_the_oldest_ended() {
    let mut table = table(1, 1);
    table.start(id(1), &spec(1), |_| 1).unwrap();
    assert_eq!(table.start(id(2), &spec(1), |_| 2), Err(TierError::TooManyTasks { limit: 1 }));
    table.end(id(1), true);
    table.start(id(2), &spec(1), |_| 2).unwrap();
    table.end(id(2), true);
    assert_eq!(table.get(id(1)), Err(TierError::NoTask));
    assert_eq!(table.get(id(2)), Ok(&2));
}

proptest! {
    #[test]
    fn limits_are_kept(steps in prop::collection::vec((0u8..3, 0u8..6), 0..80)) {
        let mut table = table(2, 3);
        for (what, n) in steps {
            match what {
                0 => drop(table.start(id(n), &spec(u64::from(n)), |_| u32::from(n))),
                1 => table.end(id(n), true),
                _ => table.end(id(n), false),
            }
            prop_assert!(table.running().count() <= 2);
            prop_assert_eq!(table.running().count(), table.running as usize);
            prop_assert!(table.ended.len() <= 3);
            prop_assert_eq!(table.slots.len(), table.ended.len() + table.running as usize);
        }
    }
}
