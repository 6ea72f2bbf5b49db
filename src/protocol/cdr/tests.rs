//! Tests of the recorder: the rules one by one, and properties of any input.

use std::borrow::Cow;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::protocol::record::{CallClock, ConnectionChange, ConnectionStatus, Entry, Message, Missing, Record};
use crate::protocol::topic::{Root, Topics};

const MAX_AGE: Duration = Duration::from_hours(12);

/// An entry of the input.
#[derive(Debug, Clone)]
enum Input {
    Message { received: Timestamp, topic: String, payload: String },
    Gap { received: Timestamp, from: Timestamp },
    Connection { received: Timestamp, change: ConnectionChange },
}

fn time(text: &str) -> Timestamp {
    let text = if text.contains('T') { text.to_owned() } else { format!("2026-11-23T{text}") };
    format!("{text}Z").parse().expect("a time")
}

/// Returns an event from `TIME ACTION FROM TO [KEY=VALUE]…`. Its session ID is `s1`, unless `id=` gives another one or none.
fn event(text: &str) -> Input {
    let mut words = text.split_whitespace();
    let mut next = || words.next().expect("time, action and endpoints");
    let (received, action, from, to) = (time(next()), next(), next(), next());
    let mut payload = serde_json::json!({ "method": "RTCOMM_EVENT_FIRED", "sigSessID": "s1" });
    for word in words {
        let (key, value) = word.split_once('=').expect("a key and a value");
        let key = match key {
            "id" => "sigSessID",
            "at" => "timestamp",
            "app" => "appContext",
            other => other,
        };
        payload[key] = if value.is_empty() { serde_json::Value::Null } else { value.replace('_', " ").into() };
    }
    let topic = format!("/rtcomm/event/session/{action}/{from}/{to}");
    Input::Message { received, topic, payload: payload.to_string() }
}

/// Returns a gap from `FROM UNTIL`.
fn gap(text: &str) -> Input {
    let (from, until) = text.split_once(' ').expect("two times");
    Input::Gap { received: time(until), from: time(from) }
}

fn topics() -> Topics {
    Topics::from("/rtcomm".parse::<Root>().expect("a root"))
}

impl Input {
    fn with_record<T>(
        &self,
        use_message: impl FnOnce(&Record<'_>) -> T,
        use_status: impl FnOnce(&ConnectionStatus<'_>) -> T,
    ) -> T {
        match self {
            Self::Message { received, topic, payload } => {
                let message =
                    Message { received: *received, topic, qos: 1, retain: false, payload: payload.as_bytes() };
                use_message(&Record::of(&topics(), &message))
            }
            Self::Gap { received, from } => {
                let change = ConnectionChange::Gap { from: *from, until: *received };
                use_status(&ConnectionStatus { received: *received, change, reason: Some(Cow::Borrowed("x")) })
            }
            Self::Connection { received, change } => {
                use_status(&ConnectionStatus { received: *received, change: *change, reason: None })
            }
        }
    }

    fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        let out = std::cell::RefCell::new(&mut line);
        self.with_record(|it| it.write_line(&mut out.borrow_mut()), |it| it.write_line(&mut out.borrow_mut()));
        line
    }
}

/// Returns the records of a live stream, each taken when it is known.
fn live(input: &[Input], max_age: Duration) -> Vec<CallRecord> {
    let recorder = std::cell::RefCell::new(CallRecorder::new(max_age));
    let mut records = Vec::new();
    for entry in input {
        entry.with_record(|it| recorder.borrow_mut().message(it), |it| recorder.borrow_mut().connection(it));
        records.extend(std::iter::from_fn(|| recorder.borrow_mut().next_record()));
    }
    recorder.borrow_mut().finish();
    records.extend(std::iter::from_fn(|| recorder.borrow_mut().next_record()));
    records
}

/// Returns the records of a recording.
fn recorded(input: &[Input], max_age: Duration) -> Vec<CallRecord> {
    let mut recorder = CallRecorder::new(max_age);
    for entry in input {
        recorder.entry(&Entry::parse(&entry.line()).expect("a recorded line"));
    }
    recorder.finish();
    std::iter::from_fn(|| recorder.next_record()).collect()
}

fn lines(records: &[CallRecord]) -> Vec<String> {
    let mut out = Vec::new();
    for record in records {
        record.write_line(&mut out);
    }
    String::from_utf8(out).expect("UTF-8").lines().map(str::to_owned).collect()
}

/// Returns the records as `OUTCOME ID FROM TO DURATION MODIFIED DUPLICATES INCOMPLETE`, with a dash for what is absent.
fn table(input: &[Input]) -> Vec<String> {
    let records = recorded(input, MAX_AGE);
    assert_eq!(lines(&live(input, MAX_AGE)), lines(&records), "live and recorded");
    let row = |record: &CallRecord| {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let incomplete: Vec<&str> = record.incomplete.iter().map(|it| it.as_str()).collect();
        let words = [
            record.outcome.to_string(),
            or_dash(record.session_id.clone()),
            record.from.clone(),
            record.to.clone(),
            or_dash(record.duration.map(|it| it.as_secs_f64().to_string())),
            record.modified.to_string(),
            record.duplicates.to_string(),
            if incomplete.is_empty() { "-".to_owned() } else { incomplete.join(",") },
        ];
        words.join(" ")
    };
    records.iter().map(row).collect()
}

#[test]
fn the_last_event_decides_the_outcome() {
    for (events, expected) in [
        (&["10:00:00 started a b", "10:01:00 stopped a b"][..], "completed s1 a b 60 0 0 -"),
        (&["10:00:00 started a b", "10:01:00 failed a b"], "dropped s1 a b 60 0 0 -"),
        (&["10:00:00 started a b"], "open s1 a b - 0 0 end"),
        (&["10:01:00 stopped a b"], "completed s1 a b - 0 0 start"),
        (&["10:01:00 failed a b"], "failed s1 a b - 0 0 start"),
        (&["10:00:00 modified a b", "10:01:00 failed a b"], "failed s1 a b - 1 0 start"),
        (&["10:00:00 modified a b"], "open s1 a b - 1 0 start,end"),
        (&["10:00:00 started a b", "10:00:30 modified a b", "10:01:00 stopped a b"], "completed s1 a b 60 1 0 -"),
        // The start came late.
        (&["10:00:00 modified a b", "10:00:01 started a b", "10:01:00 stopped a b"], "completed s1 a b 59 1 0 -"),
    ] {
        let input: Vec<Input> = events.iter().map(|it| event(it)).collect();
        assert_eq!(table(&input), [expected]);
    }
}

#[test]
fn records_are_returned_when_their_end_is_known() {
    let input = [
        event("10:00:00 started a b id=s1"),
        event("10:00:01 started a c id=s2"),
        event("10:00:02 started a d id=s3"),
        event("10:00:03 stopped a c id=s2"),
        event("10:00:04 failed b c id=s4"),
    ];
    assert_eq!(
        table(&input),
        ["completed s2 a c 2 0 0 -", "failed s4 b c - 0 0 start", "open s1 a b - 0 0 end", "open s3 a d - 0 0 end"]
    );
}

#[test]
fn sessions_are_in_the_order_of_their_first_events_even_if_the_clock_is_set_back() {
    let input = [
        event("2026-11-23T10:00:00 started a b id=s1"),
        event("2026-11-23T02:00:00 started a b id=s2"),
        event("2026-11-23T09:00:00 started a b id=s3"),
        event("2026-11-23T14:00:01 started a b id=s4"),
        event("2026-11-23T14:00:02 stopped a b id=s4"),
    ];
    assert_eq!(
        table(&input),
        ["lost s2 a b - 0 0 end", "completed s4 a b 1 0 0 -", "open s3 a b - 0 0 end", "open s1 a b - 0 0 end"]
    );
}

#[test]
fn the_memory_for_ended_sessions_is_bounded() {
    let mut recorder = CallRecorder::new(MAX_AGE);
    recorder.entry(&Entry::parse(&event("10:00:00 started a b id=open").line()).expect("a line"));
    for n in 0..10_000 {
        for action in ["started", "stopped"] {
            let line = event(&format!("10:00:00 {action} a b id=s{n}")).line();
            recorder.entry(&Entry::parse(&line).expect("a line"));
        }
    }
    assert_eq!(recorder.open_sessions(), 1);
    assert!(recorder.queued_sessions() < 2_000, "{}", recorder.queued_sessions());
}

#[test]
fn the_called_endpoint_is_that_of_the_first_event() {
    let input = [
        event("10:00:00 started iggy queue"),
        event("10:00:05 modified iggy joan app=x"),
        event("10:00:06 modified iggy joan n=2"),
        event("10:01:00 stopped iggy joan"),
    ];
    let records = recorded(&input, MAX_AGE);
    assert_eq!(table(&input), ["completed s1 iggy queue 60 2 0 -"]);
    assert_eq!(records[0].answered_by, ["joan"]);
    assert_eq!(records[0].app_context.as_deref(), Some("x"));
}

#[test]
fn a_session_id_is_compared_as_a_uuid() {
    let input = [
        event("10:00:00 started a b id=6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10"),
        event("10:01:00 stopped a b id=6A1F9F3E-2D0B-4C35-8A53-0D9D5B1F5F10"),
    ];
    assert_eq!(table(&input), ["completed 6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10 a b 60 0 0 -"]);
}

#[test]
fn copies_are_counted_until_the_record_is_printed() {
    let started = event("10:00:00 started a b at=2026-11-23_11:00:00");
    let stopped = event("10:01:00 stopped a b at=2026-11-23_11:01:00");
    let late = event("10:02:00 modified a b");
    let input = [&started, &started, &stopped, &started, &stopped, &late].map(Clone::clone);
    assert_eq!(table(&input), ["completed s1 a b 60 0 1 -"]);
    let mut recorder = CallRecorder::new(MAX_AGE);
    for entry in &input {
        recorder.entry(&Entry::parse(&entry.line()).expect("a line"));
    }
    assert_eq!((recorder.late_events(), recorder.open_sessions()), (3, 0));
}

#[test]
fn a_copy_with_other_line_ends_is_a_copy() {
    let event = |payload: &str| Input::Message {
        received: time("10:00:00"),
        topic: "/rtcomm/event/session/modified/a/b".to_owned(),
        payload: payload.to_owned(),
    };
    let input = [
        event("{\"method\":\"RTCOMM_EVENT_FIRED\",\n\"sigSessID\":\"s1\"}\n"),
        event("{\"method\":\"RTCOMM_EVENT_FIRED\", \"sigSessID\":\"s1\"}"),
        event("{\"method\":\"RTCOMM_EVENT_FIRED\",  \"sigSessID\":\"s1\"}"),
    ];
    assert_eq!(table(&input), ["open s1 a b - 2 1 start,end"]);
}

#[test]
fn without_an_id_events_are_paired_by_endpoints_and_application() {
    let input = [
        event("10:00:00 started a b id= app=x at=2026-11-23_10:00:00"),
        event("10:00:01 started a b id= app=y at=2026-11-23_10:00:01"),
        event("10:00:02 started b a id= app=x at=2026-11-23_10:00:02"),
        event("10:00:03 started a b app=x"),
        event("10:00:10 stopped a b id= app=x at=2026-11-23_10:00:10"),
        event("10:00:20 stopped b a id= app=x at=2026-11-23_10:00:20"),
        event("10:00:31 failed a b id= app=y at=2026-11-23_10:00:31"),
    ];
    assert_eq!(
        table(&input),
        ["completed - a b 10 0 0 id", "completed - b a 18 0 0 id", "dropped - a b 30 0 0 id", "open s1 a b - 0 0 end"]
    );
}

#[test]
fn without_an_id_a_copy_never_makes_a_second_record() {
    let started = event("10:00:00 started a b id= at=2026-11-23_10:00:00");
    let stopped = event("10:01:00 stopped a b id= at=2026-11-23_10:01:00");
    let next = event("10:02:00 started a b id= at=2026-11-23_10:02:00");
    let input = [&started, &started, &stopped, &stopped, &started, &next, &stopped].map(Clone::clone);
    assert_eq!(table(&input), ["completed - a b 60 0 1 id", "open - a b - 0 0 end,id"]);
}

#[test]
fn without_an_id_and_a_timestamp_a_start_after_the_end_is_a_new_session() {
    let (started, stopped) = (event("10:00:00 started a b id="), event("10:00:00 stopped a b id="));
    let input = [&started, &stopped, &stopped, &started, &stopped, &started].map(Clone::clone);
    assert_eq!(table(&input), ["completed - a b 0 0 0 id", "completed - a b 0 0 0 id", "open - a b - 0 0 end,id"]);
}

#[test]
fn without_an_id_a_second_start_shows_that_an_end_was_missed() {
    let input = [
        event("10:00:00 started a b id= n=1"),
        event("10:30:00 started a b id= n=2"),
        event("10:31:00 stopped a b id="),
    ];
    assert_eq!(table(&input), ["lost - a b - 0 0 end,id", "completed - a b 60 0 0 id"]);
}

#[test]
fn a_session_without_an_end_is_lost_after_the_maximum_age() {
    let input = [
        event("2026-11-23T00:00:00 started a b id=s1"),
        event("2026-11-23T00:00:01 started a b id=s2"),
        event("2026-11-23T00:00:01 started a b id= app=x"),
        event("2026-11-23T12:00:00 stopped a b id=s9"),
        event("2026-11-23T12:00:01 stopped a b id=s2"),
        event("2026-11-23T12:00:02 stopped a b id=s1"),
        event("2026-11-23T12:00:03 stopped a b id= app=x"),
        event("2026-11-23T12:00:04 started a b id= app=x"),
        event("2026-11-23T12:00:05 stopped a b id= app=x n=2"),
        event("2026-11-23T12:00:06 stopped a b id= app=x n=3"),
    ];
    assert_eq!(
        table(&input),
        [
            "completed s9 a b - 0 0 start",
            "lost s1 a b - 0 0 end",
            "completed s2 a b 43200 0 0 -",
            "lost - a b - 0 0 end,id",
            "completed - a b 1 0 0 id",
            "completed - a b - 0 0 start,id"
        ]
    );
}

#[test]
fn a_gap_marks_the_sessions_that_are_open() {
    let input = [
        event("10:00:00 started a b id=s1"),
        event("10:00:01 started a b id=s2"),
        event("10:00:02 stopped a b id=s1"),
        gap("10:01:00 10:02:00"),
        event("10:03:00 started a b id=s3"),
        event("10:04:00 stopped a b id=s2"),
        event("10:04:00 stopped a b id=s3"),
        event("10:04:00 stopped a b id=s4"),
    ];
    assert_eq!(
        table(&input),
        [
            "completed s1 a b 2 0 0 -",
            "completed s2 a b 239 0 0 gap",
            "completed s3 a b 60 0 0 -",
            "completed s4 a b - 0 0 start"
        ]
    );
}

#[test]
fn a_session_that_ends_before_the_gap_is_recorded_is_marked_too() {
    let change = |received, change| Input::Connection { received: time(received), change };
    let input = [
        event("10:00:00 started a b id=s1"),
        event("10:00:00 started a b id=s2"),
        change("10:01:00", ConnectionChange::Disconnected),
        change("10:02:00", ConnectionChange::Connected),
        event("10:02:01 started a b id=s3"),
        event("10:02:01 stopped a b id=s1"),
        event("10:02:01 stopped a b id=s3"),
        gap("10:00:59 10:02:01"),
        change("10:02:01", ConnectionChange::Ready),
        event("10:02:02 started a b id=s4"),
        event("10:02:03 stopped a b id=s2"),
        event("10:02:03 stopped a b id=s4"),
    ];
    assert_eq!(
        table(&input),
        [
            "completed s1 a b 121 0 0 gap",
            "completed s3 a b 0 0 0 -",
            "completed s2 a b 123 0 0 gap",
            "completed s4 a b 1 0 0 -"
        ]
    );
}

#[test]
fn during_an_outage_every_session_of_another_recorder_is_marked() {
    let change = |received, change| Input::Connection { received: time(received), change };
    let input = [
        event("2026-11-22T10:00:00 started a b id=s0"),
        change("10:00:00", ConnectionChange::Disconnected),
        event("10:00:01 started a b id=s1"),
        event("10:00:02 stopped a b id=s1"),
        event("10:00:03 failed a b id=s2"),
        change("10:00:04", ConnectionChange::Connected),
        event("10:00:05 started a b id=s3"),
        gap("09:59:59 10:00:06"),
        event("10:00:07 stopped a b id=s3"),
        event("10:00:08 started a b id=s4"),
        event("10:00:09 stopped a b id=s4"),
    ];
    assert_eq!(
        table(&input),
        [
            "lost s0 a b - 0 0 end",
            "completed s1 a b 1 0 0 gap",
            "failed s2 a b - 0 0 start,gap",
            "completed s3 a b 2 0 0 gap",
            "completed s4 a b 1 0 0 -"
        ]
    );
}

#[test]
fn a_source_that_is_ready_does_not_end_the_outage_of_another() {
    let change = |received, change| Input::Connection { received: time(received), change };
    let mut recorder = CallRecorder::new(MAX_AGE);
    for (source, entry) in [
        (0, event("10:00:00 started a b id=s1")),
        (0, change("10:01:00", ConnectionChange::Disconnected)),
        (1, change("10:01:30", ConnectionChange::Connected)),
        (1, change("10:01:30", ConnectionChange::Ready)),
        (1, event("10:02:00 stopped a b id=s1")),
    ] {
        recorder.select_source(source);
        recorder.entry(&Entry::parse(&entry.line()).expect("a line"));
    }
    assert_eq!(recorder.next_record().map(|record| record.incomplete), Some(vec![Missing::Gap]));
}

#[test]
fn without_an_id_only_the_first_end_after_a_loss_is_that_of_the_lost_session() {
    let input = [
        event("2026-11-23T00:00:00 started a b id="),
        event("2026-11-23T13:00:00 failed a b id= n=1"),
        event("2026-11-23T13:00:01 failed a b id= n=1"),
        event("2026-11-23T13:00:02 failed a b id= n=2"),
    ];
    assert_eq!(table(&input), ["lost - a b - 0 0 end,id", "failed - a b - 0 0 id"]);
}

#[test]
fn the_input_reaches_back_to_what_is_not_read_and_earlier_gaps_are_not_counted() {
    let mut recorder = CallRecorder::new(MAX_AGE);
    recorder.reach_back(time("2026-11-22T10:00:00"));
    recorder.count_gaps_since(time("2026-11-23T10:00:00"));
    for entry in [
        gap("2026-11-22T10:00:00 2026-11-22T10:00:01"),
        gap("10:00:00 10:00:01"),
        event("2026-11-23T23:00:00 failed a b"),
    ] {
        recorder.entry(&Entry::parse(&entry.line()).expect("a line"));
    }
    assert_eq!(recorder.gaps(), 1);
    assert_eq!(recorder.next_record().map(|record| record.incomplete), Some(vec![]));
}

#[test]
fn a_failure_has_no_start_if_the_input_would_contain_it() {
    let early = event("2026-11-23T00:00:00 started x y id=s0");
    let failed = event("2026-11-23T12:00:00 failed a b");
    let soon = event("2026-11-23T11:59:59 failed a b");
    assert_eq!(table(&[early.clone(), failed.clone()])[0], "failed s1 a b - 0 0 -");
    assert_eq!(table(&[early.clone(), soon])[0], "failed s1 a b - 0 0 start");
    let hole = gap("2026-11-23T00:00:00 2026-11-23T00:00:01");
    assert_eq!(table(&[early.clone(), hole, failed.clone()])[0], "failed s1 a b - 0 0 start");
    let hole = gap("2026-11-22T23:59:59 2026-11-23T00:00:00");
    assert_eq!(table(&[early.clone(), hole, failed])[0], "failed s1 a b - 0 0 -");
    // A change of the session proves a start.
    let modified = event("2026-11-23T12:00:00 modified a b");
    let failed = event("2026-11-23T12:00:01 failed a b");
    assert_eq!(table(&[early, modified, failed])[1], "failed s1 a b - 1 0 start");
}

#[test]
fn a_change_of_the_zone_does_not_change_the_duration() {
    for (received, started, ended, clock, duration) in [
        ("10:30:00", "2026-10-25_02:30:00", "2026-10-25_03:00:00", CallClock::Server, 1_800),
        ("10:30:00", "2026-10-25_02:30:00", "2026-10-25_02:00:00", CallClock::Received, 1_800),
        ("10:30:00", "2026-03-29_01:45:00", "2026-03-29_03:15:00", CallClock::Received, 1_800),
        ("12:00:00", "2026-10-25_02:30:00", "2026-10-25_03:30:59", CallClock::Received, 7_200),
    ] {
        let input = [
            event(&format!("10:00:00 started a b at={started}")),
            event(&format!("{received} stopped a b at={ended}")),
        ];
        let records = recorded(&input, MAX_AGE);
        assert_eq!((records[0].clock, records[0].duration), (Some(clock), Some(Duration::from_secs(duration))));
        let text = records[0].started.as_deref();
        let expected = started.replace('_', " ");
        assert_eq!(text, Some(if clock == CallClock::Server { &expected } else { "2026-11-23T10:00:00.000000Z" }));
    }
}

#[test]
fn the_reason_is_that_of_the_end() {
    let input = [event("10:00:00 started a b reason=early"), event("10:00:01 failed a b reason=Busy_now")];
    assert_eq!(recorded(&input, MAX_AGE)[0].reason.as_deref(), Some("Busy now"));
}

#[test]
fn registrations_and_other_messages_only_advance_the_clock() {
    let other = |received: &str, topic: &str| Input::Message {
        received: time(received),
        topic: topic.to_owned(),
        payload: r#"{"method":"RTCOMM_EVENT_FIRED","sigSessID":"s1"}"#.to_owned(),
    };
    let input = [
        other("2026-11-23T00:00:00", "/rtcomm/event/registration/started/a"),
        event("2026-11-23T00:00:00 started a b"),
        other("2026-11-23T11:00:00", "/rtcomm/event/session/start/a/b"),
        other("2026-11-23T12:00:01", "/rtcomm/sphere/a"),
    ];
    assert_eq!(table(&input), ["lost s1 a b - 0 0 end"]);
}

#[test]
fn a_call_record_in_the_input_is_returned() {
    let line = r#"{"cdr":"completed","from":"a","to":"b","modified":0,"duplicates":0,"incomplete":[]}"#;
    let mut recorder = CallRecorder::new(MAX_AGE);
    recorder.entry(&Entry::parse(line.as_bytes()).expect("a line"));
    assert_eq!(recorder.next_record().map(|record| lines(&[record])), Some(vec![line.to_owned()]));
}

#[test]
fn the_memory_of_a_session_with_many_events_is_bounded() {
    let mut recorder = CallRecorder::new(MAX_AGE);
    for n in 0..10_000 {
        let line = event(&format!("10:00:00 modified a b{n} n={n}")).line();
        recorder.entry(&Entry::parse(&line).expect("a line"));
    }
    recorder.finish();
    let record = recorder.next_record().expect("a record");
    assert_eq!((record.modified, record.duplicates, record.answered_by.len()), (10_000, 0, 64));
}

#[derive(Debug, Clone)]
struct RandomEvent {
    pause_micros: i64,
    action: usize,
    session: usize,
    to: usize,
    variant: usize,
    is_gap: bool,
}

fn random_event() -> impl Strategy<Value = RandomEvent> {
    let pause = prop_oneof![8 => 0..2_000_000_i64, 3 => 0..3_600_000_000_i64, 1 => 0..30_000_000_000_i64];
    (pause, 0..4_usize, 0..6_usize, 0..2_usize, 0..3_usize, prop::bool::weighted(0.05)).prop_map(
        |(pause_micros, action, session, to, variant, is_gap)| RandomEvent {
            pause_micros,
            action,
            session,
            to,
            variant,
            is_gap,
        },
    )
}

/// Returns an input of random events. The first `with_id` sessions have an ID.
fn random_input(events: &[RandomEvent], with_id: usize) -> Vec<Input> {
    let mut now = time("2026-11-23T00:00:00");
    let input = events.iter().map(|it| {
        // Live times are more precise than recorded ones.
        now += SignedDuration::from_micros(it.pause_micros) + SignedDuration::from_nanos(it.pause_micros % 1_000);
        if it.is_gap {
            return Input::Gap { received: now, from: now - SignedDuration::from_secs(7) };
        }
        let RandomEvent { action, session, to, variant, .. } = it;
        let action = ["started", "modified", "stopped", "failed"][*action];
        let id = if *session < with_id { format!(",\"sigSessID\":\"s{session}\"") } else { String::new() };
        let at = if *variant == 0 { String::new() } else { format!(",\"timestamp\":\"2026-11-23 10:0{variant}:00\"") };
        let payload = format!("{{\"method\":\"RTCOMM_EVENT_FIRED\"{id}{at}}}");
        Input::Message { received: now, topic: format!("/rtcomm/event/session/{action}/a{session}/b{to}"), payload }
    });
    input.collect()
}

/// The expected result for one session with an ID, by definition.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    id: String,
    outcome: &'static str,
    is_started: bool,
    modified: u64,
    duplicates: u64,
}

/// Determines the sessions of an input and the number of its late events, one session at a time.
fn expected(input: &[Input], max_age: SignedDuration) -> (Vec<Expected>, u64) {
    let micros = |at: &Timestamp| at.as_microsecond();
    let last = input.iter().map(|it| match it {
        Input::Message { received, .. } | Input::Gap { received, .. } | Input::Connection { received, .. } => {
            micros(received)
        }
    });
    let last = last.max().unwrap_or_default();
    let max_age = i64::try_from(max_age.as_micros()).expect("a small number");
    let mut sessions = Vec::new();
    let mut late = 0;
    for session in 0..6 {
        let id = format!("s{session}");
        let events: Vec<(i64, &str, &str)> = input
            .iter()
            .filter_map(|it| match it {
                Input::Message { received, topic, payload } if payload.contains(&format!("\"{id}\"")) => {
                    Some((micros(received), topic.as_str(), payload.as_str()))
                }
                _ => None,
            })
            .collect();
        let Some(&(first, ..)) = events.first() else { continue };
        let is_end = |topic: &str| topic.contains("/stopped/") || topic.contains("/failed/");
        let until = events.iter().position(|(at, ..)| at - first > max_age).unwrap_or(events.len());
        let end = events[..until].iter().position(|(_, topic, _)| is_end(topic));
        let own = &events[..end.map_or(until, |end| end + 1)];
        late += (events.len() - own.len()) as u64;
        let is_copy = |index: &usize| own[..*index].iter().any(|it| (it.1, it.2) == (own[*index].1, own[*index].2));
        let duplicates = (0..own.len()).filter(is_copy).count() as u64;
        let is_modified = |index: &usize| own[*index].1.contains("/modified/") && !is_copy(index);
        let modified = (0..own.len()).filter(is_modified).count() as u64;
        let is_started = own.iter().any(|(_, topic, _)| topic.contains("/started/"));
        let outcome = match end.map(|end| own[end].1.contains("/stopped/")) {
            Some(true) => "completed",
            Some(false) if is_started => "dropped",
            Some(false) => "failed",
            None if last - first > max_age => "lost",
            None => "open",
        };
        sessions.push(Expected { id, outcome, is_started, modified, duplicates });
    }
    (sessions, late)
}

proptest! {
    #[test]
    fn live_and_recorded_input_give_the_same_records(
        events in prop::collection::vec(random_event(), 0..60),
        with_id in 0..6_usize,
    ) {
        let input = random_input(&events, with_id);
        let max_age = Duration::from_hours(2);
        prop_assert_eq!(live(&input, max_age), recorded(&input, max_age));
    }

    #[test]
    fn each_event_belongs_to_exactly_one_record(events in prop::collection::vec(random_event(), 0..60)) {
        let input = random_input(&events, 6);
        let max_age = Duration::from_hours(2);
        let mut recorder = CallRecorder::new(max_age);
        for entry in &input {
            recorder.entry(&Entry::parse(&entry.line()).expect("a line"));
        }
        recorder.finish();
        let mut sessions: Vec<Expected> = std::iter::from_fn(|| recorder.next_record())
            .map(|record| Expected {
                id: record.session_id.expect("an ID"),
                outcome: record.outcome.as_str(),
                is_started: record.started.is_some(),
                modified: record.modified,
                duplicates: record.duplicates,
            })
            .collect();
        sessions.sort_unstable();
        let (expected, late) = expected(&input, max_age.try_into().expect("a small number"));
        prop_assert_eq!(sessions, expected);
        prop_assert_eq!(recorder.late_events(), late);
    }

    #[test]
    fn without_ids_each_start_and_end_is_in_at_most_one_record(events in prop::collection::vec(random_event(), 0..60)) {
        let input = random_input(&events, 0);
        let records = recorded(&input, Duration::from_hours(2));
        let count = |actions: &[&str]| {
            let is_counted = |it: &&Input| {
                let Input::Message { topic, .. } = it else { return false };
                actions.iter().any(|action| topic.contains(action))
            };
            input.iter().filter(is_counted).count()
        };
        let started = records.iter().filter(|it| it.started.is_some()).count();
        let ended = records.iter().filter(|it| it.ended.is_some()).count();
        prop_assert!(started <= count(&["/started/"]) && ended <= count(&["/stopped/", "/failed/"]));
        for record in &records {
            let is_ended = !record.incomplete.contains(&super::super::record::Missing::End);
            prop_assert_eq!(record.ended.is_some(), is_ended, "no end is invented");
            prop_assert!(record.started.is_none() || !record.incomplete.contains(&super::super::record::Missing::Start));
        }
    }
}
