//! How a command is defined: its name, its texts in help, and its flags.

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Args};

use super::groups::DisplayArgs;

/// A command: its flags, and its texts in help.
pub(super) trait CommandDefinition: Args {
    /// The name.
    const NAME: &'static str;

    /// What the command does: a sentence without a full stop.
    const ABOUT: &'static str;

    /// Command lines for help, each with a comment. A test runs them.
    const EXAMPLES: &'static [&'static str];

    /// The IDs of flags in shared groups that have no effect on this command. They are not in its help, typed ones are errors,
    /// and their variables are ignored.
    const WITHOUT: &'static [&'static str] = &[];

    /// Returns the flags for color and messages.
    fn display(&self) -> DisplayArgs;
}

/// Help begins with usage and examples. The flags follow in the order of their definition.
const HELP_TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}\n";

/// Replaces a note at each flag that has a variable.
const ENVIRONMENT: &str = "Environment: the flags of the connection, --color, --quiet and --verbose can be set as RTCOMM_ \
                           and their names: RTCOMM_BROKER for --broker. RTCOMM_PASSWORD is the password.";

/// Returns a command whose flags are defined only if it is used.
pub(super) fn define<A: CommandDefinition>() -> clap::Command {
    clap::Command::new(A::NAME).about(A::ABOUT).defer(with_flags::<A>)
}

/// Adds the flags to a command.
fn with_flags<A: CommandDefinition>(command: clap::Command) -> clap::Command {
    let help = Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
        .help_heading(DisplayArgs::HEADING)
        .help("Print help; --help lists all flags");
    A::augment_args(command)
        // The first lines of the struct's documentation have replaced it.
        .about(A::ABOUT)
        .disable_help_flag(true)
        .arg(help)
        .mut_args(|arg| {
            if A::WITHOUT.contains(&arg.get_id().as_str()) { arg.env(None).hide(true) } else { arg.hide_env(true) }
        })
        .after_long_help(ENVIRONMENT)
        .before_help(examples(A::EXAMPLES))
        .help_template(HELP_TEMPLATE)
}

fn examples(lines: &[&str]) -> StyledStr {
    let lines: Vec<&str> = lines.iter().flat_map(|line| ["\n  ", line]).collect();
    format!("Examples:{}", lines.concat()).into()
}
