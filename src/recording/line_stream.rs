//! The lines of an input, including those appended to a followed file.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io, mem};

use super::error::SourceError;
use super::line_buffer::{FoundLine, LineBuffer};
use super::source::{Source, is_same_file};
use super::stop::Stop;
use super::{FileChange, Item, Line, PREFILTER_CHUNK};

/// Interval for checking a followed file. Unlike inotify, polling works on network file systems.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Reads lines from a source until its end or a stop request.
pub(super) struct LineStream {
    source: Source,
    lines: LineBuffer,
    follow: Option<PathWatcher>,
    prefilter: Option<FindFn>,
    state: State,
    /// A read error, kept until all lines before it have been returned.
    error: Option<SourceError>,
    stop: Stop,
}

/// Finds the first line that may match in a block of lines. Returns a position in it.
pub(super) type FindFn = Box<dyn Fn(&[u8]) -> Option<usize> + Send>;

#[derive(Debug)]
enum State {
    Reading,
    /// [`Item::Idle`] was returned, so the next read may wait.
    Waiting,
    Ended,
}

/// What one attempt to get the next item gave.
enum ReadResult {
    Again,
    Line(FoundLine),
    Idle,
    FileChange(FileChange),
    End,
}

impl LineStream {
    /// Makes a stream of the lines of `source`. With `follow`, it waits at the end for more.
    pub(super) fn new(source: Source, lines: LineBuffer, follow: Option<PathWatcher>, stop: Stop) -> Self {
        Self { source, lines, follow, prefilter: None, state: State::Reading, error: None, stop }
    }

    pub(super) fn has_prefilter(&self) -> bool {
        self.prefilter.is_some()
    }

    /// Skips lines in which `find` finds nothing.
    pub(super) fn set_prefilter(&mut self, find: FindFn) {
        self.prefilter = Some(find);
    }

    /// Returns the file that is read.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the next item, or `None` at the end. [`Item::Idle`] comes before a wait and before an error.
    pub(super) fn next_item(&mut self) -> Result<Option<Item<'_>>, SourceError> {
        loop {
            match self.advance()? {
                ReadResult::Again => {}
                ReadResult::Line(found) => return Ok(Some(self.item(found)?)),
                ReadResult::Idle => return Ok(Some(Item::Idle)),
                ReadResult::FileChange(change) => return Ok(Some(Item::FileChange(change))),
                ReadResult::End => return Ok(None),
            }
        }
    }

    fn item(&mut self, found: FoundLine) -> io::Result<Item<'_>> {
        Ok(match found {
            FoundLine::Line(line) => {
                let taken = self.source.take_line();
                Item::Line(Line { bytes: self.lines.bytes(line), taken, source: &self.source })
            }
            FoundLine::TooLong => {
                let taken = self.source.take_line();
                Item::TooLong { number: self.source.line_number(taken)? }
            }
            FoundLine::Nuls(count) => Item::FileChange(FileChange::Nuls { count }),
        })
    }

    fn advance(&mut self) -> Result<ReadResult, SourceError> {
        if self.stop.is_stopped() {
            return Ok(ReadResult::End);
        }
        if let Some(find) = &self.prefilter {
            self.source.skip_lines(self.lines.skip_unmatched(PREFILTER_CHUNK, find));
        }
        if let Some(found) = self.lines.next() {
            return Ok(ReadResult::Line(found));
        }
        match self.state {
            State::Reading => self.read(),
            State::Waiting => self.wait(),
            State::Ended => Ok(ReadResult::End),
        }
    }

    /// Reads a block if that does not wait.
    fn read(&mut self) -> Result<ReadResult, SourceError> {
        if self.error.is_some() {
            return Ok(self.idle());
        }
        // A decoder may have data while its input has none, and checks its input itself.
        if !self.source.is_compressed() && !self.stop.await_input(self.source.file(), Some(Duration::ZERO))? {
            return Ok(self.idle());
        }
        match self.lines.fill_with(|buffer| self.source.read(buffer)) {
            Ok(0) => self.at_end(),
            Ok(_) => Ok(ReadResult::Again),
            // The decoder needs more bytes, or another reader of the pipe was faster.
            Err(error) if error.io_kind() == Some(io::ErrorKind::WouldBlock) => Ok(self.idle()),
            Err(error) if error.io_kind() == Some(io::ErrorKind::Interrupted) => Ok(ReadResult::Again),
            Err(error) => {
                self.error = Some(error);
                Ok(self.lines.finish().map_or(ReadResult::Idle, ReadResult::Line))
            }
        }
    }

    fn idle(&mut self) -> ReadResult {
        self.state = State::Waiting;
        ReadResult::Idle
    }

    /// Waits for input of a pipe, or until the next check of a followed file.
    fn wait(&mut self) -> Result<ReadResult, SourceError> {
        if let Some(error) = self.error.take() {
            self.state = State::Ended;
            return Err(error);
        }
        if self.follow.is_some() {
            self.stop.pause(POLL_INTERVAL)?;
        } else {
            self.stop.await_input(self.source.file(), None)?;
        }
        self.state = State::Reading;
        Ok(ReadResult::Again)
    }

    fn at_end(&mut self) -> Result<ReadResult, SourceError> {
        let Some(follow) = &mut self.follow else {
            self.state = State::Ended;
            return Ok(self.lines.finish().map_or(ReadResult::End, ReadResult::Line));
        };
        if follow.successor.is_some()
            && let Some(rest) = self.lines.finish()
        {
            return Ok(ReadResult::Line(rest));
        }
        // The old file was read to its end after the successor appeared, so no line of it is lost.
        if let Some(mut successor) = follow.successor.take() {
            successor.watch_content()?;
            self.source = successor;
            return Ok(ReadResult::FileChange(FileChange::Replaced));
        }
        if self.source.is_truncated()? {
            self.source.rewind()?;
            self.lines.clear();
            return Ok(ReadResult::FileChange(FileChange::Truncated));
        }
        Ok(match follow.check(&self.source) {
            PathState::Unchanged => self.idle(),
            PathState::Lost(error) => ReadResult::FileChange(FileChange::Lost(error)),
            PathState::Replaced => ReadResult::Again,
        })
    }
}

/// Watches which file is at a path.
#[derive(Debug)]
pub(super) struct PathWatcher {
    path: PathBuf,
    /// The file now at the path, until the old one has been read to its end.
    successor: Option<Source>,
    /// Whether [`PathState::Lost`] was already returned.
    lost: bool,
}

/// What is at the path of a followed file.
enum PathState {
    Unchanged,
    /// No readable file. Returned once, until there is one again.
    Lost(SourceError),
    /// Another file, which is open now.
    Replaced,
}

impl PathWatcher {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, successor: None, lost: false }
    }

    fn check(&mut self, current: &Source) -> PathState {
        match self.open_successor(current) {
            Ok(successor) => {
                self.lost = false;
                self.successor = successor;
                if self.successor.is_some() { PathState::Replaced } else { PathState::Unchanged }
            }
            Err(_) if mem::replace(&mut self.lost, true) => PathState::Unchanged,
            Err(error) => PathState::Lost(error),
        }
    }

    /// Opens the file at the path if it is another file and not empty.
    ///
    /// While it is empty, the writer may still be writing to the old file.
    fn open_successor(&self, current: &Source) -> Result<Option<Source>, SourceError> {
        let current = current.metadata()?;
        if is_same_file(&fs::metadata(&self.path)?, &current) {
            return Ok(None);
        }
        let successor = Source::open_path(&self.path)?;
        let metadata = successor.metadata()?;
        if !metadata.is_file() {
            return Err(SourceError::NotAFile);
        }
        let has_successor = metadata.len() > 0 && !is_same_file(&metadata, &current);
        Ok(has_successor.then_some(successor))
    }
}
