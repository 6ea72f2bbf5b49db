//! Runs programs and measures them. Every child is killed when its handle is dropped.

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

/// Everybody who was started and has not ended.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// From now on a signal that ends the bench ends whom it started first.
pub(crate) fn end_together() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            for pid in running().iter() {
                // Who has just ended needs no killing.
                let _ = kill_process(*pid, Signal::KILL);
            }
            // Ends the process, and so never fails.
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The destination of a program's output.
#[derive(Clone)]
pub(crate) enum Sink {
    /// A new file.
    File(PathBuf),
    /// A pipe, whose reader throws away what it reads.
    Pipe,
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// From its beginning, or from the time that was asked for, to its end.
    pub(crate) wall: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
}

/// A running program.
pub(crate) struct Process {
    child: Child,
    began: Instant,
    line: String,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    pub(crate) fn start(mut command: Command, sink: &Sink) -> Result<Self> {
        let stdout = match sink {
            Sink::File(path) => Stdio::from(File::create(path).with_context(|| path.display().to_string())?),
            Sink::Pipe => Stdio::piped(),
        };
        command.stdout(stdout);
        let mut process = Self::spawn(command)?;
        process.reader = process.child.stdout.take().map(|pipe| thread::spawn(move || discard(pipe)));
        Ok(process)
    }

    /// Starts it with the standard streams of the command.
    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        let line = format!("{command:?}");
        // None of the developer's settings.
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("LANG", "C.UTF-8").env("TZ", "UTC");
        let began = Instant::now();
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {line}"))?;
        running().push(Pid::from_child(&child));
        Ok(Self { child, began, line, reader: None })
    }

    pub(crate) fn stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("its standard output is not piped")
    }

    /// Waits until it says a line that holds `word` on its standard error; returns when that was.
    pub(crate) fn says(&mut self, word: &str) -> Result<Instant> {
        let stderr: ChildStderr = self.child.stderr.take().context("its standard error is not piped")?;
        let mut stderr = BufReader::new(stderr);
        let mut line = String::new();
        while stderr.read_line(&mut line)? > 0 {
            if line.contains(word) {
                let now = Instant::now();
                // Kept open and empty, so that it never waits for a reader nor finds none.
                thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
                return Ok(now);
            }
            line.clear();
        }
        bail!("{} ended without saying {word:?}", self.line)
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn terminate(&self) -> Result<()> {
        Ok(kill_process(self.pid(), Signal::TERM)?)
    }

    /// A line of its `/proc/PID/status`, in kB.
    pub(crate) fn memory(&self, name: &str) -> Result<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.with_context(|| format!("no {name} of {}", self.line))?.parse()?)
    }

    /// Waits for its end; the wall time is taken from `since`, or from its beginning.
    pub(crate) fn finish(mut self, since: Option<Instant>) -> Result<Run> {
        // Its resource usage is available until its status is collected.
        waitid(WaitId::Pid(self.pid()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        let wall = since.unwrap_or(self.began).elapsed();
        let cpu = self.cpu()?;
        running().retain(|pid| *pid != self.pid());
        let status = self.child.wait()?;
        ensure!(status.success() || status.code() == Some(143), "{}: {status}", self.line);
        if let Some(reader) = self.reader.take() {
            // It ends with the pipe.
            let _ = reader.join();
        }
        Ok(Run { wall, cpu })
    }

    fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The program's name stands in parentheses and may hold anything; user and system time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(") ").context("no process")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(Duration::from_secs(1) * ticks / u32::try_from(rustix::param::clock_ticks_per_second())?)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        let _ = self.child.kill();
        running().retain(|pid| *pid != self.pid());
        let _ = self.child.wait();
    }
}

fn discard(mut pipe: ChildStdout) {
    let mut buffer = vec![0; 64 * 1024];
    while pipe.read(&mut buffer).is_ok_and(|n| n > 0) {}
}

/// Runs a program from its beginning to its end.
pub(crate) fn run(command: Command, sink: &Sink) -> Result<Run> {
    Process::start(command, sink)?.finish(None)
}

/// A program's last words on standard output.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// How many lines a file has: whether a contender did its work.
pub(crate) fn count_lines(path: &Path) -> Result<usize> {
    let mut file = File::open(path)?;
    let (mut buffer, mut lines) = (vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(lines),
            n => lines += memchr::memchr_iter(b'\n', &buffer[..n]).count(),
        }
    }
}

/// The one in the middle.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The runs of one contender, a run for each round.
#[derive(Debug, Default)]
pub(crate) struct Runs(pub(crate) Vec<Run>);

impl Runs {
    pub(crate) fn wall(&self) -> f64 {
        median(self.0.iter().map(|run| run.wall.as_secs_f64()))
    }

    pub(crate) fn cpu(&self) -> f64 {
        median(self.0.iter().map(|run| run.cpu.as_secs_f64()))
    }

    /// How many times as long as `other` it took: the median over the rounds, so that what slows a whole round down does
    /// not count.
    pub(crate) fn times_of(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(a, b)| a.wall.div_duration_f64(b.wall)))
    }

    /// The same of CPU time.
    pub(crate) fn cpu_times_of(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(a, b)| a.cpu.div_duration_f64(b.cpu)))
    }
}

/// Something that runs side by side with others.
pub(crate) type Contender<'a> = Box<dyn Fn() -> Result<Run> + 'a>;

/// Runs all contenders one after the other, and that `rounds` times.
pub(crate) fn side_by_side<const N: usize>(rounds: u32, contenders: &[Contender<'_>; N]) -> Result<[Runs; N]> {
    let mut all = [(); N].map(|()| Runs::default());
    for _ in 0..rounds {
        for (contender, runs) in contenders.iter().zip(&mut all) {
            runs.0.push(contender()?);
        }
    }
    Ok(all)
}
