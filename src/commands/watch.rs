//! `rtcomm watch`: prints live events that match filters.

use anyhow::Result;

use super::connection::{self, Prompt};
use super::stream::{self, Scope, Stream};
use super::ui::Ui;
use crate::cli::WatchArgs;
use crate::exit::Status;

/// Prints events until a limit is reached, the reader closes the pipe, or a signal arrives.
///
/// # Errors
/// If the usage is wrong, the broker is unreachable or refuses the client, or the output cannot be written to.
pub(crate) fn run(args: WatchArgs, ui: Ui) -> Result<Status> {
    let WatchArgs { filter, window, json, pretty, dry_run, delivery, connection, topics } = args;
    let filter = filter.filter()?;
    let topics = topics.topics();
    let options = connection::options(connection, Prompt::unless(dry_run))?;
    let filters = filter.subscriptions(&topics.events);
    if dry_run {
        return stream::print_filters(&filters, delivery.share.as_deref());
    }
    let format = match delivery.output {
        Some(_) => ui.file_format(json || !pretty, &topics),
        None => ui.format(json, &topics),
    };
    Stream { options, filters, events: topics.events, scope: Scope::Events(filter), format, window }
        .deliver(delivery, ui.report)
}
