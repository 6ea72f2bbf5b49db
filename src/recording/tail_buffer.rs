//! The last lines of an input that cannot be read from its end, such as a pipe.

use std::collections::VecDeque;
use std::io;

use super::line_stream::LineStream;
use super::{Item, Line};

/// Reads a stream to its end, keeps the last lines, and then returns them.
#[derive(Debug)]
pub(super) struct TailBuffer {
    limit: usize,
    /// The bytes of each line, `None` for a line that is too long.
    kept: VecDeque<Option<Box<[u8]>>>,
    /// The line returned last.
    current: Box<[u8]>,
    /// Number of lines of the stream so far.
    seen: u64,
}

impl TailBuffer {
    pub(super) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, kept: VecDeque::new(), current: Box::default(), seen: 0 }
    }

    /// Returns the next of the last lines of `stream`, and then its end or error. Reads the whole stream first.
    pub(super) fn next_item<'a>(&'a mut self, stream: &'a mut LineStream) -> io::Result<Option<Item<'a>>> {
        self.read_to_end(stream)?;
        if stream.is_stopped() {
            return Ok(None);
        }
        let Some(line) = self.kept.pop_front() else { return stream.next_item() };
        let number = self.seen - self.kept.len() as u64;
        let Some(bytes) = line else { return Ok(Some(Item::TooLong { number })) };
        self.current = bytes;
        Ok(Some(Item::Line(Line { bytes: &self.current, taken: number, source: stream.source() })))
    }

    fn read_to_end(&mut self, stream: &mut LineStream) -> io::Result<()> {
        while !stream.is_failing()
            && let Some(item) = stream.next_item()?
        {
            match item {
                Item::Line(line) => self.push(Some(line.bytes)),
                Item::TooLong { .. } => self.push(None),
                Item::Idle | Item::FileChange(_) => {}
            }
        }
        Ok(())
    }

    fn push(&mut self, line: Option<&[u8]>) {
        self.seen += 1;
        self.kept.push_back(line.map(Box::from));
        if self.kept.len() > self.limit {
            self.kept.pop_front();
        }
    }
}
