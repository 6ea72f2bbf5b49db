//! Colors. The only file that names the `colored` crate.

use colored::{ColoredString, Colorize as _};

/// The meaning of a text; decides its color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A time, which is read less often than the rest of its line.
    Time,
    /// Something began or succeeded.
    Success,
    /// Something changed.
    Change,
    /// Something ended as intended.
    End,
    /// Something failed.
    Failure,
    /// The word that begins an error.
    Error,
    /// No color.
    Plain,
}

/// The ANSI escape sequences before and after a colored text.
pub(super) type AnsiPair = (String, String);

/// The escape sequences of all colors. Computed once, so that formatting a line does not allocate.
#[derive(Debug)]
pub(super) struct Palette {
    time: AnsiPair,
    success: AnsiPair,
    change: AnsiPair,
    end: AnsiPair,
    failure: AnsiPair,
    error: AnsiPair,
}

impl Palette {
    /// Computes the escape sequences. The caller decides whether they are used.
    pub(super) fn new() -> Self {
        colored::control::set_override(true);
        let ansi_pair = |text: ColoredString| {
            let text = text.to_string();
            let (before, after) = text.split_once('x').unwrap_or_default();
            (before.to_owned(), after.to_owned())
        };
        Self {
            time: ansi_pair("x".dimmed()),
            success: ansi_pair("x".green()),
            change: ansi_pair("x".yellow()),
            end: ansi_pair("x".cyan()),
            failure: ansi_pair("x".red()),
            error: ansi_pair("x".red().bold()),
        }
    }

    /// Returns the escape sequences of a style.
    pub(super) fn of(&self, style: Style) -> Option<&AnsiPair> {
        match style {
            Style::Time => Some(&self.time),
            Style::Success => Some(&self.success),
            Style::Change => Some(&self.change),
            Style::End => Some(&self.end),
            Style::Failure => Some(&self.failure),
            Style::Error => Some(&self.error),
            Style::Plain => None,
        }
    }
}

/// Returns a text in the color of `style`, if color is used.
pub(super) fn painted(text: &str, style: Style, color: bool) -> String {
    let palette = color.then(Palette::new);
    match palette.as_ref().and_then(|palette| palette.of(style)) {
        Some((before, after)) => format!("{before}{text}{after}"),
        None => text.to_owned(),
    }
}
