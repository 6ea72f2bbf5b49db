//! The reader of standard output stops reading.

use std::thread;
use std::time::Duration;

use crate::rig::tape::read_on;
use crate::rig::vitals::{LIMIT, OWN_LIMIT, own, peak, resident};
use crate::rig::{LONG, Load, Mosquitto, Tape, figures, wait_on};

/// How long the reader stands still. Time itself is the fault here.
const PAUSE: Duration = Duration::from_secs(20);

const MANY: u64 = 200_000;

/// Lets messages wait while nobody reads, then reads them all; what was said on standard error.
fn reads_nothing_for_a_while(flags: &str) -> String {
    let broker = Mosquitto::start();
    let command = broker.rtcomm("watch --json --durable archive");
    let command = flags.split_whitespace().fold(command, crate::support::Rtcomm::arg);
    let (process, stdout) = command.start_unread();
    let process = process.until_ready();
    let publisher = Load::to(broker.address(), 0..MANY).start();
    thread::sleep(PAUSE);
    assert!(publisher.has_finished(), "the publisher waits for nobody: {} of {MANY}", publisher.acknowledged());
    let (waiting, owned) = (resident(&process), own(&process));
    let tape = read_on(stdout, Tape::of(MANY));
    wait_on(&process, "the rest", LONG, || tape.lock().is_complete());
    let highest = peak(&process);
    let outcome = process.terminate();
    let tape = tape.lock();
    tape.check_is_whole();
    figures(format_args!(
        "nobody read for {PAUSE:?} while {MANY} came ({flags}): {waiting} then ({owned} beside code), {highest} at the most, 0 missing, {} \
         duplicates",
        tape.duplicates()
    ));
    assert!(highest < LIMIT && owned < OWN_LIMIT, "{highest} in memory, {owned} beside code");
    outcome.stderr
}

#[test]
#[ignore = "takes 30 s; make test-faults"]
fn a_reader_that_stops_costs_no_memory_and_loses_nothing() {
    let told = reads_nothing_for_a_while("--keepalive 60s");
    assert!(!told.contains("warning"), "nothing happened that is worth telling: {told}");
}

#[test]
#[ignore = "takes 30 s; make test-faults"]
fn a_pause_that_outlasts_the_keepalive_is_told_and_loses_nothing() {
    let told = reads_nothing_for_a_while("--keepalive 5s");
    assert!(told.contains("warning: lost ") && told.contains("may be missing"), "the loss is told: {told}");
}
