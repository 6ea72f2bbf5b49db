//! The list of commands.

use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches, Subcommand};

use super::call::CallArgs;
use super::check::CheckArgs;
use super::definition::{CommandDefinition, define};
#[cfg(feature = "demo")]
use super::demo::DemoArgs;
use super::documents::{CompletionsArgs, ManArgs};
use super::groups::DisplayArgs;
use super::profile::Profile;
use super::tail::TailArgs;
use super::watch::WatchArgs;

/// The command to run, with its flags.
#[derive(Debug)]
pub(crate) enum Command {
    Watch(Box<WatchArgs>),
    Call(Box<CallArgs>),
    Tail(Box<TailArgs>),
    Check(Box<CheckArgs>),
    #[cfg(feature = "demo")]
    Demo(Box<DemoArgs>),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

impl Command {
    /// Returns the flags for color and messages.
    pub(super) fn display(&self) -> DisplayArgs {
        match self {
            Self::Watch(args) => args.display(),
            Self::Call(args) => args.display(),
            Self::Tail(args) => args.display(),
            Self::Check(args) => args.display(),
            #[cfg(feature = "demo")]
            Self::Demo(args) => args.display(),
            Self::Completions(args) => args.display(),
            Self::Man(args) => args.display(),
        }
    }

    /// Hands over the effective settings of a profile.
    pub(super) fn set_profile(&mut self, profile: Profile) {
        let connection = match self {
            Self::Watch(args) => &mut args.connection,
            Self::Call(args) => &mut args.connection,
            Self::Tail(args) => &mut args.connection,
            Self::Check(args) => &mut args.connection,
            #[cfg(feature = "demo")]
            Self::Demo(_) => return,
            Self::Completions(_) | Self::Man(_) => return,
        };
        connection.settings = Some(profile);
    }
}

/// Not derived: the derived code defines the flags of all commands at each start, which takes longer than parsing.
impl Subcommand for Command {
    fn augment_subcommands(tool: clap::Command) -> clap::Command {
        let tool = tool
            .subcommand_required(true)
            .subcommand(define::<WatchArgs>())
            .subcommand(define::<CallArgs>())
            .subcommand(define::<TailArgs>())
            .subcommand(define::<CheckArgs>());
        #[cfg(feature = "demo")]
        let tool = tool.subcommand(define::<DemoArgs>());
        tool.subcommand(define::<CompletionsArgs>()).subcommand(define::<ManArgs>())
    }

    fn augment_subcommands_for_update(tool: clap::Command) -> clap::Command {
        Self::augment_subcommands(tool)
    }

    fn has_subcommand(name: &str) -> bool {
        Self::augment_subcommands(clap::Command::new("rtcomm")).find_subcommand(name).is_some()
    }
}

impl FromArgMatches for Command {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand() {
            Some((WatchArgs::NAME, typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Watch),
            Some((CallArgs::NAME, typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Call),
            Some((TailArgs::NAME, typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Tail),
            Some((CheckArgs::NAME, typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Check),
            #[cfg(feature = "demo")]
            Some((DemoArgs::NAME, typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Demo),
            Some((CompletionsArgs::NAME, typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Completions),
            Some((ManArgs::NAME, typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Man),
            _ => Err(clap::Error::new(ErrorKind::MissingSubcommand)),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        Self::from_arg_matches(matches).map(|command| *self = command)
    }
}
