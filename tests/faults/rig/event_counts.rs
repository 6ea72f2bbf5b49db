//! Counts the numbered events in the output of a run.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

/// The beginning of a record.
const BEGINNING: &str = r#"{"received":""#;

/// The text before an event's number.
const MARK: &str = r#""n":"#;

/// The numbered events in the output of one or more runs.
#[derive(Debug, Default)]
pub(crate) struct EventCounts {
    /// How often each number occurred.
    counts: Vec<u32>,
    /// The number of different numbers, and the number of lines with a number.
    distinct: u64,
    lines: u64,
    /// The numbers in the order of the lines, unless there are too many to keep.
    pub(crate) order: Option<Vec<u64>>,
    /// The connection records.
    pub(crate) statuses: Vec<Value>,
    /// All other lines.
    pub(crate) unexpected: Vec<String>,
    rest: Vec<u8>,
}

impl EventCounts {
    /// Counts numbers below `count`.
    pub(crate) fn of(count: u64) -> Self {
        let count = usize::try_from(count).expect("the numbers fit in memory");
        Self { counts: vec![0; count], ..Self::default() }
    }

    /// Also keeps the order of the numbers.
    pub(crate) fn ordered(count: u64) -> Self {
        Self { order: Some(Vec::new()), ..Self::of(count) }
    }

    /// Reads the next piece of the output.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let rest = std::mem::take(&mut self.rest);
        let complete = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in rest[..complete].split_inclusive(|byte| *byte == b'\n') {
            self.line(&String::from_utf8_lossy(line));
        }
        self.rest = rest[complete..].to_vec();
    }

    fn line(&mut self, line: &str) {
        // A line that begins with an incomplete record is not valid.
        let number = line.rfind(MARK).filter(|_| line.rfind(BEGINNING) == Some(0)).and_then(|at| {
            let digits = &line[at + MARK.len()..];
            let end = digits.find(|c: char| !c.is_ascii_digit())?;
            digits[end..].ends_with("}}\n").then(|| digits[..end].parse::<usize>().ok()).flatten()
        });
        match number {
            Some(number) if number < self.counts.len() => {
                self.lines += 1;
                self.distinct += u64::from(self.counts[number] == 0);
                self.counts[number] += 1;
                if let Some(order) = &mut self.order {
                    order.push(number as u64);
                }
            }
            _ => match serde_json::from_str::<Value>(line) {
                Ok(value) if value.get("status").is_some() => self.statuses.push(value),
                _ => self.unexpected.push(line.to_owned()),
            },
        }
    }

    /// Returns the number of different numbers.
    pub(crate) fn distinct(&self) -> u64 {
        self.distinct
    }

    /// Returns the number of duplicate lines.
    pub(crate) fn duplicates(&self) -> u64 {
        self.lines - self.distinct
    }

    /// Returns the number of connection records with this status.
    pub(crate) fn count_of_status(&self, status: &str) -> u64 {
        self.statuses.iter().filter(|it| it["status"] == status).count() as u64
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.distinct == self.counts.len() as u64
    }

    /// Returns the missing numbers.
    pub(crate) fn missing(&self) -> Vec<usize> {
        (0..self.counts.len()).filter(|&number| self.counts[number] == 0).collect()
    }

    /// Checks that no number is missing, and that all other lines are connection records.
    #[track_caller]
    pub(crate) fn check_is_whole(&self) {
        self.check_is_whole_after_kills(0);
    }

    /// Checks the same, but accepts one incomplete line per kill, because SIGKILL can interrupt a write.
    #[track_caller]
    pub(crate) fn check_is_whole_after_kills(&self, kills: usize) {
        let missing = self.missing();
        let shown = &missing[..missing.len().min(20)];
        assert!(missing.is_empty(), "{} are missing, the first of them {shown:?}", missing.len());
        let is_incomplete = |line: &String| line.starts_with(BEGINNING) || BEGINNING.starts_with(line.trim_end());
        let is_expected = self.unexpected.len() <= kills && self.unexpected.iter().all(is_incomplete);
        assert!(is_expected && self.rest.is_empty(), "unexpected lines: {:?} {:?}", self.unexpected, self.rest);
    }
}

/// A file to which runs append, read while it grows.
pub(crate) struct Recording {
    path: PathBuf,
    file: File,
    pub(crate) counts: EventCounts,
    _dir: Option<TempDir>,
}

impl Recording {
    /// Creates a new file, and counts numbers below `count`.
    pub(crate) fn of(count: u64) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let path = dir.path().join("events.jsonl");
        File::create(&path).expect("the file can be made");
        Self { _dir: Some(dir), ..Self::at(&path, EventCounts::of(count)) }
    }

    /// Reads an existing file.
    pub(crate) fn at(path: &Path, counts: EventCounts) -> Self {
        let file = File::open(path).expect("the recording can be read");
        Self { path: path.to_owned(), file, counts, _dir: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file, for a run to append to.
    pub(crate) fn open(&self) -> File {
        OpenOptions::new().append(true).open(&self.path).expect("the recording can be appended to")
    }

    /// Reads the new content.
    pub(crate) fn read(&mut self) -> &EventCounts {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).expect("the recording can be read");
        self.counts.take(&bytes);
        &self.counts
    }
}

/// Reads a run's standard output in the background until it is closed.
pub(crate) fn read_on(mut from: impl Read + Send + 'static, counts: EventCounts) -> Shared {
    let shared = Shared(Arc::new(Mutex::new(counts)));
    let writer = shared.clone();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(n) => writer.lock().take(&buffer[..n]),
            }
        }
    });
    shared
}

/// Counts that another thread still updates.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<EventCounts>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, EventCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
