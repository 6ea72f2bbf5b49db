//! `rtcomm check`: one line and one status for a monitoring system.
//!
//! It follows the Monitoring Plugins Development Guidelines: faults of broker, network and server are CRITICAL or WARNING;
//! wrong usage, and signals, are UNKNOWN.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | what is checked, and what it means |
//! | `registered` | counts the registered endpoints |
//! | `result` | the result as a line, as JSON and as shell assignments |

use std::time::Duration;

use super::cancellation::{self, Cancellation, WorkEnd};
use super::connection::{self, Prompt};
use super::service_query::{Answers, Queried, QueryErrorCause, query};
use super::ui::{self, Ui};
use crate::cli::{CheckArgs, CheckOutput, Metric, Threshold};
use crate::event_loop::{deadline_in, ignore_hangup};
use crate::exit::{CheckStatus, Failure, Status};
use crate::output::report::Report;
use crate::output::whole_millis;
use crate::protocol::service::Services;
use crate::protocol::topic::Topics;
use crate::transport::options::Options;

mod registered;
mod result;

use result::CheckResult;

/// The ranges of acceptable values.
struct Thresholds {
    warning: Vec<Threshold>,
    critical: Vec<Threshold>,
}

/// Checks broker and server, and prints the result.
pub(crate) fn run(args: CheckArgs, ui: Ui) -> Status {
    let CheckArgs { warning, critical, timeout, json, env, display: _, connection, topics } = args;
    let output = CheckOutput::new(json, env);
    let deadline = deadline_in(timeout);
    let thresholds = Thresholds { warning, critical };
    let topics = topics.topics();
    let checked = thresholds
        .check_names()
        .and_then(|()| connection::options(connection, Prompt::Allowed))
        .map_err(anyhow::Error::from)
        .and_then(|options| {
            let report = ui.report;
            ignore_hangup()?;
            cancellation::run(deadline, move |cancellation| examine(&options, &topics, report, cancellation))
        });
    let mut result = match checked {
        Ok(WorkEnd::Done(result)) => result,
        Ok(WorkEnd::Signal(_)) => CheckResult::of_problem(CheckStatus::Unknown, "interrupted by a signal"),
        Ok(WorkEnd::Deadline) => CheckResult::of_problem(CheckStatus::Critical, timed_out(timeout)),
        Err(error) => CheckResult::of_problem(CheckStatus::Unknown, format!("{error:#}")),
    };
    thresholds.apply(&mut result);
    print(&result, &thresholds, output, ui.report)
}

/// Prints an error in the arguments as the result of a check.
pub(super) fn print_unknown(failure: &Failure, output: CheckOutput, report: Report) -> Status {
    let result = CheckResult::of_problem(CheckStatus::Unknown, failure.to_string());
    let thresholds = Thresholds { warning: Vec::new(), critical: Vec::new() };
    print(&result, &thresholds, output, report)
}

fn timed_out(timeout: Duration) -> String {
    format!("no result within {}", humantime::format_duration(whole_millis(timeout)))
}

fn print(result: &CheckResult, thresholds: &Thresholds, output: CheckOutput, report: Report) -> Status {
    let status = result.status();
    match output {
        CheckOutput::Line => print_line(&result.line(thresholds), status, report),
        CheckOutput::Json => print_line(&result.json(), status, report),
        CheckOutput::Assignments => {
            if status != CheckStatus::Ok {
                report.warn(result.line(thresholds));
            }
            print_text(&result.assignments(), status, report)
        }
    }
}

fn print_line(line: &str, status: CheckStatus, report: Report) -> Status {
    print_text(&format!("{line}\n"), status, report)
}

/// Prints a text. If it cannot be printed, the status is UNKNOWN.
fn print_text(text: &str, status: CheckStatus, report: Report) -> Status {
    match ui::print(text) {
        Ok(_) => Status::Check(status),
        Err(error) => {
            report.error(&error);
            Status::Check(CheckStatus::Unknown)
        }
    }
}

/// Queries the services, and counts the registered endpoints.
fn examine(options: &Options, topics: &Topics, report: Report, cancellation: &Cancellation) -> CheckResult {
    let queried = match query(options, topics, report, cancellation) {
        Ok(queried) => queried,
        Err(error) => {
            // Some mistakes in the configuration are only found while connecting, such as a file without a certificate.
            let is_misconfigured = error.cause == QueryErrorCause::Configuration;
            let status = if is_misconfigured { CheckStatus::Unknown } else { CheckStatus::Critical };
            return CheckResult::of_problem(status, error.failure.to_string());
        }
    };
    let Queried { broker, connected_in, answers } = queried;
    let mut result = CheckResult::of_connection(broker, connected_in);
    match answers {
        Ok(answers) => result.add_answers(answers),
        Err(error) => {
            // Nobody has answered. If the query was not sent, it is not known whether anybody would.
            result.servers = (error.cause == QueryErrorCause::NoAnswer).then_some(0);
            result.add_problem(severity(error.cause), error.failure.to_string());
        }
    }
    let sphere = result.services.first().and_then(Services::sphere);
    match registered::count(options, sphere.as_ref().unwrap_or(topics.sphere()), report, cancellation) {
        Ok(count) => result.registered = Some(count),
        Err(error) => {
            let problem = format!("registered endpoints are not known: {}", error.failure);
            result.add_problem(severity(error.cause), problem);
        }
    }
    result
}

/// Returns how bad it is that something is not answered or not permitted, rather than unreachable.
fn severity(cause: QueryErrorCause) -> CheckStatus {
    match cause {
        QueryErrorCause::Unreachable => CheckStatus::Critical,
        QueryErrorCause::Configuration
        | QueryErrorCause::Refused
        | QueryErrorCause::NoAnswer
        | QueryErrorCause::Cancelled => CheckStatus::Warning,
    }
}

impl CheckResult {
    fn add_answers(&mut self, answers: Answers) {
        let Answers { elapsed, count, services, refusal, difference } = answers;
        self.query = Some(elapsed);
        self.servers = Some(count);
        self.services = services;
        self.is_ambiguous = difference.is_some();
        if let Some(difference) = difference {
            self.add_problem(CheckStatus::Critical, format!("two servers answer differently: {difference}"));
        } else if let Some(refusal) = refusal {
            self.add_problem(CheckStatus::Warning, refusal.failure().to_string());
        }
    }

    fn value_of(&self, metric: Metric) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        let number = |count: u64| count as f64;
        match metric {
            Metric::Connect => self.connect.map(|duration| duration.as_secs_f64()),
            Metric::Query => self.query.map(|duration| duration.as_secs_f64()),
            Metric::Servers => self.servers.map(number),
            Metric::Registered => self.registered.map(number),
        }
    }
}

impl Thresholds {
    /// Rejects two ranges for one metric.
    fn check_names(&self) -> Result<(), Failure> {
        for (flag, thresholds) in [("--warning", &self.warning), ("--critical", &self.critical)] {
            for (at, Threshold { metric, .. }) in thresholds.iter().enumerate() {
                if thresholds[..at].iter().any(|other| other.metric == *metric) {
                    return Err(Failure::usage(format!("{flag} has two ranges for {}", metric.as_str())));
                }
            }
        }
        Ok(())
    }

    /// Adds a problem for each value that is out of its range. Values that are not known have problems of their own.
    fn apply(&self, result: &mut CheckResult) {
        for metric in Metric::ALL {
            let Some(value) = result.value_of(metric) else { continue };
            let critical = ("critical", CheckStatus::Critical, &self.critical);
            let warning = ("warning", CheckStatus::Warning, &self.warning);
            let violated = [critical, warning].into_iter().find_map(|(label, status, thresholds)| {
                let range = &thresholds.iter().find(|threshold| threshold.metric == metric)?.range;
                (!range.accepts(value)).then_some((label, status, range))
            });
            if let Some((label, status, range)) = violated {
                let unit = if matches!(metric, Metric::Connect | Metric::Query) { "s" } else { "" };
                // Milliseconds are exact enough for people.
                let value = (value * 1_000.0).round() / 1_000.0;
                let name = metric.as_str();
                result.add_problem(status, format!("{name} is {value}{unit} ({label} range: {range})"));
            }
        }
    }

    /// Returns the range of a metric as it was typed, or an empty text.
    fn text(thresholds: &[Threshold], metric: Metric) -> String {
        thresholds
            .iter()
            .find(|threshold| threshold.metric == metric)
            .map(|it| it.range.to_string())
            .unwrap_or_default()
    }
}
