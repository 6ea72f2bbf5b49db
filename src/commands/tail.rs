//! `rtcomm tail`: recorded lines, or every live message under the root.

use anyhow::Result;

use super::Voice;
use super::stream::{self, Scope, Stream};
use crate::cli::TailArgs;
use crate::exit::Status;
use crate::transport::broker::Options;
use crate::transport::session::Subscription;

/// Prints recorded lines where a file is given, else live messages.
///
/// # Errors
/// Wrong usage; a file that cannot be read; a broker that cannot be reached or refuses us; standard output that cannot
/// be written to.
pub(crate) fn run(args: TailArgs, voice: Voice) -> Result<Status> {
    live(args, voice)
}

fn live(args: TailArgs, voice: Voice) -> Result<Status> {
    let TailArgs { filters, filter, window, json, dry_run, connection, topics, .. } = args;
    let filter = filter.filter()?;
    let topics = topics.topics();
    let options = Options::from_args(connection)?;
    let filters = if filters.is_empty() { vec![topics.root.everything()] } else { filters };
    if dry_run {
        return stream::print_filters(&filters);
    }
    let format = voice.format(json, &topics);
    let subscription = Subscription { filters, qos: stream::QOS };
    Stream { options, subscription, events: topics.events, scope: Scope::Messages(filter), format, window }
        .run(voice.report)
}
