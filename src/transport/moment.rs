//! Points in time that no change of the wall clock moves.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// A point in time since the machine started. It goes on while the machine sleeps, and a step of the wall clock does not
/// change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment(Duration);

impl Moment {
    /// The current time.
    pub(crate) fn now() -> Self {
        // The monotonic clock of Linux stands still while the machine sleeps; those of others do not.
        #[cfg(target_os = "linux")]
        const CLOCK: ClockId = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        const CLOCK: ClockId = ClockId::Monotonic;
        let time = clock_gettime(CLOCK);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Self(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
    }

    /// How long it has been since then; zero if it is in the future.
    pub(crate) fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// How long after `earlier` this is; zero if it is before.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The wall time of this moment, by what the wall clock shows now. It is never too early: the wall clock is read last.
    pub(crate) fn to_wall(self) -> Timestamp {
        let elapsed = self.elapsed();
        Timestamp::now().checked_sub(elapsed).unwrap_or(Timestamp::MIN)
    }

    /// In nanoseconds, to be shared between threads.
    pub(super) fn to_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// From [`Moment::to_nanos`].
    pub(super) fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }
}

impl std::ops::Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}
