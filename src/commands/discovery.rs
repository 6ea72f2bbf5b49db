//! `--discover`: learns the topics of a deployment from its server.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;

use super::cancellation::{self, WorkEnd};
use super::service_query::{Answers, query};
use crate::cli::{TopicArgs, WindowArgs};
use crate::event_loop::deadline_in;
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
    let late = Failure::new(Status::Deadline, "the deadline passed before a server named its topics");
    topics_before(deadline, late, args, discover, options, report)
}

/// The same for a stream, which `--for` ends during discovery too: the time of discovery counts.
///
/// # Errors
/// See [`topics`]. Also if `--for` ends before: with the status of a stream without a subscription.
pub(super) fn stream_topics(
    args: TopicArgs,
    discover: bool,
    options: &Options,
    window: &mut WindowArgs,
    report: Report,
) -> Result<ControlFlow<Status, Topics>> {
    let began = Instant::now();
    let late = Failure::unreachable("--for ended before a server named its topics")
        .hint("check that the server is running, and --root; or use a longer --for");
    let topics = topics_before(window.duration.and_then(deadline_in), late, args, discover, options, report)?;
    window.duration = window.duration.map(|duration| duration.saturating_sub(began.elapsed()));
    Ok(topics)
}

/// Returns the topics, or the failure `late` if they are not known at the deadline.
fn topics_before(
    deadline: Option<Instant>,
    late: Failure,
    args: TopicArgs,
    discover: bool,
    options: &Options,
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
        WorkEnd::Deadline => return Err(late.into()),
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
