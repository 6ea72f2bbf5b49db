//! Flags before the command's name: `rtcomm -b URL watch` means `rtcomm watch -b URL`.
//!
//! They are moved after the name instead of being defined for the tool too: so help of the tool stays short, a start without
//! them defines nothing, and a flag given on both sides follows the usual rules.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Args as _};

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

fn is_flag(arg: &OsStr) -> bool {
    let bytes = arg.as_encoded_bytes();
    bytes.len() > 1 && bytes[0] == b'-'
}

/// Returns the position of the first argument that is neither a flag nor the value of one, or `None` if a flag is unknown.
fn position_of_command(args: &[OsString]) -> Option<usize> {
    let flags =
        TopicArgs::augment_args(ConnectionArgs::augment_args(DisplayArgs::augment_args(clap::Command::new(""))));
    let mut position = 1;
    while let Some(arg) = args.get(position).filter(|arg| is_flag(arg)) {
        let takes_next = takes_next_argument(&flags, arg.to_str()?)?;
        position += if takes_next { 2 } else { 1 };
    }
    Some(position)
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
}
