//! Calls through mosquitto to a service that answers at once.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::{rates, times};
use crate::bench::{Bench, command};
use crate::broker::{Mosquitto, request, start_call_service};
use crate::measure::compare;
use crate::pki::Authority;
use crate::table::Row;
use crate::table::Target::{AtLeast, AtMost};
use crate::table::with_thousands;

/// Measures single calls, each by a separate process.
pub(super) fn single(bench: &Bench) -> Result<Vec<Row>> {
    const REPLIES: &str = "/rtcomm/reply/rr";
    let authority = Authority::new("bench");
    let mut broker = Mosquitto::start(&bench.scratch, "", Some(&authority.server()))?;
    start_call_service(&mut broker)?;
    let cafile = authority.cafile();
    let with_cafile = |mut command: Command| {
        command.arg("--cafile").arg(&cafile);
        command
    };
    let call = |url: &str| bench.rtcomm(&format!("call iggy_pop david_bowie --json --broker {url}"));
    let rr = |port| {
        let mut command = command(&format!("mosquitto_rr -h 127.0.0.1 -p {port}"));
        command.args(["-t", "/rtcomm/callControl", "-e", REPLIES, "-m", &request(1, REPLIES)]);
        command
    };
    let tls_url = format!("mqtts://127.0.0.1:{}", broker.tls_port());
    let [plain, rr_plain, tls, rr_tls] = compare(
        bench.scaled(200),
        &[
            bench.program(|| call(&broker.url()), 1),
            bench.program(|| rr(broker.port()), 1),
            bench.program(|| with_cafile(call(&tls_url)), 1),
            bench.program(|| with_cafile(rr(broker.tls_port())), 1),
        ],
    )?;
    let other = "`mosquitto_rr`";
    Ok(vec![
        Row::ratio("`call`, mqtt", other, plain.time_ratio(&rr_plain), AtMost(1.2), times(&plain, &rr_plain)),
        Row::ratio("`call`, mqtts", other, tls.time_ratio(&rr_tls), AtMost(1.2), times(&tls, &rr_tls)),
    ])
}

/// Measures many calls by one process.
pub(super) fn batch(bench: &Bench) -> Result<Vec<Row>> {
    let calls = bench.scaled(20_000);
    let requests = bench.scratch("requests");
    let lines = (0..calls).map(|n| format!("{{\"caller\":\"iggy_pop_{n}\",\"callee\":\"david_bowie\"}}\n"));
    fs::write(&requests, lines.collect::<String>())?;
    let mut broker = Mosquitto::start(&bench.scratch, "set_tcp_nodelay true\n", None)?;
    start_call_service(&mut broker)?;
    let batch = || {
        let mut command = bench.rtcomm(&format!("call --jobs 256 --broker {} --batch", broker.url()));
        command.arg(&requests);
        command
    };
    let raw = || bench.raw(&format!("call {} 256 {calls}", broker.port()));
    let [ours, raw] = compare(bench.rounds, &[bench.program(batch, calls), bench.program(raw, 0)])?;
    let name = format!("`call --batch` of {}, `--jobs 256`", with_thousands(calls.into()));
    let other = "a socket with 256 calls in flight";
    Ok(vec![Row::ratio(&name, other, ours.rate_ratio(&raw), AtLeast(0.8), rates(calls, &ours, &raw))])
}
