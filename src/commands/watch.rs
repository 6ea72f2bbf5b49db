//! `rtcomm watch`: live events, chosen in Rtcomm's own words.

use anyhow::Result;

use super::Voice;
use super::connection::{self, Asking};
use super::stream::{self, Scope, Stream};
use crate::cli::WatchArgs;
use crate::exit::Status;

/// Watches until a window closes, the reader goes away or a signal comes.
///
/// # Errors
/// Wrong usage; a broker that cannot be reached or refuses us; standard output that cannot be written to.
pub(crate) fn run(args: WatchArgs, voice: Voice) -> Result<Status> {
    let WatchArgs { filter, window, json, dry_run, delivery, connection, topics } = args;
    let filter = filter.filter()?;
    let topics = topics.topics();
    let options = connection::options(connection, Asking::unless(dry_run))?;
    let filters = filter.subscriptions(&topics.events);
    if dry_run {
        return stream::print_filters(&filters, delivery.share.as_deref());
    }
    let format = match delivery.output {
        Some(_) => voice.file_format(json, &topics),
        None => voice.format(json, &topics),
    };
    Stream { options, filters, events: topics.events, scope: Scope::Events(filter), format, window }
        .deliver(delivery, voice.report)
}
