//! Counts the registered endpoints: the retained presence documents that exist.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::commands::cancellation::{Cancellation, DISCONNECT_TIMEOUT};
use crate::commands::service_query::{QueryError, QueryErrorCause};
use crate::commands::transport_error::describe_end;
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::protocol::presence::Presence;
use crate::protocol::topic::Root;
use crate::sync::lock;
use crate::transport::client::{Client, ClientEvent, Purpose};
use crate::transport::options::Options;
use crate::transport::relay::{Ack, MessageHandler, PacketSize, Publish};
use crate::transport::subscription::Subscription;

/// The `type` of documents that are not about endpoints.
const SERVICE: &str = "SERVICE";

/// Connects, waits for all presence documents, disconnects, and returns the number of endpoints.
///
/// # Errors
/// If there is no connection, or no permission to subscribe.
pub(super) fn count(
    options: &Options,
    sphere: &Root,
    report: Report,
    cancellation: &Cancellation,
) -> Result<u64, QueryError> {
    let filter = sphere.everything();
    let subscription = Subscription {
        filters: vec![filter.clone()],
        qos: 0,
        listing: Some(filter),
        group: None,
        allow_partial: false,
    };
    let handler = Arc::new(Mutex::new(EndpointCounter { sphere: sphere.clone(), topics: HashSet::new() }));
    let mut client =
        Client::new(options.clone(), Purpose::Receive, subscription, handler.clone(), Arc::default(), Arc::new(|_| {}));
    cancellation.watch(client.canceller());
    let connected = client.connect().map_err(|failures| QueryError::of_connecting(&failures, options, report))?;
    let listed = match client.subscribe() {
        Err(error) => Err(QueryError::of_subscribing(&error, &connected.broker)),
        Ok(_) => match client.settle() {
            None => Ok(()),
            Some(ClientEvent::Ended(end)) => {
                let failure = Failure::unreachable(format!("lost {}: {}", connected.broker, describe_end(&end)));
                Err(QueryError::new(QueryErrorCause::Unreachable, failure))
            }
            Some(ClientEvent::Cancelled) => {
                let failure = Failure::new(Status::Failure, "the check was cancelled");
                Err(QueryError::new(QueryErrorCause::Cancelled, failure))
            }
        },
    };
    client.disconnect(DISCONNECT_TIMEOUT);
    drop(client);
    listed.map(|()| lock(&handler).endpoints())
}

/// Collects the topics of documents.
struct EndpointCounter {
    sphere: Root,
    topics: HashSet<String>,
}

impl EndpointCounter {
    fn endpoints(&self) -> u64 {
        let endpoints: HashSet<_> = self.topics.iter().map(|topic| topic.rsplit('/').next()).collect();
        endpoints.len() as u64
    }
}

impl MessageHandler for EndpointCounter {
    fn message(&mut self, message: &Publish<'_>, _: Timestamp) -> Ack {
        match Presence::decode(&self.sphere, message.topic, message.payload) {
            Ok(Presence { document: Some(document), .. }) if document.kind.is_none_or(|kind| !kind.is(SERVICE)) => {
                self.topics.insert(message.topic.to_owned());
            }
            _ => drop(self.topics.remove(message.topic)),
        }
        Ack::Send
    }

    fn oversized(&mut self, _: &Publish<'_>, _: PacketSize, _: Timestamp) -> Ack {
        Ack::Send
    }

    fn commit(&mut self) -> Ack {
        Ack::Send
    }
}
