//! Internals for this repository's tests, benches and fuzz targets. Not a public API: it changes without notice.

use std::io;

use crate::commands::broker_url_failure;
use crate::output::escape::escaped;
use crate::output::pretty;
use crate::protocol::record::{Absence, CallRecord, ConnectionStatus, Record};
use crate::protocol::topic::{Root, TopicFilter};
use crate::transport::codec::Version;
pub use crate::transport::relay::Replayed;
use crate::transport::relay::replay;
use crate::transport::url::BrokerUrl;

/// Returns the command-line definition, the source of man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    crate::cli::Cli::definition()
}

/// Parses a broker's URL, and returns it in full.
///
/// # Errors
/// If the URL is invalid; returns the message.
pub fn broker_url(url: &str) -> Result<String, String> {
    url.parse::<BrokerUrl>().map(|broker| broker.to_string()).map_err(|error| broker_url_failure(&error).to_string())
}

/// Escapes a text as in messages on standard error.
#[must_use]
pub fn shown(text: &str) -> String {
    escaped(text).into_owned()
}

/// Gives the relay bytes as if a broker had sent them. Each piece is what one read returns.
///
/// Publications with the packet identifiers 1 and 2, and SUBSCRIBE packets with 3 and 4, wait for their answers.
///
/// # Errors
/// If the system has no file descriptor left.
pub fn relay<'a>(
    is_v5: bool,
    max_packet_size: usize,
    filters: &[TopicFilter],
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> io::Result<Replayed> {
    replay(if is_v5 { Version::V5 } else { Version::V311 }, max_packet_size, filters, pieces)
}

/// Formats records as pretty lines.
#[derive(Debug)]
pub struct Pretty(pretty::Pretty);

impl Pretty {
    /// Makes a formatter for a pipe, with color or without. Documents below `sphere` are shown as presence.
    #[must_use]
    pub fn new(color: bool, sphere: Root) -> Self {
        Self(pretty::Pretty::new(pretty::Medium::Pipe, color, sphere))
    }

    /// Appends a record as a line, including the line end.
    pub fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.0.record(record, out);
    }

    /// Appends a change of the connection as a line, including the line end.
    pub fn status(&mut self, status: &ConnectionStatus<'_>, out: &mut Vec<u8>) {
        self.0.status(status, out);
    }

    /// Appends an absence as a line, including the line end.
    pub fn absence(&mut self, absence: &Absence<'_>, out: &mut Vec<u8>) {
        self.0.absence(absence, out);
    }

    /// Appends a call record as a line, including the line end.
    pub fn call(&mut self, call: &CallRecord, out: &mut Vec<u8>) {
        self.0.call(call, out);
    }
}

/// Compiles and runs the Rust examples of README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
