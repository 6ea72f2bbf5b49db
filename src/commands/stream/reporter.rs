//! Reports what happens to a stream's connection: on standard error, and as records if they are requested.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::recorder::Recorder;
use crate::commands::transport_error::{self, describe_end, describe_refusal};
use crate::output::report::Report;
use crate::protocol::record::{Change, Status};
use crate::transport::client::{Connected, Granted};
use crate::transport::codec::Version;
use crate::transport::moment::Moment;
use crate::transport::options::Options;
use crate::transport::session::SessionEvent;
use crate::transport::url::BrokerUrl;

/// A connection that is lost within this time after it was ready is not lost by chance.
const FLAP_WINDOW: Duration = Duration::from_secs(2);

/// How many such losses in a row make a pattern.
const FLAP_LIMIT: u32 = 3;

/// Reports on one stream's connections.
pub(super) struct ConnectionReporter {
    options: Options,
    qos: u8,
    is_shared: bool,
    /// The broker of the connection that stands, or that was lost last.
    broker: BrokerUrl,
    is_resumed: bool,
    outage: Option<Outage>,
    /// When the subscriptions stood, and how often in a row the connection was lost soon after.
    ready: Option<Instant>,
    flaps: u32,
    /// Since when losses are not reported, because connections do not last: the last proof before them that the stream was
    /// complete.
    silenced: Option<Moment>,
    recorder: Recorder,
    records_status: bool,
    report: Report,
}

/// Since when messages may be missing, and why.
struct Outage {
    complete_until: Moment,
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
            SessionEvent::Ready(granted) => self.ready(&granted),
            SessionEvent::Lost { end, complete_until, is_repeated } => {
                let reason = describe_end(&end);
                self.lost(reason, complete_until, is_repeated);
            }
            SessionEvent::Retrying(error) => {
                let failure = transport_error::session_failure(&error, &self.options);
                self.report.warn(format_args!("{failure}; trying again"));
            }
            SessionEvent::Stable => self.stable(),
        }
    }

    fn connected(&mut self, connected: &Connected) {
        let Connected { broker, version, accepted, failures } = connected;
        self.broker = broker.clone();
        if self.silenced.is_none() {
            for failure in failures {
                let error = transport_error::connect_failure(failure, &self.options);
                self.report.warn(format_args!("{error}; trying the next broker"));
            }
        }
        let session = if accepted.session_present { ", which had kept our session" } else { "" };
        self.report.detail(format_args!("connected to {broker} with MQTT {version}{session}"));
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
        self.record(Change::Connected, None);
    }

    fn ready(&mut self, granted: &Granted) {
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
            self.gap(&outage);
        }
        if self.silenced.is_none() {
            self.report.note("ready");
        }
        self.ready = Some(Instant::now());
        self.record(Change::Ready, None);
    }

    fn warn_of_lower_qos(&self, qos: u8) {
        let lower = format!("{} grants QoS {qos} instead of {}", self.broker, self.qos);
        if qos == 0 && self.options.session_expiry.is_some() {
            self.report.warn(format_args!("{lower}: with --durable, messages may be lost all the same"));
        } else if qos == 0 {
            self.report.warn(format_args!("{lower}: messages may be lost"));
        } else {
            self.report.detail(lower);
        }
    }

    /// Reports the span in which published messages may be missing. One clock measures it, so it never ends before it begins.
    fn gap(&self, outage: &Outage) {
        let until = Timestamp::now();
        let from = outage.complete_until.to_wall(until);
        let reason = &outage.reason;
        let reason = if self.is_resumed && self.qos > 0 {
            format!(
                "{reason}; the session was kept, so only what was published with QoS 0, or was too much for the broker to \
                 keep, may be missing"
            )
        } else if self.options.session_expiry.is_some() {
            format!("{reason}; the broker did not keep the session")
        } else {
            reason.clone()
        };
        if self.silenced.is_none() {
            self.report.warn(format_args!("messages published from {from:.3} to {until:.3} may be missing: {reason}"));
        }
        self.record_at(until, Change::Gap { from, until }, Some(reason));
    }

    fn lost(&mut self, reason: String, complete_until: Option<Moment>, is_repeated: bool) {
        if self.silenced.is_none() && is_repeated {
            self.silenced = Some(complete_until.unwrap_or_else(Moment::now));
            self.report.warn(format_args!(
                "lost {} again: {reason}. Its connections do not last: reconnecting ever more slowly, until one does",
                self.broker
            ));
        } else if self.silenced.is_none() {
            self.report.warn(format_args!("lost {}: {reason}", self.broker));
        }
        self.warn_client_id_clash();
        self.record(Change::Disconnected, Some(reason.clone()));
        // If the connection was not ready, messages have been missing since an earlier loss.
        if let Some(complete_until) = complete_until.filter(|_| self.outage.is_none()) {
            self.outage = Some(Outage { complete_until, reason });
        }
    }

    /// A connection has lasted: what was not reported before it is reported now.
    fn stable(&mut self) {
        if let Some(complete_until) = self.silenced.take() {
            let until = Timestamp::now();
            let from = complete_until.to_wall(until);
            self.report.warn(format_args!(
                "messages published from {from:.3} to {until:.3} may be missing: connections did not last"
            ));
            self.report.note("ready");
        }
    }

    /// Warns of another process with the same client identifier: a broker ends the connection of a client if another one
    /// connects with its name [MQTT-3.1.4-3], and few say so. Reported once a run.
    fn warn_client_id_clash(&mut self) {
        let was_soon = self.ready.take().is_some_and(|ready| ready.elapsed() < FLAP_WINDOW);
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

    fn record(&self, change: Change, reason: Option<String>) {
        self.record_at(Timestamp::now(), change, reason);
    }

    fn record_at(&self, received: Timestamp, change: Change, reason: Option<String>) {
        if self.records_status {
            self.recorder.status(&Status { received, change, reason: reason.map(Into::into) });
        }
    }
}
