//! The order of the sources of settings: typed flag, typed profile, environment, profile that the environment names, default.
//!
//! clap knows flags, the environment and defaults. So the values of a profile become defaults, and the environment is hidden
//! if a typed profile overrides it.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use super::Cli;
use super::profile::{PASSWORD, Profile, ProfileName, Setting, variable_of};
use crate::exit::Failure;

/// The variable with the name of the profile, which a profile cannot contain.
const PROFILE: &str = "RTCOMM_PROFILE";

/// Variables that belong together: one source sets all of them, so that no certificate meets the key of another source.
const GROUPS: [&[&str]; 4] = [
    &[PASSWORD, "RTCOMM_PASSWORD_FILE"],
    &["RTCOMM_CERT", "RTCOMM_KEY", "RTCOMM_KEY_PASSWORD_FILE"],
    &["RTCOMM_CAFILE", "RTCOMM_CAPATH"],
    &["RTCOMM_QUIET", "RTCOMM_VERBOSE"],
];

/// Whether a profile overrides the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precedence {
    /// It is typed.
    OverEnvironment,
    /// The environment names it.
    UnderEnvironment,
}

/// Returns the profile that the arguments or the environment name.
pub(super) fn requested_profile(
    parsed: &Result<ArgMatches, clap::Error>,
    args: &[OsString],
) -> Option<(ProfileName, Precedence)> {
    let lenient;
    let matches = match parsed {
        Ok(matches) => matches,
        // Help needs no profile.
        Err(error) if !error.use_stderr() => return None,
        // A value from the environment may be invalid, and the profile may override it.
        Err(_) => {
            lenient = Cli::definition().ignore_errors(true).try_get_matches_from(args).ok()?;
            &lenient
        }
    };
    let (_, flags) = matches.subcommand()?;
    let name = flags.try_get_one::<ProfileName>("profile").ok()??.clone();
    let is_typed = is_typed(flags, PROFILE);
    Some((name, if is_typed { Precedence::OverEnvironment } else { Precedence::UnderEnvironment }))
}

/// A profile among the other sources.
#[derive(Debug)]
pub(super) struct ProfileSource {
    profile: Profile,
    precedence: Precedence,
    is_in_environment: fn(&str) -> bool,
}

/// The source of a variable's value, if its flag is not typed.
#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Profile(&'a Setting),
    Environment,
    Default,
}

impl ProfileSource {
    pub(super) fn new(profile: Profile, precedence: Precedence) -> Self {
        Self { profile, precedence, is_in_environment: |name| std::env::var_os(name).is_some() }
    }

    /// Adds the values of the profile to a command-line definition, below the flags.
    ///
    /// # Errors
    /// If the profile sets an unknown variable.
    pub(super) fn define(&self, mut tool: clap::Command) -> Result<clap::Command, Failure> {
        // In debug builds, clap panics if a default is invalid when the definition is built. So build it first.
        tool.build();
        self.check_variables(&tool)?;
        for command in tool.get_subcommands_mut() {
            *command = std::mem::take(command).mut_args(|arg| self.define_arg(arg));
        }
        Ok(tool.mut_args(|arg| self.define_arg(arg)))
    }

    fn define_arg(&self, arg: Arg) -> Arg {
        let Some(variable) = arg.get_env().and_then(|name| name.to_str()) else { return arg };
        match self.source_of(variable) {
            Source::Profile(setting) => arg.env(None).default_value(setting.value.expose().to_owned()),
            Source::Environment => arg,
            Source::Default => arg.env(None),
        }
    }

    fn check_variables(&self, tool: &clap::Command) -> Result<(), Failure> {
        let flags = tool.get_subcommands().chain([tool]).flat_map(clap::Command::get_arguments);
        let known: Vec<_> = flags.filter_map(Arg::get_env).filter(|name| *name != PROFILE).collect();
        let is_known = |name: &str| name == PASSWORD || known.iter().any(|known| *known == name);
        match self.profile.settings().iter().find(|setting| !is_known(&setting.variable)) {
            None => Ok(()),
            Some(setting) => {
                let origin = self.profile.origin_of(setting);
                Err(Failure::usage(format!("a profile cannot set {origin}"))
                    .hint("ENVIRONMENT in `man rtcomm` lists the variables"))
            }
        }
    }

    /// Returns the source of a variable's value.
    fn source_of(&self, variable: &str) -> Source<'_> {
        let own = [variable];
        let group = GROUPS.into_iter().find(|group| group.contains(&variable)).unwrap_or(&own);
        let overrides_environment = match self.precedence {
            Precedence::OverEnvironment => group.iter().any(|name| self.profile.setting(name).is_some()),
            Precedence::UnderEnvironment => !group.iter().any(|name| (self.is_in_environment)(name)),
        };
        match self.profile.setting(variable) {
            _ if !overrides_environment => Source::Environment,
            Some(setting) => Source::Profile(setting),
            None => Source::Default,
        }
    }

    /// Describes where the value of this flag is set, if it is from the profile.
    pub(super) fn origin(&self, flag: &str) -> Option<String> {
        match self.source_of(&variable_of(flag)) {
            Source::Profile(setting) => Some(self.profile.origin_of(setting)),
            Source::Environment | Source::Default => None,
        }
    }

    /// Returns the profile with only the settings that count. `flags` are those of the command.
    pub(super) fn effective(self, flags: &ArgMatches) -> Profile {
        let counts = |setting: &Setting| {
            matches!(self.source_of(&setting.variable), Source::Profile(_)) && !is_typed(flags, &setting.variable)
        };
        self.profile.clone().retain(counts)
    }
}

/// Returns whether the flag of a variable is typed.
fn is_typed(flags: &ArgMatches, variable: &str) -> bool {
    let id = variable.trim_start_matches("RTCOMM_").to_lowercase();
    flags.ids().any(|it| *it == id) && flags.value_source(&id) == Some(ValueSource::CommandLine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_ENVIRONMENT: [&str; 3] = ["RTCOMM_ROOT", "RTCOMM_PASSWORD", "RTCOMM_KEY"];

    fn source(text: &str, precedence: Precedence) -> ProfileSource {
        let profile = Profile::parse("p.env".into(), text).expect("a profile");
        ProfileSource { profile, precedence, is_in_environment: |name| IN_ENVIRONMENT.contains(&name) }
    }

    #[test]
    fn variables_that_belong_together_have_one_source() {
        use Precedence::{OverEnvironment, UnderEnvironment};
        for (text, precedence, variable, expected) in [
            ("RTCOMM_ROOT=a", OverEnvironment, "RTCOMM_ROOT", "profile"),
            ("RTCOMM_ROOT=a", UnderEnvironment, "RTCOMM_ROOT", "environment"),
            ("RTCOMM_BROKER=a", OverEnvironment, "RTCOMM_ROOT", "environment"),
            ("RTCOMM_BROKER=a", UnderEnvironment, "RTCOMM_BROKER", "profile"),
            ("RTCOMM_PASSWORD_FILE=a", OverEnvironment, "RTCOMM_PASSWORD", "default"),
            ("RTCOMM_PASSWORD_FILE=a", OverEnvironment, "RTCOMM_PASSWORD_FILE", "profile"),
            ("RTCOMM_PASSWORD_FILE=a", UnderEnvironment, "RTCOMM_PASSWORD_FILE", "environment"),
            ("RTCOMM_PASSWORD=a", UnderEnvironment, "RTCOMM_PASSWORD", "environment"),
            ("RTCOMM_CERT=a", OverEnvironment, "RTCOMM_KEY", "default"),
            ("RTCOMM_CERT=a", UnderEnvironment, "RTCOMM_CERT", "environment"),
            ("RTCOMM_CAFILE=a", UnderEnvironment, "RTCOMM_CAFILE", "profile"),
        ] {
            let source = source(text, precedence);
            let found = match source.source_of(variable) {
                Source::Profile(setting) => {
                    assert_eq!(setting.variable, variable);
                    "profile"
                }
                Source::Environment => "environment",
                Source::Default => "default",
            };
            assert_eq!(found, expected, "{variable} with {text} {precedence:?}");
        }
    }

    #[test]
    fn every_variable_is_that_of_its_flag() {
        let mut tool = crate::internals::command();
        tool.build();
        let flags = tool.get_subcommands().chain([&tool]).flat_map(clap::Command::get_arguments);
        for flag in flags.filter(|flag| flag.get_env().is_some()) {
            let long = flag.get_long().expect("an argument with a variable has a flag");
            assert_eq!(flag.get_env(), Some(variable_of(long).as_ref()));
            assert_eq!(flag.get_id().as_str(), long.replace('-', "_"), "profiles find the flag by its ID");
        }
    }
}
