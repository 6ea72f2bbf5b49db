//! `--discover`: learns the topics of a deployment from its server.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;

use super::cancellation::{self, WorkEnd};
use super::service_query::{Answers, query};
use crate::cli::TopicArgs;
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::protocol::topic::Topics;
use crate::transport::options::Options;

/// Returns the topics of the flags, and with `discover` those of the server in place of defaults. Returns the status of the run
/// if a signal ends it.
///
/// # Errors
/// If the server cannot be asked, if it does not answer, or if two servers answer differently.
pub(super) fn topics(
    args: TopicArgs,
    discover: bool,
    options: &Options,
    deadline: Option<Instant>,
    report: Report,
) -> Result<ControlFlow<Status, Topics>> {
    if !discover {
        return Ok(ControlFlow::Continue(args.topics()));
    }
    let (options, defaults) = (options.clone(), args.clone().topics());
    let ended = cancellation::run(deadline, move |cancellation| {
        let queried = query(&options, &defaults, report, cancellation);
        queried.and_then(|queried| queried.answers).map_err(|error| error.failure)
    })?;
    let Answers { services, refusal, difference, .. } = match ended {
        WorkEnd::Done(answers) => answers?,
        WorkEnd::Signal(signal) => return Ok(ControlFlow::Break(signal.status())),
        WorkEnd::Deadline => {
            return Err(Failure::new(Status::Deadline, "the deadline passed before a server named its topics").into());
        }
    };
    if let Some(difference) = difference {
        let failure = Failure::new(Status::Failure, format!("two servers answer differently: {difference}"));
        return Err(failure
            .hint("give each server its own root and name it with --root, or set --event-root and --call-topic")
            .into());
    }
    let Some(services) = services.first() else {
        return Err(refusal.expect("an answer is services or a refusal").failure().into());
    };
    for (key, value) in services.invalid_topics() {
        report.warn(format_args!("the server's {key} is not a valid topic, and is ignored: '{value}'"));
    }
    let discovered = args.discovered(services);
    report.info(&discovered);
    Ok(ControlFlow::Continue(discovered.topics))
}

/// Rejects discovery if the command does not connect.
///
/// # Errors
/// If both are requested.
pub(super) fn check_dry_run(discover: bool, dry_run: bool) -> Result<(), Failure> {
    if discover && dry_run {
        return Err(Failure::usage("--discover cannot be combined with --dry-run, which does not connect")
            .hint("name the topics with --event-root and --call-topic"));
    }
    Ok(())
}
