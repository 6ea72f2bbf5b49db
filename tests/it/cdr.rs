//! Call records: `--cdr`, `--summary` and `--anonymize`, recorded and live.

use std::io::Write as _;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::events::event;
use crate::support::relay::Relay;
use crate::support::{Broker, Outcome, Rtcomm, Setup, on_every_broker, rtcomm};

/// A directory with recordings.
struct Recordings {
    dir: TempDir,
    paths: Vec<PathBuf>,
}

impl Recordings {
    fn of<T: AsRef<[u8]>>(files: &[(&str, T)]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let paths = files.iter().map(|(name, content)| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).expect("it can be written");
            path
        });
        Self { paths: paths.collect(), dir }
    }

    /// Returns a `tail` of all recordings.
    fn tail(&self, flags: &str) -> Rtcomm {
        self.paths.iter().fold(rtcomm(&format!("tail {flags}")), Rtcomm::arg)
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

/// Returns the recorded line of an event, from `TIME ACTION FROM TO [KEY=VALUE]…`. `at` is the time of day by the server's
/// clock.
fn line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [time, action, from, to, keys @ ..] = &words[..] else { panic!("an event: {text}") };
    let mut payload = json!({ "method": "RTCOMM_EVENT_FIRED" });
    for key in keys {
        let (key, value) = key.split_once('=').expect("a key and a value");
        match key {
            "at" => payload["timestamp"] = format!("2026-10-25 {value}.000").into(),
            "id" => payload["sigSessID"] = value.into(),
            "app" => payload["appContext"] = value.into(),
            _ => payload[key] = value.replace('_', " ").into(),
        }
    }
    format!(
        concat!(
            r#"{{"received":"2026-10-25T{}.000000Z","category":"session","action":"{}","from":"{}","to":"{}","#,
            r#""topic":"/rtcomm/event/session/{}/{}/{}","qos":1,"retain":false,"payload":{}}}"#,
            "\n"
        ),
        time, action, from, to, action, from, to, payload
    )
}

fn lines(texts: &[&str]) -> String {
    let line = |text: &&str| match text.strip_prefix("gap ") {
        Some(times) => {
            let (from, until) = times.split_once(' ').expect("two times");
            let time = |text: &str| format!("2026-10-25T{text}.000000Z");
            let (from, until) = (time(from), time(until));
            format!("{{\"received\":\"{until}\",\"status\":\"gap\",\"from\":\"{from}\",\"until\":\"{until}\"}}\n")
        }
        None => line(text),
    };
    texts.iter().map(line).collect()
}

/// Returns the recordings of two members of a share group, made in the night in which daylight saving time ends, at 01:00
/// UTC.
fn share_group() -> [String; 2] {
    [
        lines(&[
            "00:10:00 started iggy bowie id=plain app=video at=02:10:00",
            "00:10:20 started iggy joan id=copies app=video at=02:10:20",
            "00:10:22 modified iggy joan id=copies app=video at=02:10:22",
            "00:11:00 stopped lemmy patti id=no-start app=audio at=02:11:00",
            "00:12:00 failed lemmy iggy id=early app=audio at=02:12:00 reason=Busy",
            "00:13:00 started lemmy joan id=no-end app=audio at=02:13:00",
            "00:14:00 stopped iggy joan id=copies app=video at=02:14:00",
            "00:20:00 started iggy queue id=queued app=video at=02:20:00",
            "00:50:00 started bowie joan id=night app=video at=02:50:00",
            "00:55:00 started joan lemmy id=gap app=audio at=02:55:00",
            "gap 00:58:00 00:59:00",
            "01:10:00 stopped bowie joan id=night app=video at=02:10:00",
            "01:30:00 started iggy bowie app=video at=02:30:00",
            "02:30:00 failed patti bowie id=late app=video at=03:30:00 reason=Timed_out_after_5000",
            "02:40:00 started bowie patti id=open app=video at=03:40:00",
        ]),
        lines(&[
            "00:10:21 started iggy joan id=copies app=video at=02:10:20",
            "00:13:59 modified iggy joan id=copies app=video at=02:13:59",
            "00:14:30 stopped iggy joan id=copies app=video at=02:14:00",
            "00:15:00 stopped iggy bowie id=plain app=video at=02:15:00",
            "00:20:30 stopped iggy patti id=queued app=video at=02:20:30",
            "00:56:00 started lemmy bowie id=broken app=audio at=02:56:00",
            "00:57:00 failed lemmy bowie id=broken app=audio at=02:57:00 reason=media_lost",
            "01:00:30 stopped joan lemmy id=gap app=audio at=02:00:30",
            "01:40:00 stopped iggy bowie app=video at=02:40:00",
            "01:50:00 stopped lemmy joan id=no-end app=audio at=02:50:00",
        ]),
    ]
}

/// The records of [`share_group`] with `--max-age 1h`, in the order in which their end is known.
const RECORDS: [&str; 12] = [
    r#"{"cdr":"completed","sigSessID":"no-start","from":"lemmy","to":"patti","appContext":"audio","ended":"2026-10-25 02:11:00.000","clock":"server","modified":0,"duplicates":0,"incomplete":["start"]}"#,
    r#"{"cdr":"failed","sigSessID":"early","from":"lemmy","to":"iggy","appContext":"audio","ended":"2026-10-25 02:12:00.000","clock":"server","reason":"Busy","modified":0,"duplicates":0,"incomplete":["start"]}"#,
    r#"{"cdr":"completed","sigSessID":"copies","from":"iggy","to":"joan","appContext":"video","started":"2026-10-25 02:10:20.000","ended":"2026-10-25 02:14:00.000","duration_s":220,"clock":"server","modified":2,"duplicates":1,"incomplete":[]}"#,
    r#"{"cdr":"completed","sigSessID":"plain","from":"iggy","to":"bowie","appContext":"video","started":"2026-10-25 02:10:00.000","ended":"2026-10-25 02:15:00.000","duration_s":300,"clock":"server","modified":0,"duplicates":0,"incomplete":[]}"#,
    r#"{"cdr":"completed","sigSessID":"queued","from":"iggy","to":"queue","appContext":"video","started":"2026-10-25 02:20:00.000","ended":"2026-10-25 02:20:30.000","duration_s":30,"clock":"server","modified":0,"duplicates":0,"incomplete":[]}"#,
    r#"{"cdr":"dropped","sigSessID":"broken","from":"lemmy","to":"bowie","appContext":"audio","started":"2026-10-25 02:56:00.000","ended":"2026-10-25 02:57:00.000","duration_s":60,"clock":"server","reason":"media lost","modified":0,"duplicates":0,"incomplete":[]}"#,
    r#"{"cdr":"completed","sigSessID":"gap","from":"joan","to":"lemmy","appContext":"audio","started":"2026-10-25T00:55:00.000000Z","ended":"2026-10-25T01:00:30.000000Z","duration_s":330,"clock":"received","modified":0,"duplicates":0,"incomplete":["gap"]}"#,
    r#"{"cdr":"completed","sigSessID":"night","from":"bowie","to":"joan","appContext":"video","started":"2026-10-25T00:50:00.000000Z","ended":"2026-10-25T01:10:00.000000Z","duration_s":1200,"clock":"received","modified":0,"duplicates":0,"incomplete":["gap"]}"#,
    r#"{"cdr":"lost","sigSessID":"no-end","from":"lemmy","to":"joan","appContext":"audio","started":"2026-10-25 02:13:00.000","clock":"server","modified":0,"duplicates":0,"incomplete":["end","gap"]}"#,
    r#"{"cdr":"completed","from":"iggy","to":"bowie","appContext":"video","started":"2026-10-25 02:30:00.000","ended":"2026-10-25 02:40:00.000","duration_s":600,"clock":"server","modified":0,"duplicates":0,"incomplete":["id"]}"#,
    r#"{"cdr":"failed","sigSessID":"late","from":"patti","to":"bowie","appContext":"video","ended":"2026-10-25 03:30:00.000","clock":"server","reason":"Timed out after 5000","modified":0,"duplicates":0,"incomplete":[]}"#,
    r#"{"cdr":"open","sigSessID":"open","from":"bowie","to":"patti","appContext":"video","started":"2026-10-25 03:40:00.000","clock":"server","modified":0,"duplicates":0,"incomplete":["end"]}"#,
];

fn text(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn two_files_of_a_share_group_give_the_records_of_one_stream() {
    let [one, other] = share_group();
    let mut merged: Vec<&str> = one.lines().chain(other.lines()).collect();
    merged.sort_by_key(|line| line.get(..40).expect("a line begins with its time"));
    let merged = text(&merged);
    let zstd = zstd::encode_all(other.as_bytes(), 1).expect("it can be compressed");
    for files in [
        Recordings::of(&[("a.jsonl", &one), ("b.jsonl", &other)]),
        Recordings::of(&[("b.jsonl", &other), ("a.jsonl", &one)]),
        Recordings::of(&[("merged.jsonl", &merged)]),
        Recordings::of(&[("a.jsonl.gz", &gzip(&one)), ("b.jsonl.zst", &zstd)]),
    ] {
        files.tail("--cdr --json --max-age 1h").run().has_status(0).prints(&text(&RECORDS));
    }
    let files = Recordings::of(&[("a.jsonl", &one)]);
    files.tail("--cdr --json --max-age 1h -").stdin(&other).run().has_status(0).prints(&text(&RECORDS));
    rtcomm("tail --cdr --json --max-age 1h -").stdin(&merged).run().has_status(0).prints(&text(&RECORDS));
    files.tail("--json -").stdin(&other).run().has_status(0).prints(&merged);
}

#[test]
fn filters_select_whole_calls() {
    let [one, other] = share_group();
    let files = Recordings::of(&[("a.jsonl", one), ("b.jsonl", other)]);
    for (flags, ids) in [
        ("--stopped", &["no-start", "copies", "plain", "queued", "gap", "night", "none"][..]),
        ("--failed", &["early", "broken", "late"]),
        ("--failed --stopped --from lemmy", &["no-start", "early", "broken"]),
        ("--session --from bowie", &["night", "open"]),
        ("--to patti", &["no-start", "queued", "open"]),
        ("--to queue", &["queued"]),
        ("--endpoint patti", &["no-start", "queued", "late", "open"]),
        ("--app-context audio --from joan", &["gap"]),
        ("--reason ^timed --reason lost", &["broken"]),
        ("--reason Timed", &["late"]),
        ("--since 2026-10-25T01:00:00Z", &["gap", "night", "lost", "none", "late", "open"]),
        ("--until 2026-10-25T00:12:00Z", &["no-start", "early", "plain", "copies"]),
        ("-c 2", &["no-start", "early"]),
        ("-n 2", &["late", "open"]),
        ("-n 2 --stopped", &["night", "none"]),
        ("-n 0", &[]),
        ("-n all -c 1", &["no-start"]),
    ] {
        let outcome = files.tail(&format!("--cdr --json --max-age 1h {flags}")).run().has_status(0);
        let found: Vec<String> = outcome
            .json_lines()
            .iter()
            .map(|record| match (record["cdr"].as_str(), record["sigSessID"].as_str()) {
                (Some("lost"), _) => "lost".to_owned(),
                (_, id) => id.unwrap_or("none").to_owned(),
            })
            .collect();
        outcome.check(found == ids, &format!("{flags}: {ids:?}"));
    }
    files.tail("--cdr --from nobody --fail-empty").run().has_status(7).prints("");
    files.tail("--summary --from nobody --fail-empty").run().has_status(7);
}

#[test]
fn other_messages_only_advance_the_clock() {
    let registration = r#"{"received":"2026-10-25T01:10:01.000000Z","category":"registration","action":"started","from":"a","topic":"/rtcomm/event/registration/started/a","qos":1,"retain":false,"payload":{"method":"RTCOMM_EVENT_FIRED"}}"#;
    let recorded = line("00:10:00 started a b id=s1") + registration + "\n";
    for (flags, outcome) in [("--max-age 1h", "lost"), ("--max-age 1h --from a", "lost"), ("--max-age 2h", "open")] {
        let tail = rtcomm(&format!("tail - --cdr --json {flags}")).stdin(&recorded).run().has_status(0);
        tail.check(tail.json_lines()[0]["cdr"] == outcome, outcome);
    }
    let until = rtcomm("tail - --cdr --json --max-age 1h --until 2026-10-25T01:10:00Z").stdin(&recorded).run();
    until.check(until.json_lines()[0]["cdr"] == "open", "the time after --until does not pass");
}

#[test]
fn a_session_id_prefix_selects_calls() {
    let id = "6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10";
    let recorded = line(&format!("00:10:00 stopped a b id={id}")) + &line("00:10:01 stopped a b id=other");
    let outcome = rtcomm("tail --cdr --json --session-id 6a1f -").stdin(recorded).run().has_status(0);
    outcome.check(outcome.json_lines().len() == 1 && outcome.stdout.contains(id), "one call");
}

#[test]
fn a_summary_counts_the_calls_per_key_and_in_total() {
    let [one, other] = share_group();
    let files = Recordings::of(&[("a.jsonl", one), ("b.jsonl", other)]);
    let total = r#"{"summary":"all","key":null,"attempts":12,"established":10,"failed":2,"dropped":1,"open":1,"lost":1,"incomplete":7,"asr":0.8333,"acd_s":391.428,"shortest_s":30,"longest_s":1200,"gaps":1,"from":"2026-10-25T00:10:00.000000Z","until":"2026-10-25T02:40:00.000000Z"}"#;
    for (flags, expected) in [
        ("--summary", text(&[total])),
        ("--cdr --summary=all", text(&[total])),
        (
            "--summary=app",
            text(&[
                r#"{"summary":"app","key":"video","attempts":7,"established":6,"failed":1,"dropped":0,"open":1,"lost":0,"incomplete":3,"asr":0.8571,"acd_s":470,"shortest_s":30,"longest_s":1200,"gaps":1,"from":"2026-10-25T00:10:00.000000Z","until":"2026-10-25T02:40:00.000000Z"}"#,
                r#"{"summary":"app","key":"audio","attempts":5,"established":4,"failed":1,"dropped":1,"open":0,"lost":1,"incomplete":4,"asr":0.8,"acd_s":195,"shortest_s":60,"longest_s":330,"gaps":1,"from":"2026-10-25T00:11:00.000000Z","until":"2026-10-25T01:00:30.000000Z"}"#,
                total,
            ]),
        ),
    ] {
        files.tail(&format!("--json --max-age 1h {flags}")).run().has_status(0).prints(&expected);
    }
    let attempts = |flags: &str| -> Vec<(Value, Value)> {
        let outcome = files.tail(&format!("--json --max-age 1h {flags}")).run().has_status(0);
        outcome.json_lines().iter().map(|row| (row["key"].clone(), row["attempts"].clone())).collect()
    };
    let row = |key: &str, attempts: u64| (json!(key), json!(attempts));
    let reasons = [
        (json!(null), json!(9)),
        row("Busy", 1),
        row("Timed out after <number>", 1),
        row("media lost", 1),
        (json!(null), json!(12)),
    ];
    assert_eq!(attempts("--summary=reason"), reasons);
    assert_eq!(attempts("--summary=endpoint --top 2"), [row("bowie", 6), row("iggy", 5), (json!(null), json!(12))]);
    let table = files.tail("--summary=endpoint --top 1 --max-age 1h").run().has_status(0);
    table.prints(
        "\
CALLS  EST  FAIL  DROP  OPEN  LOST  INC    ASR     ACD    MIN  MAX                FIRST                 LAST  GAPS  ENDPOINT
    6    5     1     1     1     0    3  83.3%      9m     1m  20m  2026-10-25 00:10:00  2026-10-25 02:40:00     1  bowie
   12   10     2     1     1     1    7  83.3%  6m 31s  30.0s  20m  2026-10-25 00:10:00  2026-10-25 02:40:00     1  total
",
    );
}

#[test]
fn call_records_are_input_too() {
    let records = text(&RECORDS);
    rtcomm("tail - --json").stdin(&records).run().has_status(0).prints(&records);
    rtcomm("tail - --cdr --json").stdin(&records).run().has_status(0).prints(&records);
    let [one, other] = share_group();
    let files = Recordings::of(&[("a.jsonl", one), ("b.jsonl", other)]);
    let pretty = files.tail("--cdr --max-age 1h").run().has_status(0).stdout;
    rtcomm("tail -").stdin(&records).run().has_status(0).prints(&pretty);
    assert!(
        pretty.contains("2026-10-25 02:57:00.000  call          dropped    lemmy → bowie")
            && pretty.contains("1m, media lost, broken\n"),
        "{pretty}"
    );
    let failed = rtcomm("tail - --cdr --json --failed").stdin(&records).run().has_status(0);
    failed.check(failed.json_lines().len() == 3, "the failed calls");
    let summary = rtcomm("tail - --summary --json").stdin(&records).run().has_status(0);
    summary.check(summary.json_lines()[0]["attempts"] == 12, "all calls");
}

#[test]
fn since_leaves_out_calls_but_not_what_is_known_of_the_time_before() {
    let gap = r#"{"received":"2026-10-25T07:00:00Z","status":"gap","from":"2026-10-25T06:58:00Z","until":"2026-10-25T07:00:00Z"}"#;
    let lines = [
        line("00:00:00 started a b id=s1"),
        gap.to_owned() + "\n",
        line("21:00:00 started a b id=s2"),
        line("21:05:00 failed a c id=s3"),
    ];
    let files = Recordings::of(&[("a.jsonl", lines.concat())]);
    let since = "--json --max-age 1h --since 2026-10-25T21:01:00Z";
    let records = files.tail(&format!("--cdr {since}")).run().has_status(0);
    records.check(records.json_lines()[0]["incomplete"] == json!([]), "the input reaches back over the maximum age");
    let summary = files.tail(&format!("--summary {since}")).run().has_status(0);
    summary.check(summary.json_lines()[0]["gaps"] == 0, "the gap was before");
}

#[test]
fn a_followed_file_gives_a_record_when_a_call_ends() {
    let recorded: String = (10..30).map(|n| line(&format!("00:{n}:00 stopped a b id=s{n}"))).collect();
    let files = Recordings::of(&[("a.jsonl", recorded + &line("00:40:00 started a b id=s40"))]);
    let tail = files.tail("-f --cdr --json").start();
    tail.wait_for_lines(10);
    let append = |text: &str| {
        let mut file = std::fs::File::options().append(true).open(&files.paths[0]).expect("it can be opened");
        file.write_all(line(text).as_bytes()).expect("it can be written");
    };
    append("00:41:00 stopped a b id=s40");
    tail.wait_for_lines(11);
    append("00:42:00 started a b id=s42");
    let summary = files.tail("-f --summary --json -c 22").start();
    append("00:43:00 stopped a b id=s43");
    let summary = summary.end().has_status(0);
    summary.check(summary.json_lines()[0]["attempts"] == 22, "all calls, not only the last");
    tail.wait_for_lines(12);
    tail.signal(Signal::INT);
    let outcome = tail.end().has_status(130);
    let ids: Vec<Value> = outcome.json_lines().iter().map(|record| record["sigSessID"].clone()).collect();
    let expected: Vec<String> =
        (20..30).map(|n| format!("s{n}")).chain(["s40", "s43", "s42"].map(str::to_owned)).collect();
    outcome.check(ids == expected, &format!("{expected:?}"));
}

#[test]
fn a_signal_ends_a_summary_with_its_rows() {
    // The warning about the last line shows that the file was read.
    let lines = line("00:10:00 stopped a b id=s1") + "not a record\n";
    let files = Recordings::of(&[("a.jsonl", lines)]);
    let tail = files.tail("-f --summary=app --json").start();
    tail.wait_for_stderr("a warning", |text| text.contains("a.jsonl"));
    tail.signal(Signal::INT);
    let outcome = tail.end().has_status(130);
    let rows = outcome.json_lines();
    outcome.check(rows.len() == 2 && rows[1]["attempts"] == 1, "a row for the application, and the total");
}

#[test]
fn flags_that_do_not_select_whole_calls_are_usage_errors() {
    for (words, why) in [
        ("watch --cdr --started", "--cdr cannot be combined with --started: a call record covers the whole session"),
        ("watch --cdr --modified", "--cdr cannot be combined with --modified: a call record covers the whole session"),
        (
            "watch --summary --registration",
            "--summary cannot be combined with --registration: a registration is not a call",
        ),
        ("tail - --cdr --registration --session", "--cdr cannot be combined with --registration"),
        ("tail - --summary=app --started", "--summary cannot be combined with --started"),
        (
            "watch --cdr --share group",
            "--cdr cannot be combined with --share: the members of a group get different events",
        ),
        ("watch --cdr --durable name", "--cdr cannot be combined with --durable: events are acknowledged before"),
        (
            "watch --cdr --durable-delete name",
            "--cdr cannot be combined with --durable-delete, which prints nothing\n  hint: rtcomm watch --durable-delete NAME deletes",
        ),
        ("tail --cdr", "--cdr needs a FILE\n  hint: for live calls, use: rtcomm watch --cdr"),
        ("watch --max-age 1h", "--max-age is for call records\n  hint: add --cdr or --summary"),
        ("watch --cdr --top 3", "--summary"),
        ("watch --summary=user", "endpoint, app, reason"),
        ("tail - --anonymize", "--anonymize needs --json"),
        ("tail --anonymize --json", "FILE"),
        ("tail - --anonymize --json --cdr", "--cdr"),
        ("watch --cdr --max-age 0s", "greater than zero"),
    ] {
        let outcome = rtcomm(words).run().has_status(2).prints("").says(why);
        outcome.check(outcome.stderr.lines().count() == 2, "one line for the error and one for the hint");
    }
    // Call records need the recording of a durable session.
    rtcomm("watch --cdr --durable name").run().has_status(2).says("rtcomm tail FILE --cdr");
}

/// Publishes an event of a session between `from` and `to`.
fn publish(broker: &Broker, action: &str, parties: &str, payload: &Value) {
    broker.client().publish(&format!("/rtcomm/event/session/{action}/{parties}"), event(payload));
}

fn live_records_are_those_of_the_recording(setup: &Setup) {
    let watch = |flags: &str| setup.rtcomm(&format!("watch {flags}")).start().until_ready();
    let recorder = watch("--json --status-events");
    let flags =
        ["--cdr --json", "--cdr --json --failed", "--cdr --json --to joan", "--cdr --json --from lemmy", "--cdr"];
    let watches = flags.map(watch);
    let id = |id: &str| json!({ "sigSessID": id, "appContext": "x" });
    let mut client = setup.broker.client();
    let mut publish = |action: &str, parties: &str, payload: &Value| {
        client.publish(&format!("/rtcomm/event/session/{action}/{parties}"), event(payload));
    };
    publish("started", "iggy/queue", &id("one"));
    publish("started", "iggy/queue", &id("one"));
    publish("started", "lemmy/bowie", &id("two"));
    publish("modified", "iggy/joan", &id("one"));
    publish("failed", "lemmy/bowie", &json!({ "sigSessID": "two", "reason": "Busy" }));
    publish("stopped", "iggy/joan", &id("one"));
    publish("stopped", "iggy/joan", &id("one"));
    publish("started", "iggy/joan", &json!({ "timestamp": "2026-11-23 10:00:00" }));
    publish("stopped", "iggy/joan", &json!({ "timestamp": "2026-11-23 10:00:01.5" }));
    publish("started", "patti/joan", &id("open"));
    publish("failed", "lemmy/joan", &json!({ "sigSessID": "end", "reason": "Gone" }));
    recorder.wait_for_stdout("the last event", |text| text.contains("\"end\""));
    for watch in &watches {
        watch.wait_for_stdout("the last record", |text| text.contains("\"end\"") || text.contains("Gone"));
    }
    let recorded = recorder.terminate().stdout;
    for (watch, flags) in watches.into_iter().zip(flags) {
        let live = watch.terminate().stdout;
        let tail = rtcomm(&format!("tail - {flags}")).stdin(&recorded).run().has_status(0);
        // Times by the receiving clock differ from run to run.
        tail.check(without_times(&live) == without_times(&tail.stdout), &format!("the output of `watch`: {live}"));
    }
    let records = rtcomm("tail - --cdr --json").stdin(&recorded).run().has_status(0).json_lines();
    let outcomes: Vec<_> = records.iter().filter_map(|record| record["cdr"].as_str()).collect();
    assert_eq!(outcomes, ["dropped", "completed", "completed", "failed", "open"]);
    assert_eq!((&records[1]["to"], &records[1]["duplicates"]), (&json!("queue"), &json!(1)));
    assert_eq!((&records[2]["duration_s"], &records[2]["incomplete"]), (&json!(1.5), &json!(["id"])));
}
on_every_broker!(live_records_are_those_of_the_recording);

/// Removes the values that depend on when events were received.
fn without_times(text: &str) -> Vec<String> {
    let without = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(mut record) => {
            if record["clock"] == "received" {
                for key in ["started", "ended", "duration_s"] {
                    record.as_object_mut().expect("an object").remove(key);
                }
            }
            record.to_string()
        }
        Err(_) => line.split_whitespace().skip(2).filter(|word| !word.ends_with("ms,")).collect::<Vec<_>>().join(" "),
    };
    text.lines().map(without).collect()
}

#[test]
fn a_record_is_printed_as_soon_as_the_call_ends() {
    let broker = Broker::mosquitto();
    let watch = rtcomm("watch --cdr --json").at(&broker).start().until_ready();
    publish(&broker, "started", "a/b", &json!({ "sigSessID": "s1" }));
    publish(&broker, "stopped", "a/b", &json!({ "sigSessID": "s1" }));
    watch.wait_for_lines(1);
    publish(&broker, "started", "a/b", &json!({ "sigSessID": "s2" }));
    publish(&broker, "failed", "a/b", &json!({ "sigSessID": "s3" }));
    watch.wait_for_lines(2);
    watch.signal(Signal::INT);
    let outcome = watch.end().has_status(130).says("3 printed");
    let outcomes: Vec<_> = outcome.json_lines().iter().map(|record| record["cdr"].clone()).collect();
    outcome.check(outcomes == ["completed", "failed", "open"], "the open call at the end");
    for (flags, printed) in [("--cdr -c 1", 1), ("--summary -c 1", 2)] {
        let watch = rtcomm(&format!("watch {flags}")).at(&broker).start().until_ready();
        publish(&broker, "started", "a/b", &json!({ "sigSessID": "s4" }));
        publish(&broker, "failed", "a/b", &json!({ "sigSessID": "s5" }));
        let outcome = watch.end().has_status(0).says("1 printed");
        outcome.check(outcome.stdout.lines().count() == printed, "the first record, or its summary");
    }
    rtcomm("watch --cdr --for 100ms --fail-empty").at(&broker).run().has_status(7).prints("");
    rtcomm("watch --cdr --for 100ms -c 1").at(&broker).run().has_status(124).prints("");
}

#[test]
fn a_call_is_lost_without_a_further_event() {
    let broker = Broker::mosquitto();
    let watch = rtcomm("watch --cdr --json --max-age 1s -c 1").at(&broker).start().until_ready();
    publish(&broker, "started", "a/b", &json!({ "sigSessID": "s1" }));
    let outcome = watch.end().has_status(0);
    outcome.check(outcome.json_lines()[0]["cdr"] == "lost", "a lost call");
}

#[test]
fn a_call_that_is_open_while_the_connection_is_lost_has_a_gap() {
    let broker = Broker::mosquitto();
    let relay = Relay::to(broker.port());
    let url = format!("mqtt://127.0.0.1:{}", relay.port());
    let start = |flags: &str| rtcomm(&format!("watch --json {flags}")).env("RTCOMM_BROKER", &url).start().until_ready();
    let (watch, recorder) = (start("--cdr -c 2"), start("--status-events"));
    publish(&broker, "started", "a/b", &json!({ "sigSessID": "s1" }));
    publish(&broker, "started", "a/b", &json!({ "sigSessID": "s2" }));
    recorder.wait_for_stdout("both events", |text| text.contains("\"s2\""));
    relay.cut();
    for process in [&watch, &recorder] {
        process.wait_for_stderr("a second connection", |text| text.matches("may be missing").count() == 1);
    }
    publish(&broker, "stopped", "a/b", &json!({ "sigSessID": "s1" }));
    publish(&broker, "stopped", "a/b", &json!({ "sigSessID": "s3" }));
    let outcome = watch.end().has_status(0);
    let incomplete: Vec<Value> = outcome.json_lines().iter().map(|record| record["incomplete"].clone()).collect();
    outcome.check(incomplete == [json!(["gap"]), json!(["start"])], "the gap, and a start that was not seen");
    recorder.wait_for_stdout("the last event", |text| text.contains("\"s3\""));
    let recorded = recorder.terminate().stdout;
    let tail = rtcomm("tail - --cdr --json -c 2").stdin(&recorded).run().has_status(0);
    tail.check(without_times(&tail.stdout) == without_times(&outcome.stdout), &outcome.stdout);
    let summary = rtcomm("tail - --summary --json").stdin(&recorded).run().has_status(0);
    summary.check(summary.json_lines()[0]["gaps"] == 1, "one gap");
}

#[test]
fn connection_changes_are_printed_on_request_only() {
    let broker = Broker::mosquitto();
    for (flags, statuses) in [("", 0), ("--status-events", 2)] {
        let watch = rtcomm(&format!("watch --cdr --json -c 1 {flags}")).at(&broker).start().until_ready();
        publish(&broker, "failed", "a/b", &json!({ "sigSessID": "s1" }));
        let outcome = watch.end().has_status(0);
        let printed = outcome.json_lines().iter().filter(|line| line["status"].is_string()).count();
        outcome.check(printed == statuses, "connected and ready");
        // When read from a recording, connection changes only mark the calls.
        let records = rtcomm("tail - --cdr --json").stdin(&outcome.stdout).run().has_status(0);
        records.check(records.json_lines().len() == 1, "the record alone");
    }
}

#[test]
fn a_message_that_is_not_an_event_is_reported() {
    let broker = Broker::mosquitto();
    let watch = rtcomm("watch --cdr -c 1").at(&broker).start().until_ready();
    broker.client().publish("/rtcomm/event/session/start/a/b", "x");
    publish(&broker, "failed", "a/b", &json!({}));
    let outcome = watch.end().has_status(0).says("skipped a message on '/rtcomm/event/session/start/a/b'");
    outcome.check(outcome.stdout.contains("no session ID"), "a record");
}

#[test]
fn an_anonymized_recording_gives_the_same_calls() {
    let [one, other] = share_group();
    let presence = r#"{"received":"2026-10-25T00:09:00.000000Z","topic":"/rtcomm/sphere/iggy","qos":0,"retain":true,"payload":{"method":"DOCUMENT","alias":"Iggy Pop","addressTopic":"/rtcomm/2123928217","appContext":"video","state":"available","userDefines":["Iggy Pop of /rtcomm/2123928217"]}}"#;
    let service = r#"{"received":"2026-10-25T00:09:01.000000Z","topic":"/rtcomm/2123928217","qos":0,"retain":false,"payload":{"method":"RESPONSE","services":{"RTCOMM_CONNECTOR_SERVICE":{"iceURL":"stun:s:1,turn:ice_user@t:2:credential:ice_password"}}}}"#;
    let one = text(&[presence, service]) + &one;
    let files = Recordings::of(&[("a.jsonl", &one), ("b.jsonl", &other)]);
    let anonymized = files.tail("--json --anonymize").run().has_status(0);
    for name in
        ["iggy", "bowie", "joan", "lemmy", "patti", "queue\"", "Iggy Pop", "2123928217", "ice_user", "ice_password"]
    {
        anonymized.check(!anonymized.stdout.contains(name), &format!("no {name}"));
    }
    anonymized.check(anonymized.stdout.lines().count() == one.lines().count() + other.lines().count(), "every line");
    let records = rtcomm("tail - --cdr --json --max-age 1h").stdin(&anonymized.stdout).run().has_status(0);
    let names = names(&anonymized);
    let expected = RECORDS.map(|record| {
        let mut record: Value = serde_json::from_str(record).expect("a record");
        for key in ["from", "to"] {
            record[key] = names.iter().find(|(name, _)| record[key] == *name).expect("a name").1.clone();
        }
        record
    });
    records.check(records.json_lines() == expected, &format!("{expected:?}"));
    // Names are collected from all lines, also from those that are not printed.
    let failed = files.tail("--json --anonymize --failed --from lemmy").run().has_status(0);
    failed.check(failed.json_lines().len() == 3 && !failed.stdout.contains("lemmy"), "two events and a gap");
    let last = files.tail("--json --anonymize -n 1").run().has_status(0);
    last.check(last.json_lines()[0]["category"] == "session" && !last.stdout.contains("bowie"), "the last event");
}

/// Returns the names of [`share_group`] with their pseudonyms.
fn names(anonymized: &Outcome) -> Vec<(&'static str, Value)> {
    let event = |id: &str| {
        let lines = anonymized.json_lines();
        lines.into_iter().find(|line| line["payload"]["sigSessID"] == id).expect("an event of the session")
    };
    let sides = |id: &str| [event(id)["from"].clone(), event(id)["to"].clone()];
    let ([iggy, bowie], [lemmy, patti]) = (sides("plain"), sides("no-start"));
    let ([joan, _], [_, queue]) = (sides("gap"), sides("queued"));
    vec![("iggy", iggy), ("bowie", bowie), ("lemmy", lemmy), ("patti", patti), ("joan", joan), ("queue", queue)]
}

#[test]
fn files_are_merged_by_the_times_of_their_records() {
    let one = lines(&["00:10:00 started a b id=1", "00:10:02 stopped a b id=3", "00:10:05 stopped a b id=5"]);
    let other = lines(&["00:10:01 started a b id=2", "00:10:02 stopped a b id=4", "00:10:09 stopped a b id=6"]);
    let files = Recordings::of(&[("a.jsonl", one.clone()), ("b.jsonl", other.replacen('\n', "\nnot JSON\n\n", 1))]);
    let ids = |flags: &str, status: i32| -> Vec<String> {
        let outcome = files.tail(&format!("--json {flags}")).run().has_status(status);
        outcome.json_lines().iter().filter_map(|line| Some(line["payload"]["sigSessID"].as_str()?.to_owned())).collect()
    };
    assert_eq!(ids("", 0), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(ids("-n 4", 0), ["3", "4", "5", "6"]);
    assert_eq!(ids("-n 2 --started", 0), ["1", "2"]);
    assert_eq!(ids("-c 3", 0), ["1", "2", "3"]);
    files.tail("").run().has_status(0).says("b.jsonl' line 2: not a JSON object");
    let missing = files.dir.path().join("missing.jsonl");
    files.tail("--json").arg(missing).run().has_status(2).prints("");
}
