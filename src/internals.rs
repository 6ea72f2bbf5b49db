//! What the repository's own tests, benches and fuzz targets reach beyond [`protocol`](crate::protocol). Not for other people's
//! programs: it changes without notice.

use clap::CommandFactory as _;

use crate::output::escape::escaped;
use crate::output::pretty;
use crate::protocol::record::{Record, Status};
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

    /// A record's line, its line end included.
    #[must_use]
    pub fn record(&mut self, record: &Record<'_>) -> Vec<u8> {
        let mut line = Vec::new();
        self.0.record(record, &mut line);
        line
    }

    /// The line of what became of the connection.
    #[must_use]
    pub fn status(&mut self, status: &Status<'_>) -> Vec<u8> {
        let mut line = Vec::new();
        self.0.status(status, &mut line);
        line
    }
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
