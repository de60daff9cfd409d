//! Puts the files of a folder into a bucket, as any S3 client would.
//!
//! For tests and the demo. Prints how many files and bytes the bucket has afterwards below the prefix, by its own listing.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStore, ObjectStoreExt};

/// Files under way at a time.
const AT_A_TIME: usize = 8;

/// Puts the files of a folder into a bucket.
#[derive(Parser)]
struct Options {
    /// URL of the server.
    #[arg(long)]
    endpoint: String,
    /// The bucket; it has to be there.
    #[arg(long)]
    bucket: String,
    /// The access key.
    #[arg(long)]
    access_key: String,
    /// Its secret.
    #[arg(long)]
    secret_key: String,
    /// The folder; files in folders of it are put as well.
    from: PathBuf,
    /// What the keys begin with.
    to: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let store = AmazonS3Builder::new()
        .with_endpoint(&options.endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(&options.bucket)
        .with_access_key_id(&options.access_key)
        .with_secret_access_key(&options.secret_key)
        .build()?;
    let mut files = Vec::new();
    walk(&options.from, &mut files)?;
    let puts = files.iter().map(|file| put(&store, &options, file));
    stream::iter(puts).buffer_unordered(AT_A_TIME).try_collect::<Vec<()>>().await?;
    let below = object_store::path::Path::parse(&options.to)?;
    let listed: Vec<u64> = store.list(Some(&below)).map_ok(|object| object.size).try_collect().await?;
    println!("{} objects, {} bytes", listed.len(), listed.iter().sum::<u64>());
    Ok(())
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

async fn put(store: &AmazonS3, options: &Options, file: &Path) -> anyhow::Result<()> {
    let shown = || file.display().to_string();
    let below = file.strip_prefix(&options.from)?.to_str().with_context(shown)?;
    let key = object_store::path::Path::parse(format!("{}/{below}", options.to))?;
    let contents = tokio::fs::read(file).await.with_context(shown)?;
    store.put(&key, contents.into()).await.with_context(shown)?;
    Ok(())
}
