use proptest::prelude::*;

use super::*;

const SIZE: usize = 200;

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Truncate(usize),
    FailedWriteBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..SIZE - 50, proptest::collection::vec(any::<u8>(), 0..50)).prop_map(|(at, data)| Step::Write(at, data)),
        1 => (0..SIZE).prop_map(Step::Truncate),
        1 => Just(Step::FailedWriteBack),
    ];
    proptest::collection::vec(step, 0..30)
}

fn check(buffer: &WriteBuffer, model: &[Option<u8>]) {
    assert_eq!(buffer.bytes(), model.iter().flatten().count() as u64);
    let last = model.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
    assert_eq!(buffer.end(), last as u64);
    for from in (0..SIZE).step_by(7) {
        for len in [0, 1, 13, SIZE - from] {
            let len = len.min(SIZE - from);
            let mut out = vec![0xee; len];
            let all = buffer.read(from as u64, &mut out);
            let wanted = &model[from..from + len];
            assert_eq!(all, wanted.iter().all(Option::is_some));
            let expect: Vec<u8> = wanted.iter().map(|byte| byte.unwrap_or(0xee)).collect();
            assert_eq!(out, expect);
        }
    }
}

proptest! {
    #[test]
    fn buffer_is_a_sparse_array(first in steps(), second in steps()) {
        let mut buffer = WriteBuffer::default();
        let mut model = vec![None; SIZE];
        for step in first.into_iter().chain(second) {
            match step {
                Step::Write(at, data) => {
                    data.iter().enumerate().for_each(|(i, byte)| model[at + i] = Some(*byte));
                    buffer.write(at as u64, data.into());
                }
                Step::Truncate(size) => {
                    model[size..].fill(None);
                    buffer.truncate(size as u64);
                }
                Step::FailedWriteBack => {
                    let taken = std::mem::take(&mut buffer);
                    buffer.write(3, Bytes::from_static(b"newer"));
                    b"newer".iter().enumerate().for_each(|(i, byte)| model[3 + i] = Some(*byte));
                    buffer.give_back(taken);
                }
            }
            check(&buffer, &model);
        }
    }
}

#[test]
fn the_last_byte_a_file_can_have() {
    let mut buffer = WriteBuffer::default();
    buffer.write(u64::MAX - 4, Bytes::from_static(b"edge"));
    let mut out = [0; 4];
    assert!(buffer.read(u64::MAX - 4, &mut out));
    assert_eq!(&out, b"edge");
}
