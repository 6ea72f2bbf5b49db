//! Peak memory: it must depend neither on the number of events nor on the reader of standard output.

use std::io::Read as _;
use std::process::{ChildStdout, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::measure::Process;
use crate::table::Target::AtMost;
use crate::table::Unit::Megabytes;
use crate::table::{Row, with_thousands};

/// The target, in MiB.
const LIMIT: f64 = 10.0;

/// How long the reader of standard output stops, and the keep-alive interval of that run, in seconds.
const STOP: Duration = Duration::from_secs(8);
const KEEPALIVE: u32 = 2;

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let (some, many) = (bench.scaled(1_000_000), bench.scaled(10_000_000));
    let mut watch = Watch::start(bench, "", many)?;
    watch.read_lines(some)?;
    let after_some = watch.process.peak_memory()?;
    watch.read_lines(many - some)?;
    let after_many = watch.process.peak_memory()?;
    drop(watch);

    let mut watch = Watch::start(bench, &format!("--keepalive {KEEPALIVE}s"), some)?;
    watch.read_lines(some / 2)?;
    thread::sleep(STOP);
    watch.read_lines(some - some / 2)?;
    let after_stop = watch.process.peak_memory()?;

    let row = |what: &str, figure| {
        Row::absolute(&format!("peak memory {what}"), figure, Megabytes, AtMost(LIMIT), "`VmHWM`, in MiB")
    };
    Ok(vec![
        row(&format!("after {} events", with_thousands(some.into())), after_some),
        row(&format!("after {} events", with_thousands(many.into())), after_many),
        Row::ratio(
            &format!("peak memory after {} events", with_thousands(many.into())),
            &format!("after {}", with_thousands(some.into())),
            after_many / after_some,
            AtMost(1.02),
            String::new(),
        ),
        row(&format!("if the reader of standard output stops for {} s", STOP.as_secs()), after_stop),
    ])
}

/// A run of `watch` whose lines are counted.
struct Watch {
    process: Process,
    stdout: ChildStdout,
    buffer: Vec<u8>,
    /// The number of lines that are read, but not awaited yet.
    ahead: usize,
}

impl Watch {
    /// Starts a run that does not end by itself, and orders events for it.
    fn start(bench: &Bench, flags: &str, events: u32) -> Result<Self> {
        let beginning = bench.blaster.order(events);
        let mut command = bench.rtcomm(&format!("watch --qos 0 --json {flags} --broker {}", bench.blaster.url()));
        command.stdout(Stdio::piped());
        let mut process = Process::spawn(command)?;
        let stdout = process.take_stdout()?;
        beginning.wait()?;
        Ok(Self { process, stdout, buffer: vec![0; 64 * 1024], ahead: 0 })
    }

    /// Reads this number of lines.
    fn read_lines(&mut self, count: u32) -> Result<()> {
        let count = count as usize;
        while self.ahead < count {
            let read = self.stdout.read(&mut self.buffer)?;
            ensure!(read > 0, "`watch` ended early");
            self.ahead += memchr::memchr_iter(b'\n', &self.buffer[..read]).count();
        }
        self.ahead -= count;
        Ok(())
    }
}
