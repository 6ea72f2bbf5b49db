//! Events from the blaster: the limits of the program itself.

use std::process::Command;

use anyhow::Result;

use super::{cpu_times, rates};
use crate::bench::{Bench, mosquitto_sub};
use crate::measure::{Contender, Output, Process, check_lines, compare};
use crate::table::Row;
use crate::table::Target::{AtLeast, AtMost};

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let events = bench.scaled(1_000_000);
    let port = bench.blaster.port();
    let watch =
        |flags: &str| bench.rtcomm(&format!("watch --qos 0 {flags} --broker {} --count {events}", bench.blaster.url()));
    let json = || watch("--json");
    let pretty = || watch("--color never");
    let sub_json = || mosquitto_sub(port, "%J", events);
    let sub_plain = || mosquitto_sub(port, "%t %p", events);
    let frame = || bench.raw(&format!("frame {port} {events}"));
    let to_file = || bench.output_file();
    let [raw, json_pipe, sub_json_pipe, json_file, sub_json_file, pretty_pipe, sub_pipe, pretty_file, sub_file] =
        compare(
            bench.rounds,
            &[
                subscriber(bench, frame, Output::Pipe, events),
                subscriber(bench, json, Output::Pipe, events),
                subscriber(bench, sub_json, Output::Pipe, events),
                subscriber(bench, json, to_file(), events),
                subscriber(bench, sub_json, to_file(), events),
                subscriber(bench, pretty, Output::Pipe, events),
                subscriber(bench, sub_plain, Output::Pipe, events),
                subscriber(bench, pretty, to_file(), events),
                subscriber(bench, sub_plain, to_file(), events),
            ],
        )?;
    let mut rows = Vec::new();
    let mut add = |name: &str, other: &str, runs: [&_; 2], rate, cpu| {
        let [ours, theirs]: [&crate::measure::Runs; 2] = runs;
        rows.push(Row::ratio(name, other, ours.rate_ratio(theirs), AtLeast(rate), rates(events, ours, theirs)));
        let other = format!("CPU time of {other}");
        rows.push(Row::ratio(name, &other, ours.cpu_ratio(theirs), AtMost(cpu), cpu_times(events, ours, theirs)));
    };
    add("`watch --json` to a pipe", "`mosquitto_sub -F %J`", [&json_pipe, &sub_json_pipe], 7.0, 0.14);
    add("`watch --json` to a file", "`mosquitto_sub -F %J`", [&json_file, &sub_json_file], 7.0, 0.14);
    add("`watch` to a pipe", "`mosquitto_sub -F '%t %p'`", [&pretty_pipe, &sub_pipe], 3.0, 0.4);
    add("`watch` to a file", "`mosquitto_sub -F '%t %p'`", [&pretty_file, &sub_file], 3.0, 0.4);
    for (name, ours) in [("`watch --json` to a pipe", &json_pipe), ("`watch --json` to a file", &json_file)] {
        let details = format!("{}; {}", rates(events, ours, &raw), cpu_times(events, ours, &raw));
        let other = "a socket that finds packet boundaries";
        rows.push(Row::ratio(name, other, ours.rate_ratio(&raw), AtLeast(0.25), details));
    }
    Ok(rows)
}

/// Returns a subscriber, measured from the first event to its end.
fn subscriber<'a>(bench: &'a Bench, command: impl Fn() -> Command + 'a, output: Output, events: u32) -> Contender<'a> {
    Box::new(move || {
        let command = command();
        let is_raw = command.get_args().next().is_some_and(|arg| arg == "frame");
        let beginning = bench.blaster.order(events);
        let process = Process::start(command, &output)?;
        let began = beginning.wait()?;
        let run = process.finish(Some(began))?;
        if !is_raw {
            check_lines(&output, events)?;
        }
        Ok(run)
    })
}
