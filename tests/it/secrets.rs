//! Secrets: the sources of passwords. No output shows a password.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::broker::{free_port, installed, password_file};
use crate::support::guarded::Guarded;
use crate::support::peer::{Peer, Script, ToVersion5};
use crate::support::pki::Authority;
use crate::support::relay::{Answer, Relay};
use crate::support::{Broker, Outcome, Rtcomm, TIMEOUT, rtcomm, shell};

/// The secret in plain text and in HTTP's form: the Base64 of `ops:SECRET` and of the secret alone.
const SECRET: &str = "hunter2-Zq8xV";
const ENCODED: [&str; 3] = ["b3BzOmh1bnRlcjItWnE4eF", "aHVudGVyMi1acTh4V", "hunter2%2DZq8xV"];

/// Creates a file with the secret and this mode.
fn file(dir: &Path, mode: u32) -> PathBuf {
    let file = dir.join(format!("secret-{mode:o}"));
    std::fs::write(&file, format!("{SECRET}\n")).expect("it can be written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    file
}

#[track_caller]
fn shows_no_secret(outcome: &Outcome) {
    let all = format!("{}{}", outcome.stdout, outcome.stderr);
    let is_shown = [SECRET].iter().chain(&ENCODED).any(|form| all.contains(form));
    outcome.check(!is_shown, "no secret");
}

/// Starts a broker that accepts only `ops` with the secret.
fn broker(dir: &Path) -> Broker {
    let users = password_file(dir, "ops", SECRET);
    Broker::mosquitto_with(&format!("allow_anonymous false\npassword_file {}\n", users.display()))
}

#[test]
fn a_password_file_that_others_can_read_is_refused() {
    let dir = TempDir::new().expect("a temporary directory");
    let broker = broker(dir.path());
    let run = |mode| rtcomm("watch -u ops --password-file").arg(file(dir.path(), mode)).at(&broker);
    for mode in [0o644, 0o640, 0o604, 0o666, 0o444] {
        let outcome = run(mode).run().has_status(2).prints("");
        let outcome = outcome.says("other users can read").says("--password-file").says("hint: chmod 600 ");
        shows_no_secret(&outcome);
    }
    for mode in [0o600, 0o400] {
        shows_no_secret(&run(mode).start().until_ready().terminate());
    }
    // Only the mode of a regular file matters.
    let open = shell(r#"cat "$FILE" | rtcomm watch -u ops --password-file /dev/stdin --for 1s"#);
    let outcome = open.env("FILE", file(dir.path(), 0o600)).at(&broker).run().has_status(0);
    shows_no_secret(&outcome);
}

#[test]
fn a_password_file_overrides_the_environment_and_may_be_standard_input() {
    let dir = TempDir::new().expect("a temporary directory");
    let broker = broker(dir.path());
    let run = || rtcomm("watch -u ops").at(&broker);
    let secret = file(dir.path(), 0o600);
    for run in [
        run().env("RTCOMM_PASSWORD", SECRET),
        run().env("RTCOMM_PASSWORD", "wrong").arg("--password-file").arg(&secret),
        run().env("RTCOMM_PASSWORD_FILE", &secret),
        run().arg("--password-file").arg("-").stdin(format!("{SECRET}\r\nmore\n")),
        run().arg("--password-file").arg("-").stdin(SECRET),
    ] {
        shows_no_secret(&run.start().until_ready().terminate());
    }
}

#[test]
fn an_invalid_password_is_refused_and_not_shown() {
    let long = SECRET.repeat(6_000);
    for text in ["", "\n", &format!("{SECRET}\0"), &long] {
        let outcome = rtcomm("watch -u ops --password-file -").stdin(text).run().has_status(2).prints("");
        shows_no_secret(&outcome.says("--password-file").says("hint: "));
    }
    let not_text = [SECRET.as_bytes(), b"\xff\n"].concat();
    shows_no_secret(&rtcomm("watch -u ops --password-file -").stdin(&not_text).run().has_status(2).prints(""));
    for text in [String::new(), long.clone()] {
        shows_no_secret(&rtcomm("watch -u ops").env("RTCOMM_PASSWORD", text).run().has_status(2).prints(""));
    }
    let raw: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&not_text[..not_text.len() - 1]);
    shows_no_secret(&rtcomm("watch -u ops").env("RTCOMM_PASSWORD", raw).run().has_status(2).prints(""));
}

#[test]
fn a_batch_follows_the_password_on_standard_input() {
    let dir = TempDir::new().expect("a temporary directory");
    let broker = broker(dir.path());
    let outcome =
        rtcomm("call -u ops --password-file - --batch -").at(&broker).stdin(format!("{SECRET}\njunk\n\njunk"));
    let outcome = outcome.run().has_status(1);
    outcome.check(outcome.json_lines().iter().map(|line| &line["line"]).eq([1, 2, 3]), "each line after it");
    shows_no_secret(&outcome);
}

#[test]
fn no_password_is_requested_without_a_terminal() {
    let dir = TempDir::new().expect("a temporary directory");
    let broker = broker(dir.path());
    let outcome = rtcomm("watch -u ops").at(&broker).stdin(SECRET).run().has_status(4).prints("");
    shows_no_secret(&outcome.never_says("password of").says("RTCOMM_PASSWORD"));
}

#[test]
fn a_password_is_requested_on_a_terminal_and_not_shown() {
    let dir = TempDir::new().expect("a temporary directory");
    let broker = broker(dir.path());
    for (typed, status) in [(SECRET, 0), ("", 4)] {
        let inside = format!("tty; {} watch -u ops --for 1s; echo status $?", env!("CARGO_BIN_EXE_rtcomm"));
        let script = shell(r#"script -qefc "$INSIDE" /dev/null"#).env("INSIDE", inside).at(&broker);
        let (terminal, mut keys) = script.start_fed();
        terminal.wait_for_stdout("a prompt", |text| text.contains("password of ops at mqtt://"));
        terminal.wait_for_stdout("the terminal's name", |text| text.starts_with("/dev/"));
        let name = terminal.first_line_of_stdout();
        wait_until_keys_are_not_shown(&name);
        std::io::Write::write_all(&mut keys, format!("{typed}\n").as_bytes()).expect("it reads");
        terminal.wait_for_stdout("its status", |text| text.contains("\nstatus "));
        drop(keys);
        let outcome = terminal.end();
        outcome.check(outcome.stdout.contains(&format!("\nstatus {status}\r\n")), &format!("status {status}"));
        shows_no_secret(&outcome);
    }
}

#[test]
fn no_password_is_requested_for_a_dry_run() {
    for command in ["watch --dry-run", "tail --dry-run", "call a b --dry-run"] {
        let script = format!("script -qefc 'rtcomm {command} -u ops --broker mqtt://localhost' /dev/null");
        let (terminal, _keys) = shell(&script).start_fed();
        let outcome = terminal.end().has_status(0);
        outcome.check(
            outcome.stdout.contains("/rtcomm/") && !outcome.stdout.contains("password"),
            "the requested output, without a password prompt",
        );
    }
}

#[test]
fn a_crash_leaves_no_secret_behind() {
    let dir = TempDir::new().expect("a temporary directory");
    let broker = broker(dir.path());
    let line = r#"cd "$FOLDER" && ulimit -c unlimited; exec rtcomm watch -u ops"#;
    let run = shell(line).env("FOLDER", dir.path()).env("RTCOMM_PASSWORD", SECRET).at(&broker).start();
    let run = run.until_ready();
    run.signal(Signal::ABORT);
    let outcome = run.end();
    outcome.check(!outcome.has_dumped_core(), "no core");
}

fn wait_until_keys_are_not_shown(terminal: &str) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let settings = Command::new(installed("stty")).arg("-F").arg(terminal).arg("-a").output().expect("it runs");
        if String::from_utf8_lossy(&settings.stdout).contains(" -echo ") {
            return;
        }
        assert!(Instant::now() < deadline, "the terminal still echoes typed keys");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns a command for each known way to fail, with its expected status.
fn failing_paths(peers: &Peers) -> Vec<(Rtcomm, i32)> {
    let Peers { dir, guarded, plain, tls, asking, authority, other, http, silent, unavailable, proxy, .. } = peers;
    let nobody = format!("mqtt://127.0.0.1:{}", free_port());
    let secret = file(dir.path(), 0o600);
    let open = file(dir.path(), 0o644);
    let client = authority.client("ops");
    let encrypted = client.encrypted("another");
    let broken = Peer::broker(Script {
        to_version_5: ToVersion5::Close,
        granted: Some(1),
        to_subscriber: vec![],
        on_publish: None,
        ..Script::default()
    });
    let tls = tls.url_as("mqtts", "localhost");
    let asking = asking.url_as("mqtts", "localhost");
    let mut paths = Vec::new();
    for command in ["watch -v", "tail -v", "call -v a b", "call -v a b --json"] {
        let run = |url: &str| {
            let run = rtcomm(command).env("RTCOMM_USERNAME", "ops").env("RTCOMM_PASSWORD", SECRET);
            run.env("RTCOMM_BROKER", url).env("RTCOMM_CONNECT_TIMEOUT", "3s")
        };
        let cafile = |run: Rtcomm| run.arg("--cafile").arg(authority.cafile());
        paths.extend([
            (run(&nobody), 5),
            (run("mqtt://no-such-host.invalid"), 5),
            (run(&http.url()), 5),
            (run(&silent.url()), 5),
            (run(&unavailable.url()), 5),
            (run(&guarded.broker.url()), 4),
            (run(&plain.url()).arg("--mqtt-version").arg("3.1.1").env("RTCOMM_USERNAME", "nobody"), 4),
            (run(&plain.url().replace("mqtt", "mqtts")), 5),
            (run(&tls), 5),
            (cafile(run(&tls.replace("localhost", "127.0.0.2"))), 5),
            (cafile(run(&asking)), 5),
            (run(&tls).arg("--cafile").arg(other.cafile()), 5),
            (run(&tls).arg("--cafile").arg(&secret), 2),
            (cafile(run(&asking)).arg("--cert").arg(&client.cert).arg("--key").arg(&secret), 2),
            (
                cafile(run(&asking))
                    .arg("--cert")
                    .arg(&encrypted.cert)
                    .arg("--key")
                    .arg(&encrypted.key)
                    .arg("--key-password-file")
                    .arg(&secret),
                2,
            ),
            (run(&tls).arg("--cert").arg(&client.cert).arg("--key-password-file").arg(&open), 2),
            (run(&plain.url()).arg("--password-file").arg(&open), 2),
            (run(&plain.url()).arg("--cafile").arg(&secret), 2),
            (run(&format!("mqtt://ops:{SECRET}@localhost")), 2),
            (run(&format!("mqtts://{SECRET}@localhost")), 2),
            (run(&plain.url()).arg("--broker").arg(format!("//ops:{SECRET}@localhost")), 2),
            (run(&plain.url()).env("RTCOMM_PROXY", format!("http://ops:{SECRET}@127.0.0.1:1")), 2),
            (run(&plain.url()).arg("--proxy").arg(format!("http://ops:{SECRET}@127.0.0.1:1")), 2),
            (run(&plain.url()).arg("--proxy").arg(format!("ops:{SECRET}@127.0.0.1:1")), 2),
            (run(&tls).env("https_proxy", format!("http://ops:{SECRET}@127.0.0.1:{}", free_port())), 5),
            (run(&tls).env("https_proxy", format!("http://ops:{SECRET}@127.0.0.1:{}", proxy.port())), 5),
            (run(&tls).env("https_proxy", format!("http://ops:{SECRET}@no-such-host.invalid:1")), 5),
            (run(&tls).env("https_proxy", format!("http://ops:{SECRET}@127.0.0.1:none")), 2),
            (run(&plain.url()).env("RTCOMM_KEEPALIVE", "never"), 2),
            (run(&plain.url()).arg("--no-such-flag"), 2),
        ]);
    }
    for command in ["watch -v", "tail -v", "call -v a b"] {
        let run = rtcomm(command).env("RTCOMM_PASSWORD", SECRET).env("RTCOMM_BROKER", plain.url());
        paths.push((run.env("RTCOMM_MQTT_VERSION", "3.1.1"), 2));
    }
    let run = rtcomm("call -v a b").env("RTCOMM_USERNAME", "ops").env("RTCOMM_PASSWORD", SECRET);
    paths.push((run.env("RTCOMM_BROKER", broken.url()), 1));
    // These succeed, but print their settings.
    for command in ["watch -v --dry-run", "tail -v --dry-run", "call -v a b --dry-run", "watch --help", "--help"] {
        let run = rtcomm(command).env("RTCOMM_USERNAME", "ops").env("RTCOMM_PASSWORD", SECRET);
        paths.push((run.env("RTCOMM_BROKER", plain.url()).env("RTCOMM_PASSWORD_FILE", &secret), 0));
    }
    paths
}

struct Peers {
    dir: TempDir,
    guarded: Guarded,
    plain: Broker,
    tls: Broker,
    asking: Broker,
    authority: Authority,
    other: Authority,
    http: Peer,
    silent: Peer,
    unavailable: Peer,
    proxy: Relay,
}

#[test]
fn no_failing_path_shows_a_secret() {
    let dir = TempDir::new().expect("a temporary directory");
    let authority = Authority::new("our CA");
    let asking = format!(
        "{}cafile {}\nrequire_certificate true\n",
        authority.server().mosquitto(),
        authority.cafile().display()
    );
    let peers = Peers {
        plain: broker(dir.path()),
        dir,
        guarded: Guarded::new(),
        tls: Broker::mosquitto_with(&authority.server().mosquitto()),
        asking: Broker::mosquitto_with(&asking),
        authority,
        other: Authority::new("another CA"),
        http: Peer::saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        silent: Peer::silent(),
        unavailable: Peer::refusing(0x88, 3),
        proxy: Relay::proxy(Answer::Refuse("407 Proxy Authentication Required")),
    };
    let paths = failing_paths(&peers);
    assert!(paths.len() > 100, "{} ways to fail", paths.len());
    // Run them in parallel, because half of them wait for something.
    let mut left = paths.into_iter();
    loop {
        let some: Vec<_> = left.by_ref().take(4).map(|(run, status)| (run.start(), status)).collect();
        if some.is_empty() {
            return;
        }
        for (process, status) in some {
            shows_no_secret(&process.end().has_status(status).never_says("panicked"));
        }
    }
}

#[test]
fn a_lost_connection_shows_no_secret() {
    let dir = TempDir::new().expect("a temporary directory");
    let broker = broker(dir.path());
    let relay = Relay::to(broker.port());
    let url = format!("mqtt://127.0.0.1:{}", relay.port());
    let run = |words: &str| {
        let run = rtcomm(words).arg("--broker").arg(&url);
        run.env("RTCOMM_USERNAME", "ops").env("RTCOMM_PASSWORD", SECRET)
    };
    let watch = run("watch -v --status-events --json").start().until_ready();
    let brittle = run("tail -v --no-reconnect").start().until_ready();
    relay.cut();
    watch.wait_for_stderr("another connection", |text| text.matches("rtcomm: ready").count() == 2);
    shows_no_secret(&watch.terminate());
    shows_no_secret(&brittle.end().has_status(5));
    let call = run("call -v a b").start();
    call.wait_for_stderr("that it is under way", |text| text.contains("publishing to"));
    call.signal(Signal::TERM);
    shows_no_secret(&call.end());
}
