//! An open input: where in it we are, and which number a line of it has.

use std::cell::Cell;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Cursor, ErrorKind, Read, Seek as _, SeekFrom};
use std::mem;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use memchr::{memchr_iter, memrchr_iter};
use rustix::fs::{Mode, OFlags};

use super::stop::is_ready;
use super::{BLOCK, Input};

/// A file, pipe or device that is being read.
pub(super) struct Source {
    file: File,
    form: Form,
    /// Bytes from the beginning of the file to the next one to be read.
    offset: u64,
    /// The offset at which reading began.
    began: u64,
    /// Lines before `began`, once somebody asked.
    lines_before: Cell<Option<u64>>,
    /// Lines handed out since.
    taken: u64,
}

/// Bytes asked for by one read of what was compressed. A decoder that comes upon damage drops what it made of the bytes
/// before in that same read: so this is no more than a few lines.
const DECODED: usize = 4 << 10;

/// What the bytes of a file are.
enum Form {
    /// Not known yet, of a pipe: it began so, which was read and not handed out.
    Unknown(Vec<u8>),
    Plain,
    Compressed(Decoder),
}

/// Reads what was compressed.
type Decoder = Box<dyn Read + Send>;

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
    /// Where it does not exist, may not be read, or is a directory.
    pub(super) fn open(input: &Input) -> io::Result<Self> {
        match input {
            Input::Stdin => Self::new(io::stdin().as_fd().try_clone_to_owned()?.into()),
            Input::File(path) => Self::open_path(path),
        }
    }

    /// Opens the file at `path`. Does not block, not even on a FIFO that nobody writes to yet: the wait for its bytes
    /// is one that can be stopped.
    pub(super) fn open_path(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self::new(rustix::fs::open(path, flags, Mode::empty())?.into())
    }

    /// Reads on from where `file` stands.
    pub(super) fn new(mut file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        let offset = if metadata.is_file() { file.stream_position()? } else { 0 };
        let form = match offset {
            0 if metadata.is_file() => form_of_file(&file)?,
            0 => Form::Unknown(Vec::new()),
            _ => Form::Plain,
        };
        Ok(Self { file, form, offset, began: offset, lines_before: Cell::new(None), taken: 0 })
    }

    /// Whether the file is known to be compressed, so that it can only be read from its beginning, and does not grow by
    /// lines.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.form, Form::Compressed(_))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The open file's own metadata, whatever stands at its path by now.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Begins with the last `count` lines of a regular file, without reading what stands before them. Where the file
    /// is still `growing`, what follows its last line end is none of them, but the beginning of the next line.
    pub(super) fn skip_to_last(&mut self, count: u64, growing: bool) -> io::Result<()> {
        let range = self.offset..self.metadata()?.len();
        let count = if growing && !ends_a_line(&self.file, range.end)? { count.saturating_add(1) } else { count };
        let begin = last_lines(&self.file, range, count, BLOCK)?;
        self.seek(begin)
    }

    /// Begins again with the first line.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.seek(0)
    }

    /// Whether the file ends before what was already read.
    pub(super) fn is_truncated(&self) -> io::Result<bool> {
        Ok(self.metadata()?.len() < self.offset)
    }

    /// Counts a line as handed out, and returns which one it is, from 1.
    pub(super) fn take_line(&mut self) -> u64 {
        self.taken += 1;
        self.taken
    }

    /// Counts lines that nobody wants as handed out.
    pub(super) fn pass_over(&mut self, lines: u64) {
        self.taken += lines;
    }

    /// The number in the file of the `taken`-th line handed out. Counts the lines that were skipped, the first time.
    pub(super) fn line_number(&self, taken: u64) -> io::Result<u64> {
        let before = match self.lines_before.get() {
            Some(lines) => lines,
            None => count_lines(&self.file, self.began)?,
        };
        self.lines_before.set(Some(before));
        Ok(before + taken)
    }

    /// Reads the first bytes of a pipe, as many as tell what it holds. They come with what is read, whatever it is.
    fn read_beginning(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Form::Unknown(beginning) = &mut self.form else { return Ok(0) };
        let mut bytes = [0; MAGIC];
        let read = self.file.read(&mut bytes[..MAGIC - beginning.len()])?;
        beginning.extend_from_slice(&bytes[..read]);
        if read > 0 && is_undecided(beginning) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let beginning = mem::take(beginning);
        let input = Cursor::new(beginning.clone()).chain(Ready(self.file.try_clone()?));
        self.form = form(&beginning, input)?;
        if self.is_compressed() {
            return self.read(buffer);
        }
        let read = (&beginning[..]).read(buffer)?;
        self.offset += read as u64;
        Ok(read)
    }

    fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.offset = self.file.seek(SeekFrom::Start(offset))?;
        (self.began, self.taken) = (offset, 0);
        self.lines_before.set(None);
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.form {
            Form::Plain => self.file.read(buffer)?,
            Form::Compressed(decoder) => {
                let some = buffer.len().min(DECODED);
                decoder.read(&mut buffer[..some])?
            }
            Form::Unknown(_) => return self.read_beginning(buffer),
        };
        self.offset += read as u64;
        Ok(read)
    }
}

/// How gzip begins [RFC 1952, 2.3.1].
const GZIP: &[u8] = &[0x1f, 0x8b];

/// How Zstandard begins [RFC 8878, 3.1.1].
const ZSTANDARD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// How many bytes tell what a file is.
const MAGIC: usize = ZSTANDARD.len();

fn form_of_file(file: &File) -> io::Result<Form> {
    let mut beginning = [0; MAGIC];
    let read = file.read_at(&mut beginning, 0)?;
    form(&beginning[..read], Ready(file.try_clone()?))
}

/// Whether the bytes to come after this beginning tell what it is.
fn is_undecided(beginning: &[u8]) -> bool {
    [GZIP, ZSTANDARD].iter().any(|magic| magic.len() > beginning.len() && magic.starts_with(beginning))
}

/// What begins so, in one part or many; `input` gives the bytes to decode, from the first one on.
fn form(beginning: &[u8], input: impl Read + Send + 'static) -> io::Result<Form> {
    Ok(if beginning.starts_with(GZIP) {
        Form::Compressed(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK, input))))
    } else if beginning.starts_with(ZSTANDARD) {
        Form::Compressed(Box::new(zstd::Decoder::new(input)?))
    } else {
        Form::Plain
    })
}

/// Reads a file without blocking: a decoder that has no more would wait for it where no stop is heard.
struct Ready(File);

impl Read for Ready {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if is_ready(&self.0)? { self.0.read(buffer) } else { Err(ErrorKind::WouldBlock.into()) }
    }
}

/// Whether both speak of one file, by whatever name.
pub(super) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether a line ends right before `end`, as one does at the beginning of the file.
fn ends_a_line(file: &File, end: u64) -> io::Result<bool> {
    let Some(last) = end.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

/// Where in `range` its last `count` lines begin. A line end at its very end ends the last of them.
fn last_lines(file: &File, range: Range<u64>, count: u64, block: usize) -> io::Result<u64> {
    if count == 0 || range.is_empty() {
        return Ok(range.end.max(range.start));
    }
    let mut buffer = vec![0; block];
    let mut remaining = count;
    let mut end = range.end - 1;
    while end > range.start {
        let length = usize::try_from(end - range.start).map_or(block, |left| left.min(block));
        let begin = end - length as u64;
        file.read_exact_at(&mut buffer[..length], begin)?;
        for line_end in memrchr_iter(b'\n', &buffer[..length]) {
            remaining -= 1;
            if remaining == 0 {
                return Ok(begin + line_end as u64 + 1);
            }
        }
        end = begin;
    }
    Ok(range.start)
}

/// Line ends in the first `end` bytes.
fn count_lines(file: &File, end: u64) -> io::Result<u64> {
    let mut buffer = vec![0; BLOCK];
    let (mut offset, mut lines) = (0, 0);
    while offset < end {
        let length = usize::try_from(end - offset).map_or(BLOCK, |left| left.min(BLOCK));
        let read = file.read_at(&mut buffer[..length], offset)?;
        if read == 0 {
            break;
        }
        lines += memchr_iter(b'\n', &buffer[..read]).count() as u64;
        offset += read as u64;
    }
    Ok(lines)
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

    proptest! {
        #[test]
        fn the_last_lines_are_the_end_of_all_lines(
            content in prop::collection::vec(prop::sample::select(b"ab\n".as_slice()), 0..100),
            count in 0_u64..12,
            block in 1_usize..20,
        ) {
            let lines: Vec<&[u8]> = content.split_inclusive(|&byte| byte == b'\n').collect();
            let last = lines.len().saturating_sub(usize::try_from(count).expect("a small number"));
            let expected: usize = lines[..last].iter().map(|line| line.len()).sum();

            let file = file_with(&content);
            let begin = last_lines(&file, 0..content.len() as u64, count, block).expect("a readable file");
            prop_assert_eq!(begin, expected as u64);
            if ends_a_line(&file, begin).expect("a readable file") {
                prop_assert_eq!(count_lines(&file, begin).expect("a readable file"), last as u64);
            }
        }
    }
}
