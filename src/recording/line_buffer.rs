//! Splits blocks into lines, in one buffer.
//!
//! A line excludes a byte order mark at its start and a carriage return at its end. It also excludes NUL bytes at its start:
//! a file that was truncated while its writer kept the old position begins with them.

use std::io::{self, Read};
use std::mem;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memrchr};

/// The bytes that were read and not yet returned as lines.
///
/// The buffer has the size of a block, and grows only while a single line does not fit. A line beyond the limit is
/// reported as soon as it exceeds the limit, and the rest of it is discarded.
#[derive(Debug)]
pub(super) struct LineBuffer {
    /// Always initialized in full, so that reads need no clearing.
    buffer: Vec<u8>,
    /// Start of the next line.
    start: usize,
    /// There is no line end between `start` and this offset.
    searched: usize,
    /// End of the bytes read so far.
    end: usize,
    /// Whether `start` is inside a line that is too long and was reported.
    skipping: bool,
    /// Number of NUL bytes skipped before `start` and not yet reported.
    nuls: u64,
    /// Number of bytes read before the buffer.
    discarded: u64,
    /// The prefilter has matched up to this offset: lines that start before it are returned.
    matched: usize,
    block_size: usize,
    limit: usize,
}

/// A line found in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FoundLine {
    /// Its range without the line end, valid until the next [`LineBuffer::fill`].
    Line(Range<usize>),
    /// The line is longer than the limit.
    TooLong,
    /// This number of NUL bytes precedes a line or the end.
    Nuls(u64),
}

/// The byte order mark in UTF-8. Some editors and shells put it before each file that they write.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl LineBuffer {
    /// Makes a buffer for blocks of `block_size` bytes and lines of at most `limit` bytes before the `\n`.
    pub(super) fn new(block_size: usize, limit: usize) -> Self {
        Self {
            buffer: vec![0; block_size],
            start: 0,
            searched: 0,
            end: 0,
            skipping: false,
            nuls: 0,
            discarded: 0,
            matched: 0,
            block_size,
            limit,
        }
    }

    /// Returns the bytes of a line.
    pub(super) fn bytes(&self, line: Range<usize>) -> &[u8] {
        &self.buffer[line]
    }

    /// Returns the number of bytes read before the next line.
    pub(super) fn position(&self) -> u64 {
        self.discarded + self.start as u64
    }

    /// Returns the next complete line, or `None` if more must be read first.
    pub(super) fn next(&mut self) -> Option<FoundLine> {
        if let Some(nuls) = self.skip_nuls() {
            return Some(FoundLine::Nuls(nuls));
        }
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
            return Some(FoundLine::TooLong);
        }
        None
    }

    /// Skips NUL bytes at the start of a line, and returns their number once another byte follows.
    fn skip_nuls(&mut self) -> Option<u64> {
        if self.skipping {
            return None;
        }
        let nuls = leading_nuls(&self.buffer[self.start..self.end]);
        self.start += nuls;
        self.searched = self.searched.max(self.start);
        self.nuls += nuls as u64;
        (self.nuls > 0 && self.start < self.end).then(|| mem::take(&mut self.nuls))
    }

    /// Skips complete lines up to the next one in which `find` finds something. Returns the number of skipped lines.
    ///
    /// `find` gets about `chunk` bytes of lines at once, and returns a position in the first line that matches.
    pub(super) fn skip_unmatched(&mut self, chunk: usize, find: impl Fn(&[u8]) -> Option<usize>) -> u64 {
        let mut skipped = 0;
        while self.start >= self.matched && !self.skipping {
            let Some(end) = self.line_end_after(chunk) else { break };
            let lines = &self.buffer[self.start..end];
            let (length, matched) = match find(lines) {
                Some(at) => (memrchr(b'\n', &lines[..at]).map_or(0, |end| end + 1), 1),
                None => (lines.len(), 0),
            };
            skipped += memchr_iter(b'\n', &lines[..length]).count() as u64;
            self.start += length;
            self.searched = self.start;
            self.matched = self.start + matched;
        }
        skipped
    }

    /// Returns the end of the first line end at least `distance` away, else of the last line end in the buffer.
    fn line_end_after(&self, distance: usize) -> Option<usize> {
        let from = (self.start + distance).clamp(self.searched, self.end);
        match memchr(b'\n', &self.buffer[from..self.end]) {
            Some(at) => Some(from + at + 1),
            None => memrchr(b'\n', &self.buffer[self.searched..from]).map(|at| self.searched + at + 1),
        }
    }

    /// Returns the bytes after the last line end as a line, at the end of the input. Call after [`Self::next`] returned
    /// `None`.
    pub(super) fn finish(&mut self) -> Option<FoundLine> {
        let rest = self.start..self.end;
        let is_line = !rest.is_empty() && !self.skipping;
        let found = match self.nuls {
            0 => is_line.then(|| self.found(rest)),
            nuls => Some(FoundLine::Nuls(nuls)),
        };
        self.clear();
        found
    }

    /// Discards all bytes.
    pub(super) fn clear(&mut self) {
        (self.start, self.searched, self.end, self.skipping, self.matched) = (0, 0, 0, false, 0);
        (self.nuls, self.discarded) = (0, 0);
    }

    /// Reads once from `input`, and returns the number of bytes, 0 at the end. Call after [`Self::next`] returned `None`.
    ///
    /// # Errors
    /// If the read fails. The buffer stays valid.
    pub(super) fn fill(&mut self, input: &mut impl Read) -> io::Result<usize> {
        self.fill_with(|buffer| input.read(buffer))
    }

    /// Reads once as [`Self::fill`] does, with a function that reads into a buffer.
    ///
    /// # Errors
    /// The error of `read`. The buffer stays valid.
    pub(super) fn fill_with<E>(&mut self, read: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<usize, E> {
        self.make_room();
        let read = read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// Moves the incomplete line to the front, and grows or shrinks the buffer.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched -= self.start;
            self.matched = self.matched.saturating_sub(self.start);
            self.discarded += self.start as u64;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let longest = self.limit.saturating_add(self.block_size);
            self.buffer.resize(self.buffer.len().saturating_mul(2).min(longest), 0);
        } else if self.end < self.block_size && self.buffer.len() > self.block_size {
            self.buffer.truncate(self.block_size);
            self.buffer.shrink_to_fit();
        }
    }

    fn found(&self, line: Range<usize>) -> FoundLine {
        if line.len() > self.limit {
            return FoundLine::TooLong;
        }
        let bytes = &self.buffer[line.clone()];
        let mark = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let carriage_return = usize::from(bytes[mark..].ends_with(b"\r"));
        FoundLine::Line(line.start + mark..line.end - carriage_return)
    }
}

/// Returns the number of NUL bytes at the start.
fn leading_nuls(bytes: &[u8]) -> usize {
    // There may be gigabytes of them.
    const BLOCK: [u8; 4 << 10] = [0; 4 << 10];
    let blocks = bytes.chunks_exact(BLOCK.len()).take_while(|block| *block == BLOCK).count() * BLOCK.len();
    let rest = &bytes[blocks..];
    blocks + rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns all lines of `content`, `None` for a line that is too long, and the number of NUL bytes.
    fn split(mut content: &[u8], block: usize, limit: usize) -> (Vec<Option<Vec<u8>>>, u64) {
        let mut lines = LineBuffer::new(block, limit);
        let (mut all, mut nuls) = (Vec::new(), 0);
        let mut take = |lines: &LineBuffer, found: FoundLine| match found {
            FoundLine::Nuls(number) => nuls += number,
            found => all.push(owned(lines, found)),
        };
        loop {
            while let Some(found) = lines.next() {
                take(&lines, found);
            }
            if lines.fill(&mut content).expect("bytes in memory") == 0 {
                break;
            }
        }
        if let Some(found) = lines.finish() {
            take(&lines, found);
        }
        (all, nuls)
    }

    fn owned(lines: &LineBuffer, found: FoundLine) -> Option<Vec<u8>> {
        match found {
            FoundLine::Line(line) => Some(lines.bytes(line).to_vec()),
            FoundLine::TooLong | FoundLine::Nuls(_) => None,
        }
    }

    /// A simple reference implementation of [`split`].
    fn expected(content: &[u8], limit: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines: Vec<&[u8]> = content.split(|&byte| byte == b'\n').collect();
        lines.pop_if(|rest| rest.is_empty());
        let within = |line: &[u8]| line.len() <= limit;
        lines.into_iter().map(|line| within(line).then(|| line.strip_suffix(b"\r").unwrap_or(line).to_vec())).collect()
    }

    proptest! {
        #[test]
        fn lines_are_the_content_split_at_line_ends(
            content in prop::collection::vec(prop::sample::select(b"ab\r\n".as_slice()), 0..200),
            block in 1_usize..40,
            limit in 1_usize..40,
        ) {
            prop_assert_eq!(split(&content, block, limit), (expected(&content, limit), 0));
        }

        #[test]
        fn nuls_and_byte_order_marks_before_lines_are_skipped(
            lines in prop::collection::vec((0_usize..9, any::<bool>(), "([ab][ab\0]{0,3})?"), 0..9),
            end in 0_usize..9,
            block in 1_usize..40,
        ) {
            let mut content = String::new();
            for (nuls, has_mark, text) in &lines {
                content.push_str(&"\0".repeat(*nuls));
                content.push_str(if *has_mark { "\u{feff}" } else { "" });
                content.push_str(text);
                content.push('\n');
            }
            content += &"\0".repeat(end);
            let nuls: usize = lines.iter().map(|(nuls, ..)| nuls).sum::<usize>() + end;
            let lines = lines.into_iter().map(|(.., text)| Some(text.into_bytes())).collect();
            prop_assert_eq!(split(content.as_bytes(), block, 100), (lines, nuls as u64));
        }
    }

    #[test]
    fn a_run_of_nuls_takes_no_memory_and_is_reported_once() {
        let mut lines = LineBuffer::new(16, 100);
        let mut input = io::repeat(0).take(10_000).chain(&b"abc"[..]);
        while lines.fill(&mut input).expect("bytes in memory") > 0 && lines.position() < 10_000 {
            assert_eq!(lines.next(), None);
        }
        assert_eq!(lines.next(), Some(FoundLine::Nuls(10_000)));
        assert_eq!((lines.next(), lines.position(), lines.buffer.capacity()), (None, 10_000, 16));
    }

    proptest! {
        #[test]
        fn lines_without_a_match_are_skipped_and_counted(
            content in prop::collection::vec(prop::sample::select(b"aaaabbbbbb\n\n".as_slice()), 0..200),
            block in 1_usize..60,
            chunk in 1_usize..30,
        ) {
            let find = |lines: &[u8]| lines.windows(3).position(|it| it == b"aaa");
            let mut input = content.as_slice();
            let mut lines = LineBuffer::new(block, 1000);
            let (mut number, mut found) = (0, Vec::new());
            let mut take_line = |lines: &mut LineBuffer, take: fn(&mut LineBuffer) -> Option<FoundLine>| {
                number += lines.skip_unmatched(chunk, find);
                let line = take(lines).and_then(|line| owned(lines, line));
                number += u64::from(line.is_some());
                found.extend(line.clone().filter(|it| find(it).is_some()).map(|it| (number, it)));
                line.is_some()
            };
            loop {
                while take_line(&mut lines, LineBuffer::next) {}
                if lines.fill(&mut input).expect("bytes in memory") == 0 {
                    break;
                }
            }
            take_line(&mut lines, LineBuffer::finish);
            let all = expected(&content, 1000);
            let numbered = (1_u64..).zip(all.into_iter().flatten());
            prop_assert_eq!(found, numbered.filter(|(_, line)| find(line).is_some()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn bytes_without_a_line_end_are_searched_once() {
        let mut lines = LineBuffer::new(16, 1000);
        lines.fill(&mut io::repeat(b'x')).expect("an endless input");
        assert_eq!((lines.skip_unmatched(4, |_| panic!("there is no line")), lines.next()), (0, None));
        // A second search would find these.
        lines.buffer.fill(b'\n');
        assert_eq!((lines.line_end_after(4), lines.next()), (None, None));
    }

    #[test]
    fn a_long_line_grows_the_buffer_and_the_next_short_line_shrinks_it() {
        let long = [vec![b'x'; 1000], b"\nshort\nrest".to_vec()].concat();
        let mut input = long.as_slice();
        let mut lines = LineBuffer::new(16, 1000);
        while lines.next().is_none() {
            lines.fill(&mut input).expect("bytes in memory");
        }
        assert!(lines.buffer.len() >= 1000);
        while lines.next().is_some() {}
        lines.fill(&mut input).expect("bytes in memory");
        assert_eq!((lines.buffer.len(), lines.buffer.capacity()), (16, 16));
    }

    #[test]
    fn an_endless_line_takes_at_most_the_limit_and_a_block() {
        let mut lines = LineBuffer::new(16, 100);
        let mut endless = io::repeat(b'x');
        let mut reports = 0;
        for _ in 0..1000 {
            reports += u32::from(lines.next() == Some(FoundLine::TooLong));
            lines.fill(&mut endless).expect("an endless input");
        }
        assert_eq!(reports, 1);
        assert!(lines.buffer.capacity() <= 116, "{}", lines.buffer.capacity());
    }
}
