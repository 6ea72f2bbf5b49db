//! Runs the real binary and its peers.
//!
//! A process has an empty environment, must end within [`TIMEOUT`], and is killed when its handle is dropped. A failed check
//! prints the command, its status and both output streams.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) mod broker;
pub(crate) mod client;
pub(crate) mod events;
pub(crate) mod guarded;
pub(crate) mod mosquitto;
pub(crate) mod mqtt;
pub(crate) mod peer;
pub(crate) mod pki;
pub(crate) mod relay;
pub(crate) mod service;
pub(crate) mod web;

pub(crate) use broker::{Broker, Setup, on_every_broker};

/// How long to wait for an expected event. Only a broken program makes a test wait so long.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// How often to poll for changes without a notification.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Creates a run of `rtcomm`. `words` are split at whitespace; use [`Rtcomm::arg`] for an argument that contains some.
pub(crate) fn rtcomm(words: &str) -> Rtcomm {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtcomm"));
    command
        .args(words.split_whitespace())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("LANG", "C.UTF-8")
        .env("TZ", "UTC")
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    Rtcomm { command, stdin: Vec::new() }
}

/// Creates a run of a shell line that has `rtcomm` in its PATH.
pub(crate) fn shell(line: &str) -> Rtcomm {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_rtcomm"));
    let path = format!("{}:/usr/bin:/bin", program.parent().expect("it is in a directory").display());
    let mut run = rtcomm("").env("PATH", path);
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line).env_clear().current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.envs(run.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run.command = command;
    run
}

/// Creates a run of a shell line on a terminal with this many columns and 24 rows. Both streams are on standard output.
pub(crate) fn terminal(columns: usize, line: &str) -> Rtcomm {
    shell(r#"script -qefc "stty rows 24 columns $WIDTH; $INSIDE" /dev/null"#)
        .env("WIDTH", columns.to_string())
        .env("INSIDE", line)
        .env("TERM", "xterm")
}

/// A command that has not started yet.
pub(crate) struct Rtcomm {
    pub(crate) command: Command,
    stdin: Vec<u8>,
}

impl Rtcomm {
    pub(crate) fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn at(self, broker: &Broker) -> Self {
        self.env("RTCOMM_BROKER", broker.url())
    }

    /// Sets the content of standard input.
    pub(crate) fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        bytes.as_ref().clone_into(&mut self.stdin);
        self
    }

    /// Starts the command, and collects its output.
    pub(crate) fn start(self) -> Process {
        let (mut process, stdout) = self.start_unread();
        process.stdout = Stream::read(stdout);
        process
    }

    /// Starts the command. Only the caller reads its standard output.
    pub(crate) fn start_unread(mut self) -> (Process, ChildStdout) {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&mut self.command);
        let mut stdin = process.child.stdin.take().expect("it is piped");
        thread::spawn(move || {
            // Ignore broken pipes: the process need not read everything.
            let _ = stdin.write_all(&self.stdin);
        });
        let stdout = process.child.stdout.take().expect("it is piped");
        (process, stdout)
    }

    /// Starts the command with standard input open, and collects its output.
    pub(crate) fn start_fed(mut self) -> (Process, ChildStdin) {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&mut self.command);
        process.stdout = Stream::read(process.child.stdout.take().expect("it is piped"));
        let stdin = process.child.stdin.take().expect("it is piped");
        (process, stdin)
    }

    /// Starts the command with this file as standard output.
    pub(crate) fn start_onto(mut self, stdout: std::fs::File) -> Process {
        self.command.stdin(Stdio::null()).stdout(stdout);
        Process::start(&mut self.command)
    }

    /// Runs the command to its end.
    pub(crate) fn run(self) -> Outcome {
        self.start().end()
    }
}

/// Returns whether a line reports that the subscription is granted.
pub(crate) fn is_ready(line: &str) -> bool {
    line.starts_with("rtcomm: ready at ")
}

/// A running process. It is killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    command: String,
    stdout: Stream,
    pub(crate) stderr: Stream,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let shown = show(command);
        let mut child =
            command.stderr(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("cannot start `{shown}`: {error}"));
        let stderr = Stream::read(child.stderr.take().expect("it is piped"));
        Self { child, command: shown, stdout: Stream::none(), stderr }
    }

    /// Waits until the command has reported that the subscription is granted.
    pub(crate) fn until_ready(self) -> Self {
        self.wait_for_stderr("rtcomm: ready", |text| text.lines().any(is_ready));
        self
    }

    pub(crate) fn wait_for_stdout(&self, what: &str, holds: impl Fn(&str) -> bool) {
        self.wait_for(&self.stdout, what, holds);
    }

    pub(crate) fn wait_for_stderr(&self, what: &str, holds: impl Fn(&str) -> bool) {
        self.wait_for(&self.stderr, what, holds);
    }

    pub(crate) fn first_line_of_stdout(&self) -> String {
        self.wait_for_lines(1);
        self.stdout.text().lines().next().unwrap_or_default().to_owned()
    }

    /// Waits for this many complete lines on standard output.
    pub(crate) fn wait_for_lines(&self, count: usize) {
        self.wait_for_stdout(&format!("{count} lines"), |text| text.matches('\n').count() >= count);
    }

    fn wait_for(&self, stream: &Stream, what: &str, holds: impl Fn(&str) -> bool) {
        let is_met = stream.wait_until(|bytes| holds(&String::from_utf8_lossy(bytes)));
        assert!(is_met, "waited in vain for {what}\n{}", self.so_far("still running, or just ended"));
    }

    /// Returns whether this many complete lines are on standard output.
    pub(crate) fn has_lines(&self, count: usize) -> bool {
        self.stdout.text().matches('\n').count() >= count
    }

    /// Returns whether the output streams are closed, as they are after the end.
    pub(crate) fn has_ended(&self) -> bool {
        self.stdout.lock().is_over && self.stderr.lock().is_over
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("our own child can be signalled");
    }

    /// Waits until the process ends by itself.
    pub(crate) fn end(mut self) -> Outcome {
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            match self.child.try_wait().expect("our own child can be waited for") {
                Some(status) => break status,
                None if Instant::now() < deadline => thread::sleep(POLL_INTERVAL),
                None => panic!("it does not end\n{}", self.so_far("still running")),
            }
        };
        for stream in [&self.stdout, &self.stderr] {
            assert!(stream.wait_for_end(), "a process holds its streams open\n{}", self.so_far("ended"));
        }
        Outcome { command: self.command.clone(), status, stdout: self.stdout.text(), stderr: self.stderr.text() }
    }

    /// Ends the process with SIGTERM, as a service manager does.
    pub(crate) fn terminate(self) -> Outcome {
        self.signal(Signal::TERM);
        self.end().has_status(143)
    }

    pub(crate) fn so_far(&self, status: &str) -> String {
        report(&self.command, status, &self.stdout.text(), &self.stderr.text())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ignore errors: the process may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The output of a process, collected while it runs.
pub(crate) struct Stream(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Default)]
struct Printed {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Stream {
    fn none() -> Self {
        let stream = Self(Arc::default());
        stream.lock().is_over = true;
        stream
    }

    fn read(mut from: impl Read + Send + 'static) -> Self {
        let stream = Self(Arc::default());
        let shared = Self(stream.0.clone());
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                let read = from.read(&mut buffer).unwrap_or(0);
                let mut printed = shared.lock();
                printed.bytes.extend_from_slice(&buffer[..read]);
                printed.is_over = read == 0;
                shared.0.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        stream
    }

    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `holds` is true for the output, the stream ends, or [`TIMEOUT`] passes. Returns whether it is true.
    pub(crate) fn wait_until(&self, holds: impl Fn(&[u8]) -> bool) -> bool {
        let is_waiting = |printed: &mut Printed| !printed.is_over && !holds(&printed.bytes);
        let waited = self.0.1.wait_timeout_while(self.lock(), TIMEOUT, is_waiting);
        let printed = waited.unwrap_or_else(PoisonError::into_inner).0;
        holds(&printed.bytes)
    }

    fn wait_for_end(&self) -> bool {
        let waited = self.0.1.wait_timeout_while(self.lock(), TIMEOUT, |printed| !printed.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }
}

/// The exit status and the output of a process.
pub(crate) struct Outcome {
    command: String,
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Fails with a full report unless `holds` is true.
    #[track_caller]
    pub(crate) fn check(&self, holds: bool, what: &str) {
        assert!(holds, "{}", self.explain(what));
    }

    /// Returns a full report, beginning with what was expected.
    pub(crate) fn explain(&self, expected: &str) -> String {
        let report = report(&self.command, &self.status.to_string(), &self.stdout, &self.stderr);
        format!("expected: {expected}\n{report}")
    }

    #[track_caller]
    pub(crate) fn has_status(self, code: i32) -> Self {
        self.check(self.status.code() == Some(code), &format!("exit status {code}"));
        self
    }

    /// Returns the exit status; `None` if a signal ended it.
    pub(crate) fn status_code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Returns whether the process dumped core.
    pub(crate) fn has_dumped_core(&self) -> bool {
        self.status.core_dumped()
    }

    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        self.check(self.stdout == text, &format!("on standard output exactly\n{text}"));
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        self.check(self.stderr.contains(text), &format!("on standard error `{text}`"));
        self
    }

    #[track_caller]
    pub(crate) fn never_says(self, text: &str) -> Self {
        self.check(!self.stderr.contains(text), &format!("nowhere on standard error `{text}`"));
        self
    }

    /// Parses each line of standard output as JSON.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let parsed: Result<Vec<_>, _> = self.stdout.lines().map(serde_json::from_str).collect();
        self.check(parsed.is_ok(), "JSON on every line of standard output");
        parsed.expect("it was checked")
    }
}

fn report(command: &str, status: &str, stdout: &str, stderr: &str) -> String {
    let (stdout, stderr) = (shorten(stdout), shorten(stderr));
    format!("command: {command}\nstatus: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
}

/// How many characters of a stream are shown from its start and from its end.
const SHOWN: usize = 3_000;

/// Omits the middle of a long text.
fn shorten(text: &str) -> String {
    let count = text.chars().count();
    if count <= 2 * SHOWN {
        return text.to_owned();
    }
    let head: String = text.chars().take(SHOWN).collect();
    let tail: String = text.chars().skip(count - SHOWN).collect();
    format!("{head}\n[{} characters]\n{tail}", count - 2 * SHOWN)
}

/// Returns the command roughly as a user would type it.
fn show(command: &Command) -> String {
    let mut shown = String::new();
    for (name, value) in command.get_envs().filter(|(name, _)| name.to_string_lossy().starts_with("RTCOMM_")) {
        let value = value.unwrap_or_default().to_string_lossy();
        write!(shown, "{}='{value}' ", name.to_string_lossy()).expect("a String takes all");
    }
    shown.push_str(&command.get_program().to_string_lossy());
    for arg in command.get_args() {
        let arg = arg.to_string_lossy();
        let is_plain = !arg.is_empty() && !arg.contains(|c: char| c.is_whitespace() || "'\"#$&*".contains(c));
        let written = if is_plain { write!(shown, " {arg}") } else { write!(shown, " '{arg}'") };
        written.expect("a String takes all");
    }
    shown
}
