//! Compares the release build with other programs on one machine, and prints a table. Fails only if something cannot be
//! measured. README.md in the parent folder describes the method.
//!
//! `RTCOMM_BENCH_SCALE` is a factor for all amounts (0.05 is a quick run), `RTCOMM_BENCH_ROUNDS` the number of rounds.
//! `RTCOMM_BENCH_ONLY` and `RTCOMM_BENCH_SKIP` select groups of rows, separated by commas.

use std::io::{Write as _, stderr, stdout};

use anyhow::{Context as _, Result, bail};

mod bare;
mod blaster;
mod events;
mod measure;
mod peers;
mod rows;
mod table;
mod wire;

use rows::{Bench, GROUPS};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        // What the bench starts itself as, to be measured.
        ["bare-count", port, qos, count] => bare::count(port.parse()?, qos.parse()?, count.parse()?),
        ["bare-call", port, qos, count] => bare::call(port.parse()?, qos.parse()?, count.parse()?),
        ["bare-batch", port, jobs, count] => bare::batch(port.parse()?, jobs.parse()?, count.parse()?),
        [] => all(),
        _ => bail!("it takes no arguments: the environment says what to run"),
    }
}

fn all() -> Result<()> {
    peers::check()?;
    measure::end_together()?;
    let bench = Bench::prepare(setting("SCALE", 1.0)?, setting("ROUNDS", 5)?)?;
    let only: String = setting("ONLY", String::new())?;
    let skip: String = setting("SKIP", String::new())?;
    let names = |list: &str, name: &str| list.split(',').any(|it| it == name);
    let mut lines = table::HEAD.to_owned();
    for (name, measure) in GROUPS {
        if names(&skip, name) || !(only.is_empty() || names(&only, name)) {
            continue;
        }
        writeln!(stderr(), "measuring: {name}")?;
        for row in measure(&bench).with_context(|| format!("cannot measure {name}"))? {
            let line = row.to_string();
            write!(stderr(), "{line}")?;
            lines.push_str(&line);
        }
    }
    Ok(write!(stdout(), "{lines}")?)
}

/// A setting of the environment.
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
