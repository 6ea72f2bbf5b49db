//! Whole readers, on real files and pipes. What follows runs in a thread and reports through a channel; a test waits
//! for reports alone, never for time to pass.

use std::fs::{self, File, OpenOptions};
use std::io::{PipeWriter, Write as _, pipe};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// An item that outlives its reader's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Line(u64, String),
    TooLong(u64),
    Idle,
    Truncated,
    Replaced,
    Lost,
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
            Item::Notice(Notice::Truncated) => Self::Truncated,
            Item::Notice(Notice::Replaced) => Self::Replaced,
            Item::Notice(Notice::Lost(_)) => Self::Lost,
        }
    }
}

fn line(number: u64, text: &str) -> Seen {
    Seen::Line(number, text.to_owned())
}

fn stop() -> Stop {
    Stop::new().expect("a pipe")
}

/// A reader of a pipe, and the pipe's other end.
fn piped(start: Start, stop: Stop) -> (Reader, PipeWriter) {
    let (read, write) = pipe().expect("a pipe");
    let source = Source::new(OwnedFd::from(read).into()).expect("an open pipe");
    (Reader::new(Input::Stdin, source, start, false, stop).expect("a reader"), write)
}

/// All that a reader hands out, to its end.
fn everything(mut reader: Reader) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some(item) = reader.next_item().expect("a readable input") {
        all.push(Seen::of(&item));
    }
    all
}

/// The lines of a file in a directory of its own.
fn lines_of_file(content: &[u8], start: Start) -> Vec<Seen> {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, content).expect("a file");
    everything(Reader::open(path.into(), start, false, stop()).expect("a reader"))
}

/// The lines of a pipe.
fn lines_of_pipe(content: &[u8], start: Start) -> Vec<Seen> {
    let (reader, mut write) = piped(start, stop());
    thread::scope(|scope| {
        scope.spawn(move || write.write_all(content).expect("a reader at the other end"));
        everything(reader).into_iter().filter(|seen| *seen != Seen::Idle).collect()
    })
}

fn number_lines(content: &[u8]) -> Vec<Seen> {
    let text = String::from_utf8(content.to_vec()).expect("text");
    (1..).zip(text.lines()).map(|(number, text)| line(number, text)).collect()
}

proptest! {
    #[test]
    fn the_last_lines_of_a_file_and_of_a_pipe_are_the_last_of_all_lines(
        content in prop::collection::vec(prop::sample::select(b"ab\n".as_slice()), 0..100),
        count in 0_usize..12,
    ) {
        let all = number_lines(&content);
        let last = &all[all.len().saturating_sub(count)..];
        prop_assert_eq!(&lines_of_file(&content, Start::Everything), &all);
        prop_assert_eq!(&lines_of_pipe(&content, Start::Everything), &all);
        prop_assert_eq!(lines_of_file(&content, Start::Last(count as u64)), last);
        prop_assert_eq!(lines_of_pipe(&content, Start::Last(count as u64)), last);
    }
}

#[test]
fn lines_keep_their_numbers_over_many_blocks() {
    let content: Vec<u8> = (0..100_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    assert!(content.len() > 4 * BLOCK);
    let all = number_lines(&content);
    assert_eq!(lines_of_file(&content, Start::Everything), all);
    assert_eq!(lines_of_file(&content, Start::Last(3)), all[all.len() - 3..]);
    assert_eq!(lines_of_pipe(&content, Start::Last(3)), all[all.len() - 3..]);
}

#[test]
fn a_line_that_is_too_long_is_reported_by_its_number_and_skipped() {
    let mut content = b"first\n".to_vec();
    content.resize(content.len() + MAX_LINE + 1, b'x');
    content.extend(b"\nthird\n");
    let expected = [line(1, "first"), Seen::TooLong(2), line(3, "third")];
    assert_eq!(lines_of_file(&content, Start::Everything), expected);
    assert_eq!(lines_of_file(&content, Start::Last(2)), expected[1..]);
    assert_eq!(lines_of_pipe(&content, Start::Last(2)), expected[1..]);
}

#[test]
fn a_dash_is_standard_input() {
    assert_eq!(Input::from(PathBuf::from("-")), Input::Stdin);
    assert_eq!(Input::from(PathBuf::from("./-")), Input::File("./-".into()));
}

#[test]
fn what_cannot_be_opened_is_an_error_that_names_it() {
    let directory = TempDir::new().expect("a directory");
    let missing = directory.path().join("missing");
    for (path, reason) in [(missing.as_path(), "No such file or directory"), (directory.path(), "is a directory")] {
        let input = Input::File(path.to_owned());
        let error = Reader::open(input, Start::Everything, true, stop()).err().expect("an error");
        let expected = format!("cannot open {}: {reason}", path.display());
        assert!(format!("{error:#}").starts_with(&expected), "{error:#}");
    }
}

/// A reader at work in a thread of its own.
struct Running {
    seen: Receiver<Seen>,
    stop: Stop,
}

/// Longer than anything here takes on the slowest machine.
const LONG: Duration = Duration::from_secs(60);

impl Running {
    /// Runs the reader that `open` makes: it is opened in its thread, so that even that may not block the test.
    fn new(open: impl FnOnce(Stop) -> Reader + Send + 'static) -> Self {
        let (sender, seen) = channel();
        let stop = stop();
        let theirs = stop.clone();
        thread::spawn(move || report(open(theirs), &sender));
        Self { seen, stop }
    }

    fn follow(path: &Path, start: Start) -> Self {
        let input = Input::File(path.to_owned());
        Self::new(move |stop| Reader::open(input, start, true, stop).expect("a reader"))
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(LONG).expect("an item")
    }

    /// The next item that is not [`Seen::Idle`] is the expected one.
    #[track_caller]
    fn expect(&self, expected: &Seen) {
        let item = std::iter::repeat_with(|| self.next()).find(|seen| *seen != Seen::Idle);
        assert_eq!(item.as_ref(), Some(expected));
    }

    /// The next item is [`Seen::Idle`]: all that was there is read.
    #[track_caller]
    fn expect_idle(&self) {
        assert_eq!(self.next(), Seen::Idle);
    }

    /// The lines to come, up to `last`.
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

fn report(mut reader: Reader, seen: &Sender<Seen>) {
    while let Some(item) = reader.next_item().expect("a readable input") {
        if seen.send(Seen::of(&item)).is_err() {
            return;
        }
    }
    // A test that has seen enough is gone by now.
    let _ = seen.send(Seen::End);
}

/// A file that is followed from its beginning, `content` of it read.
fn followed(content: &str) -> (TempDir, PathBuf, Running) {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, content).expect("a file");
    let running = Running::follow(&path, Start::Everything);
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
fn before_a_wait_for_a_pipe_comes_idle() {
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
fn a_stop_ends_the_wait_for_a_pipe_without_its_half_line() {
    let (read, mut pipe_end) = pipe().expect("a pipe");
    let running = Running::new(move |stop| {
        let source = Source::new(OwnedFd::from(read).into()).expect("an open pipe");
        Reader::new(Input::Stdin, source, Start::Last(5), false, stop).expect("a reader")
    });
    write(&mut pipe_end, "one\nhalf");
    running.expect_stop();
}

#[test]
fn a_stop_ends_the_wait_for_a_fifo_that_nobody_opened() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    let running = Running::follow(&path, Start::Everything);
    running.expect_idle();
    running.expect_stop();

    let running = Running::follow(&path, Start::Everything);
    running.expect_idle();
    write(OpenOptions::new().write(true).open(&path).expect("the FIFO"), "one\n");
    running.expect(&line(1, "one"));
    running.expect(&Seen::End);
}

#[test]
fn a_stop_comes_before_lines_already_read() {
    let stop = stop();
    let (mut reader, mut pipe_end) = piped(Start::Everything, stop.clone());
    write(&mut pipe_end, "one\ntwo\n");
    assert_eq!(reader.next_item().expect("a readable pipe").map(|item| Seen::of(&item)), Some(line(1, "one")));
    stop.stop();
    stop.stop();
    assert!(reader.next_item().expect("a readable pipe").is_none());
}

#[test]
fn a_followed_file_goes_on_as_it_grows_and_a_partial_line_waits_for_its_rest() {
    let (_directory, path, running) = followed("one\npar");
    write(append(&path), "tial\nthree\n");
    running.expect(&line(2, "partial"));
    running.expect(&line(3, "three"));
    running.expect_stop();
}

#[test]
fn following_from_the_last_lines_goes_on_with_their_numbers() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, "one\ntwo\nthree\n").expect("a file");
    let running = Running::follow(&path, Start::Last(1));
    running.expect(&line(3, "three"));
    running.expect_idle();
    write(append(&path), "four\n");
    running.expect(&line(4, "four"));
    running.expect_stop();
}

#[test]
fn a_half_line_is_none_of_the_last_lines_of_a_followed_file_but_the_next_to_come() {
    for (count, before) in [(0, vec![]), (1, vec![line(2, "two")])] {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("log");
        fs::write(&path, "one\ntwo\nhal").expect("a file");
        let running = Running::follow(&path, Start::Last(count));
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
fn a_truncated_file_is_read_again_from_its_beginning() {
    let (_directory, path, running) = followed("one\ntwo\nhalf");
    let file = append(&path);
    file.set_len(0).expect("the file");
    write(&file, "new\n");
    running.expect(&Seen::Truncated);
    running.expect(&line(1, "new"));
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
fn a_deleted_file_is_waited_for() {
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
fn a_followed_file_whose_place_a_directory_takes_is_waited_for() {
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
fn rotations_under_load_lose_no_line_and_repeat_none() {
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
        // The next rotation comes while most lines of this file are still to be handed out.
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
    encoder.write_all(content).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).expect("a Vec takes all")
}

type Compress = fn(&[u8]) -> Vec<u8>;

const WAYS: [Compress; 2] = [gzip, zstd];

#[test]
fn a_compressed_file_is_read_as_what_was_compressed() {
    let (all, content) = (number_lines(b"one\ntwo\nthree\n"), [&b"one\n"[..], b"two\nthree\n"]);
    for compress in WAYS {
        let bytes = content.map(compress).concat();
        assert_eq!(lines_of_file(&bytes, Start::Everything), all);
        assert_eq!(lines_of_file(&bytes, Start::Last(2)), all[1..]);
        assert_eq!(lines_of_pipe(&bytes, Start::Everything), all);
        assert_eq!(lines_of_pipe(&bytes, Start::Last(2)), all[1..]);
    }
}

/// A reader at work on a pipe, and the pipe's other end.
fn running_on_pipe() -> (Running, PipeWriter) {
    let (read, pipe_end) = pipe().expect("a pipe");
    let running = Running::new(move |stop| {
        let source = Source::new(OwnedFd::from(read).into()).expect("an open pipe");
        Reader::new(Input::Stdin, source, Start::Everything, false, stop).expect("a reader")
    });
    (running, pipe_end)
}

#[test]
fn a_compressed_pipe_is_known_by_bytes_that_come_one_by_one() {
    let content: Vec<u8> = (0..20_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    for compress in WAYS {
        let (running, mut pipe_end) = running_on_pipe();
        let bytes = compress(&content);
        for byte in &bytes[..6] {
            running.expect_idle();
            pipe_end.write_all(&[*byte]).expect("a reader");
        }
        pipe_end.write_all(&bytes[6..]).expect("a reader");
        // The pipe stays open, and yet all that came is handed out.
        for seen in number_lines(&content) {
            running.expect(&seen);
        }
        drop(pipe_end);
        running.expect(&Seen::End);
    }
}

#[test]
fn a_pipe_that_only_begins_like_a_compressed_one_loses_nothing() {
    for content in ["(", "(\n", "(a\nb\n", "\u{1f}\n", "a\nb", "\n"] {
        let all = number_lines(content.as_bytes());
        assert_eq!(lines_of_pipe(content.as_bytes(), Start::Everything), all, "{content:?}");
    }
    let (running, mut pipe_end) = running_on_pipe();
    running.expect_idle();
    write(&mut pipe_end, "\n");
    running.expect(&line(1, ""));
}

/// What a reader of a file hands out before its error, which must come.
fn before_the_error(content: &[u8], start: Start) -> Vec<Seen> {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, content).expect("a file");
    let mut reader = Reader::open(path.into(), start, false, stop()).expect("a reader");
    let mut all = Vec::new();
    while let Ok(item) = reader.next_item() {
        all.push(Seen::of(&item.expect("an error before the end")));
    }
    assert!(reader.next_item().expect("one error alone").is_none());
    all
}

#[test]
fn what_was_decoded_before_damage_is_handed_out_and_flushed_before_the_error() {
    let content = b"one\ntwo\nthree\nrest";
    let mut expected = number_lines(content);
    expected.push(Seen::Idle);
    for compress in WAYS {
        let garbage_after = [&compress(content)[..], b"garbage after it"].concat();
        assert_eq!(before_the_error(&garbage_after, Start::Everything), expected);
        assert_eq!(before_the_error(&garbage_after, Start::Last(2)), expected[2..]);
    }
}

#[test]
fn a_compressed_file_that_was_cut_off_gives_the_lines_it_still_has() {
    let content: Vec<u8> = (0..100_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let all = number_lines(&content);
    for compress in WAYS {
        let mut bytes = compress(&content);
        bytes.truncate(bytes.len() / 2);
        let lines = before_the_error(&bytes, Start::Everything);
        // The last two are the half line and the time to flush.
        assert!(lines.len() > 10_000, "{} lines", lines.len());
        assert_eq!(lines[..lines.len() - 2], all[..lines.len() - 2]);
    }
}
