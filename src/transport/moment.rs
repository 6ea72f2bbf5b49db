//! Points in time that do not depend on the wall clock.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// A point in time, measured since the machine started. The clock runs while the machine sleeps, and steps of the wall clock
/// do not affect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment(Duration);

impl Moment {
    /// Returns the current time.
    pub(crate) fn now() -> Self {
        // Linux stops its monotonic clock while the machine sleeps; other systems do not.
        #[cfg(target_os = "linux")]
        const CLOCK: ClockId = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        const CLOCK: ClockId = ClockId::Monotonic;
        let time = clock_gettime(CLOCK);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Self(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
    }

    /// Returns the time since this moment; zero if it is in the future.
    pub(crate) fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// Returns the time from `earlier` to this moment; zero if `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Converts to wall time, by the wall clock's present setting. The result is never too early, because the wall clock is
    /// read last.
    pub(crate) fn to_wall(self) -> Timestamp {
        let elapsed = self.elapsed();
        Timestamp::now().checked_sub(elapsed).unwrap_or(Timestamp::MIN)
    }

    /// Converts to nanoseconds, for atomic variables.
    pub(super) fn to_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Converts from [`Moment::to_nanos`].
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
