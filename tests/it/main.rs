//! The real binary against real brokers: `rtcomm demo --serve`, and mosquitto.
//!
//! Each module is for a command or for what several have in common; [`support`] has the machinery. The brokers are
//! started by the tests, on ports of their own; what is missing (mosquitto) is a failure: `make deps-test` installs it.

mod access;
mod bad_input;
mod batch;
mod call;
mod connecting;
mod delivery;
mod demo;
mod docs;
mod endings;
mod errors;
mod files;
mod hostile;
mod limits;
mod malformed;
mod packet_size;
mod pretty;
mod publications;
mod qos2;
mod reasons;
mod secrets;
mod supply;
#[expect(dead_code, reason = "the other tests need more of it")]
mod support;
mod tail;
mod tls;
mod versions;
mod watch;
