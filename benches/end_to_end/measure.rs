//! Runs programs and measures them. Every child process is killed when its handle is dropped.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The exit status of a program that SIGTERM ends.
const TERMINATED: i32 = 143;

/// The child processes that have not been waited for.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Kills the child processes when a signal ends this process.
pub(crate) fn kill_children_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            for pid in running().iter() {
                // Ignore errors: a process that has just ended needs no signal.
                let _ = kill_process(*pid, Signal::KILL);
            }
            // The default action ends this process, so there is no error to handle.
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The destination of a program's standard output.
#[derive(Clone)]
pub(crate) enum Output {
    /// To a file, which is truncated first.
    File(PathBuf),
    /// To a pipe whose reader discards everything.
    Pipe,
}

/// The measurements of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) wall: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
}

/// A running program.
pub(crate) struct Process {
    child: Child,
    started: Instant,
    command: String,
    discarder: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a program whose standard output goes to `output`.
    pub(crate) fn start(mut command: Command, output: &Output) -> Result<Self> {
        let stdout = match output {
            Output::File(path) => Stdio::from(File::create(path).with_context(|| path.display().to_string())?),
            Output::Pipe => Stdio::piped(),
        };
        command.stdout(stdout);
        let mut process = Self::spawn(command)?;
        process.discarder = process.child.stdout.take().map(|pipe| thread::spawn(move || discard(pipe)));
        Ok(process)
    }

    /// Starts a program with the streams that are set in the command.
    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        let text = format!("{command:?}");
        // Keep the developer's settings out.
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("LANG", "C.UTF-8").env("TZ", "UTC");
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {text}"))?;
        running().push(Pid::from_child(&child));
        Ok(Self { child, started, command: text, discarder: None })
    }

    /// Takes the standard output, which must be piped.
    pub(crate) fn take_stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("standard output is not piped")
    }

    /// Waits until the standard error, which must be piped, has a line that contains `word`. Returns when.
    pub(crate) fn await_stderr(&mut self, word: &str) -> Result<Instant> {
        let stderr: ChildStderr = self.child.stderr.take().context("standard error is not piped")?;
        let mut stderr = BufReader::new(stderr);
        let mut line = String::new();
        while stderr.read_line(&mut line)? > 0 {
            if line.contains(word) {
                let now = Instant::now();
                // Keep reading, so that the program never blocks on a full pipe or gets SIGPIPE.
                thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
                return Ok(now);
            }
            line.clear();
        }
        bail!("{} ended without printing {word:?}", self.command)
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) -> Result<()> {
        Ok(kill_process(self.pid(), Signal::TERM)?)
    }

    /// Returns the peak resident memory so far, in MiB.
    pub(crate) fn peak_memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next());
        let kibibytes: u32 = kibibytes.with_context(|| format!("no VmHWM of {}", self.command))?.parse()?;
        Ok(f64::from(kibibytes) / 1024.0)
    }

    /// Waits until the program has ended. The wall time is measured from `since`, or from the program's start.
    ///
    /// # Errors
    /// If the program fails.
    pub(crate) fn finish(mut self, since: Option<Instant>) -> Result<Run> {
        // Leave the process waitable: its CPU time can be read until its status is taken.
        waitid(WaitId::Pid(self.pid()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        let wall = since.unwrap_or(self.started).elapsed();
        let cpu = self.cpu()?;
        running().retain(|pid| *pid != self.pid());
        let status = self.child.wait()?;
        ensure!(status.success() || status.code() == Some(TERMINATED), "{}: {status}", self.command);
        if let Some(discarder) = self.discarder.take() {
            // The thread ends with the pipe, and does not panic.
            let _ = discarder.join();
        }
        Ok(Run { wall, cpu })
    }

    fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The program's name is in parentheses and can hold any character. Fields 14 and 15 are user and system time.
        let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat has no name")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(Duration::from_secs(1) * ticks / u32::try_from(rustix::param::clock_ticks_per_second())?)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ignore errors: the process may have ended.
        let _ = self.child.kill();
        running().retain(|pid| *pid != self.pid());
        let _ = self.child.wait();
    }
}

fn discard(mut pipe: ChildStdout) {
    let mut buffer = vec![0; 64 * 1024];
    while pipe.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

/// Runs a program from its start to its end.
pub(crate) fn run(command: Command, output: &Output) -> Result<Run> {
    Process::start(command, output)?.finish(None)
}

/// Runs a program that is not measured, and returns its standard output.
pub(crate) fn stdout_of(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Fails unless `output`, if it is a file, has this number of lines.
pub(crate) fn check_lines(output: &Output, expected: u32) -> Result<()> {
    let Output::File(path) = output else { return Ok(()) };
    let mut file = File::open(path)?;
    let (mut buffer, mut lines) = (vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => lines += memchr::memchr_iter(b'\n', &buffer[..count]).count(),
        }
    }
    ensure!(lines == expected as usize, "{lines} lines were printed to {} instead of {expected}", path.display());
    Ok(())
}

/// Returns the size of a file, in MB.
pub(crate) fn megabytes(file: &Path) -> Result<f64> {
    let kilobytes = file.metadata()?.len() / 1000;
    Ok(f64::from(u32::try_from(kilobytes)?) / 1000.0)
}

/// Returns the value below which this share of the values lies. 0.5 gives the median.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
pub(crate) fn quantile(share: f64, values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(0.5, values)
}

/// The runs of one contender: one per round.
#[derive(Debug, Default)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    /// Returns the median wall time, in seconds.
    pub(crate) fn wall(&self) -> f64 {
        median(self.0.iter().map(|run| run.wall.as_secs_f64()))
    }

    /// Returns the median CPU time, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        median(self.0.iter().map(|run| run.cpu.as_secs_f64()))
    }

    /// Returns the wall time relative to `other`: the median over the rounds, which ignores single slow rounds.
    pub(crate) fn time_ratio(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(a, b)| a.wall.div_duration_f64(b.wall)))
    }

    /// Returns the rate relative to `other`, if both handled the same amount.
    pub(crate) fn rate_ratio(&self, other: &Self) -> f64 {
        other.time_ratio(self)
    }

    /// Returns the CPU time relative to `other`.
    pub(crate) fn cpu_ratio(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(a, b)| a.cpu.div_duration_f64(b.cpu)))
    }
}

/// A program in a comparison.
pub(crate) type Contender<'a> = Box<dyn Fn() -> Result<Run> + 'a>;

/// Runs all contenders in turn, `rounds` times.
pub(crate) fn compare<const N: usize>(rounds: u32, contenders: &[Contender<'_>; N]) -> Result<[Runs; N]> {
    let mut all = [(); N].map(|()| Runs::default());
    for _ in 0..rounds {
        for (contender, runs) in contenders.iter().zip(&mut all) {
            runs.0.push(contender()?);
        }
    }
    Ok(all)
}
