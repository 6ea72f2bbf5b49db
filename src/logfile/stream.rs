//! The lines of an input as they come; of a followed file also those still to be written.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io, mem};

use super::lines::{Found, Lines};
use super::source::{Source, is_same_file};
use super::stop::Stop;
use super::{Item, Line, Notice};

/// How often a followed file is looked at. Asking, instead of being told by the kernel, works on network file systems.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How many bytes of lines are looked at together, some ten lines: that takes a fraction of looking at each.
const STRETCH: usize = 4 << 10;

/// An input from where reading begins to its end, or to the stop.
pub(super) struct Stream {
    source: Source,
    lines: Lines,
    follow: Option<Follow>,
    find: Option<Find>,
    state: State,
    /// Why no more can be read, once all that was read before is handed out.
    fault: Option<io::Error>,
    stop: Stop,
}

/// Says where in some lines the first stands that may be wanted.
pub(super) type Find = Box<dyn Fn(&[u8]) -> Option<usize> + Send>;

#[derive(Debug)]
enum State {
    Reading,
    /// The consumer was told that a wait comes next.
    Waiting,
    Ended,
}

/// What came of one step.
enum Step {
    Again,
    Found(Found),
    Idle,
    Notice(Notice),
    End,
}

impl Stream {
    /// The lines of `source`; `follow` where the wait for more begins at its end.
    pub(super) fn new(source: Source, lines: Lines, follow: Option<Follow>, stop: Stop) -> Self {
        Self { source, lines, follow, find: None, state: State::Reading, fault: None, stop }
    }

    /// From now on lines in which it finds nothing are not handed out.
    pub(super) fn pass_over(&mut self, find: Find) {
        self.find = Some(find);
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_stopped()
    }

    /// Whether a read failed, and no line is left before its error.
    pub(super) fn is_failing(&self) -> bool {
        self.fault.is_some()
    }

    /// The next item; none at the end, then and ever after. Before an error comes [`Item::Idle`], as before a wait.
    pub(super) fn next_item(&mut self) -> io::Result<Option<Item<'_>>> {
        loop {
            match self.step()? {
                Step::Again => {}
                Step::Found(found) => return self.item(found).map(Some),
                Step::Idle => return Ok(Some(Item::Idle)),
                Step::Notice(notice) => return Ok(Some(Item::Notice(notice))),
                Step::End => return Ok(None),
            }
        }
    }

    fn item(&mut self, found: Found) -> io::Result<Item<'_>> {
        let taken = self.source.take_line();
        Ok(match found {
            Found::Line(line) => Item::Line(Line { bytes: self.lines.bytes(line), taken, source: &self.source }),
            Found::TooLong => Item::TooLong { number: self.source.line_number(taken)? },
        })
    }

    fn step(&mut self) -> io::Result<Step> {
        if self.stop.is_stopped() {
            return Ok(Step::End);
        }
        if let Some(find) = &self.find {
            self.source.pass_over(self.lines.pass_over(STRETCH, find));
        }
        if let Some(found) = self.lines.next() {
            return Ok(Step::Found(found));
        }
        match self.state {
            State::Reading => self.read(),
            State::Waiting => self.wait(),
            State::Ended => Ok(Step::End),
        }
    }

    /// Reads a block, where that does not block.
    fn read(&mut self) -> io::Result<Step> {
        if self.fault.is_some() {
            return Ok(self.idle());
        }
        // A decoder may hold more while its input has none; it asks for itself.
        if !self.source.is_compressed() && !self.stop.await_input(self.source.file(), Some(Duration::ZERO))? {
            return Ok(self.idle());
        }
        match self.lines.fill(&mut self.source) {
            Ok(0) => self.at_end(),
            Ok(_) => Ok(Step::Again),
            // What came is not enough for a decoder, or another reader of the same pipe was faster.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(self.idle()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Step::Again),
            Err(error) => {
                self.fault = Some(error);
                // Either item lets whoever keeps lines back see that these are all.
                Ok(self.lines.finish().map_or(Step::Idle, Step::Found))
            }
        }
    }

    fn idle(&mut self) -> Step {
        self.state = State::Waiting;
        Step::Idle
    }

    /// A pipe wakes its reader; a file must be asked again.
    fn wait(&mut self) -> io::Result<Step> {
        if let Some(fault) = self.fault.take() {
            self.state = State::Ended;
            return Err(fault);
        }
        if self.follow.is_some() {
            self.stop.pause(POLL_INTERVAL)?;
        } else {
            self.stop.await_input(self.source.file(), None)?;
        }
        self.state = State::Reading;
        Ok(Step::Again)
    }

    fn at_end(&mut self) -> io::Result<Step> {
        let Some(follow) = &mut self.follow else {
            self.state = State::Ended;
            return Ok(self.lines.finish().map_or(Step::End, Step::Found));
        };
        if follow.successor.is_some()
            && let Some(rest) = self.lines.finish()
        {
            return Ok(Step::Found(rest));
        }
        // The old file has been read again since its successor was seen, so nothing of it is left.
        if let Some(successor) = follow.successor.take() {
            self.source = successor;
            return Ok(Step::Notice(Notice::Replaced));
        }
        if self.source.is_truncated()? {
            self.source.rewind()?;
            self.lines.clear();
            return Ok(Step::Notice(Notice::Truncated));
        }
        Ok(match follow.look(&self.source) {
            Look::Unchanged => self.idle(),
            Look::Lost(error) => Step::Notice(Notice::Lost(error)),
            Look::Replaced => Step::Again,
        })
    }
}

/// Watches which file stands at a path.
#[derive(Debug)]
pub(super) struct Follow {
    path: PathBuf,
    /// The file that took the place of the one being read, until that has been read to its end.
    successor: Option<Source>,
    /// Whether it was said that nothing readable stands there.
    lost: bool,
}

/// What stands at the path of a followed file.
enum Look {
    Unchanged,
    /// For the first time, nothing that can be read.
    Lost(io::Error),
    /// A successor, now open.
    Replaced,
}

impl Follow {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, successor: None, lost: false }
    }

    fn look(&mut self, current: &Source) -> Look {
        match self.open_successor(current) {
            Ok(successor) => {
                self.lost = false;
                self.successor = successor;
                if self.successor.is_some() { Look::Replaced } else { Look::Unchanged }
            }
            Err(_) if mem::replace(&mut self.lost, true) => Look::Unchanged,
            Err(error) => Look::Lost(error),
        }
    }

    /// Opens what stands at the path, where it is another file and not empty. While it is empty, its writer may not
    /// have opened it yet, and still be writing to the one being read.
    fn open_successor(&self, current: &Source) -> io::Result<Option<Source>> {
        let current = current.metadata()?;
        if is_same_file(&fs::metadata(&self.path)?, &current) {
            return Ok(None);
        }
        let successor = Source::open_path(&self.path)?;
        let metadata = successor.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("no regular file"));
        }
        let begun = metadata.len() > 0 && !is_same_file(&metadata, &current);
        Ok(begun.then_some(successor))
    }
}
