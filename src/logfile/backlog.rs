//! The last lines of what cannot be read from its end: a pipe, a terminal.

use std::collections::VecDeque;
use std::io;

use super::stream::Stream;
use super::{Item, Line};

/// Reads a stream to its end and keeps its last lines, then hands them out.
#[derive(Debug)]
pub(super) struct Backlog {
    limit: usize,
    /// The bytes of each line; none for one that is too long.
    kept: VecDeque<Option<Box<[u8]>>>,
    /// The line being looked at outside.
    current: Box<[u8]>,
    /// Lines of the stream so far.
    seen: u64,
}

impl Backlog {
    pub(super) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, kept: VecDeque::new(), current: Box::default(), seen: 0 }
    }

    /// The next of the last lines of `stream`, which has ended or failed once this returns; after them, how it did.
    pub(super) fn next_item<'a>(&'a mut self, stream: &'a mut Stream) -> io::Result<Option<Item<'a>>> {
        self.collect(stream)?;
        if stream.is_stopped() {
            return Ok(None);
        }
        let Some(line) = self.kept.pop_front() else { return stream.next_item() };
        let number = self.seen - self.kept.len() as u64;
        let Some(bytes) = line else { return Ok(Some(Item::TooLong { number })) };
        self.current = bytes;
        Ok(Some(Item::Line(Line { bytes: &self.current, taken: number, source: stream.source() })))
    }

    fn collect(&mut self, stream: &mut Stream) -> io::Result<()> {
        while !stream.is_failing()
            && let Some(item) = stream.next_item()?
        {
            match item {
                Item::Line(line) => self.keep(Some(line.bytes)),
                Item::TooLong { .. } => self.keep(None),
                Item::Idle | Item::Notice(_) => {}
            }
        }
        Ok(())
    }

    fn keep(&mut self, line: Option<&[u8]>) {
        self.seen += 1;
        self.kept.push_back(line.map(Box::from));
        if self.kept.len() > self.limit {
            self.kept.pop_front();
        }
    }
}
