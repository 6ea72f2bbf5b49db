//! The last records of an input that must be read from its start, such as a pipe or a compressed file.

use std::collections::VecDeque;

/// Maximum number of kept records that do not count, which bounds the memory they take.
const MAX_UNCOUNTED: u64 = 10_000;

/// Keeps the last records that count, and the others between and after them.
#[derive(Debug)]
pub(super) struct LastRecords {
    limit: u64,
    kept: VecDeque<KeptRecord>,
    count: u64,
}

#[derive(Debug)]
struct KeptRecord {
    line: Box<[u8]>,
    counts: bool,
}

impl LastRecords {
    /// Keeps at most `limit` records that count.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, kept: VecDeque::new(), count: 0 }
    }

    /// Keeps the line of a record, and drops those before the last ones.
    pub(super) fn push(&mut self, line: &[u8], counts: bool) {
        self.count += u64::from(counts);
        self.kept.push_back(KeptRecord { line: line.into(), counts });
        while self.count > self.limit || self.count == self.limit && self.kept.front().is_some_and(|it| !it.counts) {
            let dropped = self.kept.pop_front();
            self.count -= u64::from(dropped.is_some_and(|record| record.counts));
        }
        if self.kept.len() as u64 > self.count + MAX_UNCOUNTED {
            self.kept.retain(|record| record.counts);
        }
    }

    /// Returns the kept lines, first to last.
    pub(super) fn into_lines(self) -> impl Iterator<Item = Box<[u8]>> {
        self.kept.into_iter().map(|record| record.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_last_records_that_count_are_kept_with_the_others_after_the_first(
            lines in prop::collection::vec(any::<bool>(), 0..40),
            limit in 0_usize..6,
        ) {
            let mut last = LastRecords::new(limit as u64);
            for (number, counts) in (0_u8..).zip(&lines) {
                last.push(&[number], *counts);
            }
            let counted: Vec<usize> = (0..lines.len()).filter(|n| lines[*n]).collect();
            let first = match counted.len().checked_sub(limit) {
                // Nothing was dropped.
                None => 0,
                Some(dropped) => counted.get(dropped).copied().unwrap_or(lines.len()),
            };
            prop_assert_eq!(last.count, counted.len().min(limit) as u64);
            let kept: Vec<usize> = last.into_lines().map(|line| line[0].into()).collect();
            prop_assert_eq!(kept, (first..lines.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn endless_records_that_do_not_count_take_bounded_memory() {
        let mut last = LastRecords::new(3);
        last.push(b"first", true);
        for _ in 0..5 * MAX_UNCOUNTED {
            last.push(b"other", false);
        }
        last.push(b"last", true);
        let lines: Vec<_> = last.into_lines().collect();
        assert!(lines.len() as u64 <= MAX_UNCOUNTED + 2);
        assert_eq!((&*lines[0], lines.last().map(|line| &**line)), (&b"first"[..], Some(&b"last"[..])));
    }
}
