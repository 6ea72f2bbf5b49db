//! Merges several sources by the times of their items.
//!
//! Each source is expected to be in the order of its times. Memory is one current item per source. If a source is not in
//! order, its items keep their order, and an item with an earlier time comes as soon as it is reached.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use jiff::Timestamp;

/// A source of items, one of which is current.
pub(crate) trait MergeSource {
    /// What reading needs besides the source itself.
    type Context;

    /// Why the next item cannot be read.
    type Error;

    /// Makes the next item the current one, and returns its time, or `None` at the end.
    ///
    /// # Errors
    /// If the item cannot be read. The source is not read further.
    fn advance(&mut self, context: &mut Self::Context) -> Result<Option<Timestamp>, Self::Error>;
}

/// Several sources as one.
#[derive(Debug)]
pub(crate) struct Merge<S> {
    sources: Vec<S>,
    /// Number of sources that have been advanced to their first item.
    started: usize,
    /// Time and index of each source that has a current item.
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Whether the first head was returned.
    is_returned: bool,
}

impl<S: MergeSource> Merge<S> {
    /// Makes a merge of sources that have no current item yet.
    pub(crate) fn new(sources: Vec<S>) -> Self {
        Self { started: 0, heads: BinaryHeap::with_capacity(sources.len()), sources, is_returned: false }
    }

    /// Returns the source with the earliest item, which is its current one. Of equal times, the first source's comes first.
    ///
    /// # Errors
    /// The error of a source. The next call continues with the others.
    pub(crate) fn next_source(&mut self, context: &mut S::Context) -> Result<Option<&mut S>, S::Error> {
        while let Some(source) = self.sources.get_mut(self.started) {
            self.started += 1;
            if let Some(time) = source.advance(context)? {
                self.heads.push(Reverse((time, self.started - 1)));
            }
        }
        if self.is_returned {
            self.is_returned = false;
            self.advance_first(context)?;
        }
        let Some(Reverse((_, index))) = self.heads.peek() else { return Ok(None) };
        self.is_returned = true;
        Ok(Some(&mut self.sources[*index]))
    }

    /// Returns all sources.
    pub(crate) fn into_sources(self) -> Vec<S> {
        self.sources
    }

    /// Advances the source whose item was returned last.
    fn advance_first(&mut self, context: &mut S::Context) -> Result<(), S::Error> {
        let Some(mut first) = self.heads.peek_mut() else { return Ok(()) };
        let Reverse((time, index)) = &mut *first;
        match self.sources[*index].advance(context) {
            Ok(Some(next)) => {
                *time = next;
                Ok(())
            }
            Ok(None) => {
                PeekMut::pop(first);
                Ok(())
            }
            Err(error) => {
                PeekMut::pop(first);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A source of times in seconds. A negative number is an error.
    #[derive(Debug)]
    struct Times {
        name: usize,
        rest: std::vec::IntoIter<i64>,
        current: i64,
    }

    impl MergeSource for Times {
        type Context = ();
        type Error = i64;

        fn advance(&mut self, (): &mut ()) -> Result<Option<Timestamp>, i64> {
            let Some(seconds) = self.rest.next() else { return Ok(None) };
            if seconds < 0 {
                return Err(seconds);
            }
            self.current = seconds;
            Ok(Some(Timestamp::from_second(seconds).expect("a time")))
        }
    }

    /// Returns the items with their source, and the errors.
    fn merged(sources: Vec<Vec<i64>>) -> (Vec<(i64, usize)>, Vec<i64>) {
        let sources = sources.into_iter().enumerate();
        let mut merge = Merge::new(
            sources.map(|(name, times)| Times { name, rest: times.into_iter(), current: 0 }).collect::<Vec<_>>(),
        );
        let (mut items, mut errors) = (Vec::new(), Vec::new());
        loop {
            match merge.next_source(&mut ()) {
                Ok(Some(source)) => items.push((source.current, source.name)),
                Ok(None) => return (items, errors),
                Err(error) => errors.push(error),
            }
        }
    }

    #[test]
    fn items_come_in_the_order_of_their_times() {
        let (items, errors) = merged(vec![vec![1, 4, 4], vec![], vec![2, 4, 5], vec![3]]);
        assert_eq!(items, [(1, 0), (2, 2), (3, 3), (4, 0), (4, 0), (4, 2), (5, 2)]);
        assert!(errors.is_empty());
    }

    #[test]
    fn after_an_error_the_other_sources_are_read() {
        let (items, errors) = merged(vec![vec![1, -7, 2], vec![-8], vec![3, 4]]);
        assert_eq!((items, errors), (vec![(1, 0), (3, 2), (4, 2)], vec![-8, -7]));
    }

    #[test]
    fn a_source_that_is_not_in_order_keeps_its_order() {
        let (items, _) = merged(vec![vec![5, 1, 6], vec![2, 7]]);
        assert_eq!(items, [(2, 1), (5, 0), (1, 0), (6, 0), (7, 1)]);
    }

    proptest! {
        #[test]
        fn the_merge_is_a_stable_sort(mut sources in prop::collection::vec(prop::collection::vec(0..20_i64, 0..12), 0..6)) {
            for source in &mut sources {
                source.sort_unstable();
            }
            let all = sources.iter().enumerate().flat_map(|(name, times)| times.iter().map(move |time| (*time, name)));
            let mut expected: Vec<_> = all.collect();
            expected.sort_by_key(|(time, _)| *time);
            prop_assert_eq!(merged(sources).0, expected);
        }
    }
}
