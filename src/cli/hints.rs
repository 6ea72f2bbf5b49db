//! Hints for arguments that are wrong in a way that is known: near misses, and the habits of `tail` and `mosquitto_sub`.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::protocol::topic::{Action, Category};

/// Maximum number of edits between a flag and what was typed.
const MAX_EDITS: usize = 2;

/// Adds a hint to the error of an unexpected argument, in place of clap's own.
pub(super) fn add_hint(mut error: clap::Error, tool: &clap::Command, args: &[OsString]) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg)
        && let Some(hint) = Mistake::new(arg, tool, args).and_then(|mistake| mistake.hint())
    {
        error.insert(ContextKind::SuggestedArg, ContextValue::None);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}

/// Returns the error of `-h HOST`, which other tools accept. `error` is the text of help.
pub(super) fn host_after_help(error: &clap::Error, tool: &mut clap::Command, args: &[OsString]) -> Option<clap::Error> {
    if error.kind() != ErrorKind::DisplayHelp {
        return None;
    }
    let host = value_of("-h", args).filter(|host| !host.starts_with('-') && tool.find_subcommand(host).is_none())?;
    let url = match value_of("-p", args) {
        _ if host.contains("://") => host.to_owned(),
        None => format!("mqtt://{host}"),
        Some("8883") => format!("mqtts://{host}:8883"),
        Some(port) => format!("mqtt://{host}:{port}"),
    };
    let message = format!("'-h' prints help and takes no value\n\n  tip: name the broker with -b {}", shell_word(&url));
    Some(tool.error(ErrorKind::UnknownArgument, message))
}

/// An argument that a command does not accept.
struct Mistake<'a> {
    arg: &'a str,
    /// The argument before it.
    before: Option<&'a str>,
    /// The argument after it, if it may be its value.
    value: Option<&'a str>,
    /// The number in the whole argument, of which clap names the first digit.
    number: Option<&'a str>,
    command: &'a clap::Command,
}

impl<'a> Mistake<'a> {
    fn new(arg: &'a str, tool: &'a clap::Command, args: &'a [OsString]) -> Option<Self> {
        let command = tool.find_subcommand(args.get(1)?)?;
        let at = args.iter().position(|typed| typed == arg);
        let before = at.and_then(|at| args.get(at.checked_sub(1)?)?.to_str());
        let value = value_of(arg, args).filter(|value| !value.starts_with('-'));
        let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let mut numbers = args.iter().filter_map(|typed| typed.to_str()?.strip_prefix('-').filter(is_number));
        let number = numbers.find(|number| arg.strip_prefix('-').is_some_and(|digit| number.starts_with(digit)));
        Some(Self { arg, before, value, number, command })
    }

    fn hint(&self) -> Option<String> {
        match self.arg.strip_prefix('-') {
            None => self.hint_for_word(),
            Some(digit) if digit.starts_with(|c: char| c.is_ascii_digit()) => {
                let flag = ["lines", "count"].into_iter().find_map(|long| self.flag(long))?;
                Some(format!("for that number of records, use -{} {}", flag.get_short()?, self.number?))
            }
            Some(flag) => self.hint_for_habit(flag).or_else(|| self.near_miss(flag.strip_prefix('-')?)),
        }
    }

    fn hint_for_word(&self) -> Option<String> {
        let Self { arg, before, .. } = self;
        let flag = before.and_then(|before| self.flag(before.strip_prefix("--")?));
        if let Some(flag) = flag.filter(|flag| flag.is_require_equals_set()).and_then(|flag| flag.get_long()) {
            return Some(format!("for a value of --{flag}, use --{flag}={}", shell_word(arg)));
        }
        let names = Category::ALL.map(Category::as_str).into_iter().chain(Action::ALL.map(Action::as_str));
        if arg.contains("://") && self.has("broker") {
            Some(format!("to name the broker, use --broker {}", shell_word(arg)))
        } else if let Some(name) = names.into_iter().chain(["presence"]).find(|name| name == arg && self.has(name)) {
            Some(format!("to select it, use --{name}"))
        } else if self.has("endpoint") {
            Some(format!("to select an endpoint, use --endpoint {}", shell_word(arg)))
        } else {
            None
        }
    }

    /// Returns the flag that does what a flag of `mosquitto_sub` or another common tool does.
    fn hint_for_habit(&self, flag: &str) -> Option<String> {
        let value = |name: &str| self.value.map_or_else(|| name.to_owned(), shell_word);
        let (long, hint) = match flag {
            "-host" => ("broker", format!("name the broker with -b mqtt://{}", value("HOST"))),
            "p" | "-port" => {
                ("broker", format!("write the port in the broker's URL: -b mqtt://HOST:{}", value("PORT")))
            }
            "P" | "-pw" | "-password" | "-pass" => (
                "password-file",
                "give the password with --password-file or RTCOMM_PASSWORD: other users can read flags".to_owned(),
            ),
            "t" | "-topic" if self.has("topic") => ("topic", format!("use --topic {}", value("FILTER"))),
            "t" | "-topic" => ("share", format!("for topics, use: rtcomm tail --topic {}", value("FILTER"))),
            "i" | "-id" => ("client-id", format!("use --client-id {}", value("ID"))),
            "L" | "-url" => ("broker", format!("name the broker with -b {}", value("URL"))),
            "C" => ("count", format!("use -c {}", value("N"))),
            "W" => ("for", format!("use --for {}s", value("SECONDS"))),
            "k" => ("keepalive", format!("use --keepalive {}s", value("SECONDS"))),
            "d" | "-debug" => ("verbose", "use --verbose".to_owned()),
            _ => return None,
        };
        self.has(long).then_some(hint)
    }

    /// Returns the flag that differs least from what was typed. Of two, the one of the same length is more likely.
    fn near_miss(&self, typed: &str) -> Option<String> {
        let typed = typed.split('=').next().unwrap_or(typed);
        let longs = self.command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| arg.get_long());
        let difference = |long: &str| (strsim::osa_distance(typed, long), typed.len().abs_diff(long.len()));
        let nearest = longs.min_by_key(|long| difference(long))?;
        let is_near = difference(nearest).0 <= MAX_EDITS.min(typed.len() / 2);
        is_near.then(|| format!("a similar flag exists: --{nearest}"))
    }

    fn has(&self, long: &str) -> bool {
        self.flag(long).is_some()
    }

    fn flag(&self, long: &str) -> Option<&clap::Arg> {
        self.command.get_arguments().find(|arg| arg.get_long() == Some(long))
    }
}

/// Returns the argument after a flag.
fn value_of<'a>(flag: &str, args: &'a [OsString]) -> Option<&'a str> {
    let at = args.iter().position(|arg| arg == flag)?;
    args.get(at + 1)?.to_str()
}

/// Returns a text as a word for a shell, quoted if necessary.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
