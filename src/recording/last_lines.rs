//! Finds the last lines that match, reading a file backwards from its end.
//!
//! The search takes one segment of the file after another, from the end to the start. Within a segment, lines are read
//! forwards, exactly as they are read afterwards.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use memchr::{memchr, memrchr};

use super::PREFILTER_CHUNK;
use super::line_buffer::{FoundLine, LineBuffer};
use super::stop::Stop;
use super::{BLOCK_SIZE, MAX_LINE};

/// Decides which lines the search counts.
pub(crate) trait LineSearch {
    /// Finds the first of `lines` that may match. Returns a position in it, or 0 if any line may match.
    fn find(&self, lines: &[u8]) -> Option<usize>;

    /// Classifies a line. Lines in which [`LineSearch::find`] finds nothing are not passed.
    fn classify(&mut self, line: &[u8]) -> LineClass;
}

/// The class of a line in a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineClass {
    /// The line need not be read.
    Irrelevant,
    /// The line must be read, and contains this number of matching records.
    Relevant(u64),
}

/// The position at which to start reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundLines {
    /// The file offset.
    pub(super) offset: u64,
    /// The number of matching records from there on. More than requested if a line contains several.
    pub(super) count: u64,
}

/// Searches `range` of a file, which begins and ends between two lines, for the last `count` matching records.
///
/// If there are fewer, the offset is that of the first relevant line.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn find_last(
    file: &File,
    range: Range<u64>,
    count: u64,
    search: &mut dyn LineSearch,
    stop: &Stop,
) -> io::Result<FoundLines> {
    find_last_in_segments(file, range, count, search, stop, FIRST_SEGMENT)
}

/// Bytes of the first segment. A few lines need no more, and each further segment is twice as large, up to a block.
const FIRST_SEGMENT: usize = 16 << 10;

fn find_last_in_segments(
    file: &File,
    range: Range<u64>,
    count: u64,
    search: &mut dyn LineSearch,
    stop: &Stop,
    first_segment: usize,
) -> io::Result<FoundLines> {
    let mut found = FoundLines { offset: range.end, count: 0 };
    let mut lines = LineBuffer::new(BLOCK_SIZE, MAX_LINE);
    let mut relevant = Vec::new();
    let (mut end, mut segment) = (range.end, first_segment);
    while found.count < count && end > range.start && !stop.is_stopped() {
        let start = segment_start(file, range.start..end, segment)?;
        segment = (2 * segment).min(BLOCK_SIZE);
        relevant.clear();
        classify_lines(&mut lines, &mut FileRange { file, range: start..end }, search, |at, matches| {
            relevant.push((start + at, matches));
        })?;
        for (offset, matches) in relevant.drain(..).rev() {
            found = FoundLines { offset, count: found.count + matches };
            if found.count >= count {
                break;
            }
        }
        end = start;
    }
    Ok(found)
}

/// Reads lines to the end of `input`, and passes the offset of each relevant line and its number of matching records.
fn classify_lines(
    lines: &mut LineBuffer,
    input: &mut impl Read,
    search: &mut dyn LineSearch,
    mut on_relevant: impl FnMut(u64, u64),
) -> io::Result<()> {
    lines.clear();
    loop {
        lines.skip_unmatched(PREFILTER_CHUNK, |lines| search.find(lines));
        let at = lines.position();
        let found = match lines.next() {
            Some(found) => found,
            None if lines.fill(input)? > 0 => continue,
            None => match lines.finish() {
                Some(found) => found,
                None => return Ok(()),
            },
        };
        let class = match found {
            FoundLine::Line(line) => search.classify(lines.bytes(line)),
            FoundLine::TooLong | FoundLine::Nuls(_) => LineClass::Relevant(0),
        };
        if let LineClass::Relevant(matches) = class {
            on_relevant(at, matches);
        }
    }
}

/// Returns the start of a line in `range` that is at most `length` before its end, or more if that line is longer.
fn segment_start(file: &File, range: Range<u64>, length: usize) -> io::Result<u64> {
    /// Enough for a few lines.
    const STEP: usize = 4 << 10;
    let begin = range.end.saturating_sub(length as u64).max(range.start);
    if begin == range.start {
        return Ok(begin);
    }
    let mut buffer = [0; STEP];
    // The byte before `range.end` ends the last line.
    let mut steps = FileRange { file, range: begin..range.end - 1 };
    loop {
        let at = steps.range.start;
        let read = steps.read(&mut buffer)?;
        match memchr(b'\n', &buffer[..read]) {
            Some(line_end) => return Ok(at + line_end as u64 + 1),
            None if read == 0 => break,
            None => {}
        }
    }
    end_of_last_line(file, range.start..begin, &mut vec![0; BLOCK_SIZE])
}

/// Returns the offset after the last line end in `range`, or the start of `range`. Reads into `buffer`.
pub(super) fn end_of_last_line(file: &File, range: Range<u64>, buffer: &mut [u8]) -> io::Result<u64> {
    let mut end = range.end;
    while end > range.start {
        let length = usize::try_from(end - range.start).map_or(buffer.len(), |left| left.min(buffer.len()));
        end -= length as u64;
        file.read_exact_at(&mut buffer[..length], end)?;
        if let Some(line_end) = memrchr(b'\n', &buffer[..length]) {
            return Ok(end + line_end as u64 + 1);
        }
    }
    Ok(range.start)
}

/// Reads a range of a file, without moving its position.
struct FileRange<'a> {
    file: &'a File,
    range: Range<u64>,
}

impl Read for FileRange<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Range { start, end } = self.range;
        let length = usize::try_from(end - start).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.file.read_at(&mut buffer[..length], start)?;
        self.range.start += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn file_with(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(content).expect("room for it");
        file
    }

    /// Counts the letter `m`, and marks lines with `r` as relevant. Skips lines with neither.
    struct Letters;

    impl LineSearch for Letters {
        fn find(&self, lines: &[u8]) -> Option<usize> {
            lines.iter().position(|byte| b"mr".contains(byte))
        }

        fn classify(&mut self, line: &[u8]) -> LineClass {
            match memchr::memchr_iter(b'm', line).count() {
                0 if !line.contains(&b'r') => LineClass::Irrelevant,
                matches => LineClass::Relevant(matches as u64),
            }
        }
    }

    /// A simple reference implementation, which takes lines from the end.
    fn expected(content: &[u8], count: u64) -> FoundLines {
        let mut found = FoundLines { offset: content.len() as u64, count: 0 };
        let mut offset = content.len();
        for line in content.split_inclusive(|byte| *byte == b'\n').rev() {
            offset -= line.len();
            if found.count >= count {
                break;
            }
            if let LineClass::Relevant(matches) = Letters.classify(line) {
                found = FoundLines { offset: offset as u64, count: found.count + matches };
            }
        }
        found
    }

    proptest! {
        #[test]
        fn the_last_matches_are_those_of_a_search_by_line(
            content in prop::collection::vec(prop::sample::select(b"mrxxxxxx\n\n".as_slice()), 0..120),
            count in 0_u64..8,
            segment in 1_usize..40,
        ) {
            let (file, stop) = (file_with(&content), Stop::new().expect("a pipe"));
            let range = 0..content.len() as u64;
            let found = find_last_in_segments(&file, range, count, &mut Letters, &stop, segment).expect("a readable file");
            prop_assert_eq!(found, expected(&content, count));
        }

        #[test]
        fn the_end_of_the_last_line_is_after_the_last_line_end(
            content in prop::collection::vec(prop::sample::select(b"ab\n".as_slice()), 0..100),
            block in 1_usize..20,
        ) {
            let expected = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let file = file_with(&content);
            let end = end_of_last_line(&file, 0..content.len() as u64, &mut vec![0; block]).expect("a readable file");
            prop_assert_eq!(end, expected as u64);
        }
    }

    #[test]
    fn a_stop_ends_the_search() {
        let stop = Stop::new().expect("a pipe");
        stop.stop();
        let found = find_last(&file_with(b"m\nm\n"), 0..4, 1, &mut Letters, &stop).expect("a readable file");
        assert_eq!(found, FoundLines { offset: 4, count: 0 });
    }
}
