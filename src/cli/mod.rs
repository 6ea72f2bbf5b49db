//! The command line: commands, flags and value parsers. It does no I/O.
//!
//! The commands give the flags their meaning; `FilterArgs::filter` and `TopicArgs::topics` convert two groups of them.
//!
//! | file | contents |
//! | --- | --- |
//! | `command` | the list of commands |
//! | `definition` | how a command is defined |
//! | `watch`, `call`, `tail`, `check`, `demo`, `documents` | the flags of each command |
//! | `groups`, `format` | groups of flags that several commands share |
//! | `leading` | flags before the command's name |
//! | `errors` | errors in the arguments |
//! | `hints` | hints for known mistakes |
//! | `profile` | values from a file |
//! | `sources` | whether a value comes from a flag, a profile or the environment |
//! | `range` | ranges of acceptable values, as monitoring plugins write them |
//! | `time` | points in time |
//! | `values` | parsers for values without a `FromStr` of their own |

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use crate::exit::Failure;

mod call;
mod check;
mod command;
mod definition;
#[cfg(feature = "demo")]
mod demo;
mod documents;
mod errors;
mod format;
mod groups;
mod hints;
mod leading;
mod profile;
mod range;
mod sources;
mod tail;
mod time;
mod values;
mod watch;

pub(crate) use call::CallArgs;
pub(crate) use check::{CheckArgs, CheckOutput};
pub(crate) use command::Command;
#[cfg(feature = "demo")]
pub(crate) use demo::DemoArgs;
pub(crate) use documents::{CompletionsArgs, ManArgs, Page, Shell};
pub(crate) use errors::{CliError, check_output, color_choice};
pub(crate) use groups::{CallRecordSettings, ConnectionArgs, DeliveryArgs, DisplayArgs, TopicArgs, WindowArgs};
pub(crate) use profile::{Profile, ProfileName};
pub(crate) use range::{Metric, Threshold};
use sources::ProfileSource;
pub(crate) use tail::TailArgs;
pub(crate) use values::{FollowLimit, LineCount, Rate};
pub(crate) use watch::WatchArgs;

/// The arguments.
#[derive(Debug)]
pub(crate) struct Cli {
    /// The command.
    pub(crate) command: Command,
    /// The command's flags for color and messages.
    pub(crate) display: DisplayArgs,
}

/// Watch Rtcomm events and place third-party calls over any MQTT broker.
#[derive(Debug, Parser)]
#[command(name = "rtcomm", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Run `rtcomm demo` to try it without a server. Each command has its own --help and man page.\n\
                        The flags of a command may also come before its name: rtcomm -b mqtt://HOST watch")]
struct Tool {
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// Parses the arguments. The first is the program's name. `load` reads a profile.
    ///
    /// # Errors
    /// If the arguments or the profile are invalid. Help and version requests are also returned as errors.
    pub(crate) fn read(
        args: impl IntoIterator<Item = OsString>,
        load: impl FnOnce(&ProfileName) -> Result<Profile, Failure>,
    ) -> Result<Self, CliError> {
        let args = leading::move_after_command(args.into_iter().collect());
        let mut definition = Self::definition();
        let mut parsed = definition.try_get_matches_from_mut(&args);
        let mut source = None;
        if let Some((name, precedence)) = sources::requested_profile(&parsed, &args) {
            let profile = ProfileSource::new(load(&name)?, precedence);
            parsed = profile.define(Self::definition())?.try_get_matches_from(&args);
            source = Some(profile);
        }
        let matches = parsed.map_err(|error| {
            let error = hints::host_after_help(&error, &mut definition, &args).unwrap_or(error);
            let error = hints::add_hint(error, &definition, &args);
            errors::annotate_source(error, &definition, source.as_ref(), &args)
        })?;
        let error = errors::missing_flag(&mut definition, &matches)
            .or_else(|| errors::conflict(&mut definition, &matches))
            .or_else(|| errors::discovery_in_dry_run(&mut definition, &matches, source.as_ref()));
        if let Some(error) = error {
            return Err(error.into());
        }
        let Tool { mut command } = Tool::from_arg_matches(&matches)?;
        let mut display = command.display();
        display.quiet &= !errors::is_typed(&matches, "verbose");
        display.verbose &= !errors::is_typed(&matches, "quiet");
        if let (Some(source), Some((_, flags))) = (source, matches.subcommand()) {
            command.set_profile(source.effective(flags));
        }
        Ok(Self { command, display })
    }

    /// Returns the help of a command with all flags, or of the tool.
    pub(crate) fn long_help(command: Option<&str>) -> String {
        let mut tool = Self::definition();
        tool.build();
        match command.and_then(|name| tool.find_subcommand_mut(name)) {
            Some(command) => command.render_long_help().to_string(),
            None => tool.render_long_help().to_string(),
        }
    }

    /// Returns the definition of the command line.
    pub(crate) fn definition() -> clap::Command {
        Tool::command()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_definition() {
        Cli::definition().debug_assert();
    }
}
