//! An S3 tier against a real server over 127.0.0.1.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use forebay_object::{ObjectMeta, PutMode, Tier};
use forebay_types::ByteRange;
use forebay_wire::cluster::TierCredentials;
use forebay_wire::tier::TierError;
use futures::stream::{self, StreamExt, TryStreamExt};

const MIB: usize = 1024 * 1024;

/// A server with a bucket called `cold`; killed when dropped.
struct Server {
    child: Child,
    endpoint: String,
    root: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("cold")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_forebay-s3-server"))
            .args(["--access-key", "someone", "--secret-key", "hush", "--root"])
            .arg(root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening at ").expect("it listens");
        Self { child, endpoint: format!("http://{address}"), root }
    }

    fn open(&self, url: &str, secret: &str) -> Tier {
        let credentials = TierCredentials { access_key: "someone".into(), secret_key: secret.into() };
        Tier::open(url, &self.endpoint, "", &credentials).unwrap()
    }

    fn tier(&self) -> Tier {
        self.open("s3://cold/below", "hush")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

async fn put(tier: &Tier, key: &str, data: Vec<u8>, mode: PutMode) -> Result<ObjectMeta, TierError> {
    let len = data.len() as u64;
    let data = Bytes::from(data);
    let chunks: Vec<_> = (0..data.len()).step_by(MIB).map(|i| Ok(data.slice(i..data.len().min(i + MIB)))).collect();
    tier.put(key, stream::iter(chunks), Some(len), mode, None).await
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 131 % 251) as u8).collect()
}

#[tokio::test]
async fn small_and_large_objects_come_back() {
    let server = Server::start();
    let tier = server.tier();
    for (key, len) in [("empty", 0), ("dir/small", 1000), ("dir/ü (1)%20", 8 * MIB), ("dir/large", 20 * MIB + 7)] {
        let data = pattern(len);
        let meta = put(&tier, key, data.clone(), PutMode::Create).await.unwrap();
        assert_eq!((meta.key.as_str(), meta.size_bytes), (key, len as u64));
        assert_eq!(tier.head(key).await.unwrap(), meta);
        let range = ByteRange::between(len as u64 / 3, len as u64);
        let got = tier.get_range(key, &meta.etag, range).await.unwrap();
        assert!(got == data[len / 3..], "{key}");
        assert_eq!(tier.get_range(key, &meta.etag, ByteRange::default()).await.unwrap(), "");
    }
    let mut keys: Vec<String> = tier.list("dir", None).map_ok(|meta| meta.key).try_collect().await.unwrap();
    keys.sort();
    assert_eq!(keys, ["dir/large", "dir/small", "dir/ü (1)%20"]);
    tier.delete(vec!["dir/large".into(), "dir/never".into()]).await.unwrap();
    assert!(
        matches!(tier.head("dir/large").await, Err(TierError::Missing { url }) if url == "s3://cold/below/dir/large")
    );
}

#[tokio::test]
async fn a_changed_object_is_not_read() {
    let server = Server::start();
    let tier = server.tier();
    let old = put(&tier, "k", pattern(100), PutMode::Create).await.unwrap();
    let new = put(&tier, "k", pattern(200), PutMode::Overwrite).await.unwrap();
    let error = tier.get_range("k", &old.etag, ByteRange::new(0, 10)).await.unwrap_err();
    assert_eq!(error, TierError::Changed { url: tier.url("k"), expected: old.etag, found: new.etag });
}

#[tokio::test]
async fn create_does_not_replace() {
    let server = Server::start();
    let tier = server.tier();
    for len in [10, 9 * MIB] {
        let key = len.to_string();
        let meta = put(&tier, &key, pattern(len), PutMode::Create).await.unwrap();
        let again = put(&tier, &key, pattern(len + 1), PutMode::Create).await;
        assert!(matches!(again, Err(TierError::Exists { .. })), "{again:?}");
        assert_eq!(tier.head(&key).await.unwrap(), meta);
    }
}

#[tokio::test]
async fn a_broken_upload_leaves_no_object() {
    let server = Server::start();
    let tier = server.tier();
    let broken = TierError::Invalid { reason: "the source broke".into() };
    let data = stream::iter([Ok(pattern(20 * MIB).into()), Err(broken.clone())]);
    assert_eq!(tier.put("k", data, None, PutMode::Overwrite, None).await, Err(broken));
    assert!(matches!(tier.head("k").await, Err(TierError::Missing { .. })));
}

#[tokio::test]
async fn listings_of_many_pages_are_whole() {
    let server = Server::start();
    let dir = server.root.path().join("cold/below/many");
    std::fs::create_dir_all(&dir).unwrap();
    for i in 0..2500 {
        std::fs::write(dir.join(i.to_string()), "x").unwrap();
    }
    let tier = server.tier();
    let mut keys: Vec<String> = tier.list("", None).map_ok(|meta| meta.key).try_collect().await.unwrap();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 2500);
    assert_eq!(tier.list("many", None).take(3).count().await, 3);
    assert_eq!(tier.list("nowhere", None).count().await, 0);
}

#[tokio::test]
async fn wrong_credentials_are_forbidden_and_not_shown() {
    let server = Server::start();
    let tier = server.open("s3://cold", "wrong-secret");
    for error in [
        tier.head("k").await.unwrap_err(),
        tier.list("", None).try_collect::<Vec<_>>().await.unwrap_err(),
        put(&tier, "k", pattern(10), PutMode::Create).await.unwrap_err(),
    ] {
        assert!(matches!(error, TierError::Forbidden { .. }), "{error}");
        assert!(!error.to_string().contains("wrong-secret"), "{error}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_missing() {
    let server = Server::start();
    let error = server.open("s3://warm", "hush").head("k").await.unwrap_err();
    assert!(matches!(error, TierError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    let server = Server::start();
    let tier = server.tier();
    drop(server);
    let error = tier.head("k").await.unwrap_err();
    assert!(error.is_transient() && matches!(error, TierError::Unavailable { .. }), "{error}");
}
