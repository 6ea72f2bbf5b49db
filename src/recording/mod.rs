//! Reads and follows recordings: bytes in, numbered lines out. It does not interpret the lines.
//!
//! The input is read in blocks. Memory is bounded by a block or the longest line up to [`MAX_LINE`].
//!
//! | file | contents |
//! | --- | --- |
//! | `source` | an open file, its position and line numbers |
//! | `encoding` | recognizes compressed files and other encodings |
//! | `decoder` | decompresses |
//! | `line_buffer` | splits blocks into lines |
//! | `line_stream` | source and buffer together, and waiting at the end of a followed file |
//! | `merge` | several sources as one, by time |
//! | `last_lines` | the last lines that match, found from the end of a file |
//! | `stop` | ends reading from another thread |
//! | `error` | why an input cannot be opened or read |

mod decoder;
mod encoding;
mod error;
mod last_lines;
mod line_buffer;
mod line_stream;
mod merge;
mod source;
mod stop;
#[cfg(test)]
mod tests;

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use line_buffer::LineBuffer;
use line_stream::{LineStream, PathWatcher};
use source::Source;

pub(crate) use encoding::UnsupportedEncoding;
pub(crate) use error::{InputError, InputErrorKind, SourceError};
pub(crate) use last_lines::{LineClass, LineSearch};
pub(crate) use merge::{Merge, MergeSource};
pub(crate) use stop::Stop;

/// Maximum length of a line in bytes. A longer line is not a recorded message.
pub(crate) const MAX_LINE: usize = 64 << 20;

/// Bytes per prefilter call, about ten lines. This takes a fraction of the time of one call per line.
const PREFILTER_CHUNK: usize = 4 << 10;

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
            Self::File(path) => write!(f, "'{}'", path.display()),
        }
    }
}

impl Input {
    /// Checks that the input can be opened.
    ///
    /// Does not open a FIFO, because its writer would write to a reader that goes away.
    ///
    /// # Errors
    /// See [`Reader::open`].
    pub(crate) fn check(&self, follow: bool, stop: &Stop) -> Result<(), InputError> {
        match self {
            Self::File(path) if path.metadata().is_ok_and(|it| !it.is_file() && !it.is_dir()) => Ok(()),
            _ => Reader::open(self.clone(), Start::Everything, follow, stop.clone()).map(drop),
        }
    }

    /// Returns whether this is the file with this metadata.
    pub(crate) fn is_same_file(&self, other: &Metadata) -> bool {
        let metadata = match self {
            Self::Stdin => source::stdin().and_then(|file| file.metadata()),
            Self::File(path) => path.metadata(),
        };
        metadata.is_ok_and(|metadata| source::is_same_file(&metadata, other))
    }

    fn error(&self, kind: InputErrorKind) -> InputError {
        InputError { input: self.clone(), kind }
    }
}

/// The line that reading starts with.
pub(crate) enum Start<'a> {
    /// The first line.
    Everything,
    /// The line of the n-th last matching record. Applies to files that can be read from there on, see
    /// [`Reader::last_count`].
    Last(u64, &'a mut dyn LineSearch),
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
    /// A followed file was truncated, replaced or removed, or NUL bytes were skipped.
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

    /// Returns the line's place among those of its reader, for [`Reader::line_number`].
    pub(crate) fn place(&self) -> LinePlace {
        LinePlace(self.taken)
    }
}

/// The place of a line among those of its reader.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LinePlace(u64);

/// A change of a followed file, or a trace of one.
#[derive(Debug)]
pub(crate) enum FileChange {
    /// The part already read is gone: the file became shorter, and may have grown again.
    Truncated,
    /// This number of NUL bytes was skipped. A file that is truncated while its writer keeps the old position has them.
    Nuls {
        /// The number of NUL bytes.
        count: u64,
    },
    /// Another file is at the path now, and all lines of the old one have been returned.
    Replaced,
    /// There is no readable file at the path.
    Lost(SourceError),
}

/// Reads an input line by line.
pub(crate) struct Reader {
    input: Input,
    stream: LineStream,
    last_count: Option<u64>,
}

impl Reader {
    /// Opens `input` and reads from `start` on.
    ///
    /// With `follow`, a regular file is followed through growth, truncation and replacement until `stop` is requested.
    /// Other inputs end at their end.
    ///
    /// # Errors
    /// If the input does not exist, is not readable, is a directory or is also standard output, or with `follow` if it is
    /// compressed.
    pub(crate) fn open(input: Input, start: Start<'_>, follow: bool, stop: Stop) -> Result<Self, InputError> {
        match Source::open(&input) {
            Ok(source) => Self::new(input, source, start, follow, stop),
            Err(error) => Err(input.error(InputErrorKind::Open(error))),
        }
    }

    fn new(input: Input, mut source: Source, start: Start<'_>, follow: bool, stop: Stop) -> Result<Self, InputError> {
        if follow && source.is_compressed() {
            return Err(input.error(InputErrorKind::FollowCompressed));
        }
        let (follow, last_count) = prepare(&input, &mut source, start, follow, &stop)
            .map_err(|error| input.error(InputErrorKind::Read(error.into())))?;
        let stream = LineStream::new(source, LineBuffer::new(BLOCK_SIZE, MAX_LINE), follow, stop);
        Ok(Self { input, stream, last_count })
    }

    /// Returns the number of matching records from [`Start::Last`] on, or `None` if the input is read from its start.
    ///
    /// The number is lower than requested if the input has fewer, and higher if a line contains several.
    pub(crate) fn last_count(&self) -> Option<u64> {
        self.last_count
    }

    /// Returns whether [`Reader::set_prefilter`] was called.
    pub(crate) fn has_prefilter(&self) -> bool {
        self.stream.has_prefilter()
    }

    /// Returns the number of a line in the file (one-based). See [`Line::number`].
    ///
    /// # Errors
    /// If the file can no longer be read.
    pub(crate) fn line_number(&self, line: LinePlace) -> io::Result<u64> {
        self.stream.source().line_number(line.0)
    }

    /// Skips lines in which `find` finds nothing. `find` gets many lines, and returns a position in the first match.
    pub(crate) fn set_prefilter(&mut self, find: impl Fn(&[u8]) -> Option<usize> + Send + 'static) {
        self.stream.set_prefilter(Box::new(find));
    }

    /// Returns the next item, or `None` at the end of the input or after a stop request.
    ///
    /// A last line without a line end is a line too. In a followed file, it is returned once it is complete.
    ///
    /// # Errors
    /// If reading fails. All lines before the failure are returned first.
    pub(crate) fn next_item(&mut self) -> Result<Option<Item<'_>>, InputError> {
        self.stream.next_item().map_err(|error| self.input.error(InputErrorKind::Read(error)))
    }
}

/// Seeks to `start`, and sets up following.
fn prepare(
    input: &Input,
    source: &mut Source,
    start: Start<'_>,
    follow: bool,
    stop: &Stop,
) -> io::Result<(Option<PathWatcher>, Option<u64>)> {
    let metadata = source.metadata()?;
    let follow = match input {
        Input::File(path) if follow && metadata.is_file() => Some(PathWatcher::new(path.clone())),
        _ => None,
    };
    if follow.is_some() {
        source.watch_content()?;
    }
    // Generated files, such as those in /proc, have the length 0.
    let has_end = metadata.len() > 0 || follow.is_some();
    let last_count = match start {
        Start::Last(count, search) if metadata.is_file() && has_end && !source.is_compressed() => {
            Some(source.seek_to_last(count, search, stop)?)
        }
        Start::Last(..) | Start::Everything => None,
    };
    Ok((follow, last_count))
}
