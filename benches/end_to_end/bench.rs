//! Resources of all rows: the programs, a scratch directory and the blaster.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::blaster::Blaster;
use crate::events::ONE_IN;
use crate::measure::{Contender, Output, check_lines, run};

/// The programs that the rows compare with or need.
const PROGRAMS: [&str; 6] = ["mosquitto", "mosquitto_sub", "mosquitto_rr", "jq", "rg", "hyperfine"];

pub(crate) struct Bench {
    pub(crate) rtcomm: PathBuf,
    /// The path of this program.
    own: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) blaster: Blaster,
    scale: f64,
    pub(crate) rounds: u32,
}

impl Bench {
    /// # Errors
    /// If a program is missing.
    pub(crate) fn new(scale: f64, rounds: u32) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        for program in PROGRAMS {
            let is_installed = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
            ensure!(is_installed, "{program} is not installed: run `make deps-bench`");
        }
        let own = std::env::current_exe()?;
        // Examples are in a subdirectory of the program's directory.
        let dir = own.ancestors().nth(2).context("this program is not where Cargo puts it")?;
        let (rtcomm, scratch) = (dir.join("rtcomm"), dir.with_file_name("bench"));
        ensure!(rtcomm.is_file(), "{} does not exist: run `cargo build --release`", rtcomm.display());
        fs::create_dir_all(&scratch)?;
        Ok(Self { rtcomm, own, scratch, blaster: Blaster::start()?, scale, rounds })
    }

    /// Scales an amount, and rounds it up to whole hundreds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an amount, far from the limits")]
    pub(crate) fn scaled(&self, amount: u32) -> u32 {
        ((f64::from(amount) * self.scale) as u32).max(ONE_IN).next_multiple_of(ONE_IN)
    }

    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Returns the file to which contenders print.
    pub(crate) fn output_file(&self) -> Output {
        Output::File(self.scratch("out"))
    }

    /// Returns a run of `rtcomm --quiet` with these words, which are split at whitespace.
    pub(crate) fn rtcomm(&self, words: &str) -> Command {
        let mut command = Command::new(&self.rtcomm);
        command.arg("--quiet").args(words.split_whitespace());
        command
    }

    /// Returns a command that runs this program as one of the raw clients.
    pub(crate) fn raw(&self, words: &str) -> Command {
        let mut command = Command::new(&self.own);
        command.args(words.split_whitespace());
        command
    }

    /// Returns a contender that is measured from start to end, and prints this number of lines to a file.
    pub(crate) fn program<'a>(&'a self, command: impl Fn() -> Command + 'a, lines: u32) -> Contender<'a> {
        Box::new(move || {
            let run = run(command(), &self.output_file())?;
            check_lines(&self.output_file(), lines)?;
            Ok(run)
        })
    }
}

/// Returns a command with these words, which are split at spaces.
pub(crate) fn command(words: &str) -> Command {
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Returns a `mosquitto_sub` command for all events.
pub(crate) fn mosquitto_sub(port: u16, format: &str, count: u32) -> Command {
    let filter = crate::raw::EVENTS;
    let mut command = command(&format!("mosquitto_sub -h 127.0.0.1 -p {port} -V 5 -t {filter} -C {count} -F"));
    command.arg(format);
    command
}
