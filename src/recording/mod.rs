//! Reads and follows recordings: bytes in, numbered lines out. It does not interpret the lines.
//!
//! The input is read in blocks. Memory is bounded by a block, the longest line up to [`MAX_LINE`], or the requested last
//! lines of a pipe.
//!
//! | file | contents |
//! | --- | --- |
//! | `source` | an open file, its decompression, and line numbers |
//! | `line_buffer` | splits blocks into lines |
//! | `line_stream` | source and buffer together, and waiting at the end of a followed file |
//! | `tail_buffer` | the last lines of a pipe |
//! | `stop` | ends reading from another thread |

mod line_buffer;
mod line_stream;
mod source;
mod stop;
mod tail_buffer;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::{fmt, io};

use anyhow::Context as _;

use line_buffer::LineBuffer;
use line_stream::{LineStream, PathWatcher};
use source::Source;
use tail_buffer::TailBuffer;

use crate::exit::Failure;

pub(crate) use stop::Stop;

/// Maximum length of a line in bytes. A longer line is not a recorded message.
pub(crate) const MAX_LINE: usize = 64 << 20;

/// Bytes per read. With this size, the cost of system calls is negligible.
const BLOCK_SIZE: usize = 256 << 10;

/// The input of a [`Reader`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Standard input.
    Stdin,
    /// A file, FIFO or device.
    File(PathBuf),
}

impl From<PathBuf> for Input {
    /// Converts a path; `-` is standard input.
    fn from(path: PathBuf) -> Self {
        if path == Path::new("-") { Self::Stdin } else { Self::File(path) }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// The line that reading starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// The first line.
    Everything,
    /// The n-th last line. A regular file is read from there on.
    Last(u64),
}

/// An item that [`Reader::next_item`] returns.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// A line.
    Line(Line<'a>),
    /// A line of more than [`MAX_LINE`] bytes, which was skipped.
    TooLong {
        /// Its number in the file (one-based).
        number: u64,
    },
    /// The next call will wait or fail, so this is the time to flush output.
    ///
    /// While a followed file does not grow, this is returned several times per second.
    Idle,
    /// A followed file was truncated, replaced or removed.
    FileChange(FileChange),
}

/// A line of the input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// The line without the `\n` or `\r\n` at its end.
    pub(crate) bytes: &'a [u8],
    /// The number of lines returned from `source`, including this one.
    taken: u64,
    source: &'a Source,
}

impl Line<'_> {
    /// Returns the line's number in the file (one-based).
    ///
    /// If reading started near the end of the file, the first call counts all lines before, which is slow for large files.
    ///
    /// # Errors
    /// If the file can no longer be read.
    pub(crate) fn number(&self) -> io::Result<u64> {
        self.source.line_number(self.taken)
    }
}

/// A change of a followed file. The text is meant to follow the file's name and a colon.
#[derive(Debug)]
pub(crate) enum FileChange {
    /// The file became shorter than the part already read.
    Truncated,
    /// Another file is at the path now, and all lines of the old one have been returned.
    Replaced,
    /// There is no readable file at the path.
    Lost(io::Error),
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("truncated; reading it again from the start"),
            Self::Replaced => f.write_str("replaced; reading the new file from the start"),
            Self::Lost(error) if error.kind() == io::ErrorKind::NotFound => {
                f.write_str("removed; waiting for a new file")
            }
            Self::Lost(error) => write!(f, "{error}; waiting for a new file"),
        }
    }
}

/// Reads an input line by line.
pub(crate) struct Reader {
    input: Input,
    stream: LineStream,
    /// Set if the last lines are requested of an input that must be read from the start.
    tail: Option<TailBuffer>,
}

impl Reader {
    /// Opens `input` and reads from `start` on.
    ///
    /// With `follow`, a regular file is followed through growth, truncation and replacement until `stop` is requested.
    /// Other inputs end at their end.
    ///
    /// # Errors
    /// If the input does not exist, is not readable or is a directory, or with `follow` if it is compressed.
    pub(crate) fn open(input: Input, start: Start, follow: bool, stop: Stop) -> anyhow::Result<Self> {
        let source = Source::open(&input).with_context(|| format!("cannot open {input}"))?;
        Self::new(input, source, start, follow, stop)
    }

    fn new(input: Input, mut source: Source, start: Start, follow: bool, stop: Stop) -> anyhow::Result<Self> {
        let cannot_read = || format!("cannot read {input}");
        let is_file = source.metadata().with_context(cannot_read)?.is_file() && !source.is_compressed();
        if follow && source.is_compressed() {
            let failure = Failure::usage(format!("cannot follow {input}: the file is compressed"));
            return Err(failure.hint("leave out --follow").into());
        }
        let follow = match &input {
            Input::File(path) if follow && is_file => Some(PathWatcher::new(path.clone())),
            _ => None,
        };
        let mut tail = None;
        match start {
            Start::Last(count) if is_file => source.skip_to_last(count, follow.is_some()).with_context(cannot_read)?,
            Start::Last(count) => tail = Some(TailBuffer::new(count)),
            Start::Everything => {}
        }
        let stream = LineStream::new(source, LineBuffer::new(BLOCK_SIZE, MAX_LINE), follow, stop);
        Ok(Self { input, stream, tail })
    }

    /// Skips lines in which `find` finds nothing. `find` gets many lines, and returns a position in the first match.
    ///
    /// Has no effect if the last lines of a pipe are requested, because these include lines without a match.
    pub(crate) fn set_prefilter(&mut self, find: impl Fn(&[u8]) -> Option<usize> + Send + 'static) {
        if self.tail.is_none() {
            self.stream.set_prefilter(Box::new(find));
        }
    }

    /// Returns the next item, or `None` at the end of the input or after a stop request.
    ///
    /// A last line without a line end is a line too. In a followed file, it is returned once it is complete.
    ///
    /// # Errors
    /// If reading fails. All lines before the failure are returned first.
    pub(crate) fn next_item(&mut self) -> anyhow::Result<Option<Item<'_>>> {
        let item = match &mut self.tail {
            Some(tail) => tail.next_item(&mut self.stream),
            None => self.stream.next_item(),
        };
        item.with_context(|| format!("cannot read {}", self.input))
    }
}
