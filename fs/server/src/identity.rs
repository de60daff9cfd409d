//! What a host is: its name, its drives, its place in a cluster. Stored in the host's key-value store.

use std::path::PathBuf;
use std::str::FromStr;

use forebay_env::{Batch, Durability, Kv, KvError};
use forebay_types::{HostId, Uuid};
use forebay_wire::map::ClusterMap;
use serde::{Deserialize, Serialize};

const HOST_KEY: &[u8] = b"h/host";
const MAP_KEY: &[u8] = b"h/map";
const DRIVES_KEY: &[u8] = b"h/drives";

/// A drive named on the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DriveSpec {
    /// A file or a block device.
    pub path: PathBuf,
    /// Size in bytes; 0 for a block device's own.
    pub size_bytes: u64,
}

impl FromStr for DriveSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, size) = match text.rsplit_once(':') {
            Some((path, size)) => (path, parse_size(size)?),
            None => (text, 0),
        };
        if path.is_empty() {
            return Err(format!(
                "'{text}' names no drive: give PATH:SIZE for a file, as in /data/d1:64GiB, or a device"
            ));
        }
        Ok(Self { path: path.into(), size_bytes: size })
    }
}

/// A size such as `64GiB`, `1.5TB` or `4096`.
fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("'{text}' is not a size: give a number and a unit, as in 64GiB");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..split].parse().map_err(|_| bad())?;
    let unit: u64 = match &text[split..] {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(bad()),
    };
    let bytes = number * unit as f64;
    if bytes.is_finite() && (0.0..9e18).contains(&bytes) { Ok(bytes as u64) } else { Err(bad()) }
}

/// A drive this host has had: where, how big, and who it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct KnownDrive {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub uuid: Uuid,
}

/// The host's place in a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub host: HostId,
    pub map: ClusterMap,
}

fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, KvError> {
    forebay_wire::decode(bytes).map_err(|e| KvError { reason: e.to_string() })
}

/// The drives known, in the order they were first named.
pub(crate) fn load_drives(kv: &dyn Kv) -> Result<Vec<KnownDrive>, KvError> {
    kv.get(DRIVES_KEY)?.map_or(Ok(Vec::new()), |bytes| decode(&bytes))
}

pub(crate) fn store_drives(kv: &dyn Kv, drives: &[KnownDrive]) -> Result<(), KvError> {
    let mut batch = Batch::default();
    batch.put(DRIVES_KEY, forebay_wire::encode(&drives.to_vec()));
    kv.write(batch, Durability::Flushed)
}

/// The place in a cluster, if the host has one.
pub(crate) fn load_membership(kv: &dyn Kv) -> Result<Option<Membership>, KvError> {
    let (Some(host), Some(map)) = (kv.get(HOST_KEY)?, kv.get(MAP_KEY)?) else { return Ok(None) };
    Ok(Some(Membership { host: decode(&host)?, map: decode(&map)? }))
}

/// The writes that make the host a member.
pub(crate) fn membership_batch(host: HostId, map: &ClusterMap) -> Batch {
    let mut batch = map_batch(map);
    batch.put(HOST_KEY, forebay_wire::encode(&host));
    batch
}

/// The write that keeps a newer map.
pub(crate) fn map_batch(map: &ClusterMap) -> Batch {
    let mut batch = Batch::default();
    batch.put(MAP_KEY, forebay_wire::encode(map));
    batch
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
