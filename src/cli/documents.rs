//! The flags of the commands that print the tool's own documents: `rtcomm completions` and `rtcomm man`.

use clap::{Args, ValueEnum};

use super::call::CallArgs;
use super::check::CheckArgs;
use super::definition::CommandDefinition;
#[cfg(feature = "demo")]
use super::demo::DemoArgs;
use super::groups::DisplayArgs;
use super::tail::TailArgs;
use super::watch::WatchArgs;

/// `rtcomm completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to complete commands in
    pub(crate) shell: Shell,

    #[command(flatten)]
    pub(crate) display: DisplayArgs,
}

/// A shell with completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl CommandDefinition for CompletionsArgs {
    const NAME: &'static str = "completions";
    const ABOUT: &'static str = "Print the completions for a shell";
    const EXAMPLES: &'static [&'static str] = &[
        "rtcomm completions bash > rtcomm.bash      # then: source rtcomm.bash",
        "rtcomm completions zsh > _rtcomm           # in a directory of $fpath",
        "rtcomm completions fish > rtcomm.fish      # in ~/.config/fish/completions",
    ];

    fn display(&self) -> DisplayArgs {
        self.display
    }
}

/// `rtcomm man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Command whose page is shown; without it, the page of rtcomm
    pub(crate) command: Option<Page>,

    #[command(flatten)]
    pub(crate) display: DisplayArgs,
}

/// A man page of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    Watch,
    Call,
    Tail,
    Check,
    #[cfg(feature = "demo")]
    Demo,
    Completions,
    Man,
}

impl Page {
    /// Returns the name of the command.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Watch => WatchArgs::NAME,
            Self::Call => CallArgs::NAME,
            Self::Tail => TailArgs::NAME,
            Self::Check => CheckArgs::NAME,
            #[cfg(feature = "demo")]
            Self::Demo => DemoArgs::NAME,
            Self::Completions => CompletionsArgs::NAME,
            Self::Man => ManArgs::NAME,
        }
    }
}

impl CommandDefinition for ManArgs {
    const NAME: &'static str = "man";
    const ABOUT: &'static str = "Show a man page, or print it to a pipe in roff";
    const EXAMPLES: &'static [&'static str] = &[
        "rtcomm man                                 # the page of rtcomm",
        "rtcomm man watch                           # the page of a command",
        "rtcomm man watch > rtcomm-watch.1          # the file of a page",
    ];

    fn display(&self) -> DisplayArgs {
        self.display
    }
}
