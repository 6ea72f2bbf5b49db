//! Makes the man pages: flags from the command-line definition, then prose.
//!
//! In the prose, text between backquotes is shown in bold.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use rtcomm::CheckStatus;

use super::chapters::{self, Chapter, Part};
use super::json_lines;
use super::{STATUSES, check_meaning, meaning};

/// The prose of a page.
struct Prose {
    /// The command; empty for the tool's own page.
    command: &'static str,
    /// Paragraphs of the description.
    description: &'static [&'static str],
    /// Files that the command uses.
    files: &'static [(&'static str, &'static str)],
    /// Goals and the commands for them. A test runs them, one after another in one directory.
    examples: &'static [(&'static str, &'static str)],
    /// The JSON lines that the command writes or reads: sections of docs/json-lines.md.
    json: &'static [&'static str],
}

const PASSWORD_FILE: (&str, &str) =
    ("`--password-file` FILE", "The first line is the password. Other users must not be able to read the file.");

const OUTPUT: (&str, &str) = (
    "`--output` FILE",
    "JSON lines are appended to it, or lines for people with `--pretty`. SIGHUP reopens it, after logrotate or another program \
     has renamed it.",
);

const TIME_ZONE: (&str, &str) = ("/etc/localtime", "The time zone of pretty output, unless `TZ` is set.");

const PAGES: [Prose; 8] = [
    Prose {
        command: "",
        description: &[
            "Rtcomm is a signaling protocol for WebRTC over MQTT. Its servers publish an event when an endpoint registers \
             and when a media session starts, changes, stops or fails. On request they connect two endpoints (third-party \
             call control, 3PCC). This tool is for operators of such servers: it shows live events, records them, reads \
             recordings, and places calls.",
            "Data goes to standard output. Messages about the run go to standard error. `ready` means that the broker has \
             granted every subscription: messages published from then on are received.",
            "A flag overrides a profile (see PROFILES) and the environment, which override the default. Durations are written as `500ms`, `45s` or \
             `1h 30m`.",
        ],
        files: &[
            ("`~/.config/rtcomm/`NAME`.env`", "A profile. See PROFILES. No other configuration file is read."),
            OUTPUT,
            PASSWORD_FILE,
            TIME_ZONE,
        ],
        examples: &[
            ("Try it without a server: a broker and a simulated server in one process", "rtcomm demo"),
            ("Watch every event", "rtcomm watch"),
            ("Connect two endpoints", "rtcomm call iggy_pop david_bowie"),
            ("Record a failure, and read the recording", "rtcomm watch --failed --json -c 1 > failed.jsonl"),
            ("", "rtcomm tail failed.jsonl"),
        ],
        json: &["Messages", "Connection records", "Call results"],
    },
    Prose {
        command: "watch",
        description: &[
            "Events are published below `ROOT/event` (see `--root` and `--event-root`). The filter flags become the smallest \
             set of subscriptions that covers them; `--dry-run` prints it. Flags that topics cannot express \
             (`--app-context`, `--session-id`, `--reason`) are applied here. Each event is printed once, even if \
             subscriptions overlap.",
            "A message below the event root that is not a valid event is reported on standard error, counted and skipped. \
             `rtcomm tail` prints such messages.",
            "Servers of protocol v1.0.0 publish no registration events. Their registrations are presence documents below \
             `ROOT/sphere`: see PRESENCE.",
            "Without `--count` or `--for`, the command runs until it is interrupted, and reconnects if the connection is \
             lost. It exits at once if the reader of standard output closes the pipe.",
        ],
        files: &[OUTPUT, PASSWORD_FILE, TIME_ZONE],
        examples: &[
            ("Everything that starts or fails", "rtcomm watch --started --failed"),
            ("Calls to and from Iggy Pop", "rtcomm watch --session --endpoint iggy_pop"),
            ("The subscriptions for that", "rtcomm watch --session --endpoint iggy_pop --dry-run"),
            ("Who is registered", "rtcomm watch --presence --now"),
            (
                "Wait up to a minute for Iggy Pop to be available",
                "rtcomm watch --presence --from iggy_pop --state available -c 1 --for 1m",
            ),
            ("Wait until an endpoint has left", "rtcomm watch --presence --gone --from nobody"),
            ("Wait up to a minute for a session to start", "rtcomm watch --session --started -c 1 --for 1m"),
            (
                "An archive in a file, without gaps across restarts",
                "rtcomm watch --json --status-events --durable archive --output archive.jsonl",
            ),
            ("Delete its session, with the stored messages", "rtcomm watch --durable-delete archive"),
            ("Only the reasons", "rtcomm watch --failed --json -c 3 | jq -r .payload.reason"),
        ],
        json: &["Messages", "Connection records", "Absences", "Call records", "Summaries"],
    },
    Prose {
        command: "call",
        description: &[
            "The request is published once, to `ROOT/callControl` (see `--call-topic`), after the broker has granted the \
             subscription to the reply topic. It is never repeated, because a repeated request places a second call. If the \
             outcome is unknown, the error reports it and names the transID.",
            "A service replies when the session is up or has failed: SUCCESS means that the callee has answered, and the \
             time until then is the set-up time. `--follow` waits for the end of the session.",
            "The reply topic ends in a random UUID. A message there is the reply if it is not retained, is not larger than \
             `--max-payload`, and has the transID of the request. The first reply counts. `--verbose` reports ignored \
             messages.",
        ],
        files: &[("`--batch` FILE", "The calls to place, one JSON object per line."), PASSWORD_FILE],
        examples: &[
            // First, because the endpoints of a session that goes on are busy.
            (
                "Connect two endpoints, and wait up to a minute until the session ends",
                "rtcomm call iggy_pop david_bowie --follow=1m",
            ),
            (
                "Connect two endpoints, and wait up to ten seconds for the reply",
                "rtcomm call iggy_pop david_bowie --timeout 10s",
            ),
            (
                "Place the calls of a pipe or a file: four at a time, twenty per second",
                "echo '{\"caller\":\"iggy_pop\",\"callee\":\"david_bowie\"}' | rtcomm call --batch - --jobs 4 --rate 20/s \
                 | jq -r .outcome",
            ),
            ("Only the outcome", "rtcomm call iggy_pop nobody --json | jq -r .outcome"),
            (
                "Print a request with a session ID for `rtcomm watch --session-id`; nothing is sent",
                "rtcomm call iggy_pop david_bowie --session-id 0f6c9f3e-3d53-4f0b-9f4c-0d9a3b1d7a55 --dry-run",
            ),
        ],
        json: &["Call results", "Call records"],
    },
    Prose {
        command: "tail",
        description: &[
            "With `FILE`, or `-` for standard input, it prints recorded JSON lines: the output of `--json`. Several files are \
             merged by time. Damaged lines are skipped: the first three of a file are reported on standard error with their \
             numbers, and the others are counted. If no line is a record, the status is 1.",
            "Without `FILE`, it prints every live message below the root, and below other topics that `--event-root`, \
             `--call-topic` or `--discover` name: events, requests and replies of the call service, presence documents and \
             anything else. With filter flags, it prints only events, and presence documents with `--presence`.",
        ],
        files: &[
            ("FILE", "Recorded JSON lines. With `--follow`, the file may be truncated, or renamed and created again."),
            OUTPUT,
            PASSWORD_FILE,
            TIME_ZONE,
        ],
        examples: &[
            ("Every message below the root", "rtcomm tail"),
            ("The presence documents that exist, and changes within a second", "rtcomm tail --presence --for 1s"),
            ("Record ten messages", "rtcomm tail --json -c 10 > messages.jsonl"),
            ("Read the last three", "rtcomm tail -n 3 messages.jsonl"),
            ("The last failure of several files", "rtcomm tail -n 1 messages.jsonl messages.jsonl --failed"),
            ("Failures of the last hour, as JSON lines", "rtcomm tail messages.jsonl --failed --since 1h --json"),
            ("Follow a file that another process writes", "rtcomm tail -f messages.jsonl"),
            ("Record and show at the same time", "rtcomm watch --json -c 5 | tee events.jsonl | rtcomm tail -"),
        ],
        json: &["Messages", "Connection records", "Absences", "Call records", "Summaries"],
    },
    Prose {
        command: "check",
        description: &[
            "It connects, asks the servers below the root for their services (a SERVICE_QUERY to `ROOT/management/CLIENT-ID`), \
             counts the registered endpoints (the presence documents below `ROOT/sphere`, or where the server has them), and \
             prints one line in the format of monitoring plugins, with perfdata. It never places a call.",
            "After the first answer, it waits 300ms for others: two servers with different answers share one root. Answers that \
             differ only in `iceURL` are equal, because it may contain credentials that are made for each answer. Without an \
             answer it waits 5s, or less if an MQTT 5 broker reports that nobody subscribes.",
            "A server that refuses the query counts as a server that answers. An endpoint is registered if its ID has at least one \
             document whose type is not SERVICE. So the number may be less than that of `watch --presence --now`, which prints \
             every document.",
            "The user needs the permission to publish to `ROOT/management/CLIENT-ID`, and to subscribe to `ROOT/reply/#` and \
             `ROOT/sphere/#`.",
        ],
        files: &[PASSWORD_FILE],
        examples: &[
            ("Check broker and server", "rtcomm check"),
            (
                "Slow answers are a warning; no server or no endpoint is critical",
                "rtcomm check -w connect=5 -w query=5 -c servers=1: -c registered=0:",
            ),
            ("The first service with its topics", "rtcomm check --json | jq '.services[0]'"),
            ("Use the topics of the server in this shell", "set -a; eval \"$(rtcomm check --env)\"; set +a"),
        ],
        json: &["Checks"],
    },
    Prose {
        command: "demo",
        description: &[
            "The simulation has ten endpoints that register, call each other, hang up, fail and unregister: one event per \
             `--interval`. The call service answers accordingly. A call of an endpoint that is busy or not registered fails at \
             once. Other calls ring for 0.2 seconds; then the session starts or fails, and the service replies. A call \
             between iggy_pop and david_bowie succeeds, unless one of them is in such a call. With `--calls`, all calls \
             fail, or get no or a late reply, so that scripts can be tested against the exit statuses of `rtcomm call`.",
            "The broker speaks MQTT 5, 3.1.1 and 3.1 on one port, without encryption or authentication. Only this machine can \
             reach it, unless `--listen` names another address. It keeps sessions (`--durable`), divides messages among a \
             group (`--share`) and reports if nobody subscribes to the call topic (status 6). It stores all of that in \
             memory, so a new run starts empty.",
        ],
        files: &[TIME_ZONE],
        examples: &[
            ("See what events look like", "rtcomm demo"),
            ("Events that are the same in each run, ten per second", "rtcomm demo --seed 7 --interval 100ms -c 20"),
            ("A broker for scripts to use", "rtcomm demo --serve --listen 127.0.0.1:0 --interval 100ms > address"),
            ("A call service that never answers", "rtcomm demo --calls silent"),
        ],
        json: &["Messages"],
    },
    Prose {
        command: "completions",
        description: &["The script is the same that packages install."],
        files: &[],
        examples: &[
            ("For bash, in a directory that bash-completion reads", "rtcomm completions bash > rtcomm"),
            ("For zsh, in a directory of `$fpath`", "rtcomm completions zsh > _rtcomm"),
            ("For fish, in ~/.config/fish/completions", "rtcomm completions fish > rtcomm.fish"),
        ],
        json: &[],
    },
    Prose {
        command: "man",
        description: &[
            "On a terminal, the page is shown with `man -l -`. If the system has no such `man`, the help with all flags is \
             printed. In a pipe or a file, the page is in roff, as packages install it.",
        ],
        files: &[],
        examples: &[
            ("The page of rtcomm, as text", "rtcomm man | man -l - | cat"),
            ("The file of a page", "rtcomm man watch > rtcomm-watch.1"),
        ],
        json: &[],
    },
];

/// The commands of the examples, page by page.
pub(super) fn examples() -> impl Iterator<Item = Vec<&'static str>> {
    PAGES.iter().map(|page| page.examples.iter().map(|(_, line)| *line).collect())
}

/// The pages: file name and text.
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
            // The sections after the flags are made below.
            .before_help(None::<&str>)
            .after_help(None::<&str>)
            .after_long_help(None::<&str>)
            // The page has all flags, but clap_mangen leaves out the text of those that `-h` does not print.
            .mut_args(|arg| arg.hide_short_help(false))
            .version(None::<&str>)
            .subcommand_help_heading("COMMANDS"),
    );
    let mut text = Vec::new();
    Man::new(flags)
        .title(full_name.to_uppercase())
        .date(release_date())
        .source(format!("rtcomm {}", env!("CARGO_PKG_VERSION")))
        .manual("Rtcomm Manual")
        .render(&mut text)
        .expect("writing to a Vec never fails");
    let mut text = String::from_utf8(text).expect("a page is text");
    for (heading, explanation) in explanations {
        let heading = format!(".SH {}\n", heading.to_uppercase());
        text = text.replace(&heading, &format!("{heading}{explanation}.\n"));
    }
    let rest = [
        if name == "check" { check_status() } else { exit_status() },
        environment,
        list("FILES", prose.files),
        examples_section(prose.examples),
        json_lines::chapter(prose.json),
        hostile_input(prose.command),
        see_also(tool, &full_name),
    ];
    for section in chapters::of(&name).map(chapter).chain(rest) {
        write!(text, "{}", without_preamble(&section)).expect("writing to a String never fails");
    }
    (format!("{full_name}.1"), text)
}

/// The date of this version in CHANGELOG.md. The packages have it too.
fn release_date() -> String {
    let changelog = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/CHANGELOG.md"));
    let heading = concat!("## [", env!("CARGO_PKG_VERSION"), "] - ");
    let changelog = changelog.expect("there is a CHANGELOG");
    let date = changelog.lines().find_map(|line| line.strip_prefix(heading));
    let date = date.unwrap_or_else(|| panic!("CHANGELOG.md has no line `{heading}DATE`"));
    date.parse::<jiff::civil::Date>().unwrap_or_else(|error| panic!("{heading}{date}: {error}")).to_string()
}

/// Splits headings such as `Filters (all else is ANDed)`: the page shows the explanation below the title.
fn without_explanations(command: Command) -> (Command, Vec<(String, String)>) {
    let mut explanations = Vec::new();
    let command = command.mut_args(|arg| match arg.get_help_heading().and_then(|it| it.split_once(" (")) {
        None => arg,
        Some((title, explanation)) => {
            let explanation = explanation.trim_end_matches(')');
            let (first, rest) = explanation.split_at(1);
            let pair = (title.to_owned(), first.to_uppercase() + rest);
            // clap accepts only static text; a few bytes leak.
            let arg = arg.clone().help_heading(&*title.to_owned().leak());
            if !explanations.contains(&pair) {
                explanations.push(pair);
            }
            arg
        }
    });
    (command, explanations)
}

/// Removes the preamble, which the page has at its top.
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
                for (term, text) in *entries {
                    roff.control("TP", []);
                    roff.text(marked(term));
                    roff.text(marked(text));
                }
            }
        }
    }
    roff
}

fn check_status() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman("Those of monitoring plugins. No other status is possible.")]);
    for status in CheckStatus::ALL {
        roff.control("TP", ["6"]);
        roff.text([bold(status.code().to_string())]);
        roff.text(marked(check_meaning(status)));
    }
    roff
}

fn exit_status() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    roff.text(marked("The same for every command but `check`."));
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
    let mut entry = |name: &str, text: &str| {
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text(marked(text));
    };
    let flag =
        |arg: &Arg| format!("`--{}`", arg.get_long().expect("an argument with an environment variable is a flag"));
    let mut seen = BTreeSet::new();
    for arg in args {
        let Some(name) = arg.get_env().map(|it| it.to_string_lossy()) else { continue };
        if !seen.insert(name.clone()) {
            continue;
        }
        let flag = flag(arg);
        if arg.get_action().takes_values() {
            entry(&name, &format!("Same as {flag}."));
        } else {
            entry(&name, &format!("Same as {flag}, unless it is empty or `0`, `false`, `no` or `off`."));
        }
        if name == "RTCOMM_USERNAME" {
            entry(
                "RTCOMM_PASSWORD",
                "The password, without `--password-file`. There is no flag for it, because other users can read flags.",
            );
        }
        if name == "RTCOMM_PROXY" {
            entry(
                "https_proxy",
                "The proxy for `mqtts://` and `wss://`, without `--proxy`. It may contain credentials. `HTTPS_PROXY` works too.",
            );
            entry("no_proxy", "Hosts to connect to without `https_proxy`. `NO_PROXY` works too.");
        }
    }
    entry("NO_COLOR", "If it is set and not empty, `--color auto` means no color.");
    entry("TERM", "If it is `dumb`, `--color auto` means no color.");
    entry("TZ", "The time zone of pretty output. JSON lines are in UTC.");
    roff
}

fn list(heading: &str, entries: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    if entries.is_empty() {
        return roff;
    }
    roff.control("SH", [heading]);
    for (term, text) in entries {
        roff.control("TP", []);
        roff.text(marked(term));
        roff.text(marked(text));
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

/// How malicious messages are handled. Tests send all of them.
fn hostile_input(command: &str) -> Roff {
    let mut roff = Roff::new();
    if !matches!(command, "watch" | "tail") {
        return roff;
    }
    roff.control("SH", ["MALICIOUS INPUT"]);
    paragraph(
        &mut roff,
        "No message ends the run or hides later messages. A message that is not a valid event is reported on standard error \
         by `rtcomm watch`, and printed with `error` by `rtcomm tail`. Each record is one line.",
    );
    for (term, text) in [
        (
            "nesting of any depth",
            "Parsed without recursion, and kept. JSON of more than 60 levels is `payload_text`, because some JSON parsers \
             reject it.",
        ),
        (
            "long strings, keys and numbers",
            "Kept up to `--max-packet-size`. `rtcomm tail FILE` skips lines of more than 64 MiB.",
        ),
        ("numbers of any size", "All digits are kept."),
        ("a duplicate key", "The last value counts. Both are kept."),
        (
            "half a surrogate pair as an escape, such as `\\ud800`",
            "Kept, as `payload_text`, because some JSON parsers reject it (jq 1.6). The string is shown with its escapes.",
        ),
        (
            "`NaN`, `Infinity`, a byte order mark, comments, raw control characters, two values, half a value",
            "Not valid JSON, so not an event: `payload_text`.",
        ),
        ("invalid UTF-8: overlong forms, encoded surrogates, UTF-16, Latin-1", "Not an event: `payload_base64`."),
        (
            "control characters (C0, C1, `\\u0000`), line breaks, ANSI, OSC 8 and OSC 52 sequences",
            "JSON lines keep them, escaped as in JSON. Pretty output and standard error show them as `\\n` or `\\u{1b}`, in every \
             field, also if the output is not a terminal.",
        ),
        (
            "bidirectional controls, zero-width and other invisible characters, tags, variation selectors",
            "The same, except in an emoji that consists of several characters.",
        ),
    ] {
        roff.control("TP", []);
        roff.text(marked(term));
        roff.text(marked(text));
    }
    roff
}

pub(super) fn paragraph(roff: &mut Roff, text: &str) {
    roff.control("PP", []);
    roff.text(marked(text));
}

pub(super) fn verbatim(roff: &mut Roff, lines: &[impl AsRef<str>]) {
    roff.control("PP", []);
    roff.control("RS", ["4"]);
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line.as_ref())]);
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

/// Shows text between backquotes in bold.
pub(super) fn marked(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 0 { roman(part) } else { bold(part) }).collect()
}
