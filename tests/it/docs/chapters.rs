//! What the man pages explain at length: a section of its own for each subject.
//!
//! What stands between backquotes is shown in bold.

/// A section.
pub(super) struct Chapter {
    /// The pages that have it.
    pub(super) commands: &'static [&'static str],
    pub(super) heading: &'static str,
    pub(super) parts: &'static [Part],
}

/// A piece of a section.
pub(super) enum Part {
    Paragraph(&'static str),
    /// What is explained, and the explanation.
    Entries(&'static [(&'static str, &'static str)]),
    /// As it stands.
    Verbatim(&'static [&'static str]),
}

use Part::{Entries, Paragraph, Verbatim};

const STREAMS: &[&str] = &["watch", "tail"];

/// The sections of a command's page, in their order.
pub(super) fn of(command: &str) -> impl Iterator<Item = &'static Chapter> {
    CHAPTERS.iter().filter(move |chapter| chapter.commands.contains(&command))
}

const CHAPTERS: &[Chapter] = &[
    Chapter {
        commands: STREAMS,
        heading: "GUARANTEES",
        parts: &[
            Paragraph(
                "What is promised for live messages depends on `--qos` and `--durable`. A message is delivered with the \
                 lower of two qualities of service: that of its publisher and that of `--qos`.",
            ),
            Entries(&[
                (
                    "`--qos 0`",
                    "At most once. What is on its way when the connection breaks is lost, and so is what came within the last \
                     milliseconds before the program is killed.",
                ),
                (
                    "`--qos 1` (default)",
                    "At least once. A message is acknowledged to the broker only after its line was handed to the kernel \
                     for standard output, or to the file of `--output`. So nothing that was acknowledged is lost when the \
                     program is killed; what was not, the broker delivers again where it keeps the session.",
                ),
                (
                    "`--qos 2`",
                    "As 1, and while both sides live the broker delivers nothing twice. With MQTT 3.1.1 it becomes 1, which \
                     is told: there messages would be acknowledged before they are written.",
                ),
                (
                    "without `--durable`",
                    "The broker forgets us when the connection ends. What is published until the next `ready` is missing, \
                     and told as a gap.",
                ),
                (
                    "`--durable` NAME",
                    "The broker keeps the session: it stores what is published with QoS 1 or 2 while we are away, and what \
                     was not acknowledged, for `--durable-expiry` after the connection ended. What `--qos` promises then \
                     holds across lost connections, restarts and kills, and across restarts of a broker that keeps \
                     sessions on disk. Each process needs a NAME of its own: two with the same take the session from \
                     each other for ever.",
                ),
                (
                    "`--fsync`",
                    "What the kernel has is safe from a crash of this program, not from a loss of power. With this flag a \
                     message is acknowledged only after the file has reached the disk, at the price of waiting for the \
                     disk with each message.",
                ),
                (
                    "`--count` N",
                    "Nothing beyond the N-th printed record is acknowledged: with `--durable` the next run begins there.",
                ),
            ]),
            Paragraph("Not promised:"),
            Entries(&[
                (
                    "no duplicates",
                    "What was written, but not yet acknowledged when the program was killed or the connection broke, is \
                     delivered and printed again. Nothing in the line says so. A run that ends in order (`--count`, \
                     `--for`, a signal) waits, a second at the most, until the broker has read its acknowledgements, and \
                     leaves nothing to repeat, where the system allows it: Linux does, but for some containers \
                     (pidfd_getfd).",
                ),
                ("QoS 0 while away", "What is published with QoS 0 while we are away is not kept by most brokers."),
                (
                    "the broker's limits",
                    "mosquitto stores 1000 messages for each client that is away or slow (max_queued_messages), drops the \
                     rest, and tells nobody: this program cannot tell it either. It forgets sessions when it restarts, \
                     unless persistence is true; then it writes them when it ends in order and each autosave_interval (30 \
                     minutes), so a crash costs what came since.",
                ),
                (
                    "gaps between two runs",
                    "A gap is told of a connection that was lost. A run that starts and finds no kept session cannot know \
                     what it missed; `--verbose` says whether the broker had kept the session.",
                ),
                (
                    "other filters in the same session",
                    "The session goes on to hold the filters of earlier runs. What only these match still comes, and what \
                     both match may be printed twice. Before you change filters or `--share`, let a last run with the old \
                     ones print what waits, and give the session up with `--durable-delete`: that deletes what waits.",
                ),
                (
                    "order in a group",
                    "With `--share` each message goes to one member, and the order is kept for none. Where the filters \
                     overlap, fewer and wider ones are subscribed to, because each copy could go to another member; what \
                     the flags leave out is left out here. `--dry-run` shows them. What the broker has dealt to a member \
                     that is away may wait for it (mosquitto) or go to the others, as the broker has it.",
                ),
            ]),
        ],
    },
    Chapter {
        commands: STREAMS,
        heading: "BACK-PRESSURE",
        parts: &[Paragraph(
            "Messages are not gathered in memory, but for 128 KiB of those with QoS 0, and as much again while these are \
             written. A reader that stops stops this program, and so the broker, which stores what comes as far as its \
             limits allow. No ping can be sent meanwhile, so past one and a half `--keepalive` (45 seconds by default) the \
             broker drops the connection. When the reader goes on that is told, with the gap, and the connection is made \
             anew; with `--durable` what was stored then comes.",
        )],
    },
    Chapter {
        commands: STREAMS,
        heading: "RECONNECTING",
        parts: &[
            Paragraph(
                "The first connection is made or the program ends, with 5 where the broker cannot be reached. A connection \
                 that is lost later is made again: after 0.2 seconds, then each time after twice as long, up to 30 \
                 seconds; each pause is shortened by up to a half at random. The host's name is looked up anew each time. \
                 A reason is told once, not with each attempt. `ready` is said again when every subscription stands; it \
                 subscribes anew only where the broker did not keep the session.",
            ),
            Paragraph(
                "What cannot work is not tried again: where the broker refuses the credentials or a subscription, the \
                 program ends with 4. `--no-reconnect` ends it with 5 at the first loss, `--max-retries` N when N attempts \
                 in a row have failed.",
            ),
        ],
    },
    Chapter {
        commands: STREAMS,
        heading: "GAPS",
        parts: &[
            Paragraph(
                "After every interruption the span whose messages may be missing is told on standard error, and with \
                 `--status-events` among the records too, as `gap`. Where the broker kept the session, the gap says that \
                 only what was published with QoS 0, or was too much for the broker to keep, may be missing.",
            ),
            Entries(&[
                (
                    "from",
                    "The last time at which the stream is known to have been whole: when the last message came, but no \
                     earlier than one and a half `--keepalive` before the loss was noticed, since a dead connection is \
                     noticed within that time. Where a reader had stopped us: when the message came that could not be \
                     written.",
                ),
                ("until", "When every subscription stood again."),
            ]),
            Paragraph(
                "Both are times of this machine's clock. `rtcomm tail FILE` shows status records whatever the filters, \
                 within `--since` and `--until`; they do not count for `--count`.",
            ),
        ],
    },
    Chapter {
        commands: STREAMS,
        heading: "SIGNALS",
        parts: &[
            Entries(&[
                (
                    "SIGINT, SIGTERM",
                    "It writes what was acknowledged, says goodbye to the broker, tells how much was seen, and ends with \
                     130 or 143; within two seconds also where standard output is blocked or a connection attempt hangs. \
                     A second signal ends it at once.",
                ),
                ("SIGHUP", "Opens the file of `--output` anew. Without `--output` it ends the program, as is usual."),
            ]),
            Paragraph(
                "Where the reader of standard output goes away it ends with 0, also while no message comes. Where the \
                 file cannot be written to (a full disk) it ends with 1, and what is not written is not acknowledged. A \
                 file that ends within a line, after a loss of power, is given a line end first, so that one line is \
                 damaged and no more.",
            ),
            Paragraph("For logrotate:"),
            Verbatim(&[
                "/var/lib/rtcomm/*.jsonl {",
                "    su rtcomm rtcomm",
                "    daily",
                "    rotate 90",
                "    missingok",
                "    notifempty",
                "    nocreate",
                "    compress",
                "    delaycompress",
                "    sharedscripts",
                "    postrotate",
                "        systemctl kill --signal=HUP 'rtcomm-archive@*.service'",
                "    endscript",
                "}",
            ]),
        ],
    },
    Chapter {
        commands: &["call"],
        heading: "MANY CALLS",
        parts: &[
            Paragraph(
                "With `--batch` the calls of a file, or of standard input (`-`), are placed over one connection, with one \
                 reply topic. A line of the input is a JSON object:",
            ),
            Verbatim(&[
                r#"{"caller":"iggy_pop","callee":"david_bowie"}"#,
                r#"{"caller":"a","callee":"b","session_id":"0f6c9f3e-3d53-4f0b-9f4c-0d9a3b1d7a55","app_context":"XYZ"}"#,
            ]),
            Paragraph(
                "`session_id` may be called `sessionID` too, as in the lines that are printed, so that some of these can be \
                 placed again. Other keys are ignored. `--app-context` is for the lines that have none. For each line of the input one \
                 line is printed, as below, in the order of the input. A line that is no request, an empty one too, is \
                 `invalid`, and the rest goes on. `--dry-run` prints the requests and the invalid lines.",
            ),
            Paragraph(
                "What `--password-file` or `--key-password-file` read from standard input too stands in lines before the calls, \
                 the passphrase of the key first.",
            ),
            Paragraph("At the end standard error says how many there were of each outcome, unless `--quiet` is given."),
            Paragraph(
                "At most `--jobs` calls wait for their replies at a time, each for `--timeout` from its request on. `--rate` \
                 limits how many begin in a time: `50/s`, `100/m`, `1000/h`. Where standard error is a terminal and \
                 standard output is none, standard error shows how far it is, how fast, and how long it will take.",
            ),
            Paragraph(
                "No request is sent twice. Where the run ends early, by a signal or because the broker is lost, the calls \
                 in flight are printed as `unknown`, so the lines printed are the lines done: `--skip` their number goes on \
                 after them. Look for the sessions of the `unknown` ones before you repeat these. Where standard output \
                 cannot be written to, a warning says how many calls may have been placed that have no line. Where it is killed \
                 (SIGKILL) or the power fails, calls may have been placed that have no line, up to 64 times `--jobs`: one \
                 line waits for all before it.",
            ),
            Paragraph(
                "It exits with its worst outcome, in this order: 5, 4, 6, 124, 3, 1 (`unknown` and `invalid`), 0. Where the \
                 input cannot be read to its end it exits with 1, once each call asked for before has its line.",
            ),
        ],
    },
    Chapter {
        commands: &["call"],
        heading: "LIMITS",
        parts: &[Paragraph(
            "That nobody subscribes to the call topic (status 6) is known only where the broker says so, with MQTT 5. \
             mosquitto, EMQX and HiveMQ do; the broker of `rtcomm demo` does not. Otherwise the call ends with 124.",
        )],
    },
    Chapter {
        commands: &["tail"],
        heading: "COMPRESSED RECORDINGS",
        parts: &[Paragraph(
            "What gzip (`.gz`) or Zstandard (`.zst`) compressed is read as it is, from a file or from standard input: it is \
             known by its content, not by its name. It ends where it ends: `--follow` refuses such a file. Of a damaged one \
             the lines before the damage are printed; then comes the error, and status 1.",
        )],
    },
    Chapter {
        commands: &["tail"],
        heading: "LIMITS",
        parts: &[Paragraph(
            "With filter flags, a line of a file that cannot match is passed over without being read as JSON. So damage in \
             such a line is not told; without filter flags every damaged line is.",
        )],
    },
];
