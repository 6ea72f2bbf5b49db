//! Read moderation: pauses between reads so that several messages share the system calls.
//!
//! Messages from a broker arrive one by one. A read and a write for each message cost more than everything else. Network
//! cards moderate interrupts for the same reason. The measurements behind the constants are in benches/README.md.

use std::time::Duration;

/// If a read returns sooner, messages arrive faster than they are handled one by one.
const MAX_IMMEDIATE_WAIT: Duration = Duration::from_micros(50);

/// If a read takes longer, the stream is idle. Its messages are never delayed.
const MIN_IDLE_WAIT: Duration = Duration::from_millis(2);

/// A read of this many bytes needs no moderation.
const MIN_FULL_READ: usize = 48 * 1024;

/// How long to pause before the next read.
const PAUSE: Duration = Duration::from_micros(500);

/// How long to pause if the broker awaits acknowledgements. It must be short: mosquitto sends at most 20 messages ahead of
/// their acknowledgements.
const PAUSE_WITH_ACKNOWLEDGEMENTS: Duration = Duration::from_micros(100);

/// How the bytes of the last read arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// At least [`MIN_FULL_READ`] bytes, or the buffer was filled.
    Full,
    /// Few bytes, sooner than [`MAX_IMMEDIATE_WAIT`].
    Immediate,
    /// Few bytes, sooner than [`MIN_IDLE_WAIT`].
    Quick,
    /// Later than [`MIN_IDLE_WAIT`].
    Late,
}

impl Arrival {
    /// Classifies a read of `count` bytes that took `waited`. `is_short` means that the buffer was not filled.
    pub(super) fn of_read(count: usize, is_short: bool, waited: Duration) -> Self {
        if waited > MIN_IDLE_WAIT {
            Self::Late
        } else if !is_short || count >= MIN_FULL_READ {
            Self::Full
        } else if waited < MAX_IMMEDIATE_WAIT {
            Self::Immediate
        } else {
            Self::Quick
        }
    }

    /// Returns the pause before the next read, if any.
    pub(super) fn pause(self, has_acknowledged: bool) -> Option<Duration> {
        match (self, has_acknowledged) {
            (Self::Immediate | Self::Quick, true) => Some(PAUSE_WITH_ACKNOWLEDGEMENTS),
            (Self::Immediate, false) => Some(PAUSE),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_busy_stream_of_small_reads_is_moderated() {
        let (quick, late) = (MAX_IMMEDIATE_WAIT * 2, MIN_IDLE_WAIT * 2);
        for (count, is_short, waited, arrival) in [
            (100, true, Duration::ZERO, Arrival::Immediate),
            (100, true, quick, Arrival::Quick),
            (100, true, late, Arrival::Late),
            (MIN_FULL_READ, true, Duration::ZERO, Arrival::Full),
            (100, false, Duration::ZERO, Arrival::Full),
        ] {
            assert_eq!(Arrival::of_read(count, is_short, waited), arrival, "{count} bytes after {waited:?}");
        }
        for has_acknowledged in [false, true] {
            assert_eq!(Arrival::Late.pause(has_acknowledged), None, "an idle stream");
            assert_eq!(Arrival::Full.pause(has_acknowledged), None, "more bytes may be waiting");
        }
    }

    #[test]
    fn a_broker_that_awaits_acknowledgements_is_not_kept_waiting() {
        assert!(Arrival::Immediate.pause(true) < Arrival::Immediate.pause(false));
    }
}
