//! Start, end and size of the program.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bench::{Bench, command};
use crate::measure::{Process, median, megabytes, stdout_of};
use crate::table::Row;
use crate::table::Target::AtMost;
use crate::table::Unit::{Megabytes, Millis};

pub(super) fn times(bench: &Bench) -> Result<Vec<Row>> {
    let (mut to_ready, mut to_end) = (Vec::new(), Vec::new());
    for _ in 0..bench.scaled(100) {
        let mut command = Command::new(&bench.rtcomm);
        command.args(["watch", "--broker", &bench.blaster.url()]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::spawn(command)?;
        let ready = process.await_stderr("ready")?;
        to_ready.push(ready - process.started());
        let terminated = Instant::now();
        process.terminate()?;
        to_end.push(process.finish(Some(terminated))?.wall);
    }
    let millis = |times: Vec<Duration>| median(times.iter().map(|time| time.as_secs_f64() * 1000.0));
    Ok(vec![
        Row::absolute("`rtcomm --version`", version_millis(bench)?, Millis, AtMost(2.0), "by `hyperfine -N`"),
        Row::absolute("start to `ready` on loopback", millis(to_ready), Millis, AtMost(8.0), ""),
        Row::absolute("SIGTERM to exit", millis(to_end), Millis, AtMost(50.0), ""),
    ])
}

fn version_millis(bench: &Bench) -> Result<f64> {
    let results = bench.scratch("version.json");
    let mut hyperfine = command("hyperfine -N --style none --warmup 20 --runs 200 --export-json");
    hyperfine.arg(&results).arg(format!("'{}' --version", bench.rtcomm.display()));
    stdout_of(hyperfine)?;
    let results: serde_json::Value = serde_json::from_slice(&fs::read(results)?)?;
    results["results"][0]["median"].as_f64().map(|seconds| seconds * 1000.0).context("hyperfine reports no median")
}

pub(super) fn size(bench: &Bench) -> Result<Vec<Row>> {
    let target_dir = bench.scratch("without-demo");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--locked", "--no-default-features", "--bin", "rtcomm"]);
    cargo.arg("--target-dir").arg(&target_dir).current_dir(env!("CARGO_MANIFEST_DIR"));
    stdout_of(cargo)?;
    let row = |name: &str, file, target| -> Result<Row> {
        Ok(Row::absolute(name, megabytes(file)?, Megabytes, AtMost(target), ""))
    };
    Ok(vec![
        row("binary, stripped, without `demo`", &target_dir.join("release/rtcomm"), 3.0)?,
        row("binary, stripped, with `demo`", &bench.rtcomm, 8.0)?,
    ])
}
