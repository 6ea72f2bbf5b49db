//! Full disks, and renamed output files.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::rig::{EventCounts, LONG, Load, Mosquitto, Recording, figures, wait_on};
use crate::support::TIMEOUT;

const MANY: u64 = 5_000;

/// A small file system, if this user may mount one.
struct Small {
    dir: TempDir,
    is_mounted: bool,
}

impl Small {
    fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(dir.path());
        let is_mounted = mount.output().is_ok_and(|made| made.status.success());
        Self { dir, is_mounted }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if self.is_mounted {
            // Ignore errors: a failed unmount affects only this test.
            let _ = Command::new("umount").arg(self.path()).output();
        }
    }
}

/// Appends to a file on a disk that fills up, and continues in another file. The file must contain everything that the first
/// run acknowledged.
fn a_full_disk(flags: &str) {
    let small = Small::new();
    let (path, place): (PathBuf, &str) = if small.is_mounted {
        (small.path().join("events.jsonl"), "a tmpfs of 256 KiB")
    } else {
        (PathBuf::from("/dev/full"), "/dev/full, because this system does not allow mounting a tmpfs")
    };
    let broker = Mosquitto::unlimited();
    let start = |path: &Path| {
        let command = broker.rtcomm("watch --json --durable archive --output").arg(path);
        flags.split_whitespace().fold(command, crate::support::Rtcomm::arg).start()
    };
    let process = start(&path).until_ready();
    let publisher = Load::to(broker.address(), 0..MANY).start();
    let outcome = process.end().has_status(1).prints("");
    let outcome =
        outcome.says(&format!("rtcomm: error: cannot write to '{}': ", path.display())).says("No space left on device");
    outcome.check(outcome.stderr.matches("rtcomm: error:").count() == 1, "the error once");
    publisher.finish(LONG);
    let mut fitted = EventCounts::of(MANY);
    if small.is_mounted {
        let bytes = std::fs::read(&path).expect("the file can be read");
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        fitted.take(&bytes[..complete]);
        assert!(fitted.distinct() > 0, "something fits");
    }
    let written = fitted.distinct();
    let mut union = Recording::of(MANY);
    union.counts = fitted;
    let process = start(union.path());
    wait_on(&process, "the rest", LONG, || union.read().is_complete());
    process.terminate();
    union.read().check_is_whole();
    figures(format_args!(
        "{place} ({flags}): {written} of {MANY} fitted, 0 missing after the next run, {} duplicates",
        union.counts.duplicates()
    ));
}

#[test]
fn a_full_disk_ends_the_run_and_loses_nothing() {
    a_full_disk("--qos 1");
}

#[test]
fn a_full_disk_loses_nothing_of_a_synced_file() {
    a_full_disk("--qos 2 --fsync");
}

#[test]
fn a_file_that_cannot_be_created_fails_before_anything_is_acknowledged() {
    let broker = Mosquitto::unlimited();
    let outcome = broker.rtcomm("watch --json --durable archive --output /nowhere/at/all").run();
    outcome.has_status(2).says("cannot open '/nowhere/at/all' for appending: No such file or directory");
}

#[test]
fn sighup_reopens_a_renamed_file_and_nothing_is_lost() {
    const ROUNDS: u64 = 10;
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("events.jsonl");
    let broker = Mosquitto::unlimited();
    let process = broker.rtcomm("watch --json --fsync --output").arg(&path).start().until_ready();
    let publisher = Load::to(broker.address(), 0..MANY).per_second(2_500).start();
    let mut files = Vec::new();
    for round in 1..ROUNDS {
        wait_on(&process, "its share", LONG, || publisher.acknowledged() >= MANY * round / ROUNDS);
        let old = dir.path().join(format!("events.{round}.jsonl"));
        std::fs::rename(&path, &old).expect("the file can be renamed");
        files.push(old);
        process.signal(Signal::HUP);
        wait_on(&process, "a new file", TIMEOUT, || path.exists());
    }
    publisher.finish(LONG);
    files.push(path);
    let union = || {
        let mut union = EventCounts::ordered(MANY);
        for file in &files {
            union.take(&std::fs::read(file).expect("the file can be read"));
        }
        union
    };
    wait_on(&process, "the rest", LONG, || union().is_complete());
    process.terminate().prints("").never_says("error");
    let union = union();
    union.check_is_whole();
    assert_eq!(union.order, Some((0..MANY).collect()), "each once, in order, across {ROUNDS} files");
    figures(format_args!("{ROUNDS} files, {MANY} messages: each once, in order"));
}

#[test]
fn a_file_that_cannot_be_reopened_ends_the_run() {
    let dir = TempDir::new().expect("a temporary directory");
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).expect("a folder can be made");
    let path = folder.join("events.jsonl");
    let broker = Mosquitto::unlimited();
    let process = broker.rtcomm("watch --json --output").arg(&path).start().until_ready();
    std::fs::rename(&folder, dir.path().join("away")).expect("the folder can be renamed");
    process.signal(Signal::HUP);
    process.end().has_status(1).says("No such file or directory");
}

#[test]
fn without_an_output_file_sighup_ends_the_run() {
    let broker = Mosquitto::unlimited();
    let process = broker.rtcomm("watch --json").start().until_ready();
    process.signal(Signal::HUP);
    let outcome = process.end();
    outcome.check(outcome.stdout.is_empty(), "nothing printed");
}
