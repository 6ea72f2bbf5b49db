//! The latency of one message in an idle stream, from its publication to its line.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bench::{Bench, mosquitto_sub};
use crate::broker::{Mosquitto, Publisher};
use crate::encoded::EncodedEvents;
use crate::measure::{Process, quantile};
use crate::mqtt::Version;
use crate::raw::EVENTS;
use crate::table::Target::AtMost;
use crate::table::{Row, Unit};

/// The pause before each message: longer than the kernel delays an acknowledgement, so that the stream is idle.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let messages = bench.scaled(200);
    let events = EncodedEvents::new(Version::V3_1_1, 0);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let watch = |broker: &Mosquitto| bench.rtcomm(&format!("watch --qos 0 --json --broker {}", broker.url()));
        ours.extend(latencies(bench, watch, &events, messages)?);
        let sub = |broker: &Mosquitto| mosquitto_sub(broker.port(), "%J", messages + 1);
        theirs.extend(latencies(bench, sub, &events, messages)?);
    }
    let row = |what: &str, share| {
        let [ours, theirs] = [&ours, &theirs].map(|all| quantile(share, all.iter().copied()));
        let details = format!("{} and {}", Unit::Millis.format(ours), Unit::Millis.format(theirs));
        let name = format!("latency in an idle stream, {what}");
        Row::ratio(&name, "`mosquitto_sub -F %J`", ours / theirs, AtMost(1.0), details)
    };
    Ok(vec![row("median", 0.5), row("99th percentile", 0.99)])
}

/// Returns the latencies of single messages, in milliseconds.
fn latencies(
    bench: &Bench,
    command: impl Fn(&Mosquitto) -> Command,
    events: &EncodedEvents,
    messages: u32,
) -> Result<Vec<f64>> {
    let mut broker = Mosquitto::start(&bench.scratch, "", None)?;
    let mut publisher = Publisher::connect(broker.port())?;
    let mut command = command(&broker);
    command.stdout(Stdio::piped());
    let mut process = Process::spawn(command)?;
    let mut lines = BufReader::new(process.take_stdout()?);
    broker.await_subscription(EVENTS)?;
    let mut line = String::new();
    let mut latencies = Vec::new();
    for _ in 0..messages {
        thread::sleep(PAUSE);
        line.clear();
        let began = Instant::now();
        publisher.publish(events, 1)?;
        ensure!(lines.read_line(&mut line)? > 0, "the subscriber ended");
        latencies.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(latencies)
}
