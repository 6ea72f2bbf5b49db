//! An open input: its position, its decompression and its line numbers.

use std::cell::Cell;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Chain, Cursor, ErrorKind, Read, Seek as _, SeekFrom};
use std::mem;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use memchr::memchr_iter;
use rustix::fs::{Mode, OFlags};

use super::decoder::Decoder;
use super::encoding::{Encoding, SIGNATURE_LEN};
use super::error::SourceError;
use super::last_lines::{FoundLines, LineSearch, end_of_last_line, find_last};
use super::stop::{Stop, is_readable};
use super::{BLOCK_SIZE, Input};

/// An open file, pipe or device.
pub(super) struct Source {
    file: File,
    content: Content,
    /// File offset of the next byte to read.
    offset: u64,
    /// The last bytes before `offset`, if the file is followed.
    recent: Option<Vec<u8>>,
    /// File offset of the first byte read.
    first: u64,
    /// Number of lines before `first`, once counted.
    lines_before: Cell<Option<u64>>,
    /// Number of lines returned or skipped since.
    taken: u64,
}

/// Maximum bytes per read from a decoder, about a few lines.
///
/// A decoder that finds damaged data loses the output of that read, so a read must be short.
const MAX_DECODED_READ: usize = 4 << 10;

/// Number of bytes that distinguish the content of a file from newer content: several records, with their times.
const RECENT_LEN: usize = 1 << 10;

/// How the bytes of a file are read.
enum Content {
    /// Not known yet: a pipe of which only these bytes have been read.
    Unknown(Vec<u8>),
    Plain,
    Compressed(Decoder<BufReader<Chain<Cursor<Vec<u8>>, NonBlockingFile>>>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, .. } = self;
        f.debug_struct("Source").field("file", file).field("offset", offset).finish_non_exhaustive()
    }
}

impl Source {
    /// Opens `input`.
    ///
    /// # Errors
    /// If it does not exist, is not readable, is a directory, or is the file that standard output is written to.
    pub(super) fn open(input: &Input) -> Result<Self, SourceError> {
        match input {
            Input::Stdin => Self::new(stdin()?),
            Input::File(path) => Self::open_path(path),
        }
    }

    /// Opens the file at `path`.
    ///
    /// Does not block on a FIFO without a writer. The wait for its bytes comes later, and can be stopped.
    pub(super) fn open_path(path: &Path) -> Result<Self, SourceError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
        Self::new(file.into())
    }

    /// Reads `file` from its current position on.
    pub(super) fn new(mut file: File) -> Result<Self, SourceError> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from(ErrorKind::IsADirectory).into());
        }
        if metadata.is_file() && is_stdout(&metadata)? {
            return Err(SourceError::IsOutput);
        }
        let offset = if metadata.is_file() { file.stream_position()? } else { 0 };
        let content = match offset {
            0 if metadata.is_file() => content_of_file(&file)?,
            0 => Content::Unknown(Vec::new()),
            _ => Content::Plain,
        };
        Ok(Self { file, content, offset, recent: None, first: offset, lines_before: Cell::new(None), taken: 0 })
    }

    /// Returns whether the file is compressed. If so, it can be read only from the start, and does not grow by lines.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.content, Content::Compressed(_))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the metadata of the open file, which may no longer be the one at its path.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Notices from now on if a regular file is truncated, even if it grows past the old position again.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn watch_content(&mut self) -> io::Result<()> {
        self.recent = Some(self.bytes_before(self.offset)?);
        Ok(())
    }

    /// Seeks to the last `count` matching records of a regular file, and returns how many there are from there on.
    ///
    /// If the file is followed, bytes after its last line end are left for later.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn seek_to_last(&mut self, count: u64, search: &mut dyn LineSearch, stop: &Stop) -> io::Result<u64> {
        let mut range = self.offset..self.metadata()?.len().max(self.offset);
        if self.recent.is_some() {
            range.end = end_of_last_line(&self.file, range.clone(), &mut vec![0; BLOCK_SIZE])?;
        }
        let FoundLines { offset, count } = find_last(&self.file, range, count, search, stop)?;
        self.seek(offset)?;
        Ok(count)
    }

    /// Seeks to the first line.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.seek(0)
    }

    /// Returns whether the part of the file that was read is gone.
    pub(super) fn is_truncated(&self) -> io::Result<bool> {
        Ok(self.metadata()?.len() < self.offset || self.is_rewritten()?)
    }

    /// Returns whether there are other bytes before the position than those that were read.
    fn is_rewritten(&self) -> io::Result<bool> {
        match &self.recent {
            Some(recent) => Ok(self.bytes_before(self.offset)? != *recent),
            None => Ok(false),
        }
    }

    fn bytes_before(&self, offset: u64) -> io::Result<Vec<u8>> {
        let begin = offset.saturating_sub(RECENT_LEN as u64);
        let mut bytes = vec![0; usize::try_from(offset - begin).unwrap_or(RECENT_LEN)];
        let read = self.file.read_at(&mut bytes, begin)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn read_plain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read > 0 && self.is_rewritten()? {
            // The file was truncated and has grown past the position: either before the read, which then returned bytes from
            // the middle of the new content, or after it.
            let mut now = vec![0; read];
            if self.file.read_at(&mut now, self.offset)? == read && now == buffer[..read] {
                return Ok(0);
            }
        }
        if let Some(recent) = &mut self.recent {
            recent.extend_from_slice(&buffer[..read]);
            recent.drain(..recent.len().saturating_sub(RECENT_LEN));
        }
        Ok(read)
    }

    /// Counts a returned line, and returns the count.
    pub(super) fn take_line(&mut self) -> u64 {
        self.taken += 1;
        self.taken
    }

    /// Counts skipped lines.
    pub(super) fn skip_lines(&mut self, lines: u64) {
        self.taken += lines;
    }

    /// Returns the number in the file of the `taken`-th line. The first call counts the lines before `first`.
    pub(super) fn line_number(&self, taken: u64) -> io::Result<u64> {
        let before = match self.lines_before.get() {
            Some(lines) => lines,
            None => count_lines(&self.file, self.first)?,
        };
        self.lines_before.set(Some(before));
        Ok(before + taken)
    }

    /// Reads the first bytes of a pipe until its encoding is known, and then reads on with these bytes included.
    fn read_beginning(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let Content::Unknown(beginning) = &mut self.content else { return Ok(0) };
        let mut bytes = [0; SIGNATURE_LEN];
        let read = self.file.read(&mut bytes[..SIGNATURE_LEN - beginning.len()])?;
        beginning.extend_from_slice(&bytes[..read]);
        let encoding = match Encoding::of(beginning) {
            Some(encoding) => encoding,
            None if read > 0 => return Err(io::Error::from(ErrorKind::WouldBlock).into()),
            None => Encoding::Plain,
        };
        let beginning = mem::take(beginning);
        let read = (&beginning[..]).read(buffer)?;
        self.content = content(encoding, beginning, &self.file)?;
        if self.is_compressed() {
            return self.read(buffer);
        }
        self.offset += read as u64;
        Ok(read)
    }

    fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.offset = self.file.seek(SeekFrom::Start(offset))?;
        (self.first, self.taken) = (offset, 0);
        self.lines_before.set(None);
        if self.recent.is_some() { self.watch_content() } else { Ok(()) }
    }

    /// Reads bytes, decompressed. Returns 0 at the end, and if [`Source::is_truncated`] is true.
    ///
    /// # Errors
    /// If a system call fails, also because the read would wait, or the data cannot be decoded.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let read = match &mut self.content {
            Content::Plain => self.read_plain(buffer)?,
            Content::Compressed(decoder) => {
                let len = buffer.len().min(MAX_DECODED_READ);
                decoder.read(&mut buffer[..len])?
            }
            Content::Unknown(_) => return self.read_beginning(buffer),
        };
        self.offset += read as u64;
        Ok(read)
    }
}

fn content_of_file(file: &File) -> Result<Content, SourceError> {
    let mut beginning = [0; SIGNATURE_LEN];
    let read = file.read_at(&mut beginning, 0)?;
    content(Encoding::of_all(&beginning[..read]), Vec::new(), file)
}

/// Returns how to read `file`, of which `beginning` has already been read.
fn content(encoding: Encoding, beginning: Vec<u8>, file: &File) -> Result<Content, SourceError> {
    match encoding {
        Encoding::Plain => Ok(Content::Plain),
        Encoding::Compressed => {
            let input = Cursor::new(beginning).chain(NonBlockingFile(file.try_clone()?));
            Ok(Content::Compressed(Decoder::new(BufReader::with_capacity(BLOCK_SIZE, input))))
        }
        Encoding::Unsupported(encoding) => Err(SourceError::Unsupported(encoding)),
    }
}

/// Reads a file without blocking. A decoder that waits for input could not be stopped.
struct NonBlockingFile(File);

impl Read for NonBlockingFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if is_readable(&self.0)? { self.0.read(buffer) } else { Err(ErrorKind::WouldBlock.into()) }
    }
}

/// Returns whether both belong to the same file.
pub(super) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Returns standard input without a buffer.
///
/// # Errors
/// If the process cannot open more files.
pub(super) fn stdin() -> io::Result<File> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// Returns whether standard output is written to the same file. Reading it would never end.
fn is_stdout(metadata: &Metadata) -> io::Result<bool> {
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    Ok(is_same_file(&stdout.metadata()?, metadata))
}

/// Counts the line ends in the first `end` bytes.
fn count_lines(file: &File, end: u64) -> io::Result<u64> {
    let mut buffer = vec![0; BLOCK_SIZE];
    let (mut offset, mut lines) = (0, 0);
    while offset < end {
        let length = usize::try_from(end - offset).map_or(BLOCK_SIZE, |left| left.min(BLOCK_SIZE));
        let read = file.read_at(&mut buffer[..length], offset)?;
        if read == 0 {
            break;
        }
        lines += memchr_iter(b'\n', &buffer[..read]).count() as u64;
        offset += read as u64;
    }
    Ok(lines)
}
