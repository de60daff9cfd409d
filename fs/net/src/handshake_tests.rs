use tokio::net::TcpListener;

use super::*;

fn key(byte: u8) -> ClusterKey {
    ClusterKey::from_bytes([byte; 32])
}

fn endpoint(role: Role, name: &str) -> Endpoint {
    Endpoint { role, name: name.to_owned() }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let (mut near, mut far) = pair().await;
    let (us, them) = (endpoint(Role::Client, "node7"), endpoint(Role::Host, &"ß".repeat(200)));
    let (key, same) = (key(1), key(1));
    let (connected, accepted) = tokio::join!(connect(&mut near, &key, &us, "peer"), accept(&mut far, &same, &them));
    assert_eq!(accepted.unwrap(), us);
    assert_eq!(connected.unwrap(), endpoint(Role::Host, &"ß".repeat(127)), "cut at 255 bytes, on a letter's boundary");
}

#[tokio::test]
async fn another_key_is_refused_on_both_sides_with_a_remedy() {
    let (mut near, mut far) = pair().await;
    let us = endpoint(Role::Client, "node7");
    let (key, other) = (key(1), key(2));
    let (connected, accepted) = tokio::join!(connect(&mut near, &key, &us, "peer:1"), accept(&mut far, &other, &us));
    assert!(matches!(accepted.unwrap_err(), Refusal::Proof));
    let error = connected.unwrap_err();
    assert_eq!(error, NetError::Auth { peer: "peer:1".into(), failure: AuthFailure::Refused });
    assert_eq!(error.to_string(), "peer:1 refused our cluster key: is the key file the cluster's?");
}

#[tokio::test]
async fn an_acceptor_that_takes_any_proof_is_found_out() {
    let (mut near, mut far) = pair().await;
    let us = endpoint(Role::Client, "node7");
    let key = key(1);
    let impostor = async {
        far.write_all(&Hello::draw().unwrap().encode()).await.unwrap();
        read_version(&mut far).await.unwrap();
        read_nonce(&mut far).await.unwrap();
        // Its best guess: our own proof, said back.
        let (raw, proof) = read_endpoint(&mut far).await.unwrap();
        far.write_all(&[&[1], &raw[..], proof.as_bytes()].concat()).await.unwrap();
    };
    let (connected, ()) = tokio::join!(connect(&mut near, &key, &us, "peer"), impostor);
    assert!(matches!(connected, Err(NetError::Auth { failure: AuthFailure::Impostor, .. })));
}

#[tokio::test]
async fn versions_are_compared_before_anything_else() {
    let mut older = prefix();
    older[MAGIC.len()..].copy_from_slice(&(VERSION - 1).to_le_bytes());
    let us = endpoint(Role::Host, "host1");

    let (mut near, mut far) = pair().await;
    near.write_all(&older).await.unwrap();
    assert!(matches!(accept(&mut far, &key(1), &us).await, Err(Refusal::Version { theirs }) if theirs == VERSION - 1));
    assert_eq!(read_version(&mut near).await.unwrap(), Some(VERSION), "the older one is told ours");

    let (mut near, mut far) = pair().await;
    far.write_all(&older).await.unwrap();
    let error = connect(&mut near, &key(1), &us, "peer").await.unwrap_err();
    assert_eq!(error, NetError::Version { peer: "peer".into(), theirs: VERSION - 1, ours: VERSION });
}

#[tokio::test]
async fn other_protocols_are_told_apart() {
    let us = endpoint(Role::Host, "host1");
    let (mut near, mut far) = pair().await;
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(accept(&mut far, &key(1), &us).await, Err(Refusal::Foreign)));

    let (mut near, mut far) = pair().await;
    far.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").await.unwrap();
    assert!(matches!(connect(&mut near, &key(1), &us, "peer").await, Err(NetError::Frame { .. })));
}

#[test]
fn golden_proof() {
    let proof = proof(&key(7), b'C', &[&[1; 32], &[2; 32], &[2, 1, b'x']]);
    assert_eq!(&proof.to_hex()[..32], "d2742b627d4732f5f45ad5363baedaa5");
}
