//! What breaks, and what must hold all the same: the real binary, real brokers, real kills.
//!
//! Each module is for a kind of fault; [`rig`] has what breaks things and what counts the messages. Figures are printed
//! as they come. Tests that take longer than some seconds are ignored unless they are asked for: `make test-faults`.

mod backoff;
mod brokers;
mod calls;
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
