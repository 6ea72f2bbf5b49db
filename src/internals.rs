//! What the repository's own tests, benches and fuzz targets reach beyond [`protocol`](crate::protocol). Not for other
//! people's programs: it changes without notice.

use clap::CommandFactory as _;

use crate::output::escape::escaped;
use crate::output::pretty;
use crate::protocol::record::{ConnectionStatus, Record};
use crate::protocol::topic::Root;
use crate::transport::broker::Broker;

/// The command-line definition, which man pages and completions are made from.
#[must_use]
pub fn command() -> clap::Command {
    crate::cli::Cli::command()
}

/// Reads a broker's URL, and writes it out in full; or says what is wrong with it.
///
/// # Errors
/// Where it is none.
pub fn broker_url(url: &str) -> Result<String, String> {
    url.parse::<Broker>().map(|broker| broker.to_string()).map_err(|failure| failure.to_string())
}

/// A text as it is shown among words about the run.
#[must_use]
pub fn shown(text: &str) -> String {
    escaped(text).into_owned()
}

/// Lines for people.
#[derive(Debug)]
pub struct Pretty(pretty::Pretty);

impl Pretty {
    /// With colour or without; documents below `sphere` are shown as presence.
    #[must_use]
    pub fn new(color: bool, sphere: Root) -> Self {
        Self(pretty::Pretty::new(color, sphere))
    }

    /// Appends a record's line, its line end included.
    pub fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.0.record(record, out);
    }

    /// Appends the line of what became of the connection, its line end included.
    pub fn status(&mut self, status: &ConnectionStatus<'_>, out: &mut Vec<u8>) {
        self.0.status(status, out);
    }
}

/// The Rust in README is compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
