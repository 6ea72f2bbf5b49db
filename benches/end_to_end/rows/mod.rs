//! The rows of the table, in groups. Rows that are compared with each other are in one group.
//!
//! | file | rows |
//! | --- | --- |
//! | `streams` | events from the blaster |
//! | `broker` | events through mosquitto |
//! | `latency` | one message in an idle stream |
//! | `memory` | peak memory of long runs |
//! | `calls` | single calls and batches |
//! | `files` | recorded files |
//! | `startup` | start, end and size of the program |

use anyhow::Result;

use crate::bench::Bench;
use crate::measure::Runs;
use crate::table::{Row, Unit};

mod broker;
mod calls;
mod files;
mod latency;
mod memory;
mod startup;
mod streams;

/// Measures a group of rows.
pub(crate) type Group = fn(&Bench) -> Result<Vec<Row>>;

/// All groups by name, in the order of the table.
pub(crate) const GROUPS: [(&str, Group); 9] = [
    ("streams", streams::rows),
    ("broker", broker::rows),
    ("latency", latency::rows),
    ("memory", memory::rows),
    ("call", calls::single),
    ("batch", calls::batch),
    ("files", files::rows),
    ("start", startup::times),
    ("size", startup::size),
];

fn rate(amount: u32, runs: &Runs) -> String {
    Unit::PerSecond.format(f64::from(amount) / runs.wall())
}

fn rates(amount: u32, ours: &Runs, theirs: &Runs) -> String {
    format!("{} and {}", rate(amount, ours), rate(amount, theirs))
}

fn times(ours: &Runs, theirs: &Runs) -> String {
    let time = |runs: &Runs| Unit::Millis.format(runs.wall() * 1000.0);
    format!("{} and {}", time(ours), time(theirs))
}

/// Formats the CPU times per million messages.
fn cpu_times(amount: u32, ours: &Runs, theirs: &Runs) -> String {
    let per_million = |runs: &Runs| runs.cpu() / f64::from(amount) * 1e6;
    format!("{:.2} and {:.2} CPU seconds per million", per_million(ours), per_million(theirs))
}
