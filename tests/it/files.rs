//! Files and streams in the states that occur in practice: closed, damaged, padded, in another encoding, or in use by
//! another program.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::events::event;
use crate::support::{Broker, Outcome, rtcomm, shell};

/// Returns the line of a recorded message with this text.
fn line(text: &str) -> String {
    format!(
        "{{\"received\":\"2026-11-23T03:34:12.798558Z\",\"topic\":\"/rtcomm/x\",\"qos\":0,\"retain\":false,\
         \"payload_text\":\"{text}\"}}\n"
    )
}

fn lines(texts: &[&str]) -> String {
    texts.iter().map(|text| line(text)).collect()
}

/// Runs a shell command in a new directory with these files.
fn in_directory(files: &[(&str, &[u8])], command: &str) -> (TempDir, Outcome) {
    let directory = TempDir::new().expect("a temporary directory");
    for (name, content) in files {
        fs::write(directory.path().join(name), content).expect("it can be written");
    }
    let mut shell = shell(command);
    shell.command.current_dir(directory.path());
    (directory, shell.run())
}

#[test]
fn a_closed_standard_stream_is_an_error() {
    for command in
        ["--version", "--help", "watch --dry-run", "tail -", "call a b --dry-run", "demo --listen 127.0.0.1:0"]
    {
        let outcome = shell(&format!("rtcomm {command} >&-")).run().has_status(1);
        outcome.says("rtcomm: error: cannot write to standard output: it is closed\n  hint: ");
        shell(&format!("rtcomm {command} 2>&-")).run().has_status(1).prints("");
        // The trace variables of the MQTT library make the program restart itself.
        shell(&format!("rtcomm {command} >&-")).env("MQTT_C_CLIENT_TRACE", "ON").run().has_status(1).says("closed");
    }
}

#[test]
fn dev_null_is_not_a_closed_stream() {
    for redirection in [">/dev/null 2>&1", ">>/dev/null 2>>/dev/null", "1<>/dev/null 2<>/dev/null", "</dev/null"] {
        shell(&format!("rtcomm watch --dry-run {redirection}")).run().has_status(0);
    }
}

#[test]
fn a_closed_standard_input_is_not_an_empty_one() {
    for (command, status) in [("tail -", 1), ("call --batch - --dry-run", 1), ("watch -u me --password-file -", 2)] {
        let outcome = shell(&format!("rtcomm {command} <&-")).run().has_status(status).prints("");
        outcome.says("Bad file descriptor");
        shell(&format!("rtcomm {command} <&-")).env("MQTT_C_CLIENT_TRACE", "ON").run().has_status(status);
    }
    shell("rtcomm watch --dry-run <&-").run().has_status(0).prints("/rtcomm/event/#\n");
}

#[test]
fn nothing_is_acknowledged_if_standard_output_is_closed() {
    let broker = Broker::mosquitto();
    let watch = "watch --json --durable archive -c 1";
    rtcomm("watch --durable archive --for 100ms").at(&broker).run().has_status(0);
    broker.client().publish("/rtcomm/event/session/failed/a/b", event(&json!({ "n": 1 })));
    shell(&format!("rtcomm {watch} >&-")).at(&broker).run().has_status(1);
    shell(&format!("rtcomm {watch} 2>&-")).at(&broker).run().has_status(1);
    let outcome = rtcomm(watch).at(&broker).run().has_status(0);
    outcome.check(outcome.json_lines()[0]["payload"]["n"] == 1, "the message is still delivered");
}

#[test]
fn an_event_with_a_lone_surrogate_stays_readable_and_is_filtered_like_any_other() {
    let broker = Broker::mosquitto();
    let filter = "--app-context x --session-id 6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10 --failed";
    let watch = rtcomm(&format!("watch --json -c 3 {filter}")).at(&broker).start().until_ready();
    let session = r#""sigSessID":"6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10""#;
    for reason in ["ok 1", r"cut \ud83d", "ok 2"] {
        for context in ["x", "y"] {
            let payload =
                format!(r#"{{"method":"RTCOMM_EVENT_FIRED","appContext":"{context}",{session},"reason":"{reason}"}}"#);
            broker.client().publish("/rtcomm/event/session/failed/a/b", payload);
        }
    }
    let recorded = watch.end().has_status(0).stdout;
    let reasons = r#"jq -r '.payload // (.payload_text | gsub("\\\\u"; "") | fromjson) | .reason'"#;
    shell(reasons).stdin(&recorded).run().has_status(0).prints("ok 1\ncut d83d\nok 2\n");
    rtcomm(&format!("tail --json - {filter}")).stdin(&recorded).run().has_status(0).prints(&recorded);
    rtcomm("tail --json - --app-context y").stdin(&recorded).run().has_status(0).prints("");
}

#[test]
fn an_input_that_is_also_the_output_is_refused() {
    let recording = "rec\n".repeat(3) + &line("a").repeat(2_000);
    let recording = recording.as_bytes();
    for command in [
        "rtcomm tail --json f >> f",
        "rtcomm tail --json - < f >> f",
        "rtcomm tail f 1<> f",
        "ln f g; rtcomm tail --json -n 3 f >> g",
        "ln -s f g; rtcomm tail -f f >> g",
        "rtcomm tail --json h f >> f",
        "rtcomm tail f --output f",
        "ln f g; rtcomm tail f --output g",
        "rtcomm tail --output ./f - < f",
        "rtcomm tail h f -n 1 --output f",
        "rtcomm call --batch f --dry-run >> f",
    ] {
        let (directory, outcome) = in_directory(&[("f", recording), ("h", line("h").as_bytes())], command);
        let outcome = outcome.has_status(2).prints("").says("it is also the output");
        let content = fs::read(directory.path().join("f")).expect("it is there");
        outcome.check(content == recording, "the file is unchanged");
    }
    let (directory, outcome) =
        in_directory(&[("f", recording)], "rtcomm tail --json f -n 2 >> g; rtcomm tail f > /dev/null");
    outcome.has_status(0);
    assert_eq!(fs::read_to_string(directory.path().join("g")).expect("it is there"), line("a").repeat(2));
}

#[test]
fn recorded_lines_are_appended_to_the_file_of_output() {
    let files = [("a", lines(&["1", "2"])), ("b", lines(&["3"]))];
    let files = files.each_ref().map(|(name, content)| (*name, content.as_bytes()));
    let command = "rtcomm tail a b --output out --fsync && rtcomm tail b --output out && rtcomm tail a -n 1 --output out --pretty";
    let (directory, outcome) = in_directory(&files, command);
    outcome.has_status(0).prints("");
    let out = fs::read_to_string(directory.path().join("out")).expect("it is there");
    let (json, pretty) = out.split_at(4 * line("1").len());
    assert_eq!(json, lines(&["1", "2", "3", "3"]));
    assert!(pretty.starts_with("2026-11-23 03:34:12.798") && pretty.ends_with("\"2\"\n"), "{pretty}");
}

#[test]
fn standard_output_on_a_full_disk_is_named_in_the_error() {
    let (recording, incomplete) = (line("1"), "x".repeat(4_096));
    for command in [
        "rtcomm tail f > /dev/full",
        // A limit on the size of files fails the line end that completes the last line.
        "trap '' XFSZ; ulimit -f 1; rtcomm tail f >> g",
    ] {
        let (_directory, outcome) = in_directory(&[("f", recording.as_bytes()), ("g", incomplete.as_bytes())], command);
        outcome.has_status(1).says("rtcomm: error: cannot write to standard output: ");
    }
}

#[test]
fn output_is_json_unless_pretty_is_given() {
    let broker = Broker::mosquitto();
    let directory = TempDir::new().expect("a temporary directory");
    for (command, flags, is_json) in [
        ("watch", "", true),
        ("watch", "--json", true),
        ("watch", "--pretty", false),
        ("tail", "", true),
        ("tail", "--pretty", false),
    ] {
        let path = directory.path().join(format!("{command}{flags}"));
        let run = rtcomm(&format!("{command} {flags} -c 1 --output")).arg(&path).at(&broker).start().until_ready();
        broker.client().publish("/rtcomm/event/session/failed/a/b", event(&json!({})));
        run.end().has_status(0).prints("");
        let text = fs::read_to_string(&path).expect("it is there");
        assert_eq!(text.starts_with("{\"received\":"), is_json, "{command} {flags}: {text}");
        assert!(text.contains("failed"), "{command} {flags}: {text}");
    }
    rtcomm("watch --json --pretty").run().has_status(2).says("--pretty");
}

#[test]
fn a_hangup_reopens_the_file_of_a_followed_recording() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    fs::write(path("in"), line("1")).expect("it can be written");
    let wait_for = |path: PathBuf, content: String| {
        let deadline = std::time::Instant::now() + crate::support::TIMEOUT;
        while fs::read_to_string(&path).unwrap_or_default() != content {
            assert!(std::time::Instant::now() < deadline, "{}", path.display());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    let tail = rtcomm("tail -f").arg(path("in")).arg("--output").arg(path("out")).start();
    wait_for(path("out"), line("1"));
    fs::rename(path("out"), path("old")).expect("it is there");
    tail.signal(Signal::HUP);
    wait_for(path("out"), String::new());
    let mut input = File::options().append(true).open(path("in")).expect("it is there");
    input.write_all(line("2").as_bytes()).expect("it can be written");
    wait_for(path("out"), line("2"));
    tail.terminate();
    wait_for(path("old"), line("1"));
}

#[test]
fn additions_of_other_programs_to_a_recording_are_skipped() {
    let expected = lines(&["1", "2"]);
    for command in [
        "printf '\\357\\273\\277' | cat - a b | rtcomm tail --json -",
        "(printf '\\357\\273\\277'; cat a; printf '\\357\\273\\277'; cat b) > c; rtcomm tail --json c",
        "sed 's/$/\\r/' a b > c; rtcomm tail --json c",
        "(cat a; echo; echo; cat b; echo) > c; rtcomm tail --json c",
        "(gzip -c a b; head -c 512 /dev/zero) > c; rtcomm tail --json c",
        "(gzip -c a; head -c 512 /dev/zero; gzip -c b; head -c 70000 /dev/zero) | rtcomm tail --json -",
        "gzip -c a > c; gzip -c b >> c; rtcomm tail --json c",
        "gzip a b; rtcomm tail --json a.gz b.gz",
        "head -c -1 a > c; head -c -1 b >> c; rtcomm tail --json c",
        "(head -c -1 a | gzip -c; gzip -c b) > c; rtcomm tail --json c",
        "(head -c 512 /dev/zero; cat a; head -c 512 /dev/zero; cat b; head -c 512 /dev/zero) > c; rtcomm tail --json c",
    ] {
        let (_directory, outcome) = in_directory(&[("a", line("1").as_bytes()), ("b", line("2").as_bytes())], command);
        outcome.has_status(0).prints(&expected);
    }
    let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).expect("writing to a Vec never fails");
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    for content in [
        [zstd(&line("1")), zstd(&line("2"))].concat(),
        [skippable.clone(), zstd(&line("1")), skippable, zstd(&line("2")), vec![0; 512]].concat(),
    ] {
        let (_directory, outcome) = in_directory(&[("c", &content)], "rtcomm tail --json c");
        outcome.has_status(0).prints(&expected);
        rtcomm("tail --json -").stdin(&content).run().has_status(0).prints(&expected);
    }
}

#[test]
fn unreadable_input_is_an_error_and_never_skipped_silently() {
    let utf_16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let xz = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46".to_vec();
    for (content, name, hint) in [
        (xz, "xz", "convert it with xz -dc f"),
        (utf_16(&format!("\u{feff}{}", line("1"))), "UTF-16", "convert it with iconv -f UTF-16 -t UTF-8 f"),
        (utf_16(&line("1")), "UTF-16", "convert it with iconv -f UTF-16LE -t UTF-8 f"),
        (b"BZh91AY&SY".to_vec(), "bzip2", "convert it with bzip2 -dc f"),
    ] {
        for command in ["tail f", "tail -n 3 f", "tail -f f", "call --batch f --dry-run"] {
            let (_directory, outcome) = in_directory(&[("f", &content)], &format!("rtcomm {command}"));
            outcome
                .has_status(1)
                .prints("")
                .says("error: cannot read 'f': ")
                .says(name)
                .says(&format!("  hint: {hint}\n"));
        }
        rtcomm("tail -").stdin(&content).run().has_status(1).prints("").says("standard input: ").says(name);
    }
    // Plain lines appended to compressed ones.
    let (_directory, outcome) =
        in_directory(&[("a", line("1").as_bytes())], "gzip -c a > c; cat a >> c; rtcomm tail --json c");
    outcome.has_status(1).prints(&line("1")).says("cannot read 'c': after the compressed data, there is other data");
}

#[test]
fn a_byte_order_mark_at_the_start_of_a_batch_is_ignored() {
    let batch = "\u{feff}{\"caller\":\"a\",\"callee\":\"b\"}\r\n";
    let outcome = rtcomm("call --batch - --dry-run").stdin(batch).run().has_status(0).never_says("rtcomm");
    outcome.check(outcome.json_lines()[0]["callerEndpoint"] == "a", "the request");
}

#[test]
fn every_file_that_cannot_be_opened_gives_the_same_status() {
    let directory = TempDir::new().expect("a temporary directory");
    let missing = directory.path().join("missing");
    let secret = directory.path().join("secret");
    fs::write(&secret, "x\n").expect("it can be written");
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).expect("it is ours");
    let can_read = File::open(&secret).is_ok();
    for command in [
        "tail",
        "tail -f",
        "tail -n 3",
        "call --batch",
        "watch -u me --password-file",
        "tail -u me --password-file",
        "watch -b mqtts://localhost --cafile",
        "watch -b mqtts://localhost --cert",
    ] {
        for path in [&missing, directory.path()] {
            let outcome = rtcomm(command).arg(path).run().has_status(2).prints("");
            outcome.says(&path.display().to_string());
        }
        // Root can read every file.
        if !can_read {
            rtcomm(command).arg(&secret).run().has_status(2).prints("");
        }
    }
}
