//! Runs documented command lines in a sandbox: a shell in a directory of its own, with the program in PATH and a broker in the
//! environment.
//!
//! A command that does not end by itself gets SIGTERM some time after it is ready; it must not have reported an error until
//! then. `rtcomm demo` keeps running, as the broker of the following commands in the sandbox.

use std::fmt;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::is_ready;

/// Maximum time for a command that ends by itself.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Time between `ready` and SIGTERM: enough for many events of the sandbox's broker.
const WATCHED: Duration = Duration::from_secs(1);

/// Time before SIGTERM for a command that does not print `ready`.
const SILENT: Duration = Duration::from_secs(3);

/// The broker of a sandbox, with frequent events.
const DEMO: &str = "rtcomm demo --serve --seed 1 --interval 50ms";

/// The recordings that every sandbox has.
const RECORDINGS: [&str; 2] = ["events.jsonl", "monday.jsonl"];

/// The content of [`RECORDINGS`].
const RECORDED: &str = concat!(
    r#"{"received":"2026-11-23T03:34:12.798558Z","category":"session","action":"failed","from":"iggy_pop","#,
    r#""to":"david_bowie","topic":"/rtcomm/event/session/failed/iggy_pop/david_bowie","qos":1,"retain":false,"#,
    r#""payload":{"method":"RTCOMM_EVENT_FIRED","appContext":"XYZ video app","reason":"no answer"}}"#,
    "\n",
);

/// A batch that every sandbox has.
const CALLS: (&str, &str) = ("calls.jsonl", "{\"caller\":\"iggy_pop\",\"callee\":\"david_bowie\"}\n");

/// The name in examples that is replaced by the sandbox's broker.
const EXAMPLE_BROKER: &str = "mqtt://broker.example.com";

/// A directory and a broker in which command lines run, one after another.
pub(super) struct Sandbox {
    dir: TempDir,
    broker: String,
    demos: Vec<Job>,
}

impl Sandbox {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        for (name, text) in RECORDINGS.map(|name| (name, RECORDED)).into_iter().chain([CALLS]) {
            std::fs::write(dir.path().join(name), text).expect("it can be written to");
        }
        let mut sandbox = Self { dir, broker: String::new(), demos: Vec::new() };
        sandbox.run(DEMO, None).unwrap_or_else(|error| panic!("{error}"));
        sandbox
    }

    /// Runs a command line, and returns its output. Without `status`, it must succeed.
    pub(super) fn run(&mut self, line: &str, status: Option<u8>) -> Result<String, String> {
        let is_demo = line.starts_with("rtcomm demo") && status.is_none();
        // The demo's default port may be in use.
        let line = line.replace(EXAMPLE_BROKER, &self.broker);
        let line = if line.contains("--listen") {
            line
        } else {
            line.replace("rtcomm demo", "rtcomm demo --listen 127.0.0.1:0")
        };
        let mut job = Job::start(&line, self.dir.path(), &self.broker);
        if is_demo {
            self.broker = job.broker()?;
            self.demos.push(job);
            return Ok(String::new());
        }
        job.end(status)
    }

    /// Ends the running demos.
    pub(super) fn close(self) -> Result<(), String> {
        self.demos.into_iter().try_for_each(|mut demo| demo.end_now().map(drop))
    }
}

/// A running command line, with all its processes.
struct Job {
    line: String,
    shell: Child,
    began: Instant,
    stdout: Stream,
    stderr: Stream,
}

impl Job {
    fn start(line: &str, dir: &Path, broker: &str) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_rtcomm")).parent().expect("it is in a directory").to_path_buf();
        let theirs = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(program).chain(std::env::split_paths(&theirs)));
        let mut shell = Command::new("sh")
            .arg("-c")
            .arg(line)
            .env_clear()
            .env("PATH", path.expect("PATH can be put together"))
            .env("HOME", dir)
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("RTCOMM_BROKER", broker)
            .current_dir(dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let stdout = Stream::read(shell.stdout.take().expect("it is piped"));
        let stderr = Stream::read(shell.stderr.take().expect("it is piped"));
        Self { line: line.to_owned(), shell, began: Instant::now(), stdout, stderr }
    }

    /// The URL of the broker that this command started.
    fn broker(&mut self) -> Result<String, String> {
        loop {
            let stderr = self.stderr.so_far();
            let complete = stderr.rsplit_once('\n').map_or("", |(lines, _)| lines);
            if let Some(address) = complete.lines().find_map(|line| line.strip_prefix("rtcomm: broker at ")) {
                return Ok(address.to_owned());
            }
            if self.began.elapsed() > TIMEOUT || self.ended().is_some() {
                return Err(self.fault("does not print the URL of its broker"));
            }
            wait_a_moment();
        }
    }

    /// Waits until the command ends by itself, or has run for long enough.
    fn end(&mut self, expected: Option<u8>) -> Result<String, String> {
        let mut ready = None;
        loop {
            if let Some(ended) = self.ended() {
                return self.check_status(ended, expected);
            }
            if ready.is_none() && self.stderr.so_far().lines().any(is_ready) {
                ready = Some(Instant::now());
            }
            let is_over = match (expected, ready) {
                (Some(_), _) => self.began.elapsed() > TIMEOUT,
                (None, Some(ready)) => ready.elapsed() > WATCHED,
                (None, None) => self.began.elapsed() > SILENT,
            };
            match expected {
                None if is_over => return self.end_now(),
                Some(_) if is_over => return Err(self.fault("does not end")),
                _ => wait_a_moment(),
            }
        }
    }

    /// Ends the command, if it still runs.
    fn end_now(&mut self) -> Result<String, String> {
        if let Some(ended) = self.ended() {
            return self.check_status(ended, None);
        }
        self.signal("TERM");
        let asked = Instant::now();
        while self.ended().is_none() {
            if asked.elapsed() > TIMEOUT {
                return Err(self.fault("does not end on SIGTERM"));
            }
            wait_a_moment();
        }
        self.check_stderr()
    }

    fn check_status(&mut self, ended: ExitStatus, expected: Option<u8>) -> Result<String, String> {
        let code = ended.code().or(ended.signal().map(|signal| 128 + signal));
        if code != Some(expected.unwrap_or(0).into()) {
            let expected = expected.unwrap_or(0);
            return Err(self.fault(&format!("ended with {code:?}, not with {expected}")));
        }
        if expected.is_none() { self.check_stderr() } else { Ok(self.stdout.all()) }
    }

    /// Looks for errors on standard error, because the status of a pipe is only that of its last command.
    fn check_stderr(&mut self) -> Result<String, String> {
        let stderr = self.stderr.all();
        if ["error:", "panicked", "not found"].iter().any(|word| stderr.contains(word)) {
            return Err(self.fault("reports an error"));
        }
        Ok(self.stdout.all())
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().expect("our own child can be waited for")
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -s {signal} -- -{} 2>&-", self.shell.id());
        // Ignore errors: the processes may have ended.
        let _ = Command::new("sh").arg("-c").arg(kill).status();
    }

    fn fault(&mut self, what: &str) -> String {
        self.signal("KILL");
        let Self { line, stdout, stderr, .. } = self;
        format!("{what}: {line}\n--- stdout\n{}--- stderr\n{}", stdout.all(), stderr.all())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.signal("KILL");
        // Otherwise it would stay as a zombie.
        let _ = self.shell.wait();
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// What a process prints, read as it comes.
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = bytes.clone();
        let reader = thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut some) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&some[..n]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// All of it, once its writers have ended.
    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it only reads");
        }
        self.so_far()
    }
}

fn wait_a_moment() {
    thread::sleep(Duration::from_millis(5));
}
