//! Fault tests with the real binary and real brokers: kills, bad networks, full disks.
//!
//! Each module covers a kind of fault; [`rig`] injects faults and counts messages. Measurements are printed. Tests that take
//! longer than some seconds are ignored by default: run `make test-faults`.

mod backoff;
mod brokers;
mod calls;
mod demo;
mod disk;
mod gaps;
mod kept_sessions;
mod kills;
mod memory;
mod namespaces;
mod network;
mod retries;
mod rig;
mod sessions;
mod share;
mod signals;
mod slow_reader;
mod status;
#[expect(dead_code, unused_imports, unused_macros, reason = "the other tests need more of it")]
#[path = "../it/support/mod.rs"]
mod support;
