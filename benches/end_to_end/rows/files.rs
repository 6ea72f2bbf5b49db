//! Recorded files, compared with general tools.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::times;
use crate::bench::{Bench, command};
use crate::events::{self, BUSY, ONE_IN};
use crate::measure::{compare, megabytes};
use crate::table::Target::{AtLeast, AtMost};
use crate::table::{Row, Unit};

/// A jq program that prints the columns of pretty output, except padding and the local time zone.
const COLUMNS: &str = r#"[.received, .category, .action, if .to then .from + " → " + .to else .from end, .payload.appContext // "-", if .to then [.payload.reason // empty, (.payload.sigSessID // empty | .[:8])] | join(", ") else .payload.reason // .payload.regTopic end] | @tsv"#;

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let records = bench.scaled(2_000_000);
    let busy = records / ONE_IN;
    let file = bench.scratch(&format!("recorded-{records}.jsonl"));
    events::record(&file, events::events(), records)?;
    let on_file = |command| with_argument(command, &file);
    let select = || on_file(bench.rtcomm(&format!("tail --failed --from {BUSY} --json")));
    let jq_select = || on_file(jq("-c", &format!(r#"select(.action=="failed" and .from=="{BUSY}")"#)));
    // Search for the rarer text first, so that the second search has little input.
    let find = format!(r#"rg -F '"from":"{BUSY}"' "$0" | rg -F '"action":"failed"'"#);
    let rg = || on_file(shell(&find));
    let pretty = || on_file(bench.rtcomm("tail --color never"));
    let jq_pretty = || on_file(jq("-r", COLUMNS));
    let [ours, by_rg, by_jq, ours_pretty, jq_pretty] = compare(
        bench.rounds,
        &[
            bench.program(select, busy),
            bench.program(rg, busy),
            bench.program(jq_select, busy),
            bench.program(pretty, records),
            bench.program(jq_pretty, records),
        ],
    )?;
    let end = || on_file(bench.rtcomm("tail --color never -n 10"));
    let tail = || on_file(command("tail -n 10"));
    let [our_end, tail_end] = compare(bench.scaled(100), &[bench.program(end, 10), bench.program(tail, 10)])?;
    let file_of_calls = bench.scratch(&format!("calls-{records}.jsonl"));
    events::record(&file_of_calls, events::calls(), records)?;
    let on_calls = |words| with_argument(bench.rtcomm(words), &file_of_calls);
    let (summary, printed) = (|| on_calls("tail --summary --json"), || on_calls("tail --session --json"));
    let [summary, printed] = compare(bench.rounds, &[bench.program(summary, 1), bench.program(printed, records)])?;
    let size = Unit::Megabytes.format(megabytes(&file)?);
    let selecting = "`tail FILE --failed --from X --json`";
    Ok(vec![
        Row::ratio(selecting, "`jq -c 'select(…)'`", ours.rate_ratio(&by_jq), AtLeast(30.0), times(&ours, &by_jq)),
        Row::ratio(
            selecting,
            "`rg -F` for the two substrings",
            ours.time_ratio(&by_rg),
            AtMost(2.5),
            times(&ours, &by_rg),
        ),
        Row::ratio(
            "`tail FILE`",
            "`jq -r` with the same columns",
            ours_pretty.rate_ratio(&jq_pretty),
            AtLeast(15.0),
            times(&ours_pretty, &jq_pretty),
        ),
        Row::ratio(
            &format!("`tail -n 10 FILE` ({size})"),
            "`tail -n 10 FILE`",
            our_end.time_ratio(&tail_end),
            AtMost(2.0),
            times(&our_end, &tail_end),
        ),
        Row::ratio(
            "`tail FILE --summary`",
            "`tail FILE --session --json`",
            summary.time_ratio(&printed),
            AtMost(2.0),
            times(&summary, &printed),
        ),
    ])
}

fn with_argument(mut command: Command, file: &Path) -> Command {
    command.arg(file);
    command
}

fn jq(flag: &str, program: &str) -> Command {
    let mut command = Command::new("jq");
    command.args([flag, program]);
    command
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}
