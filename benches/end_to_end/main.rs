//! Measures the release build side by side with other programs, and prints a table. It fails only if a measurement is not
//! possible. `benches/README.md` describes how each figure is measured.
//!
//! `RTCOMM_BENCH_SCALE` scales all amounts (0.05 for a quick run), `RTCOMM_BENCH_ROUNDS` is the number of rounds,
//! `RTCOMM_BENCH_ONLY` and `RTCOMM_BENCH_SKIP` are lists of groups, separated by commas.

use std::io::{Write as _, stderr, stdout};

use anyhow::{Context as _, Result, bail};

mod bench;
mod blaster;
mod broker;
mod encoded;
mod events;
mod measure;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/support/mqtt.rs"]
mod mqtt;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/support/pki.rs"]
mod pki;
mod raw;
mod rows;
mod table;

use bench::Bench;
use rows::GROUPS;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["frame", port, count] => raw::frame(port.parse()?, count.parse()?),
        ["discard", port, len] => raw::discard(port.parse()?, len.parse()?),
        ["acknowledge", port, count] => raw::acknowledge(port.parse()?, count.parse()?),
        ["call", port, jobs, count] => raw::call(port.parse()?, jobs.parse()?, count.parse()?),
        [] => run_groups(),
        _ => bail!("unknown arguments: the environment selects what to measure"),
    }
}

fn run_groups() -> Result<()> {
    measure::kill_children_on_signals()?;
    let bench = Bench::new(setting("SCALE", 1.0)?, setting("ROUNDS", 5)?)?;
    let only: String = setting("ONLY", String::new())?;
    let skip: String = setting("SKIP", String::new())?;
    let contains = |list: &str, name: &str| list.split(',').any(|it| it == name);
    let mut table = table::HEADER.to_owned();
    for (name, measure) in GROUPS {
        if contains(&skip, name) || !(only.is_empty() || contains(&only, name)) {
            continue;
        }
        writeln!(stderr(), "measuring {name}")?;
        for row in measure(&bench).with_context(|| format!("cannot measure {name}"))? {
            let line = row.to_string();
            write!(stderr(), "{line}")?;
            table.push_str(&line);
        }
    }
    Ok(write!(stdout(), "{table}")?)
}

/// Reads a setting from the environment.
fn setting<T>(name: &str, default: T) -> Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let name = format!("RTCOMM_BENCH_{name}");
    match std::env::var(&name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is {text:?}")),
        Err(_) => Ok(default),
    }
}
