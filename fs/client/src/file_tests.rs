use super::*;

fn at(secs: i64) -> Option<Timestamp> {
    Some(Timestamp { secs, nanos: 0 })
}

/// The close of a writer that takes its time must not keep the close of a reader from telling.
#[test]
fn of_closes_that_overlap_the_last_one_tells_of_the_read() {
    let mut state = FileState { opens: 2, read_at: at(5), ..FileState::default() };
    assert_eq!(state.closed(), None);
    assert_eq!(state.closed(), at(5));
    state.opens = 1;
    assert_eq!(state.closed(), None, "once");
    (state.opens, state.read_at) = (1, at(6));
    assert_eq!(state.closed(), at(6));
}
