//! `rtcomm call --batch`: many calls over one connection, one output line per input line, in the order of the input.

use std::io::Write as _;
use std::sync::Mutex;
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::mqtt::{DISCONNECT, Packet};
use crate::support::peer::{Peer, Script};
use crate::support::service::{reply, request_of};
use crate::support::{Broker, Outcome, rtcomm, shell};

/// Returns a line of the input.
fn batch_line(caller: &str, callee: &str) -> String {
    json!({"caller": caller, "callee": callee}).to_string() + "\n"
}

/// Starts a service that collects `count` requests, and then sends `answer` for each, the last request first.
fn answer_in_reverse(broker: &Broker, count: usize, answer: impl Fn(&Value) -> Option<Value> + Send + 'static) {
    let mut client = broker.client();
    client.subscribe("/rtcomm/callControl");
    thread::spawn(move || {
        let requests: Vec<Value> = (0..count).map(|_| request(&mut client)).collect();
        for request in requests.iter().rev() {
            if let Some(result) = answer(request) {
                let mut response =
                    json!({"method": "RESPONSE", "orig": "3PCC_PLACE_CALL", "transID": request["transID"]});
                for (key, value) in result.as_object().expect("an object of keys") {
                    response[key] = value.clone();
                }
                client.publish(request["fromTopic"].as_str().expect("a topic"), response.to_string());
            }
        }
        // Keep the connection open, so that the subscription remains.
        loop {
            client.next();
        }
    });
}

fn request(client: &mut Client) -> Value {
    serde_json::from_slice(&client.next().payload).expect("a request is JSON")
}

/// Returns the value of a key in each line.
fn values_of(outcome: &Outcome, key: &str) -> Vec<Value> {
    outcome.json_lines().iter().map(|line| line[key].clone()).collect()
}

#[test]
fn output_has_the_order_of_the_input_not_of_the_replies() {
    let broker = Broker::mosquitto();
    answer_in_reverse(&broker, 20, |_| Some(json!({"result": "SUCCESS"})));
    let input: String = (0..20).map(|i| batch_line(&format!("caller{i}"), "b")).collect();
    let outcome = rtcomm("call --batch -").at(&broker).stdin(input).run().has_status(0);
    let callers: Vec<_> = (0..20).map(|i| json!(format!("caller{i}"))).collect();
    outcome.check(values_of(&outcome, "caller") == callers, "the order of the input");
    outcome.check(values_of(&outcome, "outcome").iter().all(|it| it == "success"), "every call is placed");
}

#[test]
fn an_invalid_line_is_reported_with_its_number_and_the_batch_continues() {
    let broker = Broker::mosquitto();
    answer_in_reverse(&broker, 2, |_| Some(json!({"result": "FAILURE", "reason": "busy"})));
    let input =
        format!("{}junk\n\n{}{{\"caller\":\"a/b\",\"callee\":\"c\"}}\n", batch_line("a", "b"), batch_line("c", "d"));
    let outcome = rtcomm("call --batch -").at(&broker).stdin(input).run().has_status(3);
    outcome.check(
        values_of(&outcome, "outcome") == ["failure", "invalid", "invalid", "failure", "invalid"],
        "one result per line",
    );
    outcome
        .check(values_of(&outcome, "line") == [Value::Null, json!(2), json!(3), Value::Null, json!(5)], "the numbers");
    outcome.check(values_of(&outcome, "reason")[0] == "busy", "the service's reason");
}

#[test]
fn json_that_is_not_an_object_is_not_a_request() {
    let lines = "[\"iggy_pop\",\"david_bowie\",null,null]\nnull\n42\n\"x\"\njunk\n";
    let outcome = rtcomm("call --batch - --dry-run").stdin(lines).run().has_status(1);
    outcome.check(values_of(&outcome, "outcome") == vec![json!("invalid"); 5], "no call");
    let why = "the line is not a valid request: it must be a JSON object";
    outcome.check(values_of(&outcome, "reason") == vec![json!(why); 5], "the reason explains the format");
}

#[test]
fn an_error_names_the_column_in_the_line() {
    let lines = "\n\r\n \n{\"caller\":\"iggy_pop\"}\n";
    let outcome = rtcomm("call --batch - --dry-run").stdin(lines).run().has_status(1);
    let (empty, missing) =
        ("the line is empty", "the line is not a valid request: missing field `callee` at column 21");
    outcome.check(values_of(&outcome, "reason") == [empty, empty, empty, missing], "no number of a line but its own");
    outcome.check(values_of(&outcome, "line") == [1, 2, 3, 4], "the numbers");
}

#[test]
fn a_batch_without_pending_calls_ends_with_its_input() {
    let broker = Broker::mosquitto();
    // Repeat, because the result would depend on which of two threads is faster.
    for _ in 0..60 {
        let (batch, mut stdin) = rtcomm("call --batch -").at(&broker).start_fed();
        stdin.write_all(b"junk\n").expect("the batch reads");
        batch.wait_for_lines(1);
        drop(stdin);
        batch.end().has_status(1);
    }
}

#[test]
fn a_damaged_input_ends_the_batch_after_the_calls_before_the_damage() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("calls.jsonl.gz");
    let calls: String = (0..10).map(|i| batch_line(&format!("caller{i}"), "b")).collect();
    let mut packed = compressed(&calls);
    // The last bytes are the checksum and the length.
    packed.truncate(packed.len() - 8);
    std::fs::write(&file, packed).expect("room for it");
    let peer = Peer::broker(Script::default().replying(|request| vec![reply(request, &json!({}))]));
    let batch = rtcomm("call --mqtt-version 3.1.1 --batch").arg(&file).env("RTCOMM_BROKER", peer.url());
    let outcome = batch.run().has_status(1).says("calls.jsonl.gz").says("--skip 10");
    let callers: Vec<_> = (0..10).map(|i| json!(format!("caller{i}"))).collect();
    outcome.check(values_of(&outcome, "caller") == callers, "one line per call");
    outcome.check(values_of(&outcome, "outcome") == vec![json!("success"); 10], "all replies are awaited");
    // CONNECT, SUBSCRIBE, ten PUBLISH, DISCONNECT.
    peer.wait_for_packets(13);
    outcome.check(peer.published().len() == 10, "no more calls than lines");
    outcome.check(peer.seen().last().is_some_and(|packet| packet.kind() == DISCONNECT), "a DISCONNECT");
}

/// Compresses a text with gzip.
fn compressed(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).expect("a Vec takes all");
    packed.finish().expect("a Vec takes all")
}

#[test]
fn a_fifo_is_opened_once_and_may_have_no_writer_yet() {
    let broker = Broker::mosquitto();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let fifo = dir.path().join("calls");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("it can be made");
    let batch = rtcomm("call --verbose --batch").arg(&fifo).at(&broker).start();
    batch.wait_for_stderr("the subscription", |text| text.contains("subscribed to"));
    std::fs::write(&fifo, "junk\nmore junk\n").expect("the batch reads");
    let outcome = batch.end().has_status(1);
    outcome.check(values_of(&outcome, "outcome") == ["invalid", "invalid"], "all that was written");
}

#[test]
fn a_progress_bar_is_shown_unless_results_go_to_the_terminal_or_quiet_is_given() {
    let broker = Broker::mosquitto();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("calls.jsonl.gz");
    std::fs::write(&file, compressed("junk\n\njunk")).expect("room for it");
    let to_file = format!("> {}", dir.path().join("outcomes.jsonl").display());
    for (flags, onto, is_shown) in [
        ("", "> /dev/null", true),
        ("", to_file.as_str(), true),
        ("", "", false),
        // The reader of the pipe prints results on the terminal.
        ("", "| cat", false),
        ("--quiet", "> /dev/null", false),
    ] {
        let inside = format!("rtcomm call {flags} --batch {} {onto}", file.display());
        let outcome =
            shell(r#"script -qefc "$INSIDE" /dev/null"#).env("INSIDE", inside).env("TERM", "xterm").at(&broker).run();
        outcome.check(outcome.stdout.contains("/3 calls") == is_shown, "the number of lines, if it is shown");
        outcome.check(outcome.stdout.contains(" calls, ") == is_shown, "nothing, if it is not");
        outcome.check(!outcome.stdout.contains(" calls, ") || outcome.stdout.contains("/s, "), "the rate");
    }
}

#[test]
fn the_worst_outcome_decides_the_status() {
    let broker = Broker::mosquitto();
    answer_in_reverse(&broker, 3, |request| match request["callerEndpoint"].as_str() {
        Some("good") => Some(json!({"result": "SUCCESS"})),
        Some("bad") => Some(json!({"result": "FAILURE"})),
        _ => None,
    });
    let input = [batch_line("good", "b"), batch_line("slow", "b"), batch_line("bad", "b")].concat();
    let outcome = rtcomm("call --batch - --timeout 5s").at(&broker).stdin(input).run().has_status(124);
    outcome.check(values_of(&outcome, "outcome") == ["success", "timeout", "failure"], "each call has its own outcome");
}

#[test]
fn a_batch_ends_with_a_summary() {
    let broker = Broker::mosquitto();
    let input = [&batch_line("a", "b"), "no request\n", &batch_line("c", "d")].concat();
    let call =
        |flags: &str, input: &str| rtcomm(&format!("call --batch - --mqtt-version 5 {flags}")).at(&broker).stdin(input);
    let outcome = call("", &input).run().has_status(6);
    drop(outcome.says("rtcomm: 3 lines done: 1 invalid, 2 no_responder, in "));
    call("--skip 2", &input).run().has_status(6).says("rtcomm: 1 line done: 1 no_responder, in ");
    call("", "").run().has_status(0).says("rtcomm: 0 lines done, in ");
    call("--quiet", &input).run().has_status(6).never_says("done");
}

/// Returns a full pipe with an open reader.
fn full_pipe() -> (std::io::PipeReader, std::fs::File) {
    let (reader, mut writer) = std::io::pipe().expect("the system has pipes");
    let flags = rustix::fs::fcntl_getfl(&writer).expect("a pipe has flags");
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).expect("they can be set");
    while writer.write(&[b'\n'; 1024]).is_ok() {}
    while writer.write(b"\n").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).expect("they can be set");
    (reader, std::os::fd::OwnedFd::from(writer).into())
}

#[test]
fn a_batch_that_ends_with_blocked_output_reports_calls_without_a_line() {
    let broker = Broker::mosquitto();
    let mut service = broker.client();
    service.subscribe("/rtcomm/callControl");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("batch.jsonl");
    std::fs::write(&path, [batch_line("a", "b"), batch_line("c", "d"), batch_line("e", "f")].concat())
        .expect("it can be written");
    let (_reader, full) = full_pipe();
    let batch = rtcomm("call --jobs 2 --skip 1 --batch").arg(&path).at(&broker).start_onto(full);
    for _ in 0..2 {
        request(&mut service);
    }
    batch.signal(Signal::TERM);
    let outcome = batch.end().has_status(143).says("standard output may be blocked");
    outcome.says("2 calls may have been placed but have no output line").says("1 line is done: resume with --skip 1");
}

#[test]
fn a_batch_that_ends_while_connecting_reports_no_blocked_output() {
    let silent = Peer::silent();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("batch.jsonl");
    std::fs::write(&path, batch_line("a", "b")).expect("it can be written");
    for signals in [&[Signal::TERM][..], &[Signal::TERM, Signal::INT]] {
        let seen = silent.seen().len();
        let batch = rtcomm("call --batch").arg(&path).arg("--broker").arg(silent.url()).start();
        silent.wait_for_packets(seen + 1);
        for signal in signals {
            batch.signal(*signal);
        }
        let outcome = batch.end().prints("").never_says("blocked").never_says("may have been placed");
        drop(outcome.says("0 lines are done: resume with --skip 0"));
    }
}

#[test]
fn each_call_without_a_subscriber_is_no_responder_with_mqtt_5() {
    let broker = Broker::mosquitto();
    let input: String = (0..50).map(|i| batch_line(&format!("caller{i}"), "b")).collect();
    let outcome = rtcomm("call --batch - --mqtt-version 5").at(&broker).stdin(input).run().has_status(6);
    outcome.check(values_of(&outcome, "outcome") == vec![json!("no_responder"); 50], "each call has the outcome");
}

#[test]
fn an_interrupted_batch_reports_what_it_sent_and_resumes_with_skip() {
    let broker = Broker::mosquitto();
    let mut service = broker.client();
    service.subscribe("/rtcomm/callControl");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("calls.jsonl");
    let input: String = (0..10).map(|i| batch_line(&format!("caller{i}"), "b")).collect();
    std::fs::write(&file, input).expect("room for it");
    let path = file.display();
    let batch = rtcomm(&format!("call --batch {path} --jobs 3")).at(&broker).start();
    let sent: Vec<Value> = (0..3).map(|_| request(&mut service)).collect();
    batch.signal(Signal::INT);
    let outcome = batch.end().has_status(130).says("--skip 3");
    outcome.check(values_of(&outcome, "outcome") == vec![json!("unknown"); 3], "a line for each sent request");
    let ids: Vec<Value> = sent.iter().map(|request| request["transID"].clone()).collect();
    outcome.check(values_of(&outcome, "transID") == ids, "the transactions to look for");

    let rest = rtcomm(&format!("call --batch {path} --skip 3 --dry-run")).at(&broker).run().has_status(0);
    let callers: Vec<_> = (3..10).map(|i| json!(format!("caller{i}"))).collect();
    rest.check(values_of(&rest, "callerEndpoint") == callers, "the lines after those");
}

#[test]
fn a_batch_that_cannot_write_reports_calls_without_a_line_and_how_to_resume() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("calls.jsonl");
    let input =
        [batch_line("first", "b"), batch_line("second", "b"), "junk\n".to_owned(), batch_line("third", "b")].concat();
    std::fs::write(&file, input).expect("room for it");
    let first = Mutex::new(None);
    let peer = Peer::broker(Script::default().replying(move |request| {
        let mut first = first.lock().expect("nobody panicked");
        let first = first.get_or_insert_with(|| request.clone());
        // Answer the first request when the last one arrives. Its line cannot be written.
        let is_last = request_of(request)["callerEndpoint"] == "third";
        if is_last { vec![reply(first, &json!({}))] } else { Vec::new() }
    }));
    let batch = rtcomm("call --mqtt-version 3.1.1 --batch").arg(&file).env("RTCOMM_BROKER", peer.url());
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let outcome = batch.start_onto(full).end().has_status(1);
    outcome
        .says("cannot write to standard output")
        .says("3 calls may have been placed but have no output line")
        .says("--skip 0");
    // CONNECT, SUBSCRIBE, three PUBLISH, DISCONNECT.
    peer.wait_for_packets(6);
    assert_eq!(peer.seen().last().map(Packet::kind), Some(DISCONNECT), "a DISCONNECT");
}

#[test]
fn skipping_more_lines_than_there_are_is_warned_of() {
    let broker = Broker::mosquitto();
    for flags in ["", "--dry-run"] {
        let skip = |count: usize| {
            let words = format!("call --batch - {flags} --skip {count}");
            rtcomm(&words).at(&broker).stdin("junk\njunk\n").run().has_status(0).prints("")
        };
        skip(3).says("--skip 3").says("only 2 lines");
        // All lines were skipped: a normal end.
        skip(2).never_says("warning");
    }
}

#[test]
fn a_request_has_the_session_and_application_of_its_line() {
    let session = "6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10";
    let lines = format!(
        "{{\"caller\":\"a\",\"callee\":\"b\",\"session_id\":\"{session}\",\"app_context\":\"own\"}}\n{}",
        batch_line("c", "d")
    );
    let outcome = rtcomm("call --batch - --dry-run --app-context common").stdin(lines).run().has_status(0);
    outcome.check(values_of(&outcome, "sessionID") == [json!(session), Value::Null], "the line's session");
    outcome
        .check(values_of(&outcome, "appContext") == ["own", "common"], "the line's application, else the common one");
}

#[test]
fn a_result_placed_again_keeps_its_session() {
    let broker = Broker::mosquitto();
    let session = "6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10";
    let line = json!({"caller": "a", "callee": "b", "session_id": session}).to_string();
    let first = rtcomm("call --batch - --mqtt-version 5").at(&broker).stdin(line).run().has_status(6);
    first.check(values_of(&first, "outcome") == ["no_responder"], "the line of an outcome");
    let again = rtcomm("call --batch - --dry-run").stdin(&first.stdout).run().has_status(0);
    again.check(values_of(&again, "sessionID") == [session], "its session");
}

#[test]
fn a_lost_broker_leaves_calls_unknown_and_reports_how_to_resume() {
    let broker = Broker::mosquitto();
    let mut service = broker.client();
    service.subscribe("/rtcomm/callControl");
    let input: String = (0..5).map(|i| batch_line(&format!("caller{i}"), "b")).collect();
    let batch = rtcomm("call --batch - --jobs 2").at(&broker).stdin(input).start();
    for _ in 0..2 {
        request(&mut service);
    }
    drop(broker);
    let outcome = batch.end().has_status(5).says("--skip 2");
    outcome.check(values_of(&outcome, "outcome") == ["unknown", "unknown"], "a line for each sent request");
}

#[test]
fn a_rate_delays_calls() {
    let broker = Broker::mosquitto();
    answer_in_reverse(&broker, 1, |_| Some(json!({"result": "SUCCESS"})));
    let input = [batch_line("a", "b"), batch_line("c", "d")].concat();
    let batch = rtcomm("call --batch - --rate 1/h").at(&broker).stdin(input).start();
    batch.wait_for_lines(1);
    batch.signal(Signal::TERM);
    let outcome = batch.end().has_status(143);
    outcome.check(values_of(&outcome, "caller") == ["a"], "only the first, for an hour");
}

#[test]
fn wrong_flags_of_a_batch_are_usage_errors() {
    for words in [
        "call a b --batch -",
        "call --batch - --jobs 0",
        "call --batch - --rate 5",
        "call --batch - --session-id 6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10",
        "call a b --skip 3",
        "call",
    ] {
        rtcomm(words).run().has_status(2).prints("");
    }
    rtcomm("call --batch no-such-file").run().has_status(2).prints("").says("no-such-file");
}
