//! What every command needs to talk to the user: messages on standard error, and the color setting.

use crate::output::report::Report;
use crate::output::{ColorChoice, Format, pretty::Pretty, use_color};
use crate::protocol::topic::Topics;

/// The user interface of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    /// Prints messages about the run.
    pub(crate) report: Report,
    /// When to use color.
    pub(crate) color: ColorChoice,
}

impl Ui {
    /// Returns the format of records on standard output.
    pub(super) fn format(self, json: bool, topics: &Topics) -> Format {
        format(json, use_color(self.color, &std::io::stdout()), topics)
    }

    /// Returns the format of records in a file, which is colored only with `--color always`.
    pub(super) fn file_format(self, json: bool, topics: &Topics) -> Format {
        format(json, self.color == ColorChoice::Always, topics)
    }
}

fn format(json: bool, color: bool, topics: &Topics) -> Format {
    if json { Format::Json } else { Format::Pretty(Pretty::new(color, topics.sphere())) }
}
