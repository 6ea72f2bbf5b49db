//! What becomes of a stream's connection: told on standard error, and as records where that is asked for.

use std::time::Duration;

use jiff::Timestamp;

use super::sink::Sink;
use crate::output::report::Report;
use crate::protocol::record::{Change, Status};
use crate::transport::broker::Options;
use crate::transport::mqtt::Version;
use crate::transport::session::Stage;

/// Follows one connection through its losses.
pub(super) struct Link {
    broker: String,
    keepalive: Duration,
    qos: u8,
    is_kept: bool,
    is_resumed: bool,
    lost: Option<Loss>,
    sink: Sink,
    tells_status: bool,
    report: Report,
}

/// Since when messages may be missing, and why.
struct Loss {
    from: Timestamp,
    reason: String,
}

impl Link {
    pub(super) fn new(options: &Options, qos: u8, sink: Sink, tells_status: bool, report: Report) -> Self {
        let Options { broker, keepalive, kept, .. } = options;
        Self {
            broker: broker.to_string(),
            keepalive: *keepalive,
            qos,
            is_kept: kept.is_some(),
            is_resumed: false,
            lost: None,
            sink,
            tells_status,
            report,
        }
    }

    /// Tells of the next stage.
    pub(super) fn follow(&mut self, stage: Stage) {
        match stage {
            Stage::Connected { version, is_resumed } => self.connected(version, is_resumed),
            Stage::Ready => self.ready(),
            Stage::Lost(reason) => self.lost(reason),
            Stage::Retrying(failure) => self.report.warn(format_args!("{failure}; trying again")),
        }
    }

    fn connected(&mut self, version: Version, is_resumed: bool) {
        let Self { broker, report, .. } = self;
        let session = if is_resumed { ", which had kept our session" } else { "" };
        report.detail(format_args!("connected to {broker} with MQTT {version}{session}"));
        if self.lost.is_none() && version == Version::V311 && self.qos == 2 {
            report.warn("with MQTT 3.1.1 messages could be lost at QoS 2: subscribing with QoS 1");
        }
        self.is_resumed = is_resumed;
        self.record(Change::Connected, None);
    }

    fn ready(&mut self) {
        if let Some(Loss { from, reason }) = self.lost.take() {
            let until = Timestamp::now();
            let reason = if self.is_resumed && self.qos > 0 {
                format!("{reason}; the session was kept, so only messages published with QoS 0 may be missing")
            } else if self.is_kept {
                format!("{reason}; the broker did not keep the session")
            } else {
                reason
            };
            self.report.warn(format_args!("messages published from {from:.3} to {until:.3} may be missing: {reason}"));
            self.record(Change::Gap { from, until }, Some(reason));
        }
        self.report.note("ready");
        self.record(Change::Ready, None);
    }

    fn lost(&mut self, reason: String) {
        self.report.warn(format_args!("lost {}: {reason}; connecting again", self.broker));
        self.record(Change::Disconnected, Some(reason.clone()));
        let from = self.whole_until();
        self.lost.get_or_insert(Loss { from, reason });
    }

    /// The last time that the stream is known to have been whole. A dead connection is noticed within one and a half
    /// keepalives, unless the library was held up by a message that could not be written: then since that message came.
    fn whole_until(&self) -> Timestamp {
        let noticed = Timestamp::now();
        let probed = noticed.checked_sub(self.keepalive.mul_f64(1.5)).unwrap_or(Timestamp::MIN);
        let latest = self.sink.latest();
        match latest.received {
            Some(received) if latest.took >= self.keepalive / 2 => received,
            Some(received) => received.max(probed),
            None => probed.max(latest.began),
        }
    }

    fn record(&self, change: Change, reason: Option<String>) {
        if self.tells_status {
            self.sink.status(&Status { received: Timestamp::now(), change, reason: reason.map(Into::into) });
        }
    }
}
