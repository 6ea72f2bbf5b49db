//! `rtcomm watch`: prints live events that match filters.

use anyhow::Result;

use super::call_records::CallRecords;
use super::connection::{self, Prompt};
use super::stream::{self, Scope, Stream};
use super::ui::Ui;
use crate::cli::{DeliveryArgs, WatchArgs};
use crate::exit::{Failure, Status};

/// Prints events until a limit is reached, the reader closes the pipe, or a signal arrives.
///
/// # Errors
/// If the usage is wrong, the broker is unreachable or refuses the client, or the output cannot be written to.
pub(crate) fn run(args: WatchArgs, ui: Ui) -> Result<Status> {
    let WatchArgs { filter, calls, window, json, pretty, dry_run, display: _, delivery, connection, topics } = args;
    let scope = match calls.settings()? {
        Some(settings) => {
            check_delivery(settings.flag, &delivery)?;
            Scope::Calls(Box::new(CallRecords::new(&settings, filter.call_selection(settings.flag)?)))
        }
        None => Scope::Events(filter.filter()?),
    };
    let topics = topics.topics();
    let profile = connection.profile.clone();
    let options = connection::options(connection, Prompt::unless(dry_run))?;
    let filters = scope.subscriptions(&topics.events);
    if dry_run {
        return stream::print_filters(&filters, delivery.share.as_deref());
    }
    let format = match delivery.output {
        Some(_) => ui.file_format(json || !pretty, &topics),
        None => ui.format(json, &topics),
    };
    Stream { options, profile, filters, events: topics.events, scope, format, window }.deliver(delivery, ui.report)
}

/// Rejects delivery that gives incomplete call records. `flag` is the one that requests them.
fn check_delivery(flag: &str, delivery: &DeliveryArgs) -> Result<(), Failure> {
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
