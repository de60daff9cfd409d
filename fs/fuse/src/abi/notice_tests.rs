use super::*;

fn checked(notice: Notice) -> (i32, Vec<u8>) {
    let encoded = notice.encode();
    let all = [&encoded.head[..], &encoded.data].concat();
    assert_eq!(all[..4], (all.len() as u32).to_ne_bytes());
    // Number 0 says that it is no answer.
    assert_eq!(all[8..16], [0; 8]);
    (i32::from_ne_bytes(all[4..8].try_into().unwrap()), all[16..].to_vec())
}

#[test]
fn notices_have_the_kernel_s_codes_and_sizes() {
    let (node, name) = (NodeId(7), Bytes::from_static(b"name"));
    let (code, body) = checked(Notice::InvalInode { node, offset: -1, length: 0 });
    assert_eq!((code, body.len(), &body[8..16]), (2, 24, &(-1i64).to_ne_bytes()[..]));
    let (code, body) = checked(Notice::InvalEntry { parent: node, name: name.clone() });
    assert_eq!((code, body.len(), &body[16..]), (3, 21, &b"name\0"[..]));
    assert_eq!(body[8..12], 4u32.to_ne_bytes());
    let (code, body) = checked(Notice::Delete { parent: node, child: NodeId(8), name });
    assert_eq!((code, body.len(), &body[24..]), (6, 29, &b"name\0"[..]));
    let (code, body) = checked(Notice::Store { node, offset: 4096, data: Bytes::from_static(b"data") });
    assert_eq!((code, body.len(), &body[24..]), (4, 28, &b"data"[..]));
    assert_eq!(body[16..20], 4u32.to_ne_bytes());
}
