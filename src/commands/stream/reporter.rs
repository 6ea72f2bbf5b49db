//! Reports connection changes of a stream: on standard error, and as records with `--status-events`.

use std::time::Duration;

use jiff::Timestamp;

use super::recorder::Recorder;
use crate::cli::ProfileName;
use crate::commands::transport_error::{self, describe_end, describe_refusal};
use crate::output::local_time;
use crate::output::report::Report;
use crate::protocol::record::{ConnectionChange, ConnectionStatus};
use crate::transport::client::{Connected, Granted};
use crate::transport::codec::Version;
use crate::transport::error::ConnectionEnd;
use crate::transport::moment::Moment;
use crate::transport::options::Options;
use crate::transport::session::SessionEvent;
use crate::transport::url::BrokerUrl;

/// A connection that is lost within this time after it was ready counts as flapping.
const FLAP_WINDOW: Duration = Duration::from_secs(2);

/// Number of such losses in a row that cause a warning.
const FLAP_LIMIT: u32 = 3;

/// Number of losses in a row with the same reason that are reported one by one.
const MAX_REPETITIONS: u32 = 2;

/// Reports the connection changes of one stream.
pub(super) struct ConnectionReporter {
    options: Options,
    profile: Option<ProfileName>,
    qos: u8,
    is_shared: bool,
    /// The broker of the current or the last connection.
    broker: BrokerUrl,
    is_resumed: bool,
    outage: Option<Outage>,
    /// When the subscriptions were granted, by both clocks.
    ready: Option<(Moment, Timestamp)>,
    /// Number of losses in a row within [`FLAP_WINDOW`].
    flaps: u32,
    /// Set while losses are not reported because connections do not last. The time up to which the stream was complete
    /// before them.
    silenced: Option<Timestamp>,
    recorder: Recorder,
    report: Report,
}

/// A time without a connection, in which messages may be missing.
struct Outage {
    /// No message is missing that was published before this moment.
    complete_until: Moment,
    /// The same by the wall clock.
    from: Timestamp,
    reason: String,
}

impl ConnectionReporter {
    pub(super) fn new(
        options: Options,
        profile: Option<ProfileName>,
        qos: u8,
        is_shared: bool,
        recorder: Recorder,
        report: Report,
    ) -> Self {
        Self {
            broker: options.brokers[0].clone(),
            options,
            profile,
            qos,
            is_shared,
            is_resumed: false,
            outage: None,
            ready: None,
            flaps: 0,
            silenced: None,
            recorder,
            report,
        }
    }

    /// Reports an event.
    pub(super) fn follow(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Connected(connected) => self.connected(&connected),
            SessionEvent::Ready { granted, since } => self.ready(&granted, since),
            SessionEvent::Settled => {
                self.recorder.end_listing();
                self.record(ConnectionChange::Settled, None);
            }
            SessionEvent::Lost { end, complete_until, repetitions, was_useless, is_final } => {
                if !is_final {
                    let limit = if was_useless { 1 } else { MAX_REPETITIONS };
                    self.report_loss(&end, repetitions >= limit, complete_until);
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
        let session = if accepted.session_present { ", which kept the session" } else { "" };
        self.report.debug(format_args!("connected to {broker} with MQTT {version}{session}"));
        if self.outage.is_none() {
            transport_error::warn_of_limits(&self.options, connected, self.report);
            if self.is_shared && *version == Version::V311 {
                self.report.warn(
                    "MQTT 3.1.1 does not define shared subscriptions: many brokers treat $share/… as an ordinary topic \
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
                "{} refuses the subscription to '{filter}' ({}): messages that match only this filter are missing",
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
            self.report.info(self.ready_message());
        }
        self.recorder.watch_for_silence();
        let received = since.to_wall();
        self.ready = Some((since, received));
        self.record_at(received, ConnectionChange::Ready, None);
    }

    fn warn_of_lower_qos(&self, qos: u8) {
        let lower = format!("{} grants QoS {qos} instead of {}", self.broker, self.qos);
        if qos == 0 && self.options.session_expiry.is_some() {
            self.report.warn(format_args!("{lower}: --durable cannot deliver at least once"));
        } else {
            self.report.debug(lower);
        }
    }

    /// Returns the message that every subscription is granted.
    fn ready_message(&self) -> String {
        let profile = self.profile.as_ref().map(|name| format!(" (profile {name})"));
        format!("ready at {}{}", self.broker, profile.unwrap_or_default())
    }

    /// Reports the period in which published messages may be missing.
    ///
    /// A clock that does not step measures its length, so it never ends before it begins. If the wall clock was set
    /// meanwhile, the period covers both clocks.
    fn gap(&self, outage: &Outage, complete_since: Moment) {
        let Outage { complete_until, from, .. } = *outage;
        let length = complete_since.since(complete_until);
        let until = from.checked_add(length).unwrap_or(from).max(complete_since.to_wall());
        let kept = if self.is_resumed && self.qos > 0 {
            "; the broker kept the session, so only messages with QoS 0, and messages beyond the broker's limits, may be \
             missing"
        } else if self.options.session_expiry.is_some() {
            "; the broker did not keep the session"
        } else {
            ""
        };
        if self.silenced.is_none() {
            let (from, until) = (local_time(from), local_time(until));
            self.report.warn(format_args!("messages published from {from} to {until} may be missing{kept}"));
        }
        let reason = format!("{}{kept}", outage.reason);
        self.record(ConnectionChange::Gap { from, until }, Some(reason));
    }

    /// Warns of a loss. If it is one of many with the same reason, warns once for all of them.
    fn report_loss(&mut self, end: &ConnectionEnd, is_one_of_many: bool, complete_until: Option<Moment>) {
        if self.silenced.is_some() {
            return;
        }
        if is_one_of_many {
            self.silenced = Some(self.to_wall(complete_until.unwrap_or_else(Moment::now)));
            self.report.warn(format_args!(
                "lost {} again for the same reason: its connections do not last. Reconnecting with growing pauses until one \
                 does",
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
        self.recorder.begin_listing();
        self.record(ConnectionChange::Disconnected, Some(reason.clone()));
        // Without a ready connection in between, messages have been missing since the earlier loss.
        if self.outage.is_none() {
            self.outage = Some(Outage { complete_until, from, reason });
        }
    }

    /// Converts a moment to the wall clock as it was at the last `ready` record, so that both can be compared.
    fn to_wall(&self, moment: Moment) -> Timestamp {
        match self.ready {
            Some((ready, received)) if moment >= ready => received.checked_add(moment.since(ready)).unwrap_or(received),
            _ => moment.to_wall(),
        }
    }

    /// Reports what was silenced, because a connection has lasted.
    fn stable(&mut self) {
        if let Some(from) = self.silenced.take() {
            let (from, until) = (local_time(from), local_time(Timestamp::now().max(from)));
            self.report.warn(format_args!(
                "messages published from {from} to {until} may be missing: connections did not last"
            ));
            self.report.info(self.ready_message());
        }
    }

    /// Warns that another process may use the same client identifier. Warns once per run.
    ///
    /// A broker closes the connection of a client if another one connects with its identifier [MQTT-3.1.4-3], and few
    /// brokers report that.
    fn warn_client_id_clash(&mut self) {
        let was_soon = self.ready.take().is_some_and(|(ready, _)| ready.elapsed() < FLAP_WINDOW);
        if self.flaps == FLAP_LIMIT {
            return;
        }
        self.flaps = if was_soon { self.flaps + 1 } else { 0 };
        if self.flaps == FLAP_LIMIT && self.options.session_expiry.is_some() {
            self.report.warn(format_args!(
                "lost {FLAP_LIMIT} times in a row soon after ready: another process may use --durable '{}' too. Use a \
                 different name for each process",
                self.options.client_id
            ));
        }
    }

    fn record(&self, change: ConnectionChange, reason: Option<String>) {
        self.record_at(Timestamp::now(), change, reason);
    }

    fn record_at(&self, received: Timestamp, change: ConnectionChange, reason: Option<String>) {
        self.recorder.status(&ConnectionStatus { received, change, reason: reason.map(Into::into) });
    }
}
