//! Integration tests: the real binary with real brokers, `rtcomm demo --serve` and mosquitto.
//!
//! Each module covers a command or a topic; [`support`] has the tools. Tests start their own brokers on free ports. They
//! fail if mosquitto is missing: `make deps-test` installs it.

mod access;
mod bad_input;
mod batch;
mod call;
mod cdr;
mod check;
mod command_line;
mod connecting;
mod delivery;
mod demo;
mod discover;
mod docs;
mod endings;
mod errors;
mod files;
mod follow;
mod hostile;
mod limits;
mod malformed;
mod packet_size;
mod presence;
mod pretty;
mod profiles;
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
