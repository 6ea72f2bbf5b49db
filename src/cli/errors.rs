//! Errors of the command line beyond those that clap finds, and where an invalid value comes from.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, ValueEnum as _};

use super::check::{CheckArgs, CheckOutput};
use super::definition::CommandDefinition as _;
use super::leading;
use super::sources::ProfileSource;
use crate::exit::Failure;
use crate::output::ColorChoice;

/// Why there is no command to run.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The arguments are invalid, or request help or the version.
    Arguments(clap::Error),
    /// The profile is invalid or cannot be read.
    Profile(Failure),
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(error)
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self::Profile(failure)
    }
}

/// Returns when to use color for an error in the arguments, as far as they can be read.
pub(crate) fn color_choice(args: &[OsString]) -> ColorChoice {
    let typed = args.iter().enumerate().find_map(|(at, arg)| match arg.to_str()?.strip_prefix("--color")? {
        "" => args.get(at + 1)?.to_str().map(str::to_owned),
        value => value.strip_prefix('=').map(str::to_owned),
    });
    let value = typed.or_else(|| std::env::var("RTCOMM_COLOR").ok());
    value.and_then(|value| ColorChoice::from_str(&value, false).ok()).unwrap_or(ColorChoice::Auto)
}

/// Returns what `check` prints if the arguments, which may be invalid, name this command.
pub(crate) fn check_output(args: &[OsString]) -> Option<CheckOutput> {
    leading::command_in(args).filter(|command| *command == CheckArgs::NAME)?;
    let is_typed = |flag: &str| args.iter().take_while(|arg| *arg != "--").any(|arg| arg == flag);
    Some(CheckOutput::new(is_typed("--json"), is_typed("--env")))
}

/// Pairs of flags that conflict if both are typed.
///
/// clap would also reject a typed flag with one from the environment. Here, the typed flag wins.
const CONFLICTS: [(&str, &str); 3] = [("quiet", "verbose"), ("durable", "client_id"), ("durable_delete", "client_id")];

/// Returns whether a flag is on the command line, not in the environment.
pub(super) fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    let flags = matches.subcommand().map_or(matches, |(_, flags)| flags);
    flags.ids().any(|it| it == id) && flags.value_source(id) == Some(ValueSource::CommandLine)
}

/// Returns the error of a typed flag that the command lacks, though it is in a group of flags that the command has.
pub(super) fn missing_flag(tool: &mut clap::Command, matches: &ArgMatches) -> Option<clap::Error> {
    let (command, _) = matches.subcommand()?;
    let command = tool.find_subcommand_mut(command)?;
    let is_typed = |arg: &&Arg| is_typed(matches, arg.get_id().as_str());
    let flag = command.get_arguments().filter(|arg| arg.is_hide_set()).find(is_typed)?.get_long()?.to_owned();
    Some(command.error(ErrorKind::UnknownArgument, format!("unexpected argument '--{flag}' found")))
}

/// Returns an error if two conflicting flags are typed.
pub(super) fn conflict(tool: &mut clap::Command, matches: &ArgMatches) -> Option<clap::Error> {
    let (command, flags) = matches.subcommand()?;
    let conflict = CONFLICTS.into_iter().find(|(one, other)| is_typed(matches, one) && is_typed(matches, other));
    let conflict = conflict.map(|(one, other)| (format!("--{one}"), other));
    let (one, other) = conflict.or_else(|| Some(("[FILE]".to_owned(), live_flag_with_file(matches, flags)?)))?;
    let message = format!("the argument '{one}' cannot be used with '--{other}'").replace('_', "-");
    Some(tool.find_subcommand_mut(command)?.error(ErrorKind::ArgumentConflict, message))
}

/// Returns an error if the environment or a profile requests discovery for a dry run. If it is typed, the command rejects it.
pub(super) fn discovery_in_dry_run(
    tool: &mut clap::Command,
    matches: &ArgMatches,
    profile: Option<&ProfileSource>,
) -> Option<clap::Error> {
    let (command, flags) = matches.subcommand()?;
    let is_set = |flag: &str| flags.try_get_one::<bool>(flag).ok().flatten() == Some(&true);
    let deletes_session = flags.try_contains_id("durable_delete").is_ok_and(|is_given| is_given);
    if !is_set("discover") || !is_set("dry_run") || is_typed(matches, "discover") || deletes_session {
        return None;
    }
    let tip = source_tip("discover", "RTCOMM_DISCOVER", profile);
    let message = format!("--discover cannot be combined with --dry-run, which does not connect\n\n  tip: {tip}");
    Some(tool.find_subcommand_mut(command)?.error(ErrorKind::ArgumentConflict, message))
}

/// Says where the value of a flag that is not typed comes from.
fn source_tip(long: &str, variable: &str, profile: Option<&ProfileSource>) -> String {
    let origin = profile.and_then(|profile| profile.origin(long));
    let origin = origin.unwrap_or_else(|| format!("the environment variable {variable}"));
    format!("the value comes from {origin}")
}

/// Returns the first flag for messages from a broker if a file is given too.
fn live_flag_with_file<'a>(matches: &ArgMatches, flags: &'a ArgMatches) -> Option<&'a str> {
    const NOT_LIVE: [&str; 2] = ["output", "fsync"];
    const DISCOVER: &str = "discover";
    let is_file_named = flags.try_contains_id("files").is_ok_and(|is_named| is_named);
    if is_file_named && is_typed(matches, DISCOVER) {
        return Some(DISCOVER);
    }
    let delivery = flags.try_get_many::<clap::Id>("DeliveryArgs").ok().flatten();
    delivery.filter(|_| is_file_named)?.map(clap::Id::as_str).find(|flag| !NOT_LIVE.contains(flag))
}

/// Adds the environment variable, or the line of the profile, to the error of an invalid value that was not typed.
pub(super) fn annotate_source(
    mut error: clap::Error,
    tool: &clap::Command,
    profile: Option<&ProfileSource>,
    args: &[OsString],
) -> clap::Error {
    // As `--keepalive <DURATION>`.
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return error };
    let long = flag.strip_prefix("--").and_then(|flag| flag.split(' ').next());
    let mut flags = tool.get_subcommands().chain([tool]).flat_map(clap::Command::get_arguments);
    let Some(arg) = flags.find(|arg| long.is_some() && arg.get_long() == long) else { return error };
    let is_same_flag = |typed: &str| match typed.strip_prefix("--") {
        Some(typed) => typed.split('=').next() == long,
        None => typed.starts_with('-') && arg.get_short().is_some_and(|short| typed.contains(short)),
    };
    let is_typed = args.iter().any(|typed| typed.to_str().is_some_and(is_same_flag));
    if let Some((name, long)) = arg.get_env().filter(|_| !is_typed).zip(long) {
        let tip = source_tip(long, &name.to_string_lossy(), profile);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}
