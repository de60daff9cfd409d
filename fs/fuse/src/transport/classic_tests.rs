use super::*;

#[test]
fn what_must_not_be_answered_has_no_number() {
    let request = |opcode: Opcode| {
        let mut bytes = vec![0; 40];
        bytes[4..8].copy_from_slice(&opcode.raw().to_ne_bytes());
        bytes[8..16].copy_from_slice(&77u64.to_ne_bytes());
        bytes
    };
    for opcode in [Opcode::Forget, Opcode::BatchForget, Opcode::Interrupt, Opcode::NotifyReply] {
        assert_eq!(wants_answer(&request(opcode)), None);
    }
    for opcode in [Opcode::Lookup, Opcode::Init, Opcode::Destroy, Opcode::Unknown(999)] {
        assert_eq!(wants_answer(&request(opcode)), Some(77));
    }
    assert_eq!(wants_answer(&[0; 12]), None);
}
