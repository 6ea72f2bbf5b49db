//! Events through a real mosquitto, from a publisher that sends them as fast as the broker reads.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use super::{cpu_times, rates};
use crate::bench::{Bench, mosquitto_sub};
use crate::broker::{Mosquitto, Publisher};
use crate::encoded::EncodedEvents;
use crate::measure::{Contender, Output, Process, check_lines, compare};
use crate::mqtt::Version;
use crate::raw::EVENTS;
use crate::table::Row;
use crate::table::Target::{AtLeast, AtMost};

/// Keeps mosquitto from dropping what a subscriber has not read yet.
const UNLIMITED_QUEUE: &str = "max_queued_messages 0\nmax_queued_bytes 0\n";

/// Sends without Nagle's algorithm.
const NO_DELAY: &str = "set_tcp_nodelay true\n";

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = at_qos_0(bench)?;
    rows.extend(at_qos_1(bench)?);
    Ok(rows)
}

fn at_qos_0(bench: &Bench) -> Result<Vec<Row>> {
    let messages = bench.scaled(500_000);
    let stream = Stream { bench, messages, events: EncodedEvents::new(Version::V3_1_1, 0), settings: NO_DELAY };
    let len = stream.events.len_of(messages);
    let watch = |broker: &Mosquitto| {
        bench.rtcomm(&format!("watch --qos 0 --json --broker {} --count {messages}", broker.url()))
    };
    let [raw, ours, sub] = compare(
        bench.rounds,
        &[
            stream.subscriber(|broker| bench.raw(&format!("discard {} {len}", broker.port())), 0),
            stream.subscriber(watch, messages),
            stream.subscriber(|broker| mosquitto_sub(broker.port(), "%J", messages), messages),
        ],
    )?;
    let name = "`watch --json` through mosquitto, QoS 0";
    let sub_details = format!("{}; {}", cpu_times(messages, &ours, &sub), rates(messages, &ours, &sub));
    Ok(vec![
        Row::ratio(
            name,
            "a socket that drops everything",
            ours.rate_ratio(&raw),
            AtLeast(1.3),
            rates(messages, &ours, &raw),
        ),
        Row::ratio(name, "CPU time of `mosquitto_sub -F %J`", ours.cpu_ratio(&sub), AtMost(0.18), sub_details),
    ])
}

fn at_qos_1(bench: &Bench) -> Result<Vec<Row>> {
    let messages = bench.scaled(200_000);
    let stream = Stream { bench, messages, events: EncodedEvents::new(Version::V3_1_1, 1), settings: "" };
    let watch = |broker: &Mosquitto, flags: &str| {
        bench.rtcomm(&format!("watch --qos 1 {flags} --json --broker {} --count {messages}", broker.url()))
    };
    let sub = |broker: &Mosquitto| {
        let mut command = mosquitto_sub(broker.port(), "%J", messages);
        command.args(["-q", "1", "-c", "-i", "bench"]);
        command
    };
    let [raw, ours, durable, sub] = compare(
        bench.rounds,
        &[
            stream.subscriber(|broker| bench.raw(&format!("acknowledge {} {messages}", broker.port())), 0),
            stream.subscriber(|broker| watch(broker, ""), messages),
            stream.subscriber(|broker| watch(broker, "--durable bench"), messages),
            stream.subscriber(sub, messages),
        ],
    )?;
    let sub_details = format!("{}; {}", cpu_times(messages, &durable, &sub), rates(messages, &durable, &sub));
    Ok(vec![
        Row::ratio(
            "`watch --json` through mosquitto, QoS 1",
            "a socket that acknowledges each message",
            ours.rate_ratio(&raw),
            AtLeast(1.0),
            rates(messages, &ours, &raw),
        ),
        Row::ratio(
            "`watch --durable N --json` through mosquitto, QoS 1",
            "CPU time of `mosquitto_sub -q 1 -F %J`",
            durable.cpu_ratio(&sub),
            AtMost(0.25),
            sub_details,
        ),
    ])
}

/// The stream that all subscribers of a comparison receive.
struct Stream<'a> {
    bench: &'a Bench,
    messages: u32,
    events: EncodedEvents,
    settings: &'static str,
}

impl Stream<'_> {
    /// Returns a subscriber with its own broker, measured from the first publication to its end. It prints this number of
    /// lines.
    fn subscriber<'a>(&'a self, command: impl Fn(&Mosquitto) -> Command + 'a, lines: u32) -> Contender<'a> {
        Box::new(move || {
            let settings = format!("{UNLIMITED_QUEUE}{}", self.settings);
            let mut broker = Mosquitto::start(&self.bench.scratch, &settings, None)?;
            let mut publisher = Publisher::connect(broker.port())?;
            let output: Output = self.bench.output_file();
            let process = Process::start(command(&broker), &output)?;
            broker.await_subscription(EVENTS)?;
            let began = Instant::now();
            publisher.publish(&self.events, self.messages)?;
            let run = process.finish(Some(began))?;
            check_lines(&output, lines)?;
            Ok(run)
        })
    }
}
