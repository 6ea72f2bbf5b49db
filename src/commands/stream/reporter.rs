//! Reports what happens to a stream's connection: on standard error, and as records if they are requested.

use std::time::Duration;

use jiff::Timestamp;

use super::recorder::Recorder;
use crate::commands::transport_error::{self, describe_end, describe_refusal};
use crate::output::report::Report;
use crate::protocol::record::{ConnectionChange, ConnectionStatus};
use crate::transport::client::{Connected, Granted};
use crate::transport::codec::Version;
use crate::transport::error::ConnectionEnd;
use crate::transport::moment::Moment;
use crate::transport::options::Options;
use crate::transport::session::SessionEvent;
use crate::transport::url::BrokerUrl;

/// A connection that is lost within this time after it was ready is not lost by chance.
const FLAP_WINDOW: Duration = Duration::from_secs(2);

/// How many such losses in a row make a pattern.
const FLAP_LIMIT: u32 = 3;

/// How many connections in a row may end in the same useless way before they are reported together.
const MAX_REPETITIONS: u32 = 2;

/// Reports on one stream's connections.
pub(super) struct ConnectionReporter {
    options: Options,
    qos: u8,
    is_shared: bool,
    /// The broker of the connection that stands, or that was lost last.
    broker: BrokerUrl,
    is_resumed: bool,
    outage: Option<Outage>,
    /// When the subscriptions stood, by both clocks.
    ready: Option<(Moment, Timestamp)>,
    /// How often in a row the connection was lost soon after they did.
    flaps: u32,
    /// Since when losses are not reported, because connections do not last: the last proof before them that the stream was
    /// complete.
    silenced: Option<Timestamp>,
    recorder: Recorder,
    records_status: bool,
    report: Report,
}

/// Since when messages may be missing, and why.
struct Outage {
    complete_until: Moment,
    /// The same by the wall clock.
    from: Timestamp,
    reason: String,
}

impl ConnectionReporter {
    pub(super) fn new(
        options: Options,
        qos: u8,
        is_shared: bool,
        recorder: Recorder,
        records_status: bool,
        report: Report,
    ) -> Self {
        Self {
            broker: options.brokers[0].clone(),
            options,
            qos,
            is_shared,
            is_resumed: false,
            outage: None,
            ready: None,
            flaps: 0,
            silenced: None,
            recorder,
            records_status,
            report,
        }
    }

    /// Reports the next event.
    pub(super) fn follow(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Connected(connected) => self.connected(&connected),
            SessionEvent::Ready { granted, since } => self.ready(&granted, since),
            SessionEvent::Lost { end, complete_until, repetitions, is_final } => {
                if !is_final {
                    self.report_loss(&end, repetitions, complete_until);
                }
                self.lost(describe_end(&end), complete_until);
            }
            SessionEvent::Retrying(error) => {
                let failure = transport_error::session_failure(&error, &self.options, self.report);
                self.report.warn(format_args!("{failure}; trying again"));
            }
            SessionEvent::Stable => self.stable(),
        }
    }

    fn connected(&mut self, connected: &Connected) {
        let Connected { broker, version, accepted, failures } = connected;
        self.broker = broker.clone();
        if self.silenced.is_none() {
            transport_error::warn_if_insecure(&self.options, broker, self.report);
            transport_error::warn_of_failures(failures, &self.options, self.report);
        }
        let session = if accepted.session_present { ", which had kept our session" } else { "" };
        self.report.debug(format_args!("connected to {broker} with MQTT {version}{session}"));
        if self.outage.is_none() {
            transport_error::warn_of_limits(&self.options, connected, self.report);
            if self.is_shared && *version == Version::V311 {
                self.report.warn(
                    "MQTT 3.1.1 does not define shared subscriptions: many brokers take $share/… for an ordinary topic, \
                     and send nothing",
                );
            }
        }
        self.is_resumed = accepted.session_present;
        self.record(ConnectionChange::Connected, None);
    }

    fn ready(&mut self, granted: &Granted, since: Moment) {
        for (filter, reason) in &granted.denied {
            self.report.warn(format_args!(
                "{} refuses the subscription to '{filter}' ({}): what it matches is missing",
                self.broker,
                describe_refusal(reason)
            ));
        }
        if granted.qos < self.qos && self.outage.is_none() {
            self.warn_of_lower_qos(granted.qos);
        }
        if let Some(outage) = self.outage.take() {
            self.gap(&outage, since);
        }
        if self.silenced.is_none() {
            self.report.info("ready");
        }
        let received = since.to_wall();
        self.ready = Some((since, received));
        self.record_at(received, ConnectionChange::Ready, None);
    }

    fn warn_of_lower_qos(&self, qos: u8) {
        let lower = format!("{} grants QoS {qos} instead of {}", self.broker, self.qos);
        if qos == 0 && self.options.session_expiry.is_some() {
            self.report.warn(format_args!("{lower}: --durable does not deliver at least once then"));
        } else {
            self.report.debug(lower);
        }
    }

    /// Reports the span in which published messages may be missing. It is measured with a clock that does not step, so it
    /// never ends before it begins; if the wall clock has stepped, it covers what both say.
    fn gap(&self, outage: &Outage, complete_since: Moment) {
        let Outage { complete_until, from, .. } = *outage;
        let length = complete_since.since(complete_until);
        let until = from.checked_add(length).unwrap_or(from).max(complete_since.to_wall());
        let kept = if self.is_resumed && self.qos > 0 {
            "; the session was kept, so only what was published with QoS 0, or was too much for the broker to keep, may be \
             missing"
        } else if self.options.session_expiry.is_some() {
            "; the broker did not keep the session"
        } else {
            ""
        };
        if self.silenced.is_none() {
            self.report.warn(format_args!("messages published from {from:.3} to {until:.3} may be missing{kept}"));
        }
        let reason = format!("{}{kept}", outage.reason);
        self.record(ConnectionChange::Gap { from, until }, Some(reason));
    }

    /// Warns of a loss; of one that repeats itself only until that is clear.
    fn report_loss(&mut self, end: &ConnectionEnd, repetitions: u32, complete_until: Option<Moment>) {
        let limit = if let ConnectionEnd::Protocol(_) = end { 1 } else { MAX_REPETITIONS };
        if self.silenced.is_some() {
        } else if repetitions >= limit {
            self.silenced = Some(self.to_wall(complete_until.unwrap_or_else(Moment::now)));
            self.report.warn(format_args!(
                "lost {} again for the same reason: its connections do not last. Reconnecting ever more slowly, until one does",
                self.broker
            ));
        } else {
            self.report.warn(format_args!("lost {}: {}", self.broker, describe_end(end)));
        }
    }

    fn lost(&mut self, reason: String, complete_until: Option<Moment>) {
        let complete_until = complete_until.unwrap_or_else(Moment::now);
        let from = self.to_wall(complete_until);
        self.warn_client_id_clash();
        self.record(ConnectionChange::Disconnected, Some(reason.clone()));
        // If the connection was not ready, messages have been missing since an earlier loss.
        if self.outage.is_none() {
            self.outage = Some(Outage { complete_until, from, reason });
        }
    }

    /// A moment by the wall clock as it was when the subscriptions stood, so that it can be compared with their record.
    fn to_wall(&self, moment: Moment) -> Timestamp {
        match self.ready {
            Some((ready, received)) if moment >= ready => received.checked_add(moment.since(ready)).unwrap_or(received),
            _ => moment.to_wall(),
        }
    }

    /// A connection has lasted: what was not reported before it is reported now.
    fn stable(&mut self) {
        if let Some(from) = self.silenced.take() {
            let until = Timestamp::now().max(from);
            self.report.warn(format_args!(
                "messages published from {from:.3} to {until:.3} may be missing: connections did not last"
            ));
            self.report.info("ready");
        }
    }

    /// Warns of another process with the same client identifier: a broker ends the connection of a client if another one
    /// connects with its name [MQTT-3.1.4-3], and few say so. Reported once a run.
    fn warn_client_id_clash(&mut self) {
        let was_soon = self.ready.take().is_some_and(|(ready, _)| ready.elapsed() < FLAP_WINDOW);
        if self.flaps == FLAP_LIMIT {
            return;
        }
        self.flaps = if was_soon { self.flaps + 1 } else { 0 };
        if self.flaps == FLAP_LIMIT && self.options.session_expiry.is_some() {
            self.report.warn(format_args!(
                "lost {FLAP_LIMIT} times in a row, each time soon after it was ready: is there another process with \
                 --durable {}? They take the session from each other; each needs a name of its own",
                self.options.client_id
            ));
        }
    }

    fn record(&self, change: ConnectionChange, reason: Option<String>) {
        self.record_at(Timestamp::now(), change, reason);
    }

    fn record_at(&self, received: Timestamp, change: ConnectionChange, reason: Option<String>) {
        if self.records_status {
            self.recorder.status(&ConnectionStatus { received, change, reason: reason.map(Into::into) });
        }
    }
}
