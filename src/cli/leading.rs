//! Flags before the command's name: `rtcomm -b URL watch` means `rtcomm watch -b URL`.
//!
//! They are moved after the name instead of being defined for the tool too: so help of the tool stays short, a start without
//! them defines nothing, and a flag given on both sides follows the usual rules.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Args as _, Subcommand as _};

use super::command::Command;
use super::groups::{ConnectionArgs, DisplayArgs, TopicArgs};

/// Moves flags of the connection and of messages from before the command's name to after it.
///
/// If another flag is there, returns the arguments as they are. Without a command, drops the flags, so that the error is
/// about the command.
pub(super) fn move_after_command(mut args: Vec<OsString>) -> Vec<OsString> {
    if args.get(1).is_some_and(|first| is_flag(first))
        && let Some(command) = position_of_command(&args)
    {
        if command < args.len() {
            args[1..=command].rotate_right(1);
        } else {
            args.truncate(1);
        }
    }
    args
}

/// Returns the command that the arguments, which may be invalid, name: the first argument that is neither a flag nor the value
/// of one.
///
/// Whether an unknown flag has a value is not known. So the argument after it counts if it is the name of a command.
pub(super) fn command_in(args: &[OsString]) -> Option<&str> {
    let flags = leading_flags();
    let mut args = args.iter().skip(1);
    let mut is_after_unknown = false;
    loop {
        let arg = args.next()?;
        if is_flag(arg) {
            let takes_next = arg.to_str().and_then(|arg| takes_next_argument(&flags, arg));
            is_after_unknown = takes_next.is_none();
            if takes_next == Some(true) {
                args.next();
            }
        } else if let Some(command) = arg.to_str().filter(|name| Command::has_subcommand(name)) {
            return Some(command);
        } else if !std::mem::take(&mut is_after_unknown) {
            return None;
        }
    }
}

fn is_flag(arg: &OsStr) -> bool {
    let bytes = arg.as_encoded_bytes();
    bytes.len() > 1 && bytes[0] == b'-'
}

/// Returns the position of the first argument that is neither a flag nor the value of one, or `None` if a flag is unknown.
fn position_of_command(args: &[OsString]) -> Option<usize> {
    let flags = leading_flags();
    let mut position = 1;
    while let Some(arg) = args.get(position).filter(|arg| is_flag(arg)) {
        let takes_next = takes_next_argument(&flags, arg.to_str()?)?;
        position += if takes_next { 2 } else { 1 };
    }
    Some(position)
}

/// Returns the flags that may come before the command's name, as those of a command.
fn leading_flags() -> clap::Command {
    TopicArgs::augment_args(ConnectionArgs::augment_args(DisplayArgs::augment_args(clap::Command::new(""))))
}

/// Returns whether the value of a flag, or of the last of several short ones, is the next argument. `None` for unknown flags.
fn takes_next_argument(flags: &clap::Command, arg: &str) -> Option<bool> {
    let takes_value = |arg: &Arg| arg.get_action().takes_values();
    if let Some(long) = arg.strip_prefix("--") {
        let (name, has_value) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
        let flag = flags.get_arguments().find(|flag| flag.get_long() == Some(name))?;
        return Some(takes_value(flag) && !has_value);
    }
    let mut shorts = arg.chars().skip(1);
    while let Some(short) = shorts.next() {
        let flag = flags.get_arguments().find(|flag| flag.get_short() == Some(short))?;
        if takes_value(flag) {
            return Some(shorts.next().is_none());
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_flags_move_after_the_command() {
        for (typed, meant) in [
            ("rtcomm watch -b x", "rtcomm watch -b x"),
            ("rtcomm -b x watch -c 1", "rtcomm watch -b x -c 1"),
            ("rtcomm -bx --root=/r -qv --username watch watch", "rtcomm watch -bx --root=/r -qv --username watch"),
            ("rtcomm -qb x call a b", "rtcomm call -qb x a b"),
            ("rtcomm --insecure watch -b y", "rtcomm watch --insecure -b y"),
            ("rtcomm -b x", "rtcomm"),
            ("rtcomm -qb", "rtcomm"),
            ("rtcomm --json watch", "rtcomm --json watch"),
            ("rtcomm -qh watch", "rtcomm -qh watch"),
            ("rtcomm -- watch", "rtcomm -- watch"),
            ("rtcomm - watch", "rtcomm - watch"),
            ("rtcomm", "rtcomm"),
        ] {
            let moved = move_after_command(typed.split(' ').map(OsString::from).collect());
            assert_eq!(moved, meant.split(' ').map(OsString::from).collect::<Vec<_>>(), "{typed}");
        }
    }

    #[test]
    fn the_command_of_invalid_arguments_is_known() {
        for (typed, command) in [
            ("rtcomm check --bogus", Some("check")),
            ("rtcomm --bogus check", Some("check")),
            ("rtcomm --bogus value check", Some("check")),
            ("rtcomm --bogus=value -v check", Some("check")),
            ("rtcomm --bogus -b check watch", Some("watch")),
            ("rtcomm --bogus call check bob", Some("call")),
            ("rtcomm --client-id check --bogus", None),
            ("rtcomm wacth check", None),
            ("rtcomm --bogus a b check", None),
            ("rtcomm help check", None),
            ("rtcomm", None),
        ] {
            let typed: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
            assert_eq!(command_in(&typed), command, "{typed:?}");
        }
    }
}
