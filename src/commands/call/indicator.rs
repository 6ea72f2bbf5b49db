//! Progress indicators on standard error, while a command waits: a spinner for one call, a bar for a batch.
//!
//! They are drawn only on a terminal, and not with `--quiet`.

use std::fmt::Write;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rustix::fs::{FileType, fstat};

use crate::output::escape::escaped;
use crate::output::report::Report;
use crate::protocol::call::Request;

/// Time between two frames of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// A spinner that turns until it is dropped.
pub(super) struct Spinner(ProgressBar);

impl Spinner {
    /// Starts a spinner for a call that waits for its reply.
    pub(super) fn start(request: &Request, report: Report) -> Self {
        let message = format!("{} → {}: waiting for the reply", request.caller, request.callee);
        let bar = ProgressBar::with_draw_target(None, draw_target(report))
            .with_style(ProgressStyle::default_spinner())
            .with_message(escaped(&message).into_owned());
        // It starts a thread.
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Makes the progress bar of a batch. `count_calls` counts the calls, if possible; it runs only if the bar is drawn.
///
/// The bar is hidden if results may appear on the terminal too: if standard output is a terminal, or a pipe, whose reader may
/// print them there.
pub(super) fn batch_bar(report: Report, count_calls: impl FnOnce() -> Option<u64>) -> ProgressBar {
    let target = if are_results_stored() { draw_target(report) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    if bar.is_hidden() {
        return bar;
    }
    let template = match count_calls() {
        Some(total) => {
            bar.set_length(total);
            "{wide_bar} {pos}/{len} calls, {rate}, {eta} left"
        }
        None => "{spinner} {pos} calls, {rate}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
            // The bar has no way to report errors.
            let _ = out.write_str(&rate_text(state.per_sec()));
        })),
        Err(_) => bar,
    }
}

/// Returns whether standard output is a file or a device such as /dev/null.
fn are_results_stored() -> bool {
    let file_type = fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(file_type, Ok(FileType::RegularFile | FileType::CharacterDevice)) && !io::stdout().is_terminal()
}

/// Formats a rate with two significant digits, or as a whole number.
fn rate_text(per_second: f64) -> String {
    match per_second {
        ..0.995 => format!("{per_second:.2}/s"),
        ..9.95 => format!("{per_second:.1}/s"),
        _ => format!("{per_second:.0}/s"),
    }
}

/// Returns standard error, which is drawn on only if it is a terminal, or nothing with `--quiet`.
fn draw_target(report: Report) -> ProgressDrawTarget {
    if report.is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_sensible_digits() {
        for (rate, text) in [
            (0.0, "0.00/s"),
            (0.051_9, "0.05/s"),
            (0.996, "1.0/s"),
            (4.217_3, "4.2/s"),
            (9.96, "10/s"),
            (19.487, "19/s"),
            (12_345.678, "12346/s"),
        ] {
            assert_eq!(rate_text(rate), text);
        }
    }
}
