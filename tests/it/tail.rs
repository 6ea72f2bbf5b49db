//! `rtcomm tail` of recordings: from a file, from standard input, and following a file.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Unit};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::pretty::recorded;
use crate::support::events::{FILTERS, numbers, samples};
use crate::support::{Process, Rtcomm, rtcomm};

fn recorded_text() -> String {
    std::fs::read_to_string(recorded()).expect("the recorded lines are there")
}

/// A line as `--json` writes it: the event of this number.
fn line(number: usize) -> String {
    line_of(number, "2026-11-23T03:34:12.798558Z".parse().expect("a time"))
}

fn line_of(number: usize, received: Timestamp) -> String {
    format!(
        concat!(
            r#"{{"received":"{:.6}","category":"registration","action":"started","from":"a","#,
            r#""topic":"/rtcomm/event/registration/started/a","qos":1,"retain":false,"#,
            r#""payload":{{"method":"RTCOMM_EVENT_FIRED","number":{},"round":1}}}}"#,
            "\n"
        ),
        received, number
    )
}

fn lines(numbers: impl IntoIterator<Item = usize>) -> String {
    numbers.into_iter().map(line).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

/// A directory with a file of recorded lines.
struct Recording {
    dir: TempDir,
    path: PathBuf,
}

impl Recording {
    fn of(content: impl AsRef<[u8]>) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let path = dir.path().join("recorded.jsonl");
        std::fs::write(&path, content).expect("it can be written");
        Self { dir, path }
    }

    fn append(&self, content: impl AsRef<[u8]>) {
        append(&self.path, content);
    }

    fn tail(&self, flags: &str) -> Rtcomm {
        rtcomm(&format!("tail --json {flags}")).arg(&self.path)
    }
}

fn append(path: &Path, content: impl AsRef<[u8]>) {
    let mut file = OpenOptions::new().append(true).open(path).expect("it can be opened");
    file.write_all(content.as_ref()).expect("it can be written");
}

#[test]
fn recorded_lines_are_printed_byte_for_byte() {
    let text = recorded_text();
    rtcomm("tail --json").arg(recorded()).run().has_status(0).prints(&text);
    rtcomm("tail --json -").stdin(&text).run().has_status(0).prints(&text);
}

#[test]
fn standard_input_is_read_like_a_file() {
    let from_file = rtcomm("tail").arg(recorded()).run().has_status(0);
    rtcomm("tail -").stdin(recorded_text()).run().has_status(0).prints(&from_file.stdout);
}

#[test]
fn lines_selects_the_last_lines_or_all() {
    let recording = Recording::of(lines(0..25));
    for (flags, expected) in [
        ("", 0..25),
        ("-n all", 0..25),
        ("-n 0", 25..25),
        ("-n 1", 24..25),
        ("-n 10", 15..25),
        ("-n 25", 0..25),
        ("--lines 1000", 0..25),
        ("--lines=3", 22..25),
    ] {
        let expected = lines(expected);
        recording.tail(flags).run().has_status(0).prints(&expected);
        rtcomm(&format!("tail --json - {flags}")).stdin(lines(0..25)).run().has_status(0).prints(&expected);
    }
}

#[test]
fn a_last_line_without_an_end_is_a_line() {
    let text = lines(0..3);
    let recording = Recording::of(text.trim_end());
    recording.tail("").run().has_status(0).prints(&text);
    recording.tail("-n 1").run().has_status(0).prints(&line(2));
}

#[test]
fn an_empty_recording_is_not_an_error() {
    let recording = Recording::of("");
    recording.tail("").run().has_status(0).prints("");
    recording.tail("-n 3").run().has_status(0).prints("");
    recording.tail("--fail-empty").run().has_status(7).prints("");
}

#[test]
fn fail_empty_counts_records_that_a_slow_reader_has_not_read() {
    let recording = Recording::of(lines(0..10_000));
    let (process, stdout) = recording.tail("--fail-empty --for 300ms").start_unread();
    process.end().has_status(0);
    drop(stdout);
}

#[test]
fn the_filters_are_those_of_watch() {
    let samples = samples();
    let line = |(number, sample): (usize, &crate::support::events::Sample)| {
        let to = sample.to.map(|to| format!(r#""to":"{to}","#)).unwrap_or_default();
        format!(
            concat!(
                r#"{{"received":"2026-11-23T03:34:12.798558Z","category":"{}","action":"{}","from":"{}",{}"#,
                r#""topic":"{}","qos":1,"retain":false,"payload":{}}}"#,
                "\n"
            ),
            sample.category,
            sample.action,
            sample.from,
            to,
            sample.topic(),
            sample.payload(number, 1)
        )
    };
    let mut text: String = samples.iter().enumerate().map(line).collect();
    // serde_json does not hold the big number that one of the recorded payloads has.
    text.extend(recorded_text().split_inclusive('\n').filter(|line| !line.contains("1.0e400")));
    let recording = Recording::of(text);
    for (flags, wanted) in FILTERS {
        let outcome = recording.tail(flags).run().has_status(0);
        let expected: Vec<usize> = (0..samples.len()).filter(|&n| wanted(&samples[n])).collect();
        outcome.check(numbers(&outcome, 1) == expected, &format!("the numbers {expected:?}"));
        let is_event = |line: &str| line.contains(r#""category":"#) || line.contains(r#""status":"#);
        outcome.check(outcome.stdout.lines().all(is_event), "events alone");
    }
}

#[test]
fn since_and_until_are_times_or_durations_back() {
    let now = Timestamp::now().round(Unit::Microsecond).expect("now is in range");
    let before = |minutes: i32| now - SignedDuration::from_mins(minutes.into());
    let recording = Recording::of(
        [(120, 120), (90, 90), (30, 30), (10, 10)].map(|(number, minutes)| line_of(number, before(minutes))).concat(),
    );
    let at = |minutes| before(minutes).to_string();
    for (flags, expected) in [
        ("--since 1h".to_owned(), &[30, 10][..]),
        ("--until 1h".to_owned(), &[120, 90]),
        (format!("--since 100m --until {}", at(20)), &[90, 30]),
        (format!("--since {}", at(90)), &[90, 30, 10]),
        (format!("--until {}", at(90)), &[120, 90]),
        (format!("--since {} --until 5m", at(30)), &[30, 10]),
        ("--since 1m".to_owned(), &[]),
        (format!("--since 1000d -n 1 --until {}", at(-60)), &[10]),
    ] {
        let outcome = recording.tail(&flags).run().has_status(0);
        outcome.check(numbers(&outcome, 1) == expected, &format!("of so many minutes ago: {expected:?}"));
    }
    recording.tail("--since 1m --fail-empty").run().has_status(7);
}

#[test]
fn a_printed_time_can_be_typed() {
    let recording = Recording::of(
        ["03:34:12.797999", "03:34:12.798000", "03:34:12.798999", "03:34:12.799000"]
            .map(|time| format!("2026-07-23T{time}Z").parse().expect("a time"))
            .map(|time| line_of(0, time))
            .concat(),
    );
    let tail = |flags: &str| rtcomm(&format!("tail {flags}")).arg(&recording.path).env("TZ", "Europe/Berlin");
    let all = tail("").run().has_status(0).stdout;
    let (time, _) = all.lines().nth(2).expect("a line").split_at("2026-07-23 05:34:12.798".len());
    assert_eq!(time, "2026-07-23 05:34:12.798");
    let expected: String = all.split_inclusive('\n').skip(1).take(2).collect();
    for since in [time, "2026-07-23T05:34:12.798", "2026-07-23T03:34:12.798Z"] {
        tail("").arg("--since").arg(since).arg("--until").arg(time).run().has_status(0).prints(&expected);
    }
    tail("--since 2026-07-23 --until 2026-07-24").run().has_status(0).prints(&all);
    tail("--since 2026-07-23T05:34 --until 2026-07-23T05:35").run().has_status(0).prints(&all);
    tail("--until 2026-07-23T05:34").run().has_status(0).prints("");
    tail("--since yesterday").run().has_status(0).prints("");
}

#[test]
fn today_and_yesterday_begin_at_local_midnight() {
    let zone = TimeZone::get("Asia/Kathmandu").expect("a time zone");
    let today = Timestamp::now().to_zoned_datetime(zone).start_of_day().expect("a day").timestamp();
    let hours = |hours: i64| today + SignedDuration::from_hours(hours);
    let recording = Recording::of([(1, -25), (2, -23), (3, -1), (4, 0)].map(|(n, at)| line_of(n, hours(at))).concat());
    for (flags, expected) in [
        ("--since today", &[4][..]),
        ("--since 00:00", &[4]),
        ("--since yesterday", &[2, 3, 4]),
        ("--until yesterday", &[1]),
        ("--since yesterday --until 00:00:00", &[2, 3, 4]),
    ] {
        let outcome = recording.tail(flags).env("TZ", "Asia/Kathmandu").run().has_status(0);
        outcome.check(numbers(&outcome, 1) == expected, &format!("{flags}: {expected:?}"));
    }
}

#[test]
fn a_damaged_line_is_reported_with_its_number_and_skipped() {
    let damaged: [&[u8]; 5] = [
        b"no JSON\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"{\"received\":\"2026-11-23T03:34:12Z\",\"topic\":\"x\",\"qos\"\n",
        b"\n",
    ];
    let mut text = Vec::new();
    for (number, damaged) in damaged.into_iter().enumerate() {
        text.extend_from_slice(line(number).as_bytes());
        text.extend_from_slice(damaged);
    }
    text.extend_from_slice(line(5).as_bytes());
    let recording = Recording::of(&text);
    let name = recording.path.display();
    let all = recording.tail("").run().has_status(0).prints(&lines(0..6));
    let from_stdin = rtcomm("tail --json -").stdin(&text).run().has_status(0).prints(&lines(0..6));
    for number in [2, 4, 6, 8] {
        all.check(all.stderr.contains(&format!("{name} line {number}: ")), &format!("a word on line {number}"));
        from_stdin.check(from_stdin.stderr.contains(&format!("line {number}: ")), &format!("a word on line {number}"));
    }
    let last = recording.tail("-n 4").run().has_status(0);
    last.says(&format!("{name} line 8: ")).never_says("line 6: ");
}

#[test]
fn a_recording_has_the_same_limits_as_watch() {
    let recording = Recording::of(lines(0..5));
    recording.tail("-c 2").run().has_status(0).prints(&lines(0..2));
    recording.tail("-c 2 -n 3").run().has_status(0).prints(&lines(2..4));
    recording.tail("--from nobody --fail-empty").run().has_status(7).prints("");
    recording.tail("-f --for 1s").run().has_status(0).prints(&lines(0..5));
    recording.tail("-f --for 1s -c 6").run().has_status(124).prints(&lines(0..5));
    recording.tail("-f --for 1s --from nobody --fail-empty").run().has_status(7);
    recording.tail("-f -c 5").run().has_status(0).prints(&lines(0..5));
}

/// Follows the recording, and has printed so many lines of it.
fn following(recording: &Recording, flags: &str, printed: usize) -> Process {
    let tail = recording.tail(&format!("-f {flags}")).start();
    tail.wait_for_lines(printed);
    tail
}

#[test]
fn following_begins_with_the_last_ten_lines_by_default() {
    let recording = Recording::of(lines(0..25));
    for (flags, from) in [("", 15), ("-n all", 0), ("-n 2", 23)] {
        following(&recording, flags, 25 - from).terminate().prints(&lines(from..25));
    }
}

#[test]
fn an_appended_line_is_printed_when_it_is_complete() {
    let recording = Recording::of(lines(0..2));
    let (head, rest) = (&line(2)[..50], &line(2)[50..]);
    recording.append(head);
    let tail = following(&recording, "-n all", 2);
    recording.append(rest);
    tail.wait_for_lines(3);
    for byte in line(3).bytes() {
        recording.append([byte]);
    }
    recording.append(lines(4..6));
    tail.wait_for_lines(6);
    let outcome = tail.terminate().prints(&lines(0..6));
    outcome.check(outcome.stderr.is_empty(), "no error about the incomplete line");
}

#[test]
fn a_truncated_file_is_read_from_its_start() {
    let recording = Recording::of(lines(0..10));
    let tail = following(&recording, "", 10);
    File::create(&recording.path).expect("it can be truncated");
    recording.append(lines(10..12));
    tail.wait_for_lines(12);
    tail.terminate().prints(&lines(0..12)).says("truncated");
}

#[test]
fn a_file_that_is_renamed_and_replaced_is_followed_by_name() {
    let recording = Recording::of(lines(0..3));
    let tail = following(&recording, "", 3);
    let old = recording.dir.path().join("recorded.jsonl.1");
    std::fs::rename(&recording.path, &old).expect("it can be renamed");
    // The writer still has the old file open for a moment.
    append(&old, lines(3..5));
    tail.wait_for_lines(5);
    std::fs::write(&recording.path, lines(5..8)).expect("it can be written");
    tail.wait_for_lines(8);
    recording.append(lines(8..9));
    tail.wait_for_lines(9);
    tail.terminate().prints(&lines(0..9));
}

#[test]
fn a_renamed_file_is_read_to_its_end() {
    let recording = Recording::of(lines(0..1));
    let tail = following(&recording, "", 1);
    for round in 0..5 {
        let at = 1 + 10 * round;
        recording.append(lines(at..at + 5));
        std::fs::rename(&recording.path, recording.dir.path().join(format!("{round}"))).expect("it can be renamed");
        std::fs::write(&recording.path, lines(at + 5..at + 10)).expect("it can be written");
        tail.wait_for_lines(at + 10);
    }
    tail.terminate().prints(&lines(0..51));
}

#[test]
fn following_filters_and_counts_what_is_appended() {
    let recording = Recording::of(lines(0..1));
    let tail = following(&recording, "-c 2", 1);
    recording.append("damaged\n");
    recording.append(recorded_text());
    let outcome = tail.end().has_status(0).says("line 2: ");
    outcome.check(outcome.stdout.lines().count() == 2, "two records");
}

#[test]
fn a_signal_ends_following_with_its_status() {
    let recording = Recording::of(lines(0..1));
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let tail = following(&recording, "", 1);
        tail.signal(signal);
        tail.end().has_status(status).prints(&line(0));
    }
}

#[test]
fn a_closed_pipe_ends_following() {
    let recording = Recording::of(lines(0..1));
    for flags in ["-f", "-f -n 0"] {
        let (process, stdout) = recording.tail(flags).start_unread();
        drop(stdout);
        let outcome = process.end().has_status(0);
        outcome.check(outcome.stderr.is_empty(), "no error");
    }
    let long = Recording::of(lines(0..10_000));
    let (process, stdout) = rtcomm("tail").arg(&long.path).start_unread();
    drop(stdout);
    process.end().has_status(0).never_says("rror");
}

#[test]
fn a_line_from_a_pipe_is_printed_while_the_pipe_stays_open() {
    let (tail, mut stdin) = rtcomm("tail --json -").start_fed();
    stdin.write_all(line(0).as_bytes()).expect("it reads");
    tail.wait_for_lines(1);
    stdin.write_all(line(1).as_bytes()).expect("it reads");
    tail.wait_for_lines(2);
    drop(stdin);
    tail.end().has_status(0).prints(&lines(0..2));

    let (tail, mut stdin) = rtcomm("tail --json -").start_fed();
    stdin.write_all(line(0).as_bytes()).expect("it reads");
    tail.wait_for_lines(1);
    tail.signal(Signal::TERM);
    tail.end().has_status(143);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = TempDir::new().expect("a temporary directory");
    let missing = dir.path().join("no such file");
    for flags in ["", "-f", "-n 3", "-n all -f", "--json"] {
        let outcome = rtcomm(&format!("tail {flags}")).arg(&missing).run().prints("");
        let outcome = outcome.says("no such file").says("No such file or directory").never_says("panicked");
        outcome.check(outcome.stderr.lines().count() <= 2, "a line or two");
        outcome.has_status(1);
    }
    let outcome = rtcomm("tail").arg(dir.path()).run().prints("").says(&dir.path().display().to_string());
    outcome.check(outcome.stderr.lines().count() <= 2, "a line or two");
    outcome.says("directory");
}

#[test]
fn a_damaged_compressed_file_is_printed_up_to_the_damage() {
    let mut damaged = gzip(&lines(0..20));
    damaged.extend_from_slice(b"garbage");
    let recording = Recording::of(damaged);
    recording.tail("").run().has_status(1).prints(&lines(0..20)).says("cannot read");
    recording.tail("-n 3").run().has_status(1).prints(&lines(17..20)).says("cannot read");
}

#[test]
fn a_compressed_recording_is_read_but_not_followed() {
    let recording = Recording::of(gzip(&lines(0..20)));
    recording.tail("").run().has_status(0).prints(&lines(0..20));
    rtcomm("tail --json -").stdin(gzip(&lines(0..20))).run().has_status(0).prints(&lines(0..20));
    recording.tail("-f").run().has_status(2).prints("").says("compressed").says("--follow");
}

#[test]
fn conflicting_flags_are_a_usage_error() {
    for flags in ["-n 3", "-f", "--since 1h", "--until 1h"] {
        rtcomm(&format!("tail {flags}")).run().has_status(2).prints("").says("FILE");
    }
    rtcomm("tail --topic x/#").arg(recorded()).run().has_status(2).prints("").says("--topic");
    rtcomm("tail --dry-run").arg(recorded()).run().has_status(2).prints("").says("--dry-run");
    for live in ["--output x", "--durable x", "--share x", "--qos 1", "--status-events", "--no-reconnect"] {
        rtcomm(&format!("tail {live}")).arg(recorded()).run().has_status(2).prints("").says("[FILE]");
    }
    for (flag, value) in [
        ("--lines", "-3"),
        ("--lines", "+3"),
        ("--lines", "some"),
        ("--since", "tomorrow"),
        ("--since", "1M"),
        ("--until", "2026-11-31"),
    ] {
        let outcome = rtcomm("tail").arg(recorded()).arg(flag).arg(value).run().has_status(2).prints("");
        outcome.says(flag).never_says("panicked");
    }
}

#[test]
fn dry_run_prints_the_topic_filters() {
    rtcomm("tail --dry-run").run().has_status(0).prints("/rtcomm/#\n");
    rtcomm("tail --dry-run --root x/y").run().has_status(0).prints("x/y/#\n");
    rtcomm("tail --dry-run --topic x/# --topic +/y").run().has_status(0).prints("x/#\n+/y\n");
}
