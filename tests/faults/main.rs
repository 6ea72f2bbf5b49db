//! What breaks, and what must hold all the same: the real binary, real brokers, real kills.
//!
//! Each module is for a kind of fault; [`rig`] has what breaks things and what counts the messages. Figures are printed
//! as they come. Tests that take longer than some seconds are ignored unless they are asked for: `make test-faults`.

mod brokers;
mod disk;
mod kills;
mod memory;
mod network;
mod rig;
mod share;
mod slow_reader;
#[expect(dead_code, reason = "the other tests need more of it")]
#[path = "../it/support/mod.rs"]
mod support;
