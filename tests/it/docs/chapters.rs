//! The longer sections of the man pages.
//!
//! Text between backquotes is shown in bold.

/// A section.
pub(super) struct Chapter {
    /// The pages that have it.
    pub(super) commands: &'static [&'static str],
    pub(super) heading: &'static str,
    pub(super) parts: &'static [Part],
}

/// A part of a section.
pub(super) enum Part {
    Paragraph(&'static str),
    /// Terms and their explanations.
    Entries(&'static [(&'static str, &'static str)]),
    /// Lines that are shown as they are.
    Verbatim(&'static [&'static str]),
}

use Part::{Entries, Paragraph, Verbatim};

const STREAMS: &[&str] = &["watch", "tail"];

/// The sections of a command's page, in order.
pub(super) fn of(command: &str) -> impl Iterator<Item = &'static Chapter> {
    CHAPTERS.iter().filter(move |chapter| chapter.commands.contains(&command))
}

const CHAPTERS: &[Chapter] = &[
    Chapter {
        commands: &["watch", "tail", "demo"],
        heading: "LINES FOR PEOPLE",
        parts: &[
            Paragraph(
                "The columns are time, category, action, endpoints (a session has two), application, and detail: the reason \
                 and the first digits of the session ID, or the registered topic. Times are local.",
            ),
            Paragraph(
                "In a pipe or a file, lines are complete and always the same. On a terminal, each fits the width, from 40 \
                 columns on, also after a resize: the date is printed on its own line when it changes, categories are short \
                 (`reg`, `ses`, `call`, `rep`ly, `pre`sence, `con`nection, `msg` for other messages, `bad` for malformed \
                 events), long texts have an ellipsis in the middle, and below 72 columns `(r)` means retained, `(d)` while \
                 disconnected.",
            ),
        ],
    },
    Chapter {
        commands: &["watch"],
        heading: "PRESENCE",
        parts: &[
            Paragraph(
                "An endpoint registers with a retained document at `ROOT/sphere/ENDPOINT`, also with levels in between \
                 (`ROOT/sphere/agents/ENDPOINT`), and unregisters with an empty payload there. `--presence` prints the \
                 documents that exist, then changes: one record per topic. An endpoint with several documents has several.",
            ),
            Entries(&[
                (
                    "filters",
                    "All but `--to`, `--session-id`, `--reason` and the actions, which documents do not have. A removal has no \
                     application and no state, so it passes neither `--app-context` nor `--state`.",
                ),
                (
                    "`--now`",
                    "Exit after the documents that exist. On a terminal, print them as a table with their number. The list is \
                     complete when the broker has answered two more requests, 200ms apart, and sent no retained message in \
                     between. If `--for` ends before that, the status is 124, or 5 without a subscription.",
                ),
                (
                    "`--gone`",
                    "Print one record for each endpoint of `--from`, once it has no document (of those that pass the other \
                     filters), and exit after the last. An endpoint that has none from the beginning counts too. `--count` \
                     ends it earlier. If `--for` ends before all are gone, the status is 124, or 5 without a subscription.",
                ),
                (
                    "after a reconnect",
                    "The new list is compared with what was known. Documents that are new or different are printed, and those \
                     that are missing as `gone`.",
                ),
                (
                    "long lists",
                    "Documents are always requested with QoS 0: some brokers end a list after about 1000 documents, and sooner \
                     with a higher QoS. From 1000 documents on, the program warns.",
                ),
                (
                    "`--durable`, `--share`",
                    "Not with `--presence`: a broker lists retained messages neither for a session that it kept nor for a group.",
                ),
                (
                    "credentials",
                    "Lines for people show `***` in place of user names and passwords in URLs such as `turn:USER:PASSWORD@HOST`. \
                     JSON lines keep payloads byte for byte, so a recording may contain such credentials.",
                ),
            ]),
        ],
    },
    Chapter {
        commands: STREAMS,
        heading: "CALL RECORDS",
        parts: &[
            Paragraph(
                "With `--cdr`, one line is printed for each session when its end is known, instead of its events. With \
                 `--summary`, records are counted, and a table is printed at the end and on SIGINT. Live events and recordings \
                 give the same records. Nothing is invented: a start or an end that was not seen is not in the record.",
            ),
            Entries(&[
                (
                    "outcomes",
                    "`completed`: it was stopped. `failed`: it failed, and its start was not seen. `dropped`: it failed after \
                     its start. `open`: the input ended before it. `lost`: it was open for longer than `--max-age`, or, \
                     without a session ID, a new session began between the same endpoints.",
                ),
                (
                    "what is missing",
                    "A record lists what was not seen: `start`, `end`, `gap` (messages may be missing while it was open; a \
                     recording knows gaps by `--status-events`) and `id`. A failed session lacks `start` unless the input \
                     reaches back over `--max-age` without a gap: it may have begun before.",
                ),
                (
                    "sessions",
                    "Events belong together by their session ID, without one by FROM, TO and application. FROM is the caller \
                     in each event of a session. The endpoint that answers can be another than the one that was called: TO \
                     is the called one, and `--to` and `--endpoint` match either. Copies of events are counted as duplicates.",
                ),
                (
                    "times",
                    "A duration is the difference of the server's timestamps. If one is missing, if the difference is \
                     negative, or if it differs from that of the receiving clock by whole hours (daylight saving time), the \
                     receiving clock counts, and JSON lines say `\"clock\":\"received\"`.",
                ),
                (
                    "`--summary`",
                    "`CALLS` are all sessions, and `EST` those that were established: all but the failed ones. `FAIL`, \
                     `DROP`, `OPEN` and `LOST` are outcomes. `INC` are records from which something is missing. `ASR` is the \
                     answer-seizure ratio (ITU-T E.411), `EST` per `CALLS`. `ACD` is the average call duration of calls whose \
                     both ends were seen; `MIN` and `MAX` are the shortest and the longest. A row of `--summary=endpoint` \
                     counts calls on either side. In the keys of `--summary=reason`, numbers, dates and UUIDs are masked.",
                ),
                (
                    "`--since`",
                    "Leaves out calls that ended before. Events are read from `--max-age` earlier on, so a session that is \
                     older than that can have another outcome than without `--since`.",
                ),
                (
                    "several files",
                    "Are merged by time, such as those of a `--share` group. A gap of one of them marks the sessions that \
                     were open then, unless their end was received before the loss of the connection was noticed.",
                ),
            ]),
        ],
    },
    Chapter {
        commands: STREAMS,
        heading: "GUARANTEES",
        parts: &[
            Paragraph(
                "Delivery of live messages depends on `--qos` and `--durable`. A message is delivered with the lower of two \
                 qualities of service: its publisher's and that of `--qos`.",
            ),
            Entries(&[
                (
                    "`--qos 0`",
                    "At most once. Messages in transit are lost if the connection breaks, and messages of the last \
                     milliseconds if the program is killed.",
                ),
                (
                    "`--qos 1` (default)",
                    "At least once. A message is acknowledged to the broker after its line is written to standard output, \
                     or to the file of `--output`. So no acknowledged message is lost if the program is killed. The broker \
                     delivers unacknowledged messages again if it keeps the session.",
                ),
                ("`--qos 2`", "Like 1. Also, a running program gets no message twice, with MQTT 5 and 3.1.1."),
                (
                    "without `--durable`",
                    "The broker forgets the session when the connection ends. Messages published before the next `ready` \
                     are missing, and reported as a gap.",
                ),
                (
                    "`--durable` NAME",
                    "The broker keeps the session for `--durable-expiry` after the connection ends. It stores unacknowledged \
                     messages, and messages with QoS 1 or 2 that are published meanwhile. So the guarantee of `--qos` holds \
                     across lost connections, restarts and kills, and across restarts of a broker that stores sessions on \
                     disk. Use a different NAME for each process: two processes with the same name keep disconnecting each \
                     other.",
                ),
                (
                    "`--fsync`",
                    "Acknowledge a message only after its line is on the disk. Without it, lines survive a crash of the \
                     program, but not a power failure. Each write waits for the disk.",
                ),
                (
                    "`--count` N",
                    "No message after the N-th printed record is acknowledged. With `--durable`, the next run starts there.",
                ),
            ]),
            Paragraph("Not guaranteed:"),
            Entries(&[
                (
                    "no duplicates",
                    "A message that was written but not acknowledged when the program was killed or the connection broke is \
                     delivered and printed again. Its line does not show that. A run that ends normally (`--count`, `--for`, \
                     a signal) waits up to a second until the broker has read the acknowledgements, so the next run repeats \
                     nothing.",
                ),
                ("QoS 0 while disconnected", "Most brokers do not store messages with QoS 0."),
                (
                    "the broker's limits",
                    "mosquitto stores 1000 messages per disconnected or slow client (max_queued_messages) and drops the rest \
                     without notice, so this program cannot report it. It forgets sessions at a restart unless persistence \
                     is true. Then it saves them at shutdown and every autosave_interval (30 minutes), so a crash loses the \
                     messages since.",
                ),
                (
                    "gaps between two runs",
                    "Gaps are reported for lost connections. A run that finds no kept session cannot know what it missed. \
                     `--verbose` reports whether the broker kept the session.",
                ),
                (
                    "other filters in the same session",
                    "The session keeps the filters of earlier runs. Messages that match only those still arrive, and \
                     messages that match both may be printed twice. Before you change filters or `--share`, print the stored \
                     messages with a last run, then delete the session with `--durable-delete`, which also deletes stored \
                     messages.",
                ),
                (
                    "order in a group",
                    "With `--share`, each message goes to one member, in no guaranteed order. Overlapping filters are merged \
                     into fewer, wider ones, because each copy of a message could go to another member; other messages are \
                     filtered out here. `--dry-run` prints the merged filters. If a member disconnects, its messages wait \
                     for it (mosquitto) or go to other members, depending on the broker.",
                ),
            ]),
        ],
    },
    Chapter {
        commands: STREAMS,
        heading: "BACK-PRESSURE",
        parts: &[Paragraph(
            "Memory does not grow if the reader of the output is slow: at most 128 KiB of messages are buffered, and their \
             lines. If the output blocks, this program stops reading, and the broker stores messages up to its limits. Pings \
             are still sent, so the connection stays. When the output continues, so does the stream.",
        )],
    },
    Chapter {
        commands: STREAMS,
        heading: "RECONNECTING",
        parts: &[
            Paragraph(
                "If the first connection fails, the program exits with 5. A connection that is lost later is made again: \
                 after 0.2 seconds, then after twice as long each time, up to 30 seconds. Each pause is shortened by up to \
                 half at random. Host names are resolved each time, the addresses of a name are raced, and several \
                 brokers are tried in order. Each reason is reported once, not with each attempt. `ready` is printed again \
                 when the broker has granted every subscription; a broker that kept the session needs no new SUBSCRIBE.",
            ),
            Paragraph(
                "If the broker refuses the credentials or a subscription, the program exits with 4 instead of reconnecting. \
                 `--no-reconnect` exits with 5 at the first loss, `--max-retries` N after N failed reconnects in a row.",
            ),
        ],
    },
    Chapter {
        commands: STREAMS,
        heading: "GAPS",
        parts: &[
            Paragraph(
                "After each interruption, the period whose messages may be missing is reported on standard error, and with \
                 `--status-events` also as a `gap` record. If the broker kept the session, only messages with QoS 0 and \
                 messages beyond the broker's limits may be missing, and the gap reports it.",
            ),
            Entries(&[
                (
                    "from",
                    "The last time at which the stream is known to be complete. It is measured: bytes that arrive while the \
                     program waits for them, and answers to pings, prove that nothing published before is missing.",
                ),
                ("until", "When the broker had granted every subscription again."),
            ]),
            Paragraph(
                "Both are times of this machine's clock. `rtcomm tail FILE` shows connection records regardless of filters, but not with `--cdr`, \
                 within `--since` and `--until`. They do not count for `--count`.",
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
                    "Write what is acknowledged, disconnect, print a summary, and exit with 130 or 143. This takes at most \
                     two seconds, even if standard output is blocked or a connection attempt hangs. A second signal exits at \
                     once.",
                ),
                ("SIGHUP", "Reopen the file of `--output`. Without `--output`, SIGHUP ends the program."),
            ]),
            Paragraph(
                "If the reader of standard output closes the pipe, the program exits with 0, even if no message arrives. If \
                 the file cannot be written to (disk full), it exits with 1; messages that are not written are not \
                 acknowledged. If the file ends within a line, after a power failure, a line end is added first, so that \
                 only one line is damaged.",
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
        commands: &[""],
        heading: "PROFILES",
        parts: &[
            Paragraph(
                "`--profile` NAME, or `RTCOMM_PROFILE`, reads settings from the file rtcomm/NAME.env in `$XDG_CONFIG_HOME`, or in \
                 `~/.config`. Each line is a variable of ENVIRONMENT and its value:",
            ),
            Verbatim(&[
                "# Production, read only.",
                "RTCOMM_BROKER=mqtts://broker.example.com",
                "RTCOMM_USERNAME=ops",
                "RTCOMM_PASSWORD_FILE=/home/ops/rtcomm-password",
            ]),
            Paragraph(
                "Blank lines and lines that start with `#` are ignored. There is no other syntax, so that `EnvironmentFile=` of \
                 systemd reads the same file: quotes at the start of a value, backslashes, a space or a tab before or after a \
                 value, and `export` are errors. Other users must not be able to read a profile with `RTCOMM_PASSWORD`. A \
                 profile cannot contain `RTCOMM_PROFILE`. Errors in a profile have status 2, and name its line.",
            ),
            Paragraph(
                "A typed flag overrides a typed profile, which overrides the environment, which overrides the profile of \
                 `RTCOMM_PROFILE`, which overrides the default. Variables that belong together come from one source: \
                 `RTCOMM_PASSWORD` and its file; `RTCOMM_CERT`, `RTCOMM_KEY` and its passphrase; `RTCOMM_CAFILE` and \
                 `RTCOMM_CAPATH`; `RTCOMM_QUIET` and `RTCOMM_VERBOSE`.",
            ),
        ],
    },
    Chapter {
        commands: &["call"],
        heading: "FOLLOWING A CALL",
        parts: &[
            Paragraph(
                "`--follow` subscribes to the events of the caller's sessions before the request is published, and always sends \
                 a session ID. It prints the reply, each event of the session, and its call record at the end; with `--json`, \
                 one result with the record as `session`. The reply and the events may come in any order.",
            ),
            Entries(&[
                ("0", "The session was stopped."),
                ("3", "The service refused the call, or the session failed."),
                ("4", "The broker denies the subscription: nothing is sent."),
                (
                    "5",
                    "The connection was lost, and could not be made again within `--timeout`. If there was no reply, the status is \
                     1: the call may have been placed.",
                ),
                (
                    "124",
                    "LIMIT has passed, counted from the start of the command (of a batch, from the request), so that it \
                     limits connecting too; or there was no reply within `--timeout`; or no event of the session within \
                     `--timeout` after the reply. Calls between clients without the server's relay have no events.",
                ),
                (
                    "130, 143",
                    "A signal ended the wait. A warning reports whether the call continues or may have been placed.",
                ),
            ]),
            Paragraph(
                "If the session ends before the reply, the reply is awaited for two seconds more. If the reply does not come in \
                 time but the session has begun, the session decides.",
            ),
            Paragraph(
                "A lost connection is made again. Events that were published meanwhile are missing: the record has `gap` in \
                 `incomplete`, or `start` if no event was seen before. If the end is among them, it is never seen: LIMIT ends \
                 the wait.",
            ),
            Paragraph(
                "In a batch, `--jobs` limits the sessions that are open. For a file with up to 100 callers, the events of each \
                 are subscribed to; for more, and for a pipe, those of all sessions. The batch goes on after a lost connection.",
            ),
        ],
    },
    Chapter {
        commands: &["call"],
        heading: "MANY CALLS",
        parts: &[
            Paragraph(
                "`--batch` places the calls of a file, or of standard input (`-`), over one connection with one reply topic. \
                 Each input line is a JSON object:",
            ),
            Verbatim(&[
                r#"{"caller":"iggy_pop","callee":"david_bowie"}"#,
                r#"{"caller":"a","callee":"b","session_id":"0f6c9f3e-3d53-4f0b-9f4c-0d9a3b1d7a55","app_context":"XYZ"}"#,
            ]),
            Paragraph(
                "`session_id` can also be named `sessionID`, as in the output, so output lines can be placed again. Other \
                 keys are ignored. `--app-context` applies to lines without one. Each input line gives one output line, in \
                 the order of the input. A line that is not a valid request gives `invalid`, and the batch continues. \
                 `--dry-run` prints the requests and the invalid lines.",
            ),
            Paragraph(
                "If `--password-file` or `--key-password-file` reads standard input too, the secrets come first, one per \
                 line, the passphrase of the key before the password.",
            ),
            Paragraph(
                "At the end, the number of calls per outcome is printed on standard error, unless `--quiet` is given. With \
                 `--follow`, it is followed by the number of sessions per end, such as `completed` or `dropped`; `without \
                 events` are those of calls that were placed and had no event. They explain the exit status.",
            ),
            Paragraph(
                "At most `--jobs` calls wait for their replies, each for `--timeout` from its request. `--rate` limits how \
                 fast calls start: `50/s`, `100/m`, `1000/h`. If standard error is a terminal and standard output is not, a \
                 progress bar is shown.",
            ),
            Paragraph(
                "No request is sent twice. If the run ends early, by a signal or a lost broker, the calls in flight are \
                 printed as `unknown`. Then the number of output lines is the value of `--skip` that resumes the batch. \
                 Check the sessions of `unknown` calls before you repeat those. If standard output cannot be written to, a \
                 warning reports how many calls may have been placed but have no output line. After SIGKILL or a power \
                 failure, up to 64 times `--jobs` calls may have no line, because each line waits for all earlier ones.",
            ),
            Paragraph(
                "The exit status is that of the worst outcome, in this order: 5, 4, 6, 124, 3, 1 (`unknown` and `invalid`), \
                 0. If the input cannot be read to the end, the calls read so far are finished, and the status is 1.",
            ),
        ],
    },
    Chapter {
        commands: &["call"],
        heading: "LIMITS",
        parts: &[Paragraph(
            "Status 6, nobody subscribes to the call topic, requires a broker that reports it (MQTT 5), such as mosquitto, \
             EMQX, HiveMQ and that of `rtcomm demo`. Otherwise the call ends with 124.",
        )],
    },
    Chapter {
        commands: &["tail"],
        heading: "COMPRESSED RECORDINGS",
        parts: &[Paragraph(
            "Recordings that are compressed with gzip (`.gz`) or Zstandard (`.zst`) are decompressed, from a file or from \
             standard input. The format is recognized by the content, not by the name. `--follow` rejects compressed files. \
             If a compressed file is damaged, the lines before the damage are printed, then the error, and the status is 1. \
             Zero padding between and after compressed data is skipped.",
        )],
    },
    Chapter {
        commands: &["tail"],
        heading: "LIMITS",
        parts: &[Paragraph(
            "With filter flags, lines of a file that cannot match are skipped without parsing them, so damage in such lines \
             is not reported.",
        )],
    },
];
