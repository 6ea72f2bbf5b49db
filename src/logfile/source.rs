//! An open input: where in it we are, and which number a line of it has.

use std::cell::Cell;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, ErrorKind, Read, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use memchr::{memchr_iter, memrchr_iter};
use rustix::fs::{Mode, OFlags};

use super::{BLOCK, Input};

/// A file, pipe or device that is being read.
pub(super) struct Source {
    file: File,
    /// What makes lines of the file's bytes, where it is compressed.
    decoder: Option<Decoder>,
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
        let decoder = if metadata.is_file() && offset == 0 { decoder(&file)? } else { None };
        Ok(Self { file, decoder, offset, began: offset, lines_before: Cell::new(None), taken: 0 })
    }

    /// Whether the file is compressed, so that it can only be read from its beginning, and does not grow by lines.
    pub(super) fn is_compressed(&self) -> bool {
        self.decoder.is_some()
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

    fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.offset = self.file.seek(SeekFrom::Start(offset))?;
        (self.began, self.taken) = (offset, 0);
        self.lines_before.set(None);
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Some(decoder) => {
                let some = buffer.len().min(DECODED);
                decoder.read(&mut buffer[..some])?
            }
            None => self.file.read(buffer)?,
        };
        self.offset += read as u64;
        Ok(read)
    }
}

/// A decoder for a file that begins as gzip [RFC 1952, 2.3.1] or Zstandard [RFC 8878, 3.1.1] does, of one part or many.
fn decoder(file: &File) -> io::Result<Option<Decoder>> {
    let mut magic = [0; 4];
    let read = file.read_at(&mut magic, 0)?;
    Ok(match &magic[..read] {
        [0x1f, 0x8b, ..] => Some(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK, file.try_clone()?)))),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(Box::new(zstd::Decoder::new(file.try_clone()?)?)),
        _ => None,
    })
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
