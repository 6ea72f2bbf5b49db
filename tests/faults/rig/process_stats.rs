//! Memory and CPU time of a process, from /proc.

use std::fmt;
use std::time::Duration;

use crate::support::Process;

/// An amount of memory in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KiB(pub(crate) u64);

impl fmt::Display for KiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} MiB", self.0 / 1024, self.0 % 1024 * 10 / 1024)
    }
}

/// Returns the resident memory.
pub(crate) fn resident(process: &Process) -> KiB {
    KiB(field(process, "status", "VmRSS:"))
}

/// Returns the peak resident memory.
pub(crate) fn peak(process: &Process) -> KiB {
    KiB(field(process, "status", "VmHWM:"))
}

/// Returns the anonymous resident memory: without the program's code.
pub(crate) fn own(process: &Process) -> KiB {
    KiB(field(process, "status", "RssAnon:"))
}

/// The limit of the peak memory. Unoptimized code is larger.
pub(crate) const LIMIT: KiB = KiB(if cfg!(debug_assertions) { 24 * 1024 } else { 16 * 1024 });

/// The limit of the anonymous memory.
pub(crate) const OWN_LIMIT: KiB = KiB(6 * 1024);

fn field(process: &Process, file: &str, name: &str) -> u64 {
    let text = read(process, file);
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {file}: {text}\n{}", process.so_far("measured")))
}

/// Returns the CPU time: user and system.
pub(crate) fn busy(process: &Process) -> Duration {
    let text = read(process, "stat");
    // The name in parentheses can contain any character. User and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

fn read(process: &Process, file: &str) -> String {
    let path = format!("/proc/{}/{file}", process.child.id());
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}\n{}", process.so_far("gone?")))
}
