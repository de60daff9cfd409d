//! Streams, random access and synchronous writes, by fio.

use std::time::Duration;

use serde_json::Value;

use super::place::Place;
use super::report::Measured;
use crate::error::{Context, LabError};

const DEADLINE: Duration = Duration::from_secs(120);
/// Size of the file that is streamed and accessed at random.
const SIZE: &str = "--size=256M";
const IOPS: &str = "iops";
const RUNTIME: [&str; 2] = ["--time_based", "--runtime=5"];
const FOUR_BY_EIGHT: [&str; 4] = ["--ioengine=libaio", "--numjobs=4", "--iodepth=8", "--direct=1"];

/// One large file, written, read with nothing cached, and read again.
pub fn sequential(place: &dyn Place) -> Result<Vec<Measured>, LabError> {
    let write = run(place, &["--rw=write", "--bs=1M", SIZE, "--end_fsync=1"])?;
    place.forget()?;
    let cold = run(place, &["--rw=read", "--bs=1M", SIZE])?;
    let warm = run(place, &["--rw=read", "--bs=1M", SIZE, "--invalidate=0"])?;
    let rate = |value: &Value, way: &str| value[way]["bw_bytes"].as_f64().unwrap_or(0.0) / f64::from(1 << 20);
    Ok(vec![
        Measured::rate("seq_write_1m", "MiB/s", rate(&write, "write")),
        Measured::rate("seq_read_1m_cold", "MiB/s", rate(&cold, "read")),
        Measured::rate("seq_read_1m_warm", "MiB/s", rate(&warm, "read")),
    ])
}

/// Blocks of 4 KiB anywhere in a file, past the caches of the kernel.
pub fn random(place: &dyn Place) -> Result<Vec<Measured>, LabError> {
    run(place, &["--rw=write", "--bs=1M", SIZE, "--end_fsync=1"])?;
    let one = run(place, &[&["--rw=randread", "--bs=4k", SIZE, "--direct=1"][..], &RUNTIME].concat())?;
    let read = run(place, &[&["--rw=randread", "--bs=4k", SIZE][..], &FOUR_BY_EIGHT, &RUNTIME].concat())?;
    let write = run(place, &[&["--rw=randwrite", "--bs=4k", SIZE][..], &FOUR_BY_EIGHT, &RUNTIME].concat())?;
    let p99_ns = one["read"]["clat_ns"]["percentile"]["99.000000"].as_f64().unwrap_or(0.0);
    Ok(vec![
        Measured::rate("rand_read_4k_qd1", IOPS, iops(&one, "read")),
        Measured::time("rand_read_4k_qd1_p99", "us", p99_ns / 1000.0),
        Measured::rate("rand_read_4k_4x8", IOPS, iops(&read, "read")),
        Measured::rate("rand_write_4k_4x8", IOPS, iops(&write, "write")),
    ])
}

/// Blocks of 4 KiB, each durable before the next.
pub fn synchronous(place: &dyn Place) -> Result<Vec<Measured>, LabError> {
    let write = run(place, &[&["--rw=randwrite", "--bs=4k", "--size=16M", "--fsync=1"][..], &RUNTIME].concat())?;
    Ok(vec![Measured::rate("fsync_4k", IOPS, iops(&write, "write"))])
}

fn iops(value: &Value, way: &str) -> f64 {
    value[way]["iops"].as_f64().unwrap_or(0.0)
}

/// Runs fio in the place; the result is its one group of jobs.
fn run(place: &dyn Place, options: &[&str]) -> Result<Value, LabError> {
    let engine =
        if options.iter().any(|option| option.starts_with("--ioengine")) { None } else { Some("--ioengine=psync") };
    let command =
        place.clients()[0].command("fio").args(["--name=bench", "--filename=bench.fio", "--output-format=json"]);
    let command = command.args(["--group_reporting", "--fallocate=none"]).args(engine).args(options);
    let line = command.line();
    let said = command.current_dir(place.folder()).deadline(DEADLINE).run()?;
    // Warnings come before the JSON.
    let json = said.find('{').map_or("", |begin| &said[begin..]);
    let report: Value = serde_json::from_str(json).context(|| format!("parse what `{line}` said: {said}"))?;
    match report["jobs"][0]["error"].as_i64() {
        Some(0) => Ok(report["jobs"][0].clone()),
        error => Err(LabError::Lab(format!("failed at `{line}`, error {error:?}"))),
    }
}
