//! An open input: its position, its decompression and its line numbers.

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

use super::stop::is_readable;
use super::{BLOCK_SIZE, Input};

/// An open file, pipe or device.
pub(super) struct Source {
    file: File,
    encoding: Encoding,
    /// File offset of the next byte to read.
    offset: u64,
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

/// How the bytes of a file are encoded.
enum Encoding {
    /// Not known yet: a pipe of which only these bytes have been read.
    Unknown(Vec<u8>),
    Plain,
    Compressed(Decoder),
}

/// Decompresses a file.
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
    /// If it does not exist, is not readable, or is a directory.
    pub(super) fn open(input: &Input) -> io::Result<Self> {
        match input {
            Input::Stdin => Self::new(io::stdin().as_fd().try_clone_to_owned()?.into()),
            Input::File(path) => Self::open_path(path),
        }
    }

    /// Opens the file at `path`.
    ///
    /// Does not block on a FIFO without a writer. The wait for its bytes comes later, and can be stopped.
    pub(super) fn open_path(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self::new(rustix::fs::open(path, flags, Mode::empty())?.into())
    }

    /// Reads `file` from its current position on.
    pub(super) fn new(mut file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        let offset = if metadata.is_file() { file.stream_position()? } else { 0 };
        let encoding = match offset {
            0 if metadata.is_file() => encoding_of_file(&file)?,
            0 => Encoding::Unknown(Vec::new()),
            _ => Encoding::Plain,
        };
        Ok(Self { file, encoding, offset, first: offset, lines_before: Cell::new(None), taken: 0 })
    }

    /// Returns whether the file is compressed. If so, it can be read only from the start, and does not grow by lines.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.encoding, Encoding::Compressed(_))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the metadata of the open file, which may no longer be the one at its path.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Seeks to the last `count` lines of a regular file, without reading the lines before.
    ///
    /// If the file is `growing`, bytes after its last line end do not count as a line.
    pub(super) fn skip_to_last(&mut self, count: u64, growing: bool) -> io::Result<()> {
        let range = self.offset..self.metadata()?.len();
        let count = if growing && !ends_a_line(&self.file, range.end)? { count.saturating_add(1) } else { count };
        let begin = offset_of_last_lines(&self.file, range, count, BLOCK_SIZE)?;
        self.seek(begin)
    }

    /// Seeks to the first line.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.seek(0)
    }

    /// Returns whether the file is shorter than the part already read.
    pub(super) fn is_truncated(&self) -> io::Result<bool> {
        Ok(self.metadata()?.len() < self.offset)
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
    fn read_beginning(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Encoding::Unknown(beginning) = &mut self.encoding else { return Ok(0) };
        let mut bytes = [0; MAGIC_LEN];
        let read = self.file.read(&mut bytes[..MAGIC_LEN - beginning.len()])?;
        beginning.extend_from_slice(&bytes[..read]);
        if read > 0 && is_undecided(beginning) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let beginning = mem::take(beginning);
        let input = Cursor::new(beginning.clone()).chain(NonBlockingFile(self.file.try_clone()?));
        self.encoding = encoding_of(&beginning, input)?;
        if self.is_compressed() {
            return self.read(buffer);
        }
        let read = (&beginning[..]).read(buffer)?;
        self.offset += read as u64;
        Ok(read)
    }

    fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.offset = self.file.seek(SeekFrom::Start(offset))?;
        (self.first, self.taken) = (offset, 0);
        self.lines_before.set(None);
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.encoding {
            Encoding::Plain => self.file.read(buffer)?,
            Encoding::Compressed(decoder) => {
                let len = buffer.len().min(MAX_DECODED_READ);
                decoder.read(&mut buffer[..len])?
            }
            Encoding::Unknown(_) => return self.read_beginning(buffer),
        };
        self.offset += read as u64;
        Ok(read)
    }
}

/// First bytes of gzip data [RFC 1952, 2.3.1].
const GZIP: &[u8] = &[0x1f, 0x8b];

/// First bytes of Zstandard data [RFC 8878, 3.1.1].
const ZSTANDARD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Number of bytes that identify the encoding.
const MAGIC_LEN: usize = ZSTANDARD.len();

fn encoding_of_file(file: &File) -> io::Result<Encoding> {
    let mut beginning = [0; MAGIC_LEN];
    let read = file.read_at(&mut beginning, 0)?;
    encoding_of(&beginning[..read], NonBlockingFile(file.try_clone()?))
}

/// Returns whether more bytes are needed to identify the encoding.
fn is_undecided(beginning: &[u8]) -> bool {
    [GZIP, ZSTANDARD].iter().any(|magic| magic.len() > beginning.len() && magic.starts_with(beginning))
}

/// Returns the encoding of data with this beginning. `input` reads the data from its first byte on.
fn encoding_of(beginning: &[u8], input: impl Read + Send + 'static) -> io::Result<Encoding> {
    Ok(if beginning.starts_with(GZIP) {
        Encoding::Compressed(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK_SIZE, input))))
    } else if beginning.starts_with(ZSTANDARD) {
        Encoding::Compressed(Box::new(zstd::Decoder::new(input)?))
    } else {
        Encoding::Plain
    })
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

/// Returns whether `end` is directly after a line end or at the start of the file.
fn ends_a_line(file: &File, end: u64) -> io::Result<bool> {
    let Some(last) = end.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

/// Returns the offset of the last `count` lines in `range`. A line end at the end of `range` ends the last line.
fn offset_of_last_lines(file: &File, range: Range<u64>, count: u64, block: usize) -> io::Result<u64> {
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
        fn the_offset_of_the_last_lines_matches_a_simple_split(
            content in prop::collection::vec(prop::sample::select(b"ab\n".as_slice()), 0..100),
            count in 0_u64..12,
            block in 1_usize..20,
        ) {
            let lines: Vec<&[u8]> = content.split_inclusive(|&byte| byte == b'\n').collect();
            let last = lines.len().saturating_sub(usize::try_from(count).expect("a small number"));
            let expected: usize = lines[..last].iter().map(|line| line.len()).sum();

            let file = file_with(&content);
            let begin = offset_of_last_lines(&file, 0..content.len() as u64, count, block).expect("a readable file");
            prop_assert_eq!(begin, expected as u64);
            if ends_a_line(&file, begin).expect("a readable file") {
                prop_assert_eq!(count_lines(&file, begin).expect("a readable file"), last as u64);
            }
        }
    }
}
