//! Runs the command lines that people are shown, as people would: in a shell, with the program in their PATH, at a
//! desk of their own with a broker that the environment names.
//!
//! A line that runs for ever is ended with SIGTERM when it has been ready for a while; it must not have told an error
//! until then. `rtcomm demo` goes on, and is the broker of the lines that follow at that desk.

use std::fmt;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::Broker;

/// How long a line may take that ends by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a line runs on after it has said that it is ready: enough for many events of the desk's broker.
const WATCHED: Duration = Duration::from_secs(1);

/// How long a line runs that ends neither by itself nor says that it is ready.
const SILENT: Duration = Duration::from_secs(3);

/// The broker of a desk, where something happens all the time.
const WORLD: &str = "rtcomm demo --serve --seed 1 --interval 50ms";

/// A file that every desk has, as if recorded before.
const RECORDED: (&str, &str) = (
    "events.jsonl",
    concat!(
        r#"{"received":"2026-11-23T03:34:12.798558Z","category":"session","action":"failed","from":"iggy_pop","#,
        r#""to":"david_bowie","topic":"/rtcomm/event/session/failed/iggy_pop/david_bowie","qos":1,"retain":false,"#,
        r#""payload":{"method":"RTCOMM_EVENT_FIRED","appContext":"XYZ video app","reason":"no answer"}}"#,
        "\n",
    ),
);

/// A file that every desk has: calls to place.
const CALLS: (&str, &str) = ("calls.jsonl", "{\"caller\":\"iggy_pop\",\"callee\":\"david_bowie\"}\n");

/// Where a name in an example stands for the desk's broker.
const EXAMPLE_BROKER: &str = "mqtt://broker.example.com";

/// Where lines are run, one after another.
pub(super) struct Desk {
    dir: TempDir,
    broker: String,
    demos: Vec<Job>,
}

impl Desk {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        for (name, text) in [RECORDED, CALLS] {
            std::fs::write(dir.path().join(name), text).expect("it can be written to");
        }
        let mut desk = Self { dir, broker: String::new(), demos: Vec::new() };
        desk.run(WORLD, None).unwrap_or_else(|error| panic!("{error}"));
        desk
    }

    /// Runs a line, which is to end with that status, or else well. Gives what it printed.
    pub(super) fn run(&mut self, line: &str, status: Option<u8>) -> Result<String, String> {
        let is_demo = line.starts_with("rtcomm demo") && status.is_none();
        // The port that the demo takes by itself may be somebody's.
        let line = line.replace(EXAMPLE_BROKER, &self.broker);
        let line = if line.contains("--listen") {
            line
        } else {
            line.replace("rtcomm demo", "rtcomm demo --listen 127.0.0.1:0")
        };
        let other = is_beyond_the_demo(&line).then(Broker::mosquitto);
        let broker = other.as_ref().map_or_else(|| self.broker.clone(), Broker::url);
        let mut job = Job::start(&line, self.dir.path(), &broker);
        if is_demo {
            self.broker = job.broker()?;
            self.demos.push(job);
            return Ok(String::new());
        }
        job.end(status)
    }

    /// Ends what is still at work.
    pub(super) fn leave(self) -> Result<(), String> {
        self.demos.into_iter().try_for_each(|mut demo| demo.end_now().map(drop))
    }
}

/// Whether a line needs what the demo's broker does not know: a session that is kept, and shared.
fn is_beyond_the_demo(line: &str) -> bool {
    line.contains("--share") && line.contains("--durable")
}

/// A line at work, with all processes that it started.
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

    /// Where the broker is that this line started.
    fn broker(&mut self) -> Result<String, String> {
        loop {
            let said = self.stderr.so_far();
            let address = said.lines().find_map(|line| line.strip_prefix("rtcomm: broker at "));
            if let Some((address, _)) = address.and_then(|it| it.split_once(',')) {
                return Ok(address.to_owned());
            }
            if self.began.elapsed() > PATIENCE || self.ended().is_some() {
                return Err(self.fault("did not say where its broker is"));
            }
            wait_a_moment();
        }
    }

    /// Waits until the line ends by itself, or has been at work for long enough.
    fn end(&mut self, expected: Option<u8>) -> Result<String, String> {
        let mut ready = None;
        loop {
            if let Some(ended) = self.ended() {
                return self.judge(ended, expected);
            }
            if ready.is_none() && self.stderr.so_far().lines().any(|line| line == "rtcomm: ready") {
                ready = Some(Instant::now());
            }
            let is_over = match (expected, ready) {
                (Some(_), _) => self.began.elapsed() > PATIENCE,
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

    /// Ends the line where it has not yet.
    fn end_now(&mut self) -> Result<String, String> {
        if let Some(ended) = self.ended() {
            return self.judge(ended, None);
        }
        self.signal("TERM");
        let asked = Instant::now();
        while self.ended().is_none() {
            if asked.elapsed() > PATIENCE {
                return Err(self.fault("does not end on SIGTERM"));
            }
            wait_a_moment();
        }
        self.judge_words()
    }

    fn judge(&mut self, ended: ExitStatus, expected: Option<u8>) -> Result<String, String> {
        let code = ended.code().or(ended.signal().map(|signal| 128 + signal));
        if code != Some(expected.unwrap_or(0).into()) {
            let expected = expected.unwrap_or(0);
            return Err(self.fault(&format!("ended with {code:?}, not with {expected}")));
        }
        if expected.is_none() { self.judge_words() } else { Ok(self.stdout.all()) }
    }

    /// In a pipe the status is that of the last command: an error of another shows in its words alone.
    fn judge_words(&mut self) -> Result<String, String> {
        let said = self.stderr.all();
        if ["error:", "panicked", "not found"].iter().any(|word| said.contains(word)) {
            return Err(self.fault("told an error"));
        }
        Ok(self.stdout.all())
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().expect("our own child can be waited for")
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -s {signal} -- -{} 2>&-", self.shell.id());
        // Where nobody is left to be told, all the better.
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
