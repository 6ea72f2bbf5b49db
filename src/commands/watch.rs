//! `rtcomm watch`: prints live events, presence documents or call records that match filters.

use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;

use anyhow::Result;

use super::call_records::CallRecords;
use super::connection::{self, Prompt};
use super::discovery;
use super::stream::{self, PresenceMode, Scope, Stream};
use super::ui::Ui;
use crate::cli::{DeliveryArgs, WatchArgs};
use crate::exit::{Failure, Status};
use crate::protocol::topic::EndpointId;

/// Prints events, presence or call records until a limit is reached, the reader closes the pipe, or a signal arrives.
///
/// # Errors
/// If the usage is wrong, the broker is unreachable or refuses the client, or the output cannot be written to.
pub(crate) fn run(args: WatchArgs, ui: Ui) -> Result<Status> {
    let WatchArgs { filter, presence, calls, format, dry_run, display: _, mut window, delivery, connection, topics } =
        args;
    let awaited = presence.gone.then(|| distinct(&filter.from));
    let scope = match calls.settings()? {
        Some(settings) => {
            check_delivery(settings.flag, &delivery)?;
            Scope::Calls(Box::new(CallRecords::new(&settings, filter.call_selection(settings.flag)?)))
        }
        None => Scope::Events(filter.filter()?),
    };
    let presence = match awaited {
        Some(endpoints) => {
            window.limit_count(endpoints.len());
            Some(PresenceMode::Gone(endpoints))
        }
        None if presence.now => Some(PresenceMode::Now),
        None => scope.selects_presence().then_some(PresenceMode::Changes),
    };
    if presence.is_some() {
        stream::check_presence_delivery(&delivery)?;
    }
    let profile = connection.profile.clone();
    // To delete a session, no topics are needed.
    let discover = connection.discover && delivery.durable_delete.is_none();
    discovery::check_dry_run(discover, dry_run)?;
    let options = connection::options(connection, Prompt::unless(dry_run))?;
    let topics = match discovery::stream_topics(topics, discover, &options, &mut window, ui.report)? {
        ControlFlow::Continue(topics) => topics,
        ControlFlow::Break(status) => return Ok(status),
    };
    let filters = scope.subscriptions(&topics);
    if dry_run {
        return stream::print_filters(&filters, delivery.share.as_deref());
    }
    let json = format.is_json(delivery.output.is_some());
    let format = match delivery.output {
        Some(_) => ui.file_format(json, &topics),
        None if presence == Some(PresenceMode::Now) && io::stdout().is_terminal() => {
            ui.format(json, &topics).into_presence_table()
        }
        None => ui.format(json, &topics),
    };
    Stream { options, profile, filters, topics, scope, presence, format, window }.deliver(delivery, ui.report)
}

/// Returns each endpoint once, in the order of the first mentions.
fn distinct(endpoints: &[EndpointId]) -> Vec<EndpointId> {
    let is_first = |at: usize| !endpoints[..at].contains(&endpoints[at]);
    (0..endpoints.len()).filter(|at| is_first(*at)).map(|at| endpoints[at].clone()).collect()
}

/// Rejects delivery that gives incomplete call records. `flag` is the one that requests them.
fn check_delivery(flag: &str, delivery: &DeliveryArgs) -> Result<(), Failure> {
    if delivery.durable_delete.is_some() {
        let failure = Failure::usage(format!("{flag} cannot be combined with --durable-delete, which prints nothing"));
        return Err(failure.hint("rtcomm watch --durable-delete NAME deletes the session"));
    }
    let (other, why) = match delivery {
        DeliveryArgs { share: Some(_), .. } => ("share", "the members of a group get different events of a call"),
        DeliveryArgs { durable: Some(_), .. } => {
            ("durable", "events are acknowledged before the record of their call is printed")
        }
        _ => return Ok(()),
    };
    let failure = Failure::usage(format!("{flag} cannot be combined with --{other}: {why}"));
    Err(failure
        .hint(format!("record events with --{other} and --output, and derive the records: rtcomm tail FILE {flag}")))
}
