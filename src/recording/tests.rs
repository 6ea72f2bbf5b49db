//! Tests of whole readers on real files and pipes.
//!
//! A following reader runs in a thread and sends its items through a channel. Tests wait for items, never for time.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, PipeWriter, Seek as _, SeekFrom, Write as _, pipe};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// An item with owned data.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Line(u64, String),
    TooLong(u64),
    Idle,
    Truncated,
    Replaced,
    Lost,
    Nuls(u64),
    End,
}

impl Seen {
    fn of(item: &Item<'_>) -> Self {
        match item {
            Item::Line(line) => {
                Self::Line(line.number().expect("a readable file"), String::from_utf8_lossy(line.bytes).into_owned())
            }
            Item::TooLong { number } => Self::TooLong(*number),
            Item::Idle => Self::Idle,
            Item::FileChange(FileChange::Truncated) => Self::Truncated,
            Item::FileChange(FileChange::Replaced) => Self::Replaced,
            Item::FileChange(FileChange::Lost(_)) => Self::Lost,
            Item::FileChange(FileChange::Nuls { count }) => Self::Nuls(*count),
        }
    }
}

/// Counts every line.
struct EveryLine;

impl LineSearch for EveryLine {
    fn find(&self, _: &[u8]) -> Option<usize> {
        Some(0)
    }

    fn classify(&mut self, _: &[u8]) -> LineClass {
        LineClass::Relevant(1)
    }
}

fn line(number: u64, text: &str) -> Seen {
    Seen::Line(number, text.to_owned())
}

fn stop() -> Stop {
    Stop::new().expect("a pipe")
}

/// Returns a reader of a pipe, and the pipe's write end.
fn piped(stop: Stop) -> (Reader, PipeWriter) {
    let (read, write) = pipe().expect("a pipe");
    let source = Source::new(OwnedFd::from(read).into()).expect("an open pipe");
    (Reader::new(Input::Stdin, source, Start::Everything, false, stop).expect("a reader"), write)
}

/// Returns all items of a reader.
fn all_items(mut reader: Reader) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some(item) = reader.next_item().expect("a readable input") {
        all.push(Seen::of(&item));
    }
    all
}

/// Returns the items of a file with this content.
fn lines_of_file(content: &[u8]) -> Vec<Seen> {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, content).expect("a file");
    all_items(Reader::open(path.into(), Start::Everything, false, stop()).expect("a reader"))
}

/// Returns the last lines of a file with this content.
fn last_lines(content: &[u8], count: u64) -> Vec<Seen> {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, content).expect("a file");
    let start = Start::Last(count, &mut EveryLine);
    let reader = Reader::open(path.into(), start, false, stop()).expect("a reader");
    let last_count = reader.last_count();
    let items = all_items(reader);
    assert_eq!(last_count.unwrap_or(0), items.len() as u64);
    items
}

/// Returns the items of a pipe, without [`Seen::Idle`].
fn lines_of_pipe(content: &[u8]) -> Vec<Seen> {
    let (reader, mut write) = piped(stop());
    thread::scope(|scope| {
        scope.spawn(move || write.write_all(content).expect("a reader at the other end"));
        all_items(reader).into_iter().filter(|seen| *seen != Seen::Idle).collect()
    })
}

fn number_lines(content: &[u8]) -> Vec<Seen> {
    let text = String::from_utf8(content.to_vec()).expect("text");
    (1..).zip(text.lines()).map(|(number, text)| line(number, text)).collect()
}

proptest! {
    #[test]
    fn the_last_lines_of_a_file_are_the_last_of_all_lines(
        content in prop::collection::vec(prop::sample::select(b"ab\n".as_slice()), 0..100),
        count in 0_usize..12,
    ) {
        let all = number_lines(&content);
        let last = &all[all.len().saturating_sub(count)..];
        prop_assert_eq!(&lines_of_file(&content), &all);
        prop_assert_eq!(&lines_of_pipe(&content), &all);
        prop_assert_eq!(last_lines(&content, count as u64), last);
    }
}

#[test]
fn lines_keep_their_numbers_over_many_blocks() {
    let content: Vec<u8> = (0..100_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    assert!(content.len() > 4 * BLOCK_SIZE);
    let all = number_lines(&content);
    assert_eq!(lines_of_file(&content), all);
    assert_eq!(last_lines(&content, 3), all[all.len() - 3..]);
    assert_eq!(last_lines(&content, 90_000), all[all.len() - 90_000..]);
}

#[test]
fn a_line_that_is_too_long_is_reported_by_its_number_and_skipped() {
    let mut content = b"first\n".to_vec();
    content.resize(content.len() + MAX_LINE + 1, b'x');
    content.extend(b"\nthird\n");
    let expected = [line(1, "first"), Seen::TooLong(2), line(3, "third")];
    assert_eq!(lines_of_file(&content), expected);
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, &content).expect("a file");
    let reader = Reader::open(path.into(), Start::Last(2, &mut EveryLine), false, stop()).expect("a reader");
    // A line that is too long is not a record, so it does not count.
    assert_eq!((reader.last_count(), all_items(reader)), (Some(2), expected.to_vec()));
}

#[test]
fn byte_order_marks_carriage_returns_and_nuls_are_not_part_of_a_line() {
    let nuls = "\0".repeat(3 * BLOCK_SIZE);
    for (content, expected) in [
        ("\u{feff}one\r\ntwo\r".to_owned(), vec![line(1, "one"), line(2, "two")]),
        ("one\n\u{feff}two\n".to_owned(), vec![line(1, "one"), line(2, "two")]),
        (format!("{nuls}one\n"), vec![Seen::Nuls(nuls.len() as u64), line(1, "one")]),
        (format!("one\n{nuls}"), vec![line(1, "one"), Seen::Nuls(nuls.len() as u64)]),
        ("one\n\0\0\ntwo\n".to_owned(), vec![line(1, "one"), Seen::Nuls(2), line(2, ""), line(3, "two")]),
    ] {
        assert_eq!(lines_of_file(content.as_bytes()), expected);
        assert_eq!(lines_of_pipe(content.as_bytes()), expected);
    }
    // A hole may be larger than the longest line.
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    let mut file = File::create_new(&path).expect("a file");
    file.set_len(2 * MAX_LINE as u64).expect("room for a hole");
    write(OpenOptions::new().append(true).open(&path).expect("the file"), "one\ntwo\n");
    let _ = file.flush();
    let reader = Reader::open(path.clone().into(), Start::Everything, false, stop()).expect("a reader");
    assert_eq!(all_items(reader), [Seen::Nuls(2 * MAX_LINE as u64), line(1, "one"), line(2, "two")]);
    let reader = Reader::open(path.into(), Start::Last(2, &mut EveryLine), false, stop()).expect("a reader");
    assert_eq!(all_items(reader), [line(1, "one"), line(2, "two")]);
}

#[test]
fn an_encoding_that_is_not_supported_is_an_error_of_files_and_pipes() {
    let utf_16: Vec<u8> = "\u{feff}{\"received\":".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content, encoding) in
        [(b"\xfd7zXZ\0\0\x04".to_vec(), UnsupportedEncoding::Xz), (utf_16, UnsupportedEncoding::Utf16)]
    {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("log");
        fs::write(&path, &content).expect("a file");
        let input = Input::from(path);
        let error = Reader::open(input.clone(), Start::Everything, false, stop()).err().expect("an error");
        assert_eq!(error.input, input);
        assert!(
            matches!(error.kind, InputErrorKind::Open(SourceError::Unsupported(it)) if it == encoding),
            "{error:?}"
        );

        let (mut reader, mut pipe_end) = piped(stop());
        pipe_end.write_all(&content).expect("a reader");
        drop(pipe_end);
        let error = std::iter::repeat_with(|| reader.next_item().map(|_| ())).find_map(Result::err).expect("an error");
        assert!(
            matches!(error.kind, InputErrorKind::Read(SourceError::Unsupported(it)) if it == encoding),
            "{error:?}"
        );
    }
}

#[test]
fn a_dash_is_standard_input() {
    assert_eq!(Input::from(PathBuf::from("-")), Input::Stdin);
    assert_eq!(Input::from(PathBuf::from("./-")), Input::File("./-".into()));
}

#[test]
fn an_error_on_opening_names_the_file() {
    let directory = TempDir::new().expect("a directory");
    let missing = directory.path().join("missing");
    for (path, expected) in [(missing.as_path(), ErrorKind::NotFound), (directory.path(), ErrorKind::IsADirectory)] {
        let input = Input::File(path.to_owned());
        let error = Reader::open(input.clone(), Start::Everything, true, stop()).err().expect("an error");
        assert_eq!(error.input, input);
        assert!(matches!(&error.kind, InputErrorKind::Open(reason) if reason.io_kind() == Some(expected)), "{error:?}");
    }
}

/// A reader that runs in a thread.
struct Running {
    seen: Receiver<Seen>,
    stop: Stop,
}

/// Longer than any step takes on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(1);

impl Running {
    /// Runs the reader that `open` returns. Opening also happens in the thread, so that it cannot block the test.
    fn new(open: impl FnOnce(Stop) -> Reader + Send + 'static) -> Self {
        let (sender, seen) = channel();
        let stop = stop();
        let reader_stop = stop.clone();
        thread::spawn(move || send_items(open(reader_stop), &sender));
        Self { seen, stop }
    }

    fn follow(path: &Path) -> Self {
        let input = Input::File(path.to_owned());
        Self::new(move |stop| Reader::open(input, Start::Everything, true, stop).expect("a reader"))
    }

    fn follow_last(path: &Path, count: u64) -> Self {
        let input = Input::File(path.to_owned());
        Self::new(move |stop| Reader::open(input, Start::Last(count, &mut EveryLine), true, stop).expect("a reader"))
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(TIMEOUT).expect("an item")
    }

    /// Asserts that the next item other than [`Seen::Idle`] is the expected one.
    #[track_caller]
    fn expect(&self, expected: &Seen) {
        let item = std::iter::repeat_with(|| self.next()).find(|seen| *seen != Seen::Idle);
        assert_eq!(item.as_ref(), Some(expected));
    }

    /// Asserts that the next item is [`Seen::Idle`], so everything has been read.
    #[track_caller]
    fn expect_idle(&self) {
        assert_eq!(self.next(), Seen::Idle);
    }

    /// Returns the next lines, up to and including `last`.
    fn lines_until(&self, last: &str) -> Vec<(u64, String)> {
        let mut lines = Vec::new();
        loop {
            match self.next() {
                Seen::Line(number, text) => {
                    let is_last = text == last;
                    lines.push((number, text));
                    if is_last {
                        return lines;
                    }
                }
                Seen::End => return lines,
                _ => {}
            }
        }
    }

    #[track_caller]
    fn expect_stop(self) {
        self.stop.stop();
        self.expect(&Seen::End);
    }
}

fn send_items(mut reader: Reader, seen: &Sender<Seen>) {
    while let Some(item) = reader.next_item().expect("a readable input") {
        if seen.send(Seen::of(&item)).is_err() {
            return;
        }
    }
    // The test may already have ended.
    let _ = seen.send(Seen::End);
}

/// Returns a followed file whose `content` has been read.
fn followed(content: &str) -> (TempDir, PathBuf, Running) {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, content).expect("a file");
    let running = Running::follow(&path);
    for (number, text) in (1..).zip(content.split_inclusive('\n').filter_map(|text| text.strip_suffix('\n'))) {
        running.expect(&line(number, text));
    }
    running.expect_idle();
    (directory, path, running)
}

fn append(path: &Path) -> File {
    OpenOptions::new().append(true).open(path).expect("the file")
}

fn write(mut to: impl std::io::Write, text: &str) {
    to.write_all(text.as_bytes()).expect("room for it");
}

#[test]
fn idle_comes_before_waiting_for_a_pipe() {
    let (read, mut pipe_end) = pipe().expect("a pipe");
    write(&mut pipe_end, "one\ntwo\npar");
    let running = Running::new(move |stop| {
        let source = Source::new(OwnedFd::from(read).into()).expect("an open pipe");
        Reader::new(Input::Stdin, source, Start::Everything, true, stop).expect("a reader")
    });
    assert_eq!([running.next(), running.next(), running.next()], [line(1, "one"), line(2, "two"), Seen::Idle]);
    write(&mut pipe_end, "tial\nrest");
    running.expect(&line(3, "partial"));
    running.expect_idle();
    drop(pipe_end);
    running.expect(&line(4, "rest"));
    running.expect(&Seen::End);
}

#[test]
fn a_stop_ends_the_wait_for_a_pipe_and_discards_a_partial_line() {
    let (read, mut pipe_end) = pipe().expect("a pipe");
    let running = Running::new(move |stop| {
        let source = Source::new(OwnedFd::from(read).into()).expect("an open pipe");
        Reader::new(Input::Stdin, source, Start::Everything, false, stop).expect("a reader")
    });
    write(&mut pipe_end, "one\nhalf");
    running.expect(&line(1, "one"));
    running.expect_idle();
    running.expect_stop();
}

#[test]
fn a_stop_ends_the_wait_for_a_fifo_without_a_writer() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    let running = Running::follow(&path);
    running.expect_idle();
    running.expect_stop();

    let running = Running::follow(&path);
    running.expect_idle();
    write(OpenOptions::new().write(true).open(&path).expect("the FIFO"), "one\n");
    running.expect(&line(1, "one"));
    running.expect(&Seen::End);
}

#[test]
fn a_stop_takes_effect_before_lines_already_read() {
    let stop = stop();
    let (mut reader, mut pipe_end) = piped(stop.clone());
    write(&mut pipe_end, "one\ntwo\n");
    assert_eq!(reader.next_item().expect("a readable pipe").map(|item| Seen::of(&item)), Some(line(1, "one")));
    stop.stop();
    stop.stop();
    assert!(reader.next_item().expect("a readable pipe").is_none());
}

#[test]
fn a_followed_file_returns_appended_lines_once_they_are_complete() {
    let (_directory, path, running) = followed("one\npar");
    write(append(&path), "tial\nthree\n");
    running.expect(&line(2, "partial"));
    running.expect(&line(3, "three"));
    running.expect_stop();
}

#[test]
fn line_numbers_continue_when_following_from_the_last_lines() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, "one\ntwo\nthree\n").expect("a file");
    let running = Running::follow_last(&path, 1);
    running.expect(&line(3, "three"));
    running.expect_idle();
    write(append(&path), "four\n");
    running.expect(&line(4, "four"));
    running.expect_stop();
}

#[test]
fn a_partial_line_does_not_count_as_one_of_the_last_lines_of_a_followed_file() {
    for (count, before) in [(0, vec![]), (1, vec![line(2, "two")])] {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("log");
        fs::write(&path, "one\ntwo\nhal").expect("a file");
        let running = Running::follow_last(&path, count);
        for line in &before {
            running.expect(line);
        }
        running.expect_idle();
        write(append(&path), "f\n");
        running.expect(&line(3, "half"));
        running.expect_stop();
    }
}

#[test]
fn a_truncated_file_is_read_again_from_the_start() {
    let (_directory, path, running) = followed("one\ntwo\nhalf");
    let file = append(&path);
    file.set_len(0).expect("the file");
    write(&file, "new\n");
    running.expect(&Seen::Truncated);
    running.expect(&line(1, "new"));
    running.expect_stop();
}

#[test]
fn a_truncated_file_that_has_grown_past_the_position_is_read_again_from_the_start() {
    for grown in ["new 1\nnew 2\nnew 3\n", "new\n012345", "012345\nnew\n"] {
        let (_directory, path, running) = followed("one\ntwo\n");
        // One system call: the reader sees no shorter file.
        let new = path.with_extension("new");
        fs::write(&new, grown).expect("a file");
        copy_over(&new, &path);
        running.expect(&Seen::Truncated);
        for (number, text) in (1..).zip(grown.split_inclusive('\n').filter_map(|text| text.strip_suffix('\n'))) {
            running.expect(&line(number, text));
        }
        write(append(&path), "\nlast\n");
        running.lines_until("last");
        running.expect_stop();
    }
}

/// Overwrites a file in place, and truncates it afterwards.
fn copy_over(from: &Path, to: &Path) {
    let content = fs::read(from).expect("a file");
    let mut file = OpenOptions::new().write(true).open(to).expect("the file");
    file.write_all(&content).expect("room for it");
    file.set_len(content.len() as u64).expect("the file");
}

#[test]
fn a_writer_that_keeps_its_position_after_a_truncation_leaves_nuls() {
    let (_directory, path, running) = followed("one\ntwo\n");
    let mut writer = OpenOptions::new().write(true).open(&path).expect("the file");
    writer.seek(SeekFrom::End(0)).expect("a file");
    File::create(&path).expect("the file");
    write(&writer, "three\n");
    running.expect(&Seen::Truncated);
    running.expect(&Seen::Nuls(8));
    running.expect(&line(1, "three"));
    write(&writer, "four\n");
    running.expect(&line(2, "four"));
    running.expect_stop();
}

#[test]
fn a_replaced_file_is_read_to_its_end_before_the_new_one() {
    let (directory, path, running) = followed("one\n");
    let old = append(&path);
    fs::rename(&path, directory.path().join("log.1")).expect("the file");
    running.expect(&Seen::Lost);
    let new = File::create_new(&path).expect("a new file");
    running.expect_idle();
    running.expect_idle();
    write(&old, "two\nhalf");
    running.expect(&line(2, "two"));
    write(&new, "three\n");
    running.expect(&line(3, "half"));
    running.expect(&Seen::Replaced);
    running.expect(&line(1, "three"));
    write(&new, "four\n");
    running.expect(&line(2, "four"));
    running.expect_stop();
}

#[test]
fn a_deleted_file_is_followed_once_it_exists_again() {
    let (_directory, path, running) = followed("one\n");
    fs::remove_file(&path).expect("the file");
    running.expect(&Seen::Lost);
    running.expect_idle();
    running.expect_idle();
    fs::write(&path, "two\n").expect("a file");
    running.expect(&Seen::Replaced);
    running.expect(&line(1, "two"));
    fs::remove_file(&path).expect("the file");
    running.expect(&Seen::Lost);
    running.expect_stop();
}

#[test]
fn a_file_replaced_by_a_directory_is_followed_once_it_is_back() {
    let (_directory, path, running) = followed("one\n");
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).expect("the file");
    fs::create_dir(&path).expect("a directory");
    running.expect(&Seen::Lost);
    fs::remove_dir(&path).expect("the directory");
    fs::rename(&aside, &path).expect("the file");
    write(append(&path), "two\n");
    running.expect(&line(2, "two"));
    running.expect_stop();
}

#[test]
fn rotation_under_load_neither_loses_nor_repeats_lines() {
    let (directory, path, running) = followed("");
    let mut expected = Vec::new();
    let mut lines = Vec::new();
    for file in 0..4 {
        let mut log = append(&path);
        for n in 1..=2000 {
            let text = format!("line {n} of file {file}");
            write(&mut log, &format!("{text}\n"));
            expected.push((n, text));
        }
        // The next rotation happens while most lines of this file have not been returned.
        let first = format!("line 1 of file {file}");
        lines.extend(running.lines_until(&first));
        fs::rename(&path, directory.path().join(format!("log.{file}"))).expect("the file");
        File::create_new(&path).expect("a new file");
    }
    lines.extend(running.lines_until("line 2000 of file 3"));
    assert!(lines == expected, "{} lines of {}", lines.len(), expected.len());
    running.expect_stop();
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("writing to a Vec never fails");
    encoder.finish().expect("writing to a Vec never fails")
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).expect("writing to a Vec never fails")
}

type Compress = fn(&[u8]) -> Vec<u8>;

const COMPRESSIONS: [Compress; 2] = [gzip, zstd];

#[test]
fn a_compressed_file_is_decompressed() {
    let (all, content) = (number_lines(b"one\ntwo\nthree\n"), [&b"one\n"[..], b"two\nthree\n"]);
    for compress in COMPRESSIONS {
        let bytes = content.map(compress).concat();
        assert_eq!(lines_of_file(&bytes), all);
        assert_eq!(lines_of_pipe(&bytes), all);
        let padded = [&bytes[..], &vec![0; 100_000]].concat();
        assert_eq!(lines_of_file(&padded), all);
        assert_eq!(lines_of_pipe(&padded), all);
    }
}

#[test]
fn a_compressed_file_is_read_from_its_start() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    for (content, last_count) in [(gzip(b"one\n"), None), (zstd(b"one\n"), None), (b"one\n".to_vec(), Some(1))] {
        fs::write(&path, content).expect("a file");
        let reader =
            Reader::open(path.clone().into(), Start::Last(2, &mut EveryLine), false, stop()).expect("a reader");
        assert_eq!((reader.last_count(), all_items(reader)), (last_count, vec![line(1, "one")]));
    }
}

/// Returns a running reader of a pipe, and the pipe's write end.
fn running_on_pipe() -> (Running, PipeWriter) {
    let (read, pipe_end) = pipe().expect("a pipe");
    let running = Running::new(move |stop| {
        let source = Source::new(OwnedFd::from(read).into()).expect("an open pipe");
        Reader::new(Input::Stdin, source, Start::Everything, false, stop).expect("a reader")
    });
    (running, pipe_end)
}

#[test]
fn compression_of_a_pipe_is_detected_from_single_bytes() {
    let content: Vec<u8> = (0..20_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    for compress in COMPRESSIONS {
        let (running, mut pipe_end) = running_on_pipe();
        let bytes = compress(&content);
        for byte in &bytes[..6] {
            running.expect_idle();
            pipe_end.write_all(&[*byte]).expect("a reader");
        }
        pipe_end.write_all(&bytes[6..]).expect("a reader");
        // All lines are returned while the pipe is still open.
        for seen in number_lines(&content) {
            running.expect(&seen);
        }
        drop(pipe_end);
        running.expect(&Seen::End);
    }
}

#[test]
fn a_pipe_that_only_starts_like_compressed_data_loses_nothing() {
    for content in ["(", "(\n", "(a\nb\n", "\u{1f}\n", "a\nb", "\n"] {
        let all = number_lines(content.as_bytes());
        assert_eq!(lines_of_pipe(content.as_bytes()), all, "{content:?}");
    }
    let (running, mut pipe_end) = running_on_pipe();
    running.expect_idle();
    write(&mut pipe_end, "\n");
    running.expect(&line(1, ""));
}

/// Returns the items of a file before its error. Panics if there is no error.
fn items_before_error(content: &[u8]) -> Vec<Seen> {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, content).expect("a file");
    let mut reader = Reader::open(path.into(), Start::Everything, false, stop()).expect("a reader");
    let mut all = Vec::new();
    while let Ok(item) = reader.next_item() {
        all.push(Seen::of(&item.expect("an error before the end")));
    }
    assert!(reader.next_item().expect("only one error").is_none());
    all
}

#[test]
fn lines_before_damaged_data_are_returned_before_the_error() {
    let content = b"one\ntwo\nthree\nrest";
    let mut expected = number_lines(content);
    expected.push(Seen::Idle);
    for compress in COMPRESSIONS {
        let garbage_after = [&compress(content)[..], b"garbage after it"].concat();
        assert_eq!(items_before_error(&garbage_after), expected);
    }
}

#[test]
fn a_truncated_compressed_file_returns_its_complete_lines() {
    let content: Vec<u8> = (0..100_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let all = number_lines(&content);
    for compress in COMPRESSIONS {
        let mut bytes = compress(&content);
        bytes.truncate(bytes.len() / 2);
        let lines = items_before_error(&bytes);
        // The last two items are the partial line and `Idle`.
        assert!(lines.len() > 10_000, "{} lines", lines.len());
        assert_eq!(lines[..lines.len() - 2], all[..lines.len() - 2]);
    }
}
