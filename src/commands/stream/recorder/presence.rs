//! Presence documents of a stream: first all that exist, then what changes.
//!
//! The broker lists the retained documents after each subscription. The list after a reconnect is compared with what was
//! known, so that no change is missed: only documents that are new or different are printed, and those that have vanished
//! are printed as gone.

use std::io;

use jiff::Timestamp;

use super::{Scope, State};
use crate::output::report::Report;
use crate::protocol::presence::{Directory, Presence};
use crate::protocol::record::{Absence, Message, Record};
use crate::protocol::topic::EndpointId;

/// Number of documents in a list from which on it may be incomplete.
const INCOMPLETE_LIST_THRESHOLD: usize = 1_000;

/// What is printed of presence documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PresenceMode {
    /// All documents, then changes.
    Changes,
    /// The documents that exist.
    Now,
    /// The absence of each of these endpoints, once.
    Gone(Vec<EndpointId>),
}

/// Follows the selected documents.
pub(super) struct PresenceTracker {
    /// What is printed. Of [`PresenceMode::Gone`], the endpoints that have not been absent yet.
    mode: PresenceMode,
    directory: Directory,
    /// Whether the broker is listing the documents.
    is_listing: bool,
    /// Number of documents in the current list, selected or not.
    listed: usize,
}

impl PresenceTracker {
    /// Makes a tracker that waits for the first list.
    pub(super) fn new(mode: PresenceMode) -> Self {
        Self { mode, directory: Directory::default(), is_listing: true, listed: 0 }
    }

    /// Begins a list.
    pub(super) fn begin_listing(&mut self) {
        self.directory.begin_listing();
        (self.is_listing, self.listed) = (true, 0);
    }

    /// Ends a list. Returns the topics of the documents that have vanished.
    fn end_listing(&mut self) -> Vec<String> {
        self.is_listing = false;
        self.directory.end_listing()
    }

    /// Adds a message below the sphere. Returns whether it changes what is known.
    fn update(&mut self, message: &Message<'_>, is_selected_document: bool) -> bool {
        let Message { topic, retain, payload, .. } = *message;
        self.listed += usize::from(retain);
        if !is_selected_document {
            self.directory.remove(topic);
            return true;
        }
        self.directory.insert(topic, payload) || !retain
    }

    /// Returns whether documents are printed: all, or those of a list.
    fn prints_documents(&self, is_listed: bool) -> bool {
        match self.mode {
            PresenceMode::Changes => true,
            PresenceMode::Now => is_listed,
            PresenceMode::Gone(_) => false,
        }
    }

    /// Takes the next endpoint that is absent. During a list, it is not known whether an endpoint is.
    fn next_absent(&mut self) -> Option<EndpointId> {
        let Self { mode: PresenceMode::Gone(awaited), directory, is_listing: false, .. } = self else { return None };
        let at = awaited.iter().position(|endpoint| !directory.has(endpoint.as_str()))?;
        Some(awaited.remove(at))
    }

    fn warn_of_incomplete_list(&self, report: Report) {
        let Self { listed, .. } = self;
        if *listed >= INCOMPLETE_LIST_THRESHOLD {
            report.warn(format_args!(
                "the list of {listed} documents may be incomplete: some brokers drop messages of lists with more than about {INCOMPLETE_LIST_THRESHOLD}"
            ));
        }
    }
}

impl State {
    /// Prints a document or a removal that changes what is known, or the absences that it causes.
    pub(super) fn take_presence(
        &mut self,
        presence: &Presence<'_>,
        message: &Message<'_>,
        record: &Record<'_>,
    ) -> io::Result<()> {
        let (Scope::Events(filter), Some(tracker)) = (&self.scope, &mut self.presence) else { return Ok(()) };
        let is_selected = filter.matches_presence(presence);
        let is_change = tracker.update(message, presence.document.is_some() && is_selected);
        if is_selected && is_change && tracker.prints_documents(message.retain) {
            return self.print(record);
        }
        self.print_absences(message.received)
    }

    /// Ends the list of all retained documents, and prints what has vanished since the last one.
    pub(super) fn end_listing(&mut self, received: Timestamp) -> io::Result<()> {
        let Some(tracker) = &mut self.presence else { return Ok(()) };
        tracker.warn_of_incomplete_list(self.report);
        for topic in tracker.end_listing() {
            self.print_vanished(&topic, received)?;
        }
        self.print_absences(received)
    }

    /// Prints the removal of a document that has vanished. It was not received, so it is retained and empty, which no
    /// message is.
    fn print_vanished(&mut self, topic: &str, received: Timestamp) -> io::Result<()> {
        let message = Message { received, topic, qos: 0, retain: true, payload: b"" };
        let (Scope::Events(filter), Some(tracker)) = (&self.scope, &self.presence) else { return Ok(()) };
        let gone = Presence::decode(self.topics.sphere(), topic, b"");
        let is_selected = gone.is_ok_and(|gone| filter.matches_presence(&gone));
        if !is_selected || tracker.mode != PresenceMode::Changes || self.left == Some(0) {
            return Ok(());
        }
        let topics = self.topics.clone();
        self.print(&Record::of(&topics, &message))
    }

    /// Prints the absences of endpoints that are waited for.
    fn print_absences(&mut self, received: Timestamp) -> io::Result<()> {
        while self.left != Some(0)
            && let Some(endpoint) = self.presence.as_mut().and_then(PresenceTracker::next_absent)
        {
            self.printer.absence(&Absence { received, from: endpoint.as_str().into() })?;
            self.count(1);
        }
        Ok(())
    }

    /// Returns why a message is not a presence document, if presence is watched and it is below the sphere.
    pub(super) fn why_not_presence(&self, message: &Message<'_>) -> Option<String> {
        let Message { topic, payload, .. } = *message;
        let sphere = self.topics.sphere();
        if self.presence.is_none() || !sphere.everything().matches(topic) {
            return None;
        }
        Presence::decode(sphere, topic, payload).err().map(|error| error.to_string())
    }
}
