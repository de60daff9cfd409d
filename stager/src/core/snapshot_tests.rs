use super::pending_tasks;

#[test]
fn array_task_lists_are_read_up_to_the_window() {
    assert_eq!(pending_tasks("0-3%2", 10), [0, 1, 2, 3]);
    assert_eq!(pending_tasks("0,2-5", 3), [0, 2, 3]);
    assert_eq!(pending_tasks("1-9:4,20", 10), [1, 5, 9, 20]);
    assert_eq!(pending_tasks("1,2,...", 10), [1, 2]);
    assert_eq!(pending_tasks("", 10), [0; 0]);
    assert_eq!(pending_tasks("0-4294967295", 2), [0, 1]);
}
