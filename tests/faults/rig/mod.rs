//! Injects faults, publishes meanwhile, and counts the messages that arrive.

use std::fmt;
use std::io::Write as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

pub(crate) use crate::support::mosquitto::Mosquitto;
use crate::support::{Process, Rtcomm};

pub(crate) mod broker;
pub(crate) mod event_counts;
pub(crate) mod lossy;
pub(crate) mod namespace;
pub(crate) mod process_stats;
pub(crate) mod publisher;

pub(crate) use event_counts::{EventCounts, Recording};
pub(crate) use publisher::Load;

/// How often to poll for changes without a notification.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How long to wait for many messages. Only a broken program makes a test wait so long.
pub(crate) const LONG: Duration = Duration::from_mins(2);

/// Polls until `holds` returns true. After `bound`, fails with the text that `describe` returns.
#[track_caller]
pub(crate) fn wait_until(what: &str, bound: Duration, describe: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + bound;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}\n{}", describe());
        thread::sleep(POLL_INTERVAL);
    }
}

/// Polls until `holds` returns true. Fails with the output of the process.
#[track_caller]
pub(crate) fn wait_on(process: &Process, what: &str, bound: Duration, holds: impl FnMut() -> bool) {
    wait_until(what, bound, || process.so_far("still running, or just ended"), holds);
}

/// Returns whether a process has ended by itself.
pub(crate) fn has_ended(process: &mut Process) -> bool {
    process.child.try_wait().expect("our own child can be waited for").is_some()
}

/// Prints a measurement, even if the test passes.
pub(crate) fn figures(text: impl fmt::Display) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    // Ignore broken pipes: the reader is gone.
    let _ = std::io::stderr().write_all(format!("{name}: {text}\n").as_bytes());
}

/// Returns a signal's name.
pub(crate) fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::KILL => "SIGKILL",
        Signal::TERM => "SIGTERM",
        Signal::INT => "SIGINT",
        _ => "a signal",
    }
}

/// Makes a run start through another program. The run's command becomes that program's last arguments.
pub(crate) fn started_by(words: &[&str], mut rtcomm: Rtcomm) -> Rtcomm {
    let inner = &rtcomm.command;
    let mut command = Command::new(crate::support::broker::installed(words[0]));
    command.args(&words[1..]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    rtcomm.command = command;
    rtcomm
}

/// Creates a run of `rtcomm` at this address.
pub(crate) fn rtcomm_at(words: &str, url: &str) -> Rtcomm {
    crate::support::rtcomm(words).env("RTCOMM_BROKER", url)
}
