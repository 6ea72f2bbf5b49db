//! Cuts a stream of blocks into lines, in one buffer.

use std::io::{self, Read};
use std::mem;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memrchr};

/// What was read and not handed out yet.
///
/// The buffer is a block long, and grows only while a single line does not fit into it. A line beyond the limit is
/// reported as soon as it is known to be one; its bytes are dropped as they come.
#[derive(Debug)]
pub(super) struct Lines {
    /// Written to its whole length once, so that a read needs no clearing before it.
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Between `start` and here stands no line end.
    searched: usize,
    /// Where the bytes read so far end.
    end: usize,
    /// Whether `start` is inside a line that was reported as too long.
    skipping: bool,
    /// The line that holds the byte before this is known to matter.
    matters: usize,
    block: usize,
    limit: usize,
}

/// A line in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Where it stands, without its line end; good until the buffer is filled again.
    Line(Range<usize>),
    /// It is longer than the limit.
    TooLong,
}

impl Lines {
    /// Reads in blocks of `block` bytes; a line has at most `limit` bytes before its `\n`.
    pub(super) fn new(block: usize, limit: usize) -> Self {
        Self { buffer: vec![0; block], start: 0, searched: 0, end: 0, skipping: false, matters: 0, block, limit }
    }

    /// The bytes of a line that was found.
    pub(super) fn bytes(&self, line: Range<usize>) -> &[u8] {
        &self.buffer[line]
    }

    /// The next complete line, or none where more must be read first.
    pub(super) fn next(&mut self) -> Option<Found> {
        while let Some(length) = memchr(b'\n', &self.buffer[self.searched..self.end]) {
            let line = self.start..self.searched + length;
            self.start = line.end + 1;
            self.searched = self.start;
            if !mem::take(&mut self.skipping) {
                return Some(self.found(line));
            }
        }
        self.searched = self.end;
        if self.skipping {
            self.start = self.end;
        } else if self.end - self.start > self.limit {
            self.skipping = true;
            self.start = self.end;
            return Some(Found::TooLong);
        }
        None
    }

    /// Passes over complete lines up to the next that matters; returns how many. `find` is shown `stretch` bytes of lines at
    /// a time, and says where in them the first stands that matters.
    pub(super) fn pass_over(&mut self, stretch: usize, find: impl Fn(&[u8]) -> Option<usize>) -> u64 {
        let mut passed = 0;
        while self.start >= self.matters && !self.skipping {
            let Some(end) = self.line_end_after(stretch) else { break };
            let lines = &self.buffer[self.start..end];
            let (length, matters) = match find(lines) {
                Some(at) => (memrchr(b'\n', &lines[..at]).map_or(0, |end| end + 1), 1),
                None => (lines.len(), 0),
            };
            passed += memchr_iter(b'\n', &lines[..length]).count() as u64;
            self.start += length;
            self.searched = self.start;
            self.matters = self.start + matters;
        }
        passed
    }

    /// The first line end that is `distance` away or more; where that has not come yet, the last that has.
    fn line_end_after(&self, distance: usize) -> Option<usize> {
        let enough = (self.start + distance).clamp(self.searched, self.end);
        match memchr(b'\n', &self.buffer[enough..self.end]) {
            Some(at) => Some(enough + at + 1),
            None => memrchr(b'\n', &self.buffer[self.searched..enough]).map(|at| self.searched + at + 1),
        }
    }

    /// What stands after the last line end, as a line; for the end of the input.
    pub(super) fn finish(&mut self) -> Option<Found> {
        let rest = self.start..self.end;
        let unreported = !rest.is_empty() && !self.skipping;
        self.clear();
        unreported.then_some(Found::Line(rest))
    }

    /// Forgets what was read and not handed out.
    pub(super) fn clear(&mut self) {
        (self.start, self.searched, self.end, self.skipping, self.matters) = (0, 0, 0, false, 0);
    }

    /// Reads once from `input`, after [`Self::next`] found no more. Returns the number of bytes, 0 at the end.
    ///
    /// # Errors
    /// Those of the read; nothing is lost by them.
    pub(super) fn fill(&mut self, input: &mut impl Read) -> io::Result<usize> {
        self.make_room();
        let read = input.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// Moves the incomplete line to the front, and fits the buffer to it.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched -= self.start;
            self.matters = self.matters.saturating_sub(self.start);
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let longest = self.limit.saturating_add(self.block);
            self.buffer.resize(self.buffer.len().saturating_mul(2).min(longest), 0);
        } else if self.end < self.block && self.buffer.len() > self.block {
            self.buffer.truncate(self.block);
            self.buffer.shrink_to_fit();
        }
    }

    fn found(&self, line: Range<usize>) -> Found {
        if line.len() > self.limit {
            return Found::TooLong;
        }
        let carriage_return = self.buffer[line.clone()].ends_with(b"\r");
        Found::Line(line.start..line.end - usize::from(carriage_return))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All lines of `content`; none in the place of one that is too long.
    fn cut(mut content: &[u8], block: usize, limit: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(block, limit);
        let mut all = Vec::new();
        loop {
            while let Some(found) = lines.next() {
                all.push(owned(&lines, found));
            }
            if lines.fill(&mut content).expect("bytes in memory") == 0 {
                break;
            }
        }
        let rest = lines.finish();
        all.extend(rest.map(|found| owned(&lines, found)));
        all
    }

    fn owned(lines: &Lines, found: Found) -> Option<Vec<u8>> {
        match found {
            Found::Line(line) => Some(lines.bytes(line).to_vec()),
            Found::TooLong => None,
        }
    }

    /// The same, said in the simplest way.
    fn expected(content: &[u8], limit: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines: Vec<&[u8]> = content.split(|&byte| byte == b'\n').collect();
        let rest = lines.pop().filter(|rest| !rest.is_empty());
        let within = |line: &[u8]| line.len() <= limit;
        let complete =
            lines.into_iter().map(|line| within(line).then(|| line.strip_suffix(b"\r").unwrap_or(line).to_vec()));
        complete.chain(rest.map(|line| within(line).then(|| line.to_vec()))).collect()
    }

    proptest! {
        #[test]
        fn lines_are_the_content_split_at_line_ends(
            content in prop::collection::vec(prop::sample::select(b"ab\r\n".as_slice()), 0..200),
            block in 1_usize..40,
            limit in 1_usize..40,
        ) {
            prop_assert_eq!(cut(&content, block, limit), expected(&content, limit));
        }
    }

    proptest! {
        #[test]
        fn no_line_that_matters_is_passed_over_and_the_others_are_counted(
            content in prop::collection::vec(prop::sample::select(b"aaaabbbbbb\n\n".as_slice()), 0..200),
            block in 1_usize..60,
            stretch in 1_usize..30,
        ) {
            let find = |lines: &[u8]| lines.windows(3).position(|it| it == b"aaa");
            let mut input = content.as_slice();
            let mut lines = Lines::new(block, 1000);
            let (mut number, mut found) = (0, Vec::new());
            let mut see = |lines: &mut Lines, take: fn(&mut Lines) -> Option<Found>| {
                number += lines.pass_over(stretch, find);
                let line = take(lines).and_then(|line| owned(lines, line));
                number += u64::from(line.is_some());
                found.extend(line.clone().filter(|it| find(it).is_some()).map(|it| (number, it)));
                line.is_some()
            };
            loop {
                while see(&mut lines, Lines::next) {}
                if lines.fill(&mut input).expect("bytes in memory") == 0 {
                    break;
                }
            }
            see(&mut lines, Lines::finish);
            let all = expected(&content, 1000);
            let numbered = (1_u64..).zip(all.into_iter().flatten());
            prop_assert_eq!(found, numbered.filter(|(_, line)| find(line).is_some()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_known_to_hold_no_line_end_is_not_searched_again() {
        let mut lines = Lines::new(16, 1000);
        lines.fill(&mut io::repeat(b'x')).expect("an endless input");
        assert_eq!((lines.pass_over(4, |_| panic!("there is no line")), lines.next()), (0, None));
        // Whoever searched again would find these.
        lines.buffer.fill(b'\n');
        assert_eq!((lines.line_end_after(4), lines.next()), (None, None));
    }

    #[test]
    fn a_long_line_grows_the_buffer_and_the_next_short_one_gives_it_back() {
        let long = [vec![b'x'; 1000], b"\nshort\nrest".to_vec()].concat();
        let mut input = long.as_slice();
        let mut lines = Lines::new(16, 1000);
        while lines.next().is_none() {
            lines.fill(&mut input).expect("bytes in memory");
        }
        assert!(lines.buffer.len() >= 1000);
        while lines.next().is_some() {}
        lines.fill(&mut input).expect("bytes in memory");
        assert_eq!((lines.buffer.len(), lines.buffer.capacity()), (16, 16));
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_the_limit_and_a_block() {
        let mut lines = Lines::new(16, 100);
        let mut endless = io::repeat(b'x');
        let mut reports = 0;
        for _ in 0..1000 {
            reports += u32::from(lines.next() == Some(Found::TooLong));
            lines.fill(&mut endless).expect("an endless input");
        }
        assert_eq!(reports, 1);
        assert!(lines.buffer.capacity() <= 116, "{}", lines.buffer.capacity());
    }
}
