//! Limits how fast a batch places calls (`--rate`).

use std::time::{Duration, Instant};

use crate::cli::Rate;

/// Spaces calls evenly. Unused time is not saved up for a burst.
pub(super) struct RateLimiter {
    interval: Duration,
    /// Earliest time of the next call.
    next: Instant,
}

impl RateLimiter {
    /// Makes a limiter that allows the first call at once.
    pub(super) fn new(rate: Rate) -> Self {
        Self { interval: rate.interval(), next: Instant::now() }
    }

    /// Returns when the next call is allowed, or `None` if it is allowed now.
    pub(super) fn wait_until(&self, now: Instant) -> Option<Instant> {
        (now < self.next).then_some(self.next)
    }

    /// Counts a call that is placed at `now`.
    pub(super) fn count(&mut self, now: Instant) {
        self.next = self.next.max(now.checked_sub(self.interval).unwrap_or(now)) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_spaced_evenly_and_a_pause_allows_no_burst() {
        let mut limiter = RateLimiter::new("10/s".parse().expect("a rate"));
        let (begin, interval) = (limiter.next, Duration::from_millis(100));
        assert_eq!(limiter.wait_until(begin), None);
        limiter.count(begin);
        assert_eq!(limiter.wait_until(begin), Some(begin + interval));
        let late = begin + 50 * interval;
        limiter.count(late);
        assert_eq!(limiter.wait_until(late), None, "one call is overdue");
        limiter.count(late);
        assert_eq!(limiter.wait_until(late), Some(late + interval));
    }
}
