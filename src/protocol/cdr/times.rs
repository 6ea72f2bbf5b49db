//! Start, end and duration of a session, by the better of two clocks.
//!
//! The server's timestamps are exact but have no zone, so a change to or from daylight saving time during a session makes
//! their difference wrong by an hour. The receiving clock has no such steps, but includes delays of the delivery.

use std::borrow::Cow;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use crate::protocol::record::CallClock;
use crate::protocol::timestamp;

/// Maximum distance from a whole number of hours at which a difference of the clocks counts as a change of the zone.
const ZONE_CHANGE_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

const HOUR_MILLIS: i128 = 3_600_000;

/// When an event happened, by both clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventTime<'a> {
    received: Timestamp,
    /// The `timestamp` of the payload, if it may be one.
    server: Option<Cow<'a, str>>,
}

impl<'a> EventTime<'a> {
    /// Makes an event's time from the text of its `timestamp`.
    pub(super) fn new(received: Timestamp, timestamp: Option<Cow<'a, str>>) -> Self {
        // A longer text is not a time, and would only use memory.
        const MAX_LEN: usize = 64;
        Self { received, server: timestamp.filter(|text| text.len() <= MAX_LEN) }
    }

    /// Returns the `timestamp` of the payload, if it may be one.
    pub(super) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    fn server_time(&self) -> Option<ServerTime> {
        ServerTime::parse(self.server()?)
    }

    /// Returns the time by `clock`, as text.
    fn into_text(self, clock: CallClock) -> Option<String> {
        match clock {
            CallClock::Server => self.server.map(Cow::into_owned),
            CallClock::Received => {
                let mut text = Vec::new();
                timestamp::write(&mut text, self.received).ok()?;
                String::from_utf8(text).ok()
            }
        }
    }
}

/// A server's timestamp, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerTime {
    /// Local time without a zone.
    Local(i64),
    /// A time with a zone, which some servers may send.
    Zoned(i64),
}

impl ServerTime {
    fn parse(text: &str) -> Option<Self> {
        if let Some(time) = timestamp::read_local(text) {
            return Some(Self::Local(time));
        }
        // The date library accepts a date alone.
        if !text.contains(':') {
            return None;
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(Self::Zoned(time.as_microsecond()));
        }
        let local: DateTime = text.parse().ok()?;
        let since_1970 = local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
        since_1970.as_micros().try_into().ok().map(Self::Local)
    }

    fn since(self, start: Self) -> Option<SignedDuration> {
        match (self, start) {
            (Self::Local(end), Self::Local(start)) | (Self::Zoned(end), Self::Zoned(start)) => {
                Some(SignedDuration::from_micros(end - start))
            }
            (Self::Local(_), Self::Zoned(_)) | (Self::Zoned(_), Self::Local(_)) => None,
        }
    }
}

/// The times of a call record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) clock: Option<CallClock>,
    pub(super) started: Option<String>,
    pub(super) ended: Option<String>,
    pub(super) duration: Option<Duration>,
}

impl Times {
    /// Determines the times from the events that were seen.
    pub(super) fn of(start: Option<EventTime<'_>>, end: Option<EventTime<'_>>) -> Self {
        let (clock, duration) = match (&start, &end) {
            (Some(start), Some(end)) => {
                let received = end.received.duration_since(start.received);
                match server_duration(start, end).filter(|server| is_plausible(*server, received)) {
                    Some(server) => (CallClock::Server, server.try_into().ok()),
                    // If the receiving clock was set back, the duration is not known.
                    None => (CallClock::Received, received.try_into().ok()),
                }
            }
            (Some(time), None) | (None, Some(time)) => {
                let is_server = time.server_time().is_some();
                (if is_server { CallClock::Server } else { CallClock::Received }, None)
            }
            (None, None) => return Self::default(),
        };
        Self {
            clock: Some(clock),
            started: start.and_then(|it| it.into_text(clock)),
            ended: end.and_then(|it| it.into_text(clock)),
            duration: duration.map(round_to_millis),
        }
    }
}

/// Returns the difference of the server's timestamps, if both are known.
fn server_duration(start: &EventTime<'_>, end: &EventTime<'_>) -> Option<SignedDuration> {
    end.server_time()?.since(start.server_time()?)
}

/// Returns whether a duration by the server's clock is not negative, and free of a change of the zone.
fn is_plausible(server: SignedDuration, received: SignedDuration) -> bool {
    let difference = (server.as_millis() - received.as_millis()).abs();
    let hours = (difference + HOUR_MILLIS / 2) / HOUR_MILLIS;
    let from_whole_hours = (difference - hours * HOUR_MILLIS).abs();
    let is_zone_change = hours > 0 && from_whole_hours <= ZONE_CHANGE_TOLERANCE.as_millis();
    !server.is_negative() && !is_zone_change
}

fn round_to_millis(duration: Duration) -> Duration {
    let millis = (duration.as_micros() + 500) / 1_000;
    Duration::from_millis(millis.try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time<'a>(received: &str, server: Option<&'a str>) -> EventTime<'a> {
        EventTime::new(format!("2026-11-23T{received}Z").parse().expect("a time"), server.map(Cow::Borrowed))
    }

    /// Returns clock and duration in seconds.
    fn times(start: &EventTime<'_>, end: &EventTime<'_>) -> (Option<CallClock>, Option<f64>) {
        let times = Times::of(Some(start.clone()), Some(end.clone()));
        (times.clock, times.duration.map(|it| it.as_secs_f64()))
    }

    #[test]
    fn the_duration_is_that_of_the_servers_clock() {
        for (start, end, seconds) in [
            ("2026-11-23 04:34:12.798", "2026-11-23 04:35:02.3", 49.502),
            ("2026-11-23T04:34:12", "2026-11-23T04:34:12", 0.0),
            ("2026-11-23T04:34:12+01:00", "2026-11-23T03:34:13Z", 1.0),
            // Events that were delivered late, together.
            ("2026-11-23 01:00:00", "2026-11-23 02:15:00", 4_500.0),
        ] {
            let (start, end) = (time("03:34:12.9", Some(start)), time("03:34:13.1", Some(end)));
            assert_eq!(times(&start, &end), (Some(CallClock::Server), Some(seconds)));
        }
    }

    #[test]
    fn without_two_plausible_timestamps_the_receiving_clock_counts() {
        for (start, end) in [
            (None, Some("2026-11-23 04:34:12")),
            (Some("2026-11-23 04:34:12"), None),
            (Some("2026-11-23"), Some("2026-11-24")),
            (Some("noon"), Some("2026-11-23 04:34:12")),
            (Some("2026-11-23 04:34:12Z"), Some("2026-11-23 04:34:13")),
            (Some("2026-11-23 04:34:12"), Some("2026-11-23 04:34:11")),
        ] {
            let (start, end) = (time("03:34:12", start), time("03:35:13.0004", end));
            assert_eq!(times(&start, &end), (Some(CallClock::Received), Some(61.0)));
            let times = Times::of(Some(start), Some(end));
            assert_eq!(times.started.as_deref(), Some("2026-11-23T03:34:12.000000Z"));
            assert_eq!(times.ended.as_deref(), Some("2026-11-23T03:35:13.000400Z"));
        }
    }

    #[test]
    fn a_difference_of_whole_hours_is_a_change_of_the_zone() {
        let start = time("00:00:00", Some("2026-10-25 01:30:00"));
        // The call took 2 hours by the receiving clock.
        for (end, clock) in [
            ("2026-10-25 03:30:00", CallClock::Server),
            ("2026-10-25 03:31:01", CallClock::Server),
            ("2026-10-25 02:30:00", CallClock::Received),
            ("2026-10-25 02:29:00", CallClock::Received),
            ("2026-10-25 02:28:59", CallClock::Server),
            ("2026-10-25 02:31:00", CallClock::Received),
            ("2026-10-25 02:31:01", CallClock::Server),
            ("2026-10-25 04:30:59", CallClock::Received),
            ("2026-10-25 04:31:01", CallClock::Server),
            ("2026-10-25 08:30:20", CallClock::Received),
            // Negative.
            ("2026-10-25 01:29:59", CallClock::Received),
        ] {
            let end = time("02:00:00", Some(end));
            assert_eq!(times(&start, &end).0, Some(clock), "{end:?}");
        }
    }

    #[test]
    fn if_the_receiving_clock_was_set_back_the_duration_is_not_known() {
        let (start, end) = (time("03:34:12", None), time("03:34:11", None));
        assert_eq!(times(&start, &end), (Some(CallClock::Received), None));
    }

    #[test]
    fn one_event_gives_one_time() {
        let server = time("03:34:12", Some("2026-11-23 04:34:12"));
        let times = Times::of(None, Some(server));
        assert_eq!((times.clock, times.started, times.duration), (Some(CallClock::Server), None, None));
        assert_eq!(times.ended.as_deref(), Some("2026-11-23 04:34:12"));
        let times = Times::of(Some(time("03:34:12", Some("soon"))), None);
        assert_eq!((times.clock, times.ended), (Some(CallClock::Received), None));
        assert_eq!(Times::of(None, None), Times::default());
    }
}
