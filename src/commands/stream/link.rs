//! What becomes of a stream's connection: told on standard error, and as records where that is asked for.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::sink::Sink;
use crate::output::report::Report;
use crate::protocol::record::{ConnectionChange, ConnectionStatus};
use crate::protocol::topic::TopicFilter;
use crate::transport::broker::{Options, UNCHECKED};
use crate::transport::mqtt::Version;
use crate::transport::session::Stage;

/// Follows one connection through its losses.
pub(super) struct Link {
    options: Options,
    qos: u8,
    is_resumed: bool,
    lost: Option<Loss>,
    /// When the subscriptions stood, and how often in a row the connection was lost soon after.
    ready: Option<Instant>,
    lost_soon: u32,
    /// Since when the stream is whole, or was.
    whole_since: Timestamp,
    sink: Sink,
    tells_status: bool,
    report: Report,
}

/// How soon after it is ready a connection is not lost by chance, and how often in a row that makes a pattern.
const SOON: Duration = Duration::from_secs(2);
const PATTERN: u32 = 3;

/// Since when messages may be missing, and why.
struct Loss {
    from: Timestamp,
    reason: String,
}

impl Link {
    pub(super) fn new(options: Options, qos: u8, sink: Sink, tells_status: bool, report: Report) -> Self {
        let whole_since = Timestamp::MIN;
        Self {
            options,
            qos,
            is_resumed: false,
            lost: None,
            ready: None,
            lost_soon: 0,
            whole_since,
            sink,
            tells_status,
            report,
        }
    }

    /// Tells of the next stage.
    pub(super) fn follow(&mut self, stage: Stage) {
        match stage {
            Stage::Connected { version, is_resumed } => self.connected(version, is_resumed),
            Stage::Ready { denied } => self.ready(&denied),
            Stage::Lost(reason) => self.lost(reason),
            Stage::Retrying(failure) => self.report.warn(format_args!("{failure}; trying again")),
        }
    }

    fn connected(&mut self, version: Version, is_resumed: bool) {
        let Self { options, report, .. } = self;
        let session = if is_resumed { ", which had kept our session" } else { "" };
        report.debug(format_args!("connected to {} with MQTT {version}{session}", options.broker));
        if options.tls.insecure {
            report.warn(UNCHECKED);
        }
        if self.lost.is_none() && version == Version::V311 && self.qos == 2 {
            report.warn("with MQTT 3.1.1 messages could be lost at QoS 2: subscribing with QoS 1");
        }
        self.is_resumed = is_resumed;
        self.record(ConnectionChange::Connected, None);
    }

    fn ready(&mut self, denied: &[TopicFilter]) {
        for filter in denied {
            self.report.warn(format_args!(
                "{} refuses the subscription to '{filter}': what it matches is missing",
                self.options.broker
            ));
        }
        if let Some(Loss { from, reason }) = self.lost.take() {
            let until = Timestamp::now();
            let reason = if self.is_resumed && self.qos > 0 {
                format!(
                    "{reason}; the session was kept, so only what was published with QoS 0, or was too much for the broker to keep, may be missing"
                )
            } else if self.options.kept.is_some() {
                format!("{reason}; the broker did not keep the session")
            } else {
                reason
            };
            self.report.warn(format_args!("messages published from {from:.3} to {until:.3} may be missing: {reason}"));
            self.record(ConnectionChange::Gap { from, until }, Some(reason));
        }
        self.ready = Some(Instant::now());
        self.whole_since = Timestamp::now();
        self.report.info("ready");
        self.record_at(self.whole_since, ConnectionChange::Ready, None);
    }

    fn lost(&mut self, reason: String) {
        let from = self.whole_until();
        self.report.warn(format_args!("lost {}: {reason}", self.options.broker));
        self.suspect_a_namesake();
        self.record(ConnectionChange::Disconnected, Some(reason.clone()));
        self.lost = Some(Loss { from, reason });
    }

    /// A broker ends the connection of a client when another one connects with its name [MQTT-3.1.4-3], and few say so.
    /// Told once a run.
    fn suspect_a_namesake(&mut self) {
        let was_soon = self.ready.take().is_some_and(|ready| ready.elapsed() < SOON);
        if self.lost_soon == PATTERN {
            return;
        }
        self.lost_soon = if was_soon { self.lost_soon + 1 } else { 0 };
        if self.lost_soon == PATTERN && self.options.kept.is_some() {
            self.report.warn(format_args!(
                "lost {PATTERN} times in a row, each time soon after it was ready: is there another process with \
                 --durable {}? They take the session from each other; each needs a name of its own",
                self.options.client_id
            ));
        }
    }

    /// The last time that the stream is known to have been whole. A dead connection is noticed within one and a half
    /// keepalives, unless the library was held up by a message that could not be written: then since that message came.
    fn whole_until(&self) -> Timestamp {
        let noticed = Timestamp::now();
        let probed = noticed.checked_sub(self.options.keepalive.mul_f64(1.5)).unwrap_or(Timestamp::MIN);
        let latest = self.sink.latest();
        match latest.received {
            Some(received) if latest.took >= self.options.keepalive / 2 => received,
            Some(received) => received.max(probed).max(self.whole_since),
            None => probed.max(latest.began).max(self.whole_since),
        }
    }

    fn record(&self, change: ConnectionChange, reason: Option<String>) {
        self.record_at(Timestamp::now(), change, reason);
    }

    fn record_at(&self, received: Timestamp, change: ConnectionChange, reason: Option<String>) {
        if self.tells_status {
            self.sink.status(&ConnectionStatus { received, change, reason: reason.map(Into::into) });
        }
    }
}
