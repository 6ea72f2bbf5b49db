//! What the repository's own tests and benches reach beyond [`protocol`](crate::protocol). Not for other people's
//! programs: it changes without notice.

use clap::CommandFactory as _;

/// The command-line definition, which man pages and completions are made from.
#[must_use]
pub fn command() -> clap::Command {
    crate::cli::Cli::command()
}

/// The Rust in README is compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// Pretty output's lines, as [`run`](crate::run) prints them where nothing is coloured.
#[derive(Debug)]
pub struct Pretty(crate::output::pretty::Pretty);

impl Pretty {
    /// The default deployment's.
    #[must_use]
    pub fn plain() -> Self {
        Self(crate::output::pretty::Pretty::new(false, "/rtcomm/sphere".parse().expect("a root")))
    }

    /// Appends a record's line.
    pub fn record(&mut self, record: &crate::protocol::record::Record<'_>, out: &mut Vec<u8>) {
        self.0.record(record, out);
    }
}
