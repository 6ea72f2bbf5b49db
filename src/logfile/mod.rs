//! Reads and follows recorded lines: bytes in, numbered lines out.
//!
//! The input is read in whole blocks, and memory is bounded: a block, or the longest line up to [`MAX_LINE`], or the
//! last lines asked for of a pipe. What a line says is for others to know.
//!
//! ```text
//! source   an open file: where we are in it, and which number a line has
//! lines    cuts blocks into lines
//! stream   the two together, and the wait at the end of a followed file
//! backlog  the last lines of a pipe
//! stop     ends all of it from another thread
//! ```

mod backlog;
mod lines;
mod source;
mod stop;
mod stream;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::{fmt, io};

use anyhow::Context as _;

use backlog::Backlog;
use lines::Lines;
use source::Source;
use stream::{Follow, Stream};

use crate::exit::Failure;

pub(crate) use stop::Stop;

/// The longest line that is handed out, in bytes. A longer one is no recorded message.
pub(crate) const MAX_LINE: usize = 64 << 20;

/// Bytes asked for by one read: enough that the system calls cost nothing beside the lines.
const BLOCK: usize = 256 << 10;

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Standard input.
    Stdin,
    /// A file, FIFO or device.
    File(PathBuf),
}

impl From<PathBuf> for Input {
    /// `-` is standard input.
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

/// How much of the input to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// All of it.
    Everything,
    /// Its last lines. Of a regular file only those are read.
    Last(u64),
}

/// What [`Reader::next_item`] hands out.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// A line.
    Line(Line<'a>),
    /// A line of more than [`MAX_LINE`] bytes, which was skipped.
    TooLong {
        /// Its number in the file, from 1.
        number: u64,
    },
    /// Nothing more can be read now, and the next call waits or fails: the time to flush what was written. While a
    /// followed file does not grow, this comes again several times a second.
    Idle,
    /// Something happened to a followed file.
    Notice(Notice),
}

/// A line of the input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Its bytes, without the `\n` or `\r\n` at its end.
    pub(crate) bytes: &'a [u8],
    /// Which one it is, of those handed out from `source`.
    taken: u64,
    source: &'a Source,
}

impl Line<'_> {
    /// Its number in the file, from 1.
    ///
    /// Where reading began near the end of a file, the lines before are counted now, once: whoever reads only the last
    /// lines of a long file should not ask without need.
    ///
    /// # Errors
    /// Where the file can no longer be read.
    pub(crate) fn number(&self) -> io::Result<u64> {
        self.source.line_number(self.taken)
    }
}

/// What happened to a followed file. Displayed, it goes on after the file's name and a colon.
#[derive(Debug)]
pub(crate) enum Notice {
    /// It became shorter than what was already read.
    Truncated,
    /// Another file took its place, and all lines of the old one have been handed out.
    Replaced,
    /// Nothing readable stands at its path.
    Lost(io::Error),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("truncated; reading it again from its beginning"),
            Self::Replaced => f.write_str("replaced; reading the new file from its beginning"),
            Self::Lost(error) if error.kind() == io::ErrorKind::NotFound => {
                f.write_str("gone; waiting for it to come back")
            }
            Self::Lost(error) => write!(f, "{error}; waiting for it to come back"),
        }
    }
}

/// Reads an input line by line.
pub(crate) struct Reader {
    input: Input,
    stream: Stream,
    /// The last lines asked for, where the input has to be read from its beginning to find them.
    backlog: Option<Backlog>,
}

impl Reader {
    /// Opens `input`, to begin with `start`. With `follow` a regular file is read on as it grows, through truncation
    /// and replacement, until `stop`; standard input, FIFOs and devices end where they end.
    ///
    /// # Errors
    /// Where it does not exist, may not be read, or is a directory; with `follow`, where it is compressed.
    pub(crate) fn open(input: Input, start: Start, follow: bool, stop: Stop) -> anyhow::Result<Self> {
        let source = Source::open(&input).with_context(|| format!("cannot open {input}"))?;
        Self::new(input, source, start, follow, stop)
    }

    fn new(input: Input, mut source: Source, start: Start, follow: bool, stop: Stop) -> anyhow::Result<Self> {
        let cannot_read = || format!("cannot read {input}");
        let is_file = source.metadata().with_context(cannot_read)?.is_file() && !source.is_compressed();
        if follow && source.is_compressed() {
            let failure = Failure::usage(format!("{input} is compressed, and cannot be followed"));
            return Err(failure.hint("leave out --follow").into());
        }
        let follow = match &input {
            Input::File(path) if follow && is_file => Some(Follow::new(path.clone())),
            _ => None,
        };
        let mut backlog = None;
        match start {
            Start::Last(count) if is_file => source.skip_to_last(count, follow.is_some()).with_context(cannot_read)?,
            Start::Last(count) => backlog = Some(Backlog::new(count)),
            Start::Everything => {}
        }
        let stream = Stream::new(source, Lines::new(BLOCK, MAX_LINE), follow, stop);
        Ok(Self { input, stream, backlog })
    }

    /// Has lines passed over that nobody wants: `find` says where in some lines the first stands that may be wanted. Not
    /// where the last lines of a pipe are asked for: which these are is not known before its end.
    pub(crate) fn pass_over_all_but(&mut self, find: impl Fn(&[u8]) -> Option<usize> + Send + 'static) {
        if self.backlog.is_none() {
            self.stream.pass_over(Box::new(find));
        }
    }

    /// The next item; none at the end of the input, or once the stop is requested.
    ///
    /// A last line without line end counts as a line, except in a followed file, where it waits for its rest.
    ///
    /// # Errors
    /// Where reading fails; what was read before is handed out first.
    pub(crate) fn next_item(&mut self) -> anyhow::Result<Option<Item<'_>>> {
        let item = match &mut self.backlog {
            Some(backlog) => backlog.next_item(&mut self.stream),
            None => self.stream.next_item(),
        };
        item.with_context(|| format!("cannot read {}", self.input))
    }
}
