//! Read moderation: pauses between reads, so that messages collect and share their system calls.
//!
//! Through a broker, messages arrive one by one, and a read and a write for each cost more than everything else. Network
//! cards moderate interrupts for the same reason. benches/README.md has the measurements behind the constants.

use std::time::Duration;

/// A stream whose reads return sooner is faster than its messages are handled one by one.
const IMMEDIATE: Duration = Duration::from_micros(50);

/// A stream whose reads take longer is idle. Its messages are never delayed.
const IDLE: Duration = Duration::from_millis(2);

/// A read of so many bytes is worth its system calls.
const WORTHWHILE: usize = 48 * 1024;

/// The pause before the next read.
const PAUSE: Duration = Duration::from_micros(500);

/// The pause if the broker awaits acknowledgements. It must not run out of messages that it may send ahead of them, and
/// mosquitto sends 20.
const PAUSE_WITH_ACKNOWLEDGEMENTS: Duration = Duration::from_micros(100);

/// How the bytes of the last read arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Enough to be worth a read, or more than there was room for.
    Full,
    /// Few, without waiting.
    Immediate,
    /// Few, after a short wait.
    Soon,
    /// After a long wait.
    Late,
}

impl Arrival {
    /// Classifies a read of `count` bytes after `waited`; `is_short` if there was room for more.
    pub(super) fn of_read(count: usize, is_short: bool, waited: Duration) -> Self {
        if waited > IDLE {
            Self::Late
        } else if !is_short || count >= WORTHWHILE {
            Self::Full
        } else if waited < IMMEDIATE {
            Self::Immediate
        } else {
            Self::Soon
        }
    }

    /// Returns the pause before the next read, if any.
    pub(super) fn pause(self, has_acknowledged: bool) -> Option<Duration> {
        match (self, has_acknowledged) {
            (Self::Immediate | Self::Soon, true) => Some(PAUSE_WITH_ACKNOWLEDGEMENTS),
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
        let (soon, late) = (IMMEDIATE * 2, IDLE * 2);
        for (count, is_short, waited, arrival) in [
            (100, true, Duration::ZERO, Arrival::Immediate),
            (100, true, soon, Arrival::Soon),
            (100, true, late, Arrival::Late),
            (WORTHWHILE, true, Duration::ZERO, Arrival::Full),
            (100, false, Duration::ZERO, Arrival::Full),
        ] {
            assert_eq!(Arrival::of_read(count, is_short, waited), arrival, "{count} bytes after {waited:?}");
        }
        for has_acknowledged in [false, true] {
            assert_eq!(Arrival::Late.pause(has_acknowledged), None, "an idle stream");
            assert_eq!(Arrival::Full.pause(has_acknowledged), None, "there is more to read");
        }
    }

    #[test]
    fn a_broker_that_awaits_acknowledgements_is_not_kept_waiting() {
        assert!(Arrival::Immediate.pause(true) < Arrival::Immediate.pause(false));
    }
}
