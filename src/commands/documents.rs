//! `rtcomm completions` and `rtcomm man`, for those who have only the binary.
//!
//! The files are those that a package installs: `make man` writes them, and a test fails if they are stale.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Result;

use super::ui;
use crate::cli::{Cli, CompletionsArgs, ManArgs, Page, Shell};
use crate::exit::Status;

/// Prints the completions for a shell.
///
/// # Errors
/// If standard output cannot be written to.
pub(crate) fn print_completions(args: &CompletionsArgs) -> Result<Status> {
    ui::print(match args.shell {
        Shell::Bash => include_str!("../../completions/rtcomm.bash"),
        Shell::Zsh => include_str!("../../completions/_rtcomm"),
        Shell::Fish => include_str!("../../completions/rtcomm.fish"),
    })
}

/// Shows a man page on a terminal, or prints it in roff.
///
/// If the system has no `man` that reads standard input, the terminal shows the help with all flags.
///
/// # Errors
/// If standard output cannot be written to.
pub(crate) fn show_page(args: &ManArgs) -> Result<Status> {
    let page = page(args.command);
    if !io::stdout().is_terminal() {
        return ui::print(page);
    }
    match run_man(page) {
        Ok(status) if status.success() => Ok(Status::Success),
        _ => ui::print(&Cli::long_help(args.command.map(Page::command))),
    }
}

fn page(command: Option<Page>) -> &'static str {
    match command {
        None => include_str!("../../man/rtcomm.1"),
        Some(Page::Watch) => include_str!("../../man/rtcomm-watch.1"),
        Some(Page::Call) => include_str!("../../man/rtcomm-call.1"),
        Some(Page::Check) => include_str!("../../man/rtcomm-check.1"),
        Some(Page::Tail) => include_str!("../../man/rtcomm-tail.1"),
        #[cfg(feature = "demo")]
        Some(Page::Demo) => include_str!("../../man/rtcomm-demo.1"),
        Some(Page::Completions) => include_str!("../../man/rtcomm-completions.1"),
        Some(Page::Man) => include_str!("../../man/rtcomm-man.1"),
    }
}

/// Runs `man` with the page on its standard input.
fn run_man(page: &str) -> io::Result<ExitStatus> {
    let mut man = Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = man.stdin.take() {
        // Ignore errors: man reports its own.
        let _ = stdin.write_all(page.as_bytes());
    }
    man.wait()
}
