//! Progress indicators on standard error, while a command waits: a spinner for one call, a bar for a batch.
//!
//! They are drawn only on a terminal, and not with `--quiet`.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
/// If standard output is a terminal, the results show the progress, and the bar is hidden.
pub(super) fn batch_bar(report: Report, count_calls: impl FnOnce() -> Option<u64>) -> ProgressBar {
    let target = if io::stdout().is_terminal() { ProgressDrawTarget::hidden() } else { draw_target(report) };
    let bar = ProgressBar::with_draw_target(None, target);
    if bar.is_hidden() {
        return bar;
    }
    let template = match count_calls() {
        Some(total) => {
            bar.set_length(total);
            "{wide_bar} {pos}/{len} calls, {per_sec}, {eta} left"
        }
        None => "{spinner} {pos} calls, {per_sec}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Returns standard error, which is drawn on only if it is a terminal, or nothing with `--quiet`.
fn draw_target(report: Report) -> ProgressDrawTarget {
    if report.is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
}
