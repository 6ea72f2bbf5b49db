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
