//! Flags that select events, and the filter that they mean.

use clap::Args;

use crate::exit::Failure;
use crate::protocol::cdr::{CallSelection, CallSelectionError};
use crate::protocol::filter::{EventPart, Filter, FilterError, FilterSpec, SessionIdPrefix};
use crate::protocol::text_pattern::TextPattern;
use crate::protocol::topic::{Action, Category, EndpointId};

/// Flags that select events.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters (categories, actions and repeated flags are ORed, all else is ANDed)")]
#[expect(clippy::struct_excessive_bools, reason = "one flag for each category and action")]
pub(crate) struct FilterArgs {
    /// Select registrations
    #[arg(long)]
    registration: bool,

    /// Select sessions
    #[arg(long)]
    session: bool,

    /// Select presence: who is registered
    #[arg(long)]
    pub(crate) presence: bool,

    /// Select what started
    #[arg(long)]
    started: bool,

    /// Select what was modified
    #[arg(long)]
    modified: bool,

    /// Select what stopped
    #[arg(long)]
    stopped: bool,

    /// Select what failed
    #[arg(long)]
    failed: bool,

    /// Select registrations of ID, and sessions from it
    #[arg(long, value_name = "ID")]
    pub(crate) from: Vec<EndpointId>,

    /// Select sessions to ID
    #[arg(long, value_name = "ID")]
    to: Vec<EndpointId>,

    /// Select ID as FROM or TO
    #[arg(long, value_name = "ID")]
    endpoint: Vec<EndpointId>,

    /// Select events of this application
    #[arg(long, value_name = "TEXT")]
    app_context: Vec<String>,

    /// Select a session by 4 or more digits of its ID
    #[arg(long, value_name = "UUID")]
    session_id: Vec<SessionIdPrefix>,

    /// Select reasons that match a regular expression
    #[arg(long, value_name = "REGEX")]
    reason: Vec<TextPattern>,

    /// Select presence with this state, such as busy
    #[arg(long, value_name = "STATE", requires = "presence", hide_short_help = true)]
    state: Vec<String>,
}

impl FilterArgs {
    /// Returns the filter of these flags.
    ///
    /// # Errors
    /// If nothing can match.
    pub(crate) fn filter(self) -> Result<Filter, Failure> {
        Filter::new(self.spec()).map_err(|error| match error {
            FilterError::ToOfRegistration => {
                Failure::usage(format!("--to cannot be combined with only --registration: {error}"))
                    .hint("add --session, or name the registering endpoint with --from")
            }
            FilterError::EventPart(part) => {
                let flag = match part {
                    EventPart::Action(action) => action.as_str(),
                    EventPart::To => "to",
                    EventPart::SessionId => "session-id",
                    EventPart::Reason => "reason",
                };
                Failure::usage(format!("--{flag} cannot be combined with only --presence: {error}"))
                    .hint("select documents with --from, --endpoint, --app-context and --state")
            }
            FilterError::StateOfEvent => Failure::usage(format!("--state selects nothing here: {error}"))
                .hint("select documents with --presence, --from, --endpoint, --app-context and --state alone"),
            FilterError::Nothing => Failure::usage(error.to_string())
                .hint("--endpoint must be FROM or TO; check it against --from and --to"),
        })
    }

    /// Returns the selection of call records of these flags. `flag` is the one that requests call records.
    ///
    /// # Errors
    /// If a flag selects something other than whole calls.
    pub(crate) fn call_selection(self, flag: &str) -> Result<CallSelection, Failure> {
        CallSelection::new(self.spec()).map_err(|error| {
            let other = match error {
                CallSelectionError::Registration => "registration",
                CallSelectionError::Presence => "presence",
                CallSelectionError::Action(action) => action.as_str(),
            };
            Failure::usage(format!("{flag} cannot be combined with --{other}: {error}"))
                .hint("--stopped selects completed calls, --failed selects failed and dropped ones")
        })
    }

    fn spec(self) -> FilterSpec {
        let Self {
            registration,
            session,
            presence,
            started,
            modified,
            stopped,
            failed,
            from,
            to,
            endpoint: endpoints,
            app_context: app_contexts,
            session_id: session_ids,
            reason: reasons,
            state: states,
        } = self;
        let categories = selected([(registration, Category::Registration), (session, Category::Session)]);
        let actions = selected([
            (started, Action::Started),
            (modified, Action::Modified),
            (stopped, Action::Stopped),
            (failed, Action::Failed),
        ]);
        FilterSpec { categories, presence, actions, from, to, endpoints, app_contexts, session_ids, reasons, states }
    }
}

/// Returns the values whose flags are set.
fn selected<T, const N: usize>(flags: [(bool, T); N]) -> Vec<T> {
    flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, value)| value).collect()
}
