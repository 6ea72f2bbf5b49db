//! `rtcomm tail` of recordings: from a file, from standard input, and following a file.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Unit};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::pretty::recorded;
use crate::support::events::{FILTERS, numbers, samples};
use crate::support::{Broker, Process, Rtcomm, rtcomm};

fn recorded_text() -> String {
    std::fs::read_to_string(recorded()).expect("the recorded lines are there")
}

/// Returns the line of the event with this number, in the format of `--json`.
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

/// Returns the line of an event with this action.
fn line_with(number: usize, action: &str) -> String {
    line(number).replace("started", action)
}

/// The line of a connection change.
const STATUS: &str = "{\"received\":\"2026-11-23T03:34:12.798558Z\",\"status\":\"ready\"}\n";

#[test]
fn the_last_lines_are_those_that_match() {
    // Every tenth event is a failure.
    let action = |number: usize| if number.is_multiple_of(10) { "failed" } else { "stopped" };
    let text: String = (0..5_000).map(|number| line_with(number, action(number))).collect();
    assert!(text.len() > 1 << 20, "several blocks");
    let recording = Recording::of(&text);
    let compressed = Recording::of(gzip(&text));
    let failed: Vec<String> = (0..5_000).step_by(10).map(|number| line_with(number, "failed")).collect();
    for (flags, count) in [
        ("-n 0 --failed", 0),
        ("-n 1 --failed", 1),
        ("-n 3 --failed", 3),
        ("-n 3 --failed --modified", 3),
        ("-n 300 --failed --from a", 300),
        ("-n 501 --failed", 500),
        ("-n all --failed", 500),
        ("-n 3 --from nobody", 0),
        ("-n 3 --failed --until 2026-11-23T03:34:12Z", 0),
        ("-n 7 --failed --since 2026-11-23T03:34:12Z", 7),
    ] {
        let expected = failed[failed.len() - count..].concat();
        recording.tail(flags).run().has_status(0).prints(&expected).never_says("rtcomm");
        compressed.tail(flags).run().has_status(0).prints(&expected);
        rtcomm(&format!("tail --json - {flags}")).stdin(&text).run().has_status(0).prints(&expected);
        if count > 0 {
            let tail = following(&recording, flags, count);
            recording.append(line_with(5_000, "stopped"));
            recording.append(line_with(5_000, "failed"));
            tail.wait_for_lines(count + 1);
            tail.terminate().prints(&(expected + &line_with(5_000, "failed")));
            std::fs::write(&recording.path, &text).expect("it can be written");
        }
    }
    following(&recording, "--failed", 10).terminate().prints(&failed[490..].concat());
    // The first two of the last three failures.
    recording.tail("-n 3 -c 2 --failed").run().has_status(0).prints(&failed[497..499].concat());
    rtcomm("tail --json - -n 3 -c 2 --failed").stdin(&text).run().has_status(0).prints(&failed[497..499].concat());
}

#[test]
fn a_change_of_the_connection_counts_as_one_of_the_last_lines_without_a_filter() {
    let failed = |number| line_with(number, "failed");
    let text = [STATUS, &failed(1), STATUS, &line(2), STATUS, &failed(3), &line(4), STATUS, STATUS].concat();
    let recording = Recording::of(&text);
    for (flags, expected) in [
        ("-n 1", STATUS.to_owned()),
        ("-n 3", [&line(4), STATUS, STATUS].concat()),
        ("-n 1 --failed", [&failed(3), STATUS, STATUS].concat()),
        ("-n 2 --failed", [&failed(1), STATUS, STATUS, &failed(3), STATUS, STATUS].concat()),
        ("-n 3 --failed", [STATUS, &failed(1), STATUS, STATUS, &failed(3), STATUS, STATUS].concat()),
    ] {
        recording.tail(flags).run().has_status(0).prints(&expected);
        rtcomm(&format!("tail --json - {flags}")).stdin(&text).run().has_status(0).prints(&expected);
    }
}

#[test]
fn several_files_are_read_one_after_the_other() {
    let recordings = [
        Recording::of(lines(0..10)),
        Recording::of(gzip(&lines(10..15))),
        Recording::of(lines(15..17)),
        Recording::of(""),
    ];
    let tail = |flags: &str| {
        recordings.iter().fold(rtcomm(&format!("tail --json {flags}")), |tail, recording| tail.arg(&recording.path))
    };
    for (flags, expected) in [
        ("", 0..17),
        ("-n 0", 17..17),
        ("-n 1", 16..17),
        ("-n 2", 15..17),
        ("-n 4", 13..17),
        ("-n 9", 8..17),
        ("-n 99", 0..17),
        ("-c 12", 0..12),
        ("-n 9 -c 5", 8..13),
    ] {
        tail(flags).run().has_status(0).prints(&lines(expected));
    }
    tail("-f").run().has_status(2).prints("").says("several files");
    let with_stdin = tail("-n 6").arg("-").stdin(lines(17..19)).run().has_status(0);
    with_stdin.prints(&lines(13..19));
}

#[test]
fn an_error_in_one_file_does_not_hide_the_next() {
    let mut damaged = gzip(&lines(0..5));
    damaged.extend_from_slice(b"garbage");
    let (damaged, prose) = (Recording::of(damaged), Recording::of("no\nrecording\n"));
    let good = Recording::of(lines(5..7));
    for (flags, expected) in [("", 0..7), ("-n 4", 3..7), ("-n all -c 6", 0..6)] {
        let tail = rtcomm(&format!("tail --json {flags}")).arg(&damaged.path).arg(&prose.path).arg(&good.path);
        let outcome = tail.run().has_status(1).prints(&lines(expected));
        outcome.says("there is other data").says(" is not a recording; was it written with --json?\n");
    }
}

#[test]
fn a_file_that_is_not_a_recording_is_an_error_of_one_sentence() {
    let text = "root:x:0:0:root:/root:/bin/bash\n".repeat(1_000);
    let sentence = |name: &str| format!("rtcomm: error: {name} is not a recording; was it written with --json?\n");
    for text in [text.as_bytes(), b"{\"a\":1}\n\n", b"x", &gzip(&text), &[0; 5_000]] {
        let recording = Recording::of(text);
        let name = format!("'{}'", recording.path.display());
        for flags in ["", "-n 3", "--failed", "--failed -n 3", "--from a --since 1h"] {
            let outcome = recording.tail(flags).run().has_status(1).prints("");
            outcome.check(outcome.stderr == sentence(&name), "one sentence");
        }
        let file = File::open(&recording.path).expect("it is there");
        let mut tail = rtcomm("tail - --failed");
        tail.command.stdin(file);
        let outcome = tail.command.output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&outcome.stderr), sentence("standard input"));
    }
    rtcomm("tail /etc/passwd").run().has_status(1).prints("").says(&sentence("'/etc/passwd'"));
    for empty in ["", "\n", "\r\n \n"] {
        Recording::of(empty).tail("").run().has_status(0).prints("").never_says("rtcomm");
    }
}

#[test]
fn the_first_three_invalid_lines_are_reported_and_the_others_are_counted() {
    let recording = Recording::of(["junk\n", &line(1), &"junk\n".repeat(1_000), &line(2)].concat());
    let outcome = recording.tail("").run().has_status(0).prints(&lines(1..3));
    let name = format!("'{}'", recording.path.display());
    let reported: Vec<&str> = outcome.stderr.lines().map(|line| line.split(": ").nth(2).expect("a warning")).collect();
    let line = |number: usize| format!("skipped {name} line {number}");
    assert_eq!(reported, [line(1), line(3), line(4), format!("skipped 998 more lines of {name}")]);
    // Lines that the prefilter skips are not parsed, so their damage is not reported.
    recording.tail("--failed").run().has_status(0).prints("").never_says("line 3");
    // The damage is reported while the pipe is still open.
    let (tail, mut stdin) = rtcomm("tail -").start_fed();
    stdin.write_all(b"junk\n").expect("it reads");
    tail.wait_for_stderr("a warning", |text| text.contains("line 1: "));
    drop(stdin);
    tail.end().has_status(1).says("is not a recording");
}

#[test]
fn selected_records_of_joined_lines_are_printed_on_separate_lines() {
    let [one, two, three, failed] =
        [line(1), line(2), line(3), line_with(4, "failed")].map(|line| line.trim_end().to_owned());
    let text = format!("{one}{two}{failed}\n{three} {failed}{{\n");
    let recording = Recording::of(&text);
    for (flags, expected) in [
        ("", vec![&one, &two, &failed, &three, &failed]),
        ("--failed", vec![&failed, &failed]),
        ("-n 4", vec![&two, &failed, &three, &failed]),
        ("-n 4 --started", vec![&one, &two, &three]),
        ("-n 2 --started", vec![&two, &three]),
        ("-c 2", vec![&one, &two]),
    ] {
        let expected = expected.into_iter().fold(String::new(), |lines, line| lines + line + "\n");
        let outcome = recording.tail(flags).run().has_status(0).prints(&expected);
        outcome.check(outcome.stderr.contains("line 2: not a JSON object") != flags.contains("-c"), "the brace");
        rtcomm(&format!("tail --json - {flags}")).stdin(&text).run().has_status(0).prints(&expected);
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
    // serde_json cannot represent the large number in one of the recorded payloads.
    text.extend(recorded_text().split_inclusive('\n').filter(|line| !line.contains("1.0e400")));
    let recording = Recording::of(text);
    for (flags, selects) in FILTERS {
        let outcome = recording.tail(flags).run().has_status(0);
        let expected: Vec<usize> = (0..samples.len()).filter(|&n| selects(&samples[n])).collect();
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
        outcome.check(numbers(&outcome, 1) == expected, &format!("within the last minutes: {expected:?}"));
    }
    recording.tail("--since 1m --fail-empty").run().has_status(7);
}

#[test]
fn a_printed_time_is_accepted_by_since_and_until() {
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
    let name = format!("'{}'", recording.path.display());
    let all = recording.tail("").run().has_status(0).prints(&lines(0..6));
    let from_stdin = rtcomm("tail --json -").stdin(&text).run().has_status(0).prints(&lines(0..6));
    for number in [2, 4, 6] {
        all.check(all.stderr.contains(&format!("{name} line {number}: ")), &format!("a word on line {number}"));
        from_stdin.check(from_stdin.stderr.contains(&format!("line {number}: ")), &format!("a word on line {number}"));
    }
    // Line 8 counts. Line 10 is empty, so it does not.
    all.says(&format!("skipped 1 more line of {name}\n"));
    from_stdin.says("skipped 1 more line of standard input\n");
    let last = recording.tail("-n 2").run().has_status(0).prints(&lines(4..6));
    last.never_says("line");
    let last = recording.tail("-n 3").run().has_status(0).prints(&lines(3..6));
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

/// Follows the recording, and waits until `printed` lines of it are printed.
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
fn a_file_that_is_truncated_and_has_grown_again_is_read_anew() {
    let recording = Recording::of(lines(0..10));
    let tail = following(&recording, "", 10);
    // As logrotate's copytruncate does, with a writer that is faster than the reader.
    std::fs::write(&recording.path, lines(10..40)).expect("it can be written");
    tail.wait_for_lines(40);
    tail.terminate().prints(&lines(0..40)).says("truncated");
}

#[test]
fn nuls_that_a_truncation_left_are_skipped_and_reported() {
    let recording = Recording::of(lines(0..2));
    let mut writer = OpenOptions::new().write(true).open(&recording.path).expect("it can be opened");
    let end = writer.seek(SeekFrom::End(0)).expect("a file");
    let tail = following(&recording, "", 2);
    File::create(&recording.path).expect("it can be truncated");
    writer.write_all(lines(2..4).as_bytes()).expect("it can be written");
    tail.wait_for_lines(4);
    tail.terminate().prints(&lines(0..4)).says("truncated").says(&format!("skipped {end} NUL bytes"));
    recording.tail("").run().has_status(0).prints(&lines(2..4)).says(&format!("skipped {end} NUL bytes"));
    recording.tail("-n 1").run().has_status(0).prints(&line(3)).never_says("NUL");
}

#[test]
fn a_file_that_is_renamed_and_replaced_is_followed_by_name() {
    let recording = Recording::of(lines(0..3));
    let tail = following(&recording, "", 3);
    let old = recording.dir.path().join("recorded.jsonl.1");
    std::fs::rename(&recording.path, &old).expect("it can be renamed");
    // A writer can have the old file open for some time.
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
        outcome.has_status(2);
    }
    let outcome = rtcomm("tail").arg(dir.path()).run().prints("").says(&dir.path().display().to_string());
    outcome.check(outcome.stderr.lines().count() <= 2, "a line or two");
    outcome.says("directory").has_status(2);
    // All files are opened before anything is printed.
    rtcomm("tail").arg(recorded()).arg(&missing).run().has_status(2).prints("").says("no such file");
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
    for live in ["--durable x", "--share x", "--qos 1", "--status-events", "--no-reconnect"] {
        rtcomm(&format!("tail {live}")).arg(recorded()).run().has_status(2).prints("").says("[FILE]");
    }
    rtcomm("tail --discover")
        .arg(recorded())
        .run()
        .has_status(2)
        .prints("")
        .says("'[FILE]' cannot be used with '--discover'");
    rtcomm("tail").arg(recorded()).env("RTCOMM_DISCOVER", "1").run().has_status(0);
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
fn ignored_standard_input_is_reported_once() {
    let broker = Broker::mosquitto();
    let warning = "warning: standard input is not read; to print recorded lines from it, write: rtcomm tail -\n";
    let (tail, mut stdin) = rtcomm("tail -c 1").at(&broker).start_fed();
    let tail = tail.until_ready();
    // An open pipe alone causes no warning.
    assert!(!tail.stderr.text().contains("warning"));
    stdin.write_all(lines(0..3).as_bytes()).expect("there is room");
    tail.wait_for_stderr("a warning", |text| text.contains(warning));
    broker.client().publish("/rtcomm/x", "live");
    let outcome = tail.end().has_status(0);
    outcome.check(outcome.stdout.contains("live") && outcome.stderr.matches(warning).count() == 1, "live, and warned");

    let recording = Recording::of(lines(0..3));
    let mut from_file = rtcomm("tail --for 300ms").at(&broker);
    from_file.command.stdin(File::open(&recording.path).expect("it is there"));
    let outcome = from_file.command.output().expect("it runs");
    assert!(String::from_utf8_lossy(&outcome.stderr).contains(warning));
    let password = rtcomm("tail --for 300ms -u me --password-file -").at(&broker).stdin("secret\nmore\n");
    password.run().has_status(0).never_says("warning");
}

#[test]
fn dry_run_prints_the_topic_filters() {
    rtcomm("tail --dry-run").run().has_status(0).prints("/rtcomm/#\n");
    rtcomm("tail --dry-run --root x/y").run().has_status(0).prints("x/y/#\n");
    rtcomm("tail --dry-run --topic x/# --topic +/y").run().has_status(0).prints("x/#\n+/y\n");
}
