//! The man pages: what the command-line definition says, and after it what only prose can say.
//!
//! In the prose here, what stands between backquotes is shown in bold.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::chapters::{self, Chapter, Part};
use super::{STATUSES, meaning};

/// What a page says beyond the flags.
struct Prose {
    /// The command; empty for the tool's own page.
    command: &'static str,
    /// Paragraphs of the description.
    description: &'static [&'static str],
    /// Files, and what they are to the command.
    files: &'static [(&'static str, &'static str)],
    /// What one may want, and the command that does it. Each is run by a test, one after another in one directory.
    examples: &'static [(&'static str, &'static str)],
    /// Which JSON lines it writes or reads.
    json: &'static [Json],
}

/// A kind of JSON line.
#[derive(Clone, Copy)]
enum Json {
    /// A message: `watch`, `tail`, `demo`.
    Records,
    /// What became of the connection: `watch`, `tail`.
    Statuses,
    /// How a call went.
    Outcomes,
    /// `tail` reads what it writes.
    Reading,
}

const PASSWORD_FILE: (&str, &str) =
    ("`--password-file` FILE", "Its first line is the password. Nobody else should be able to read it.");

const OUTPUT: (&str, &str) = (
    "`--output` FILE",
    "Records are appended to it. On SIGHUP it is opened anew, so that a program such as logrotate may rename it before.",
);

const TIME_ZONE: (&str, &str) =
    ("/etc/localtime", "The time zone of the times in lines for people, unless `TZ` is set.");

const PAGES: [Prose; 5] = [
    Prose {
        command: "",
        description: &[
            "Rtcomm is a signaling protocol for WebRTC over MQTT. Servers that speak it publish an event whenever an \
             endpoint registers with them and whenever a media session begins, changes, ends or fails; and on request \
             they connect two endpoints (third-party call control, 3PCC). This tool is for the people who operate such \
             servers: it shows the events as they come, records them, reads the records again, and places calls.",
            "Standard output carries data alone. All that is said about the run goes to standard error. `ready` is said \
             there once the broker has confirmed every subscription: what is published from then on is seen.",
            "A flag wins over the environment, and the environment over the default. Durations are written as `500ms`, \
             `45s` or `1h 30m`.",
        ],
        files: &[
            ("none of its own", "The tool reads no configuration file, and writes no file that it was not told to."),
            OUTPUT,
            PASSWORD_FILE,
            TIME_ZONE,
        ],
        examples: &[
            ("Try everything with nothing installed: a broker and a simulated server in one process", "rtcomm demo"),
            ("Watch every event", "rtcomm watch"),
            ("Connect two endpoints", "rtcomm call iggy_pop david_bowie"),
            ("Record what failed, and read it again", "rtcomm watch --failed --json -c 1 > failed.jsonl"),
            ("", "rtcomm tail failed.jsonl"),
        ],
        json: &[Json::Records, Json::Statuses, Json::Outcomes],
    },
    Prose {
        command: "watch",
        description: &[
            "Events come from `ROOT/event` (see `--root` and `--event-root`). The filter flags are sent to the broker as \
             the smallest set of subscriptions that covers them, which `--dry-run` prints; what a topic cannot say \
             (`--app-context`, `--session-id`, `--reason`) is decided here. An event is printed once, whatever the \
             subscriptions overlap.",
            "A message under the event root that is no event is told on standard error, counted and left out; \
             `rtcomm tail` prints such messages.",
            "Without `--count` or `--for` it runs until it is interrupted, and connects again where the connection is \
             lost. It ends at once where the reader of standard output goes away.",
        ],
        files: &[OUTPUT, PASSWORD_FILE, TIME_ZONE],
        examples: &[
            ("Every registration that begins, and every call that fails", "rtcomm watch --started --failed"),
            ("Calls to and from Iggy Pop", "rtcomm watch --session --endpoint iggy_pop"),
            ("Which subscriptions that makes", "rtcomm watch --session --endpoint iggy_pop --dry-run"),
            ("Wait a minute at the longest for a call to begin", "rtcomm watch --session --started -c 1 --for 1m"),
            (
                "An archive in a file, without gaps across restarts",
                "rtcomm watch --json --status-events --durable archive --output archive.jsonl",
            ),
            ("Give its session up, and what waits there", "rtcomm watch --durable-delete archive"),
            ("The reasons alone", "rtcomm watch --failed --json -c 3 | jq -r .payload.reason"),
        ],
        json: &[Json::Records, Json::Statuses],
    },
    Prose {
        command: "call",
        description: &[
            "The request is published once, to `ROOT/callControl` (see `--call-topic`), after the broker has confirmed \
             the subscription to the reply topic. It is never repeated: a repeated request places a second call. Where \
             the outcome is not known, the message says so and names the transID to look for.",
            "That the reply is SUCCESS means that the server has asked the caller's endpoint to call. What becomes of \
             the session is told by its events: give it an ID with `--session-id` and watch for that.",
            "The reply topic ends in a random UUID. What comes there counts as the reply only where it is not retained, is \
             no larger than `--max-payload`, and answers this request; of several that do, the first counts. With \
             `--verbose` the others are told.",
        ],
        files: &[("`--batch` FILE", "The calls to place, a JSON object a line."), PASSWORD_FILE],
        examples: &[
            (
                "Connect two endpoints, and wait ten seconds for the reply at the longest",
                "rtcomm call iggy_pop david_bowie --timeout 10s",
            ),
            (
                "The calls of a pipe or a file, four at a time and twenty a second",
                "echo '{\"caller\":\"iggy_pop\",\"callee\":\"david_bowie\"}' | rtcomm call --batch - --jobs 4 --rate 20/s \
                 | jq -r .outcome",
            ),
            ("For a program: the outcome alone", "rtcomm call iggy_pop nobody --json | jq -r .outcome"),
            (
                "The request for a session whose events `rtcomm watch --session-id` can wait for; nothing is sent",
                "rtcomm call iggy_pop david_bowie --session-id 0f6c9f3e-3d53-4f0b-9f4c-0d9a3b1d7a55 --dry-run",
            ),
        ],
        json: &[Json::Outcomes],
    },
    Prose {
        command: "tail",
        description: &[
            "With `FILE`, or `-` for standard input, it prints recorded JSON lines: the output of `--json`. A line that is \
             damaged is told on standard error with its number, and left out.",
            "Without `FILE` it prints every live message under the root: events, requests and replies of the call \
             service, presence documents and whatever else is published there. A filter flag leaves only events.",
        ],
        files: &[
            ("FILE", "Recorded JSON lines. With `--follow`, it may be truncated, or renamed and made anew, meanwhile."),
            OUTPUT,
            PASSWORD_FILE,
            TIME_ZONE,
        ],
        examples: &[
            ("Everything that is said under the root", "rtcomm tail"),
            ("Who is registered: the retained presence documents", "rtcomm tail --topic '/rtcomm/sphere/#' --for 1s"),
            ("Record ten messages", "rtcomm tail --json -c 10 > messages.jsonl"),
            ("Read them again, the last three", "rtcomm tail -n 3 messages.jsonl"),
            (
                "What failed within the last hour, as JSON lines",
                "rtcomm tail messages.jsonl --failed --since 1h --json",
            ),
            ("Follow a file that somebody else writes", "rtcomm tail -f messages.jsonl"),
            ("Watch, keep all of it, and show it", "rtcomm watch --json -c 5 | tee events.jsonl | rtcomm tail -"),
        ],
        json: &[Json::Records, Json::Statuses, Json::Reading],
    },
    Prose {
        command: "demo",
        description: &[
            "In its world ten endpoints register, call each other, hang up, fail and unregister, an event at each \
             `--interval`. The call service answers as that world stands: a call of an endpoint that is busy or not \
             registered fails, and says why. `--calls` makes the service misbehave, so that a script can be tried \
             against `rtcomm call` and its exit statuses.",
            "The broker speaks MQTT 5 and 3.1.1 on one port, without encryption and open to everybody who can reach it: \
             that is this machine alone, unless `--listen` says otherwise.",
        ],
        files: &[TIME_ZONE],
        examples: &[
            ("See what events look like", "rtcomm demo"),
            ("The same events, faster", "rtcomm demo --seed 7 --interval 100ms -c 20"),
            ("A broker for scripts to use", "rtcomm demo --serve --listen 127.0.0.1:0 --interval 100ms > address"),
            ("A call service that never answers", "rtcomm demo --calls silent"),
        ],
        json: &[Json::Records],
    },
];

/// Every command line among the examples, page by page.
pub(super) fn examples() -> impl Iterator<Item = Vec<&'static str>> {
    PAGES.iter().map(|page| page.examples.iter().map(|(_, line)| *line).collect())
}

/// Every page: its file's name and its text.
pub(super) fn pages() -> Vec<(String, String)> {
    let mut tool = rtcomm::internals::command().disable_help_subcommand(true);
    tool.build();
    let commands = tool.get_subcommands().cloned();
    let every = std::iter::once(tool.clone()).chain(commands);
    every.map(|command| page(&tool, command)).collect()
}

fn page(tool: &Command, mut command: Command) -> (String, String) {
    let is_tool = command.get_name() == tool.get_name();
    let name = if is_tool { "" } else { command.get_name() }.to_owned();
    let prose = PAGES.iter().find(|page| page.command == name);
    let Some(prose) = prose else { panic!("no page is written for `rtcomm {name}`: add it to PAGES in {}", file!()) };

    let full_name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let usage = command.render_usage().to_string().replace("Usage: ", "");
    let about = command.get_about().map(|it| format!("{it}.")).unwrap_or_default();
    let description: Vec<_> = std::iter::once(about.replace("..", "."))
        .chain(prose.description.iter().map(|paragraph| paragraph.replace('`', "")))
        .collect();
    let args: Vec<_> = match name.as_str() {
        "" => tool.get_subcommands().flat_map(Command::get_arguments).collect(),
        _ => command.get_arguments().collect(),
    };
    let environment = environment(&args);
    let (flags, explanations) = without_explanations(
        command
            .override_usage(usage)
            .long_about(description.join("\n\n"))
            // What follows the flags is written here.
            .after_help(None::<&str>)
            .version(None::<&str>)
            .subcommand_help_heading("COMMANDS"),
    );
    let mut text = Vec::new();
    Man::new(flags)
        .title(full_name.to_uppercase())
        .source(format!("rtcomm {}", env!("CARGO_PKG_VERSION")))
        .manual("Rtcomm Manual")
        .render(&mut text)
        .expect("a vector takes it all");
    let mut text = String::from_utf8(text).expect("a page is text");
    // An empty date would be lost, and what follows take its place.
    text = text.replacen(" 1  \"", " 1 \"\" \"", 1);
    for (heading, explanation) in explanations {
        let heading = format!(".SH {}\n", heading.to_uppercase());
        text = text.replace(&heading, &format!("{heading}{explanation}.\n"));
    }
    let rest = [
        exit_status(),
        environment,
        list("FILES", prose.files),
        examples_section(prose.examples),
        json_lines(prose.json),
        hostile_input(prose.command),
        see_also(tool, &full_name),
    ];
    for section in chapters::of(&name).map(chapter).chain(rest) {
        write!(text, "{}", without_preamble(&section)).expect("a string takes it all");
    }
    (format!("{full_name}.1"), text)
}

/// A heading such as `Filters (one hit …)` is a title and an explanation, which stands below it on the page.
fn without_explanations(command: Command) -> (Command, Vec<(String, String)>) {
    let mut explanations = Vec::new();
    let command = command.mut_args(|arg| match arg.get_help_heading().and_then(|it| it.split_once(" (")) {
        None => arg,
        Some((title, explanation)) => {
            let explanation = explanation.trim_end_matches(')');
            let (first, rest) = explanation.split_at(1);
            let pair = (title.to_owned(), first.to_uppercase() + rest);
            // clap takes static text alone; it is a few bytes.
            let arg = arg.clone().help_heading(&*title.to_owned().leak());
            if !explanations.contains(&pair) {
                explanations.push(pair);
            }
            arg
        }
    });
    (command, explanations)
}

/// The page has this at its top already.
fn without_preamble(section: &Roff) -> String {
    let text = section.render();
    let preamble = Roff::new().render();
    text.strip_prefix(&preamble).unwrap_or(&text).to_owned()
}

fn chapter(chapter: &Chapter) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [chapter.heading]);
    for part in chapter.parts {
        match part {
            Part::Paragraph(text) => paragraph(&mut roff, text),
            Part::Verbatim(lines) => verbatim(&mut roff, lines),
            Part::Entries(entries) => {
                for (head, says) in *entries {
                    roff.control("TP", []);
                    roff.text(marked(head));
                    roff.text(marked(says));
                }
            }
        }
    }
    roff
}

fn exit_status() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman("The same for every command.")]);
    for status in STATUSES {
        roff.control("TP", ["6"]);
        roff.text([bold(status.code().to_string())]);
        roff.text(marked(meaning(status)));
    }
    roff
}

fn environment(args: &[&Arg]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    let mut entry = |name: &str, says: &str| {
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text(marked(says));
    };
    let flag = |arg: &Arg| format!("`--{}`", arg.get_long().expect("who has an environment name is a flag"));
    let mut told = BTreeSet::new();
    for arg in args {
        let Some(name) = arg.get_env().map(|it| it.to_string_lossy()) else { continue };
        if !told.insert(name.clone()) {
            continue;
        }
        let flag = flag(arg);
        if arg.get_action().takes_values() {
            entry(&name, &format!("As {flag}."));
        } else {
            entry(&name, &format!("As {flag}, unless it is empty or `0`, `false`, `no` or `off`."));
        }
        if name == "RTCOMM_USERNAME" {
            entry(
                "RTCOMM_PASSWORD",
                "The password, where no `--password-file` is given. No flag takes it: every user can read those.",
            );
        }
        if name == "RTCOMM_PROXY" {
            entry(
                "https_proxy",
                "The proxy for `mqtts://` and `wss://`, where no `--proxy` is given; credentials may stand in it. `HTTPS_PROXY` \
                 does as well.",
            );
            entry("no_proxy", "Hosts that `https_proxy` is not for. `NO_PROXY` does as well.");
        }
    }
    entry("NO_COLOR", "Where it is set and not empty, `--color auto` uses none.");
    entry("TERM", "Where it is `dumb`, `--color auto` uses no colour.");
    entry("TZ", "The time zone of the times in lines for people. JSON lines are in UTC.");
    roff
}

fn list(heading: &str, entries: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (head, says) in entries {
        roff.control("TP", []);
        roff.text(marked(head));
        roff.text(marked(says));
    }
    roff
}

fn examples_section(examples: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (wanted, line) in examples {
        if !wanted.is_empty() {
            roff.control("PP", []);
            roff.text(marked(&format!("{wanted}:")));
        }
        verbatim(&mut roff, &[line]);
    }
    roff
}

fn json_lines(kinds: &[Json]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["JSON LINES"]);
    paragraph(
        &mut roff,
        "With `--json`, standard output is one JSON object a line, in UTF-8, the same on a terminal and in a pipe.",
    );
    for kind in kinds {
        match kind {
            Json::Records => records(&mut roff),
            Json::Statuses => statuses(&mut roff),
            Json::Outcomes => outcomes(&mut roff),
            Json::Reading => paragraph(
                &mut roff,
                "`rtcomm tail FILE` reads such lines, and with `--json` gives those that it prints back byte for byte.",
            ),
        }
    }
    roff
}

fn records(roff: &mut Roff) {
    paragraph(roff, "A message (here, and only here, over several lines):");
    verbatim(
        roff,
        &[
            r#"{"received":"2026-11-23T03:34:12.798558Z","#,
            r#" "category":"session","action":"failed","#,
            r#" "from":"iggy_pop","to":"david_bowie","#,
            r#" "topic":"/rtcomm/event/session/failed/iggy_pop/david_bowie","#,
            r#" "qos":1,"retain":false,"#,
            r#" "payload":{"method":"RTCOMM_EVENT_FIRED","reason":"busy"}}"#,
        ],
    );
    entries(
        roff,
        &[
            ("received", "When it came, in UTC to the microsecond."),
            ("category", "`registration` or `session`. Events alone have it, and the next three."),
            ("action", "`started`, `modified`, `stopped` or `failed`."),
            ("from", "The endpoint that registers, or that calls."),
            ("to", "The endpoint that is called. Registrations have none."),
            ("error", "Stands in place of these four where a message under the event root is no event, and says why."),
            ("topic", "The topic that it was published to."),
            ("qos", "The quality of service that it was delivered with."),
            ("retain", "Whether the broker had kept it from before."),
            (
                "payload",
                "The message itself, where it is JSON: its own bytes, with numbers, key order and escapes as they came.",
            ),
            ("payload_text", "Stands in its place where the message is other text."),
            ("payload_base64", "Stands in its place where the message is no text, in Base64."),
        ],
    );
}

fn statuses(roff: &mut Roff) {
    paragraph(roff, "With `--status-events`, what became of the connection stands between the messages:");
    verbatim(
        roff,
        &[
            r#"{"received":"2026-11-23T03:34:12.101245Z","status":"connected"}"#,
            r#"{"received":"2026-11-23T03:34:12.102317Z","status":"ready"}"#,
            r#"{"received":"2026-11-23T03:34:14.400102Z","status":"disconnected","reason":"the connection broke"}"#,
        ],
    );
    paragraph(roff, "A gap (here, and only here, over several lines):");
    verbatim(
        roff,
        &[
            r#"{"received":"2026-11-23T03:34:15.718023Z","status":"gap","#,
            r#" "from":"2026-11-23T03:34:12.798558Z","until":"2026-11-23T03:34:15.718009Z","#,
            r#" "reason":"the connection broke"}"#,
        ],
    );
    entries(
        roff,
        &[
            ("received", "When it was noticed. All four kinds have it."),
            (
                "status",
                "`connected`: the broker accepted us. `ready`: every subscription is confirmed. `disconnected`: the \
                 connection was lost. `gap`: what was published between two times may be missing; it comes after \
                 `connected` and before `ready`.",
            ),
            ("from", "Of a gap: when it began at the earliest. See GAPS."),
            ("until", "Of a gap: when every subscription stood again."),
            ("reason", "Of `disconnected` and `gap`: why."),
        ],
    );
}

fn outcomes(roff: &mut Roff) {
    paragraph(roff, "How a call went (here, and only here, over several lines):");
    verbatim(
        roff,
        &[
            r#"{"outcome":"failure","reason":"david_bowie is busy","#,
            r#" "caller":"iggy_pop","callee":"david_bowie","#,
            r#" "transID":"61d6a7a3-9d5b-4a31-8f1f-0d0a35a3f6a4","#,
            r#" "elapsed_ms":12.3,"response":{"method":"RESPONSE","result":"FAILURE"}}"#,
        ],
    );
    entries(
        roff,
        &[
            (
                "outcome",
                "`success` (status 0); `failure` (3): the service said no; `timeout` (124); `no_responder` (6); `denied` \
                 (4); `unreachable` (5): nothing was sent; `unknown` (1): the request went out and the connection or the \
                 run ended before the reply came, so the call may have been placed; `invalid` (1): a line of a batch is \
                 no request.",
            ),
            ("reason", "Why, where it is no success and a reason is known."),
            ("caller", "Who is to call."),
            ("callee", "Who is to be called."),
            ("transID", "The request's transaction ID."),
            ("sessionID", "The session's ID, where one was asked for."),
            ("elapsed_ms", "How long it took: from the start of the command, of a batch from the request on."),
            ("response", "The service's reply, its own bytes, where one came."),
            ("line", "Of `invalid`: the number of the line in the input, from 1. Of the rest it has only `reason`."),
        ],
    );
}

/// What becomes of messages that somebody made to hurt; the tests send them all.
fn hostile_input(command: &str) -> Roff {
    let mut roff = Roff::new();
    if !matches!(command, "watch" | "tail") {
        return roff;
    }
    roff.control("SH", ["HOSTILE INPUT"]);
    paragraph(
        &mut roff,
        "No message ends the run, and what follows it is printed. A message that is no event is told on standard error by \
         `rtcomm watch`, and printed with its `error` by `rtcomm tail`. A line is always one line.",
    );
    for (head, says) in [
        ("nesting of any depth", "It is read without recursion, and kept."),
        ("long strings, keys and numbers", "They are kept whole. `rtcomm tail FILE` skips lines of more than 64 MiB."),
        ("numbers of any size", "They keep their digits."),
        ("a key that stands twice", "Its last value counts. Both are kept."),
        (
            "half a surrogate pair as an escape, such as `\\ud800`",
            "It is kept, and the string that holds it is shown with its escapes. Some readers of JSON stop at it (jq 1.6).",
        ),
        (
            "`NaN`, `Infinity`, a byte order mark, comments, raw control characters, two values, half a value",
            "It is no JSON, so no event, and becomes `payload_text`.",
        ),
        (
            "bytes that are no UTF-8: overlong forms, encoded surrogates, UTF-16, Latin-1",
            "It is no event, and becomes `payload_base64`.",
        ),
        (
            "control characters (C0, C1, `\\u0000`), line breaks, ANSI, OSC 8 and OSC 52 sequences",
            "JSON lines keep them as JSON writes them. Lines for people, and all words on standard error, show them escaped, \
             such as `\\n` or `\\u{1b}`, in every field and wherever the output goes.",
        ),
        ("bidirectional controls, zero-width and other invisible characters, tags, variation selectors", "The same."),
    ] {
        roff.control("TP", []);
        roff.text(marked(head));
        roff.text(marked(says));
    }
    roff
}

fn entries(roff: &mut Roff, entries: &[(&str, &str)]) {
    for (head, says) in entries {
        roff.control("TP", []);
        roff.text([bold(*head)]);
        roff.text(marked(says));
    }
}

fn paragraph(roff: &mut Roff, text: &str) {
    roff.control("PP", []);
    roff.text(marked(text));
}

fn verbatim(roff: &mut Roff, lines: &[&str]) {
    roff.control("PP", []);
    roff.control("RS", ["4"]);
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(*line)]);
    }
    roff.control("fi", []);
    roff.control("RE", []);
}

fn see_also(tool: &Command, full_name: &str) -> Roff {
    let others = tool.get_subcommands().filter_map(Command::get_display_name).chain([tool.get_name()]);
    let mut others: Vec<_> = others.filter(|name| *name != full_name).collect();
    others.sort_unstable();
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let mut inlines = Vec::new();
    for (n, name) in others.iter().enumerate() {
        inlines.extend([bold(*name), roman(if n + 1 < others.len() { "(1), " } else { "(1)" })]);
    }
    roff.text(inlines);
    roff
}

/// Text in which what stands between backquotes is bold.
fn marked(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 0 { roman(part) } else { bold(part) }).collect()
}
