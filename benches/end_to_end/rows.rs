//! The rows of the table, by group. The programs of a group are compared with each other.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bare;
use crate::blaster::Blaster;
use crate::events::{self, BUSY, ONE_IN};
use crate::measure::{Contender, Process, Runs, Sink, count_lines, median, output, run, side_by_side};
use crate::peers::{CallService, Delay};
use crate::table::Goal::{AtLeast, AtMost};
use crate::table::Unit::{Megabytes, Millis, PerSecond, Times};
use crate::table::{Row, thousands};

/// A group of rows.
pub(crate) type Group = fn(&Bench) -> Result<Vec<Row>>;

/// All groups, in the order of the table.
pub(crate) const GROUPS: [(&str, Group); 8] = [
    ("streams", streams_come_as_fast_as_the_library_lets_them),
    ("acknowledged", acknowledged_events_come_nearly_as_fast_as_uncounted_ones),
    ("memory", memory_does_not_grow_with_the_number_of_events),
    ("call", a_call_takes_little_longer_than_a_bare_request),
    ("batch", a_batch_is_many_times_as_fast_as_calls_in_a_row),
    ("files", recorded_files_are_read_faster_than_by_general_tools),
    ("start", it_starts_and_ends_at_once),
    ("size", the_binary_is_small),
];

/// The delay settings of the broker in the call rows, as in the table.
const USUAL: &str = "mosquitto as it comes";
const PROMPT: &str = "mosquitto with `set_tcp_nodelay`";

const EVERYTHING: &str = "/rtcomm/event/#";

/// The columns of pretty output, as far as jq can make them in one go: not padded, and the time not in the local zone.
const COLUMNS: &str = r#"[.received, .category, .action, if .to then .from + " → " + .to else .from end, .payload.appContext // "-", .payload.reason // .payload.regTopic // (.payload.sigSessID | .[:8])] | @tsv"#;

/// What all rows need.
pub(crate) struct Bench {
    rtcomm: PathBuf,
    own: PathBuf,
    scratch: PathBuf,
    blaster: Blaster,
    scale: f64,
    rounds: u32,
}

impl Bench {
    pub(crate) fn prepare(scale: f64, rounds: u32) -> Result<Self> {
        let own = std::env::current_exe()?;
        // It is an example, and so stands in a folder beside the program.
        let folder = own.ancestors().nth(2).context("the bench is not where Cargo puts it")?;
        let (rtcomm, scratch) = (folder.join("rtcomm"), folder.with_file_name("bench"));
        ensure!(rtcomm.is_file(), "{} is missing: cargo build --release", rtcomm.display());
        fs::create_dir_all(&scratch)?;
        Ok(Self { rtcomm, own, scratch, blaster: Blaster::start()?, scale, rounds })
    }

    /// So many of something, or as many as the scale makes of it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an amount, far from the limits")]
    fn scaled(&self, amount: u32) -> u32 {
        ((f64::from(amount) * self.scale) as u32).max(ONE_IN).next_multiple_of(ONE_IN)
    }

    fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn file(&self) -> Sink {
        Sink::File(self.scratch("out"))
    }

    /// A run of `rtcomm` that says nothing; `words` are split at white space.
    fn rtcomm(&self, words: &str) -> Command {
        let mut command = Command::new(&self.rtcomm);
        command.arg("--quiet").args(words.split_whitespace());
        command
    }

    fn watch(&self, words: &str, count: u32) -> Command {
        self.rtcomm(&format!("watch {words} --broker {} --count {count}", self.blaster.url()))
    }

    /// The library's callback with nothing behind it.
    fn bare_loop(&self, qos: u8, count: u32) -> Command {
        self.own(&format!("bare-count {} {qos} {count}", self.blaster.port()))
    }

    /// A run of this very program.
    fn own(&self, words: &str) -> Command {
        let mut command = Command::new(&self.own);
        command.args(words.split(' '));
        command
    }

    fn mosquitto_sub(&self, format: &str, count: u32) -> Command {
        let mut command = Command::new("mosquitto_sub");
        command.args(format!("-h 127.0.0.1 -p {} -V 5 -t {EVERYTHING} -C {count} -F", self.blaster.port()).split(' '));
        command.arg(format);
        command
    }

    /// A program's run from its beginning to its end, when it has printed `lines` lines.
    fn printer<'a>(&'a self, command: impl Fn() -> Command + 'a, lines: u32) -> Contender<'a> {
        Box::new(move || {
            let run = run(command(), &self.file())?;
            check(&self.file(), lines)?;
            Ok(run)
        })
    }

    /// A subscriber's run from the first event that is sent to its end, when it has printed `lines` lines.
    fn subscriber<'a>(
        &'a self,
        command: impl Fn() -> Command + 'a,
        sink: Sink,
        events: u32,
        lines: u32,
    ) -> Contender<'a> {
        Box::new(move || {
            let began = self.blaster.load(events);
            let process = Process::start(command(), &sink)?;
            let began = began.recv_timeout(Duration::from_secs(10)).context("nobody subscribes")?;
            let run = process.finish(Some(began))?;
            check(&sink, lines)?;
            Ok(run)
        })
    }
}

/// Fails if a program did not do its work.
fn check(sink: &Sink, lines: u32) -> Result<()> {
    if let Sink::File(path) = sink {
        let printed = count_lines(path)?;
        ensure!(printed == lines as usize, "{printed} lines were printed, not {lines}");
    }
    Ok(())
}

fn rate(amount: u32, runs: &Runs) -> String {
    PerSecond.show(f64::from(amount) / runs.wall())
}

fn time(runs: &Runs) -> String {
    Millis.show(runs.wall() * 1000.0)
}

fn streams_come_as_fast_as_the_library_lets_them(bench: &Bench) -> Result<Vec<Row>> {
    let events = bench.scaled(1_000_000);
    let busy = events / ONE_IN;
    let bare = || bench.bare_loop(0, events);
    let json = || bench.watch("--qos 0 --json", events);
    let pretty = || bench.watch("--qos 0 --color never", events);
    let filtered = || bench.watch(&format!("--qos 0 --session --failed --from {BUSY} --json"), busy);
    let sub_json = || bench.mosquitto_sub("%J", events);
    let sub_plain = || bench.mosquitto_sub("%t %p", events);
    let [
        bare,
        json_file,
        sub_json_file,
        filtered,
        json_pipe,
        sub_json_pipe,
        pretty_file,
        sub_file,
        pretty_pipe,
        sub_pipe,
    ] = side_by_side(
        bench.rounds,
        &[
            bench.subscriber(bare, Sink::Pipe, events, 0),
            bench.subscriber(json, bench.file(), events, events),
            bench.subscriber(sub_json, bench.file(), events, events),
            bench.subscriber(filtered, bench.file(), events, busy),
            bench.subscriber(json, Sink::Pipe, events, events),
            bench.subscriber(sub_json, Sink::Pipe, events, events),
            bench.subscriber(pretty, bench.file(), events, events),
            bench.subscriber(sub_plain, bench.file(), events, events),
            bench.subscriber(pretty, Sink::Pipe, events, events),
            bench.subscriber(sub_plain, Sink::Pipe, events, events),
        ],
    )?;
    let rates = |ours: &Runs, theirs: &Runs| format!("{} and {}", rate(events, ours), rate(events, theirs));
    let row = |what: &str, against, ours: &Runs, theirs: &Runs, goal| Row {
        what: what.to_owned(),
        against,
        figure: theirs.times_of(ours),
        unit: Times,
        goal: AtLeast(goal),
        from: rates(ours, theirs),
    };
    // What the library alone reaches is the most that a program on top of it can.
    let bound = |figure| format!("; the bare loop: {}", Times.show(figure));
    let sub_row = |what: &str, ours: &Runs, theirs: &Runs| {
        let row = row(what, "`mosquitto_sub -F %J`", ours, theirs, 1.9);
        Row { from: row.from + &bound(theirs.times_of(&bare)), ..row }
    };
    let cpu = |what: &str, ours: &Runs, theirs: &Runs| Row {
        what: what.to_owned(),
        against: "CPU seconds of `mosquitto_sub -F %J`",
        figure: ours.cpu_times_of(theirs),
        unit: Times,
        goal: AtMost(0.6),
        from: format!("{:.2} s and {:.2} s", ours.cpu(), theirs.cpu()) + &bound(bare.cpu_times_of(theirs)),
    };
    Ok(vec![
        row("`watch --json` to a file", "bare callback loop", &json_file, &bare, 0.95),
        row("`watch --json` to a pipe", "bare callback loop", &json_pipe, &bare, 0.95),
        sub_row("`watch --json` to a file", &json_file, &sub_json_file),
        sub_row("`watch --json` to a pipe", &json_pipe, &sub_json_pipe),
        cpu("`watch --json` to a file", &json_file, &sub_json_file),
        cpu("`watch --json` to a pipe", &json_pipe, &sub_json_pipe),
        row("`watch` to a file", "`mosquitto_sub -F '%t %p'`", &pretty_file, &sub_file, 0.8),
        row("`watch` to a pipe", "`mosquitto_sub -F '%t %p'`", &pretty_pipe, &sub_pipe, 0.8),
        row("`watch --session --failed --from X --json`", "bare callback loop", &filtered, &bare, 0.98),
    ])
}

fn acknowledged_events_come_nearly_as_fast_as_uncounted_ones(bench: &Bench) -> Result<Vec<Row>> {
    let events = bench.scaled(500_000);
    let durable = || bench.watch("--qos 1 --durable bench --json", events);
    let [ours, bare] = side_by_side(
        bench.rounds,
        &[
            bench.subscriber(durable, bench.file(), events, events),
            bench.subscriber(|| bench.bare_loop(1, events), Sink::Pipe, events, 0),
        ],
    )?;
    Ok(vec![Row {
        what: "`watch --qos 1 --durable N --json` to a file".to_owned(),
        against: "bare callback loop at QoS 1",
        figure: bare.times_of(&ours),
        unit: Times,
        goal: AtLeast(0.9),
        from: format!("{} and {}", rate(events, &ours), rate(events, &bare)),
    }])
}

fn memory_does_not_grow_with_the_number_of_events(bench: &Bench) -> Result<Vec<Row>> {
    let (some, many) = (bench.scaled(1_000_000), bench.scaled(10_000_000));
    let began = bench.blaster.load(many);
    let mut command = bench.watch("--qos 0 --json", many + 1);
    command.stdout(Stdio::piped());
    let mut process = Process::spawn(command)?;
    let mut lines = LineCount::of(process.stdout()?);
    began.recv_timeout(Duration::from_secs(10)).context("nobody subscribes")?;
    lines.reach(some)?;
    let after_some = f64::from(process.memory("VmRSS")?) / 1024.0;
    lines.reach(many)?;
    let (after_many, peak) = (process.memory("VmRSS")?, process.memory("VmHWM")?);
    let row = |what: String, figure| Row {
        what,
        against: "",
        figure,
        unit: Megabytes,
        goal: AtMost(10.0),
        from: format!("at most {} at any time", Megabytes.show(f64::from(peak) / 1024.0)),
    };
    Ok(vec![
        row(format!("resident memory after {} events", thousands(some.into())), after_some),
        row(format!("resident memory after {} events", thousands(many.into())), f64::from(after_many) / 1024.0),
    ])
}

fn a_call_takes_little_longer_than_a_bare_request(bench: &Bench) -> Result<Vec<Row>> {
    const REPLIES: &str = "/rtcomm/reply/rr";
    let rounds = bench.scaled(200);
    let usual = CallService::start(&bench.scratch, Delay::Default)?;
    let prompt = CallService::start(&bench.scratch, Delay::None)?;
    let call =
        |service: &CallService| bench.rtcomm(&format!("call iggy_pop david_bowie --json --broker {}", service.url()));
    let rr = |service: &CallService| {
        let mut command = words(&format!("mosquitto_rr -h 127.0.0.1 -p {}", service.port()));
        command.args(["-t", "/rtcomm/callControl", "-e", REPLIES, "-m", &bare::request(1, REPLIES)]);
        command
    };
    let [ours_usual, rr_usual, ours, rr] = side_by_side(
        rounds,
        &[
            bench.printer(|| call(&usual), 1),
            bench.printer(|| rr(&usual), 1),
            bench.printer(|| call(&prompt), 1),
            bench.printer(|| rr(&prompt), 1),
        ],
    )?;
    let row = |broker: &str, ours: &Runs, theirs: &Runs| Row {
        what: format!("`call a b --json`, {broker}"),
        against: "`mosquitto_rr`",
        figure: ours.times_of(theirs),
        unit: Times,
        goal: AtMost(1.3),
        from: format!("{} and {}", time(ours), time(theirs)),
    };
    Ok(vec![row(USUAL, &ours_usual, &rr_usual), row(PROMPT, &ours, &rr)])
}

fn a_batch_is_many_times_as_fast_as_calls_in_a_row(bench: &Bench) -> Result<Vec<Row>> {
    let calls = bench.scaled(20_000);
    // Each takes 40 ms and more with the broker's delays.
    let few = bench.scaled(200);
    let requests = bench.scratch("requests");
    let lines = (0..calls).map(|n| format!("{{\"caller\":\"iggy_pop_{n}\",\"callee\":\"david_bowie\"}}\n"));
    fs::write(&requests, lines.collect::<String>())?;
    let batch = |service: &CallService| {
        let mut command = bench.rtcomm(&format!("call --jobs 256 --broker {} --batch", service.url()));
        command.arg(&requests);
        command
    };
    let prompt = CallService::start(&bench.scratch, Delay::None)?;
    let usual = CallService::start(&bench.scratch, Delay::Default)?;
    let in_a_row =
        |service: &CallService, qos: u8, count| bench.own(&format!("bare-call {} {qos} {count}", service.port()));
    let [ours, row_0, row_1, bound, ours_usual, row_usual] = side_by_side(
        bench.rounds,
        &[
            bench.printer(|| batch(&prompt), calls),
            bench.printer(|| in_a_row(&prompt, 0, calls), 0),
            bench.printer(|| in_a_row(&prompt, 1, calls), 0),
            bench.printer(|| bench.own(&format!("bare-batch {} 256 {calls}", prompt.port())), 0),
            bench.printer(|| batch(&usual), calls),
            bench.printer(|| in_a_row(&usual, 1, few), 0),
        ],
    )?;
    let row = |broker: &str, against, figure, unit, goal, from| Row {
        what: format!("`call --batch` of {}, `--jobs 256`, {broker}", thousands(calls.into())),
        against,
        figure,
        unit,
        goal: AtLeast(goal),
        from,
    };
    let rates = |ours: &Runs, theirs: &Runs, count| format!("{} and {}", rate(calls, ours), rate(count, theirs));
    let share = f64::from(calls) / f64::from(few);
    let times = share * row_usual.times_of(&ours_usual);
    let in_a_row_0 = "calls in a row on one connection, QoS 0";
    let in_a_row_1 = "calls in a row on one connection, QoS 1";
    let of_bound = format!("{}; a bare socket with 256 in flight: {}", rate(calls, &ours), rate(calls, &bound));
    Ok(vec![
        row(USUAL, "", f64::from(calls) / ours_usual.wall(), PerSecond, 10_000.0, rate(calls, &ours_usual)),
        row(USUAL, in_a_row_1, times, Times, 10.0, rates(&ours_usual, &row_usual, few)),
        row(PROMPT, "", f64::from(calls) / ours.wall(), PerSecond, 10_000.0, of_bound),
        row(PROMPT, in_a_row_1, row_1.times_of(&ours), Times, 10.0, rates(&ours, &row_1, calls)),
        row(PROMPT, in_a_row_0, row_0.times_of(&ours), Times, 10.0, rates(&ours, &row_0, calls)),
    ])
}

fn recorded_files_are_read_faster_than_by_general_tools(bench: &Bench) -> Result<Vec<Row>> {
    let records = bench.scaled(2_000_000);
    let busy = records / ONE_IN;
    let file = bench.scratch(&format!("recorded-{records}.jsonl"));
    events::record(&file, records)?;
    let on_file = |mut command: Command| {
        command.arg(&file);
        command
    };
    let select = || on_file(bench.rtcomm(&format!("tail --failed --from {BUSY} --json")));
    let jq_select = || on_file(jq("-c", &format!(r#"select(.action=="failed" and .from=="{BUSY}")"#)));
    // The rarer one first: the second then reads next to nothing.
    let find = format!(r#"rg -F '"from":"{BUSY}"' "$0" | rg -F '"action":"failed"'"#);
    let rg = || on_file(shell(&find));
    let pretty = || on_file(bench.rtcomm("tail --color never"));
    let jq_pretty = || on_file(jq("-r", COLUMNS));
    let [ours, by_rg, by_jq, ours_pretty, jq_pretty] = side_by_side(
        bench.rounds,
        &[
            bench.printer(select, busy),
            bench.printer(rg, busy),
            bench.printer(jq_select, busy),
            bench.printer(pretty, records),
            bench.printer(jq_pretty, records),
        ],
    )?;
    let end = || on_file(bench.rtcomm("tail --color never -n 10"));
    let tail = || on_file(words("tail -n 10"));
    let [our_end, tail_end] = side_by_side(bench.scaled(100), &[bench.printer(end, 10), bench.printer(tail, 10)])?;
    let row = |what: &str, against, figure, goal, ours: &Runs, theirs: &Runs| Row {
        what: what.to_owned(),
        against,
        figure,
        unit: Times,
        goal,
        from: format!("{} and {}", time(ours), time(theirs)),
    };
    let selecting = "`tail FILE --failed --from X --json`";
    let size = Megabytes.show(megabytes(&file)?);
    Ok(vec![
        row(selecting, "`jq -c 'select(…)'`", by_jq.times_of(&ours), AtLeast(30.0), &ours, &by_jq),
        row(selecting, "`rg -F` for the two substrings", ours.times_of(&by_rg), AtMost(2.5), &ours, &by_rg),
        row(
            "`tail FILE`",
            "`jq -r` with the same columns",
            jq_pretty.times_of(&ours_pretty),
            AtLeast(15.0),
            &ours_pretty,
            &jq_pretty,
        ),
        row(
            &format!("`tail -n 10 FILE` ({size})"),
            "`tail -n 10 FILE`",
            our_end.times_of(&tail_end),
            AtMost(2.0),
            &our_end,
            &tail_end,
        ),
    ])
}

fn it_starts_and_ends_at_once(bench: &Bench) -> Result<Vec<Row>> {
    let (mut to_ready, mut to_gone) = (Vec::new(), Vec::new());
    for _ in 0..bench.scaled(100) {
        let mut command = Command::new(&bench.rtcomm);
        command.args(["watch", "--broker", &bench.blaster.url()]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::spawn(command)?;
        let ready = process.says("ready")?;
        to_ready.push(ready - process.began());
        let asked = Instant::now();
        process.terminate()?;
        to_gone.push(process.finish(Some(asked))?.wall);
    }
    let millis = |times: Vec<Duration>| median(times.iter().map(|time| time.as_secs_f64() * 1000.0));
    let row = |what: &str, against, figure, goal, from: &str| Row {
        what: what.to_owned(),
        against,
        figure,
        unit: Millis,
        goal: AtMost(goal),
        from: from.to_owned(),
    };
    Ok(vec![
        row("`rtcomm --version`", "", version_millis(bench)?, 2.0, "by `hyperfine -N`"),
        row("start to `ready` on loopback", "", millis(to_ready), 8.0, ""),
        row("SIGTERM to gone", "", millis(to_gone), 50.0, ""),
    ])
}

fn version_millis(bench: &Bench) -> Result<f64> {
    let results = bench.scratch("version.json");
    let mut hyperfine = words("hyperfine -N --style none --warmup 20 --runs 200 --export-json");
    hyperfine.arg(&results).arg(format!("'{}' --version", bench.rtcomm.display()));
    output(hyperfine)?;
    let results: serde_json::Value = serde_json::from_slice(&fs::read(results)?)?;
    results["results"][0]["median"].as_f64().map(|seconds| seconds * 1000.0).context("hyperfine reports no median")
}

fn the_binary_is_small(bench: &Bench) -> Result<Vec<Row>> {
    let folder = bench.scratch("without-demo");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--locked", "--no-default-features", "--bin", "rtcomm"]);
    cargo.arg("--target-dir").arg(&folder).current_dir(env!("CARGO_MANIFEST_DIR"));
    output(cargo)?;
    let row = |what: &str, file: &Path, goal| -> Result<Row> {
        Ok(Row {
            what: what.to_owned(),
            against: "",
            figure: megabytes(file)?,
            unit: Megabytes,
            goal: AtMost(goal),
            from: String::new(),
        })
    };
    Ok(vec![
        row("binary, stripped, without `demo`", &folder.join("release/rtcomm"), 3.0)?,
        row("binary, stripped, with `demo`", &bench.rtcomm, 8.0)?,
    ])
}

/// Counts the lines that come out of a pipe.
struct LineCount {
    counts: Receiver<usize>,
    lines: usize,
}

impl LineCount {
    fn of(mut pipe: ChildStdout) -> Self {
        let (sender, counts) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                if sender.send(memchr::memchr_iter(b'\n', &buffer[..n]).count()).is_err() {
                    return;
                }
            }
        });
        Self { counts, lines: 0 }
    }

    /// Waits until so many have come.
    fn reach(&mut self, lines: u32) -> Result<()> {
        while self.lines < lines as usize {
            self.lines += self.counts.recv_timeout(Duration::from_secs(60)).context("the lines ended early")?;
        }
        Ok(())
    }
}

fn megabytes(file: &Path) -> Result<f64> {
    let kilobytes = file.metadata()?.len() / 1000;
    Ok(f64::from(u32::try_from(kilobytes)?) / 1000.0)
}

fn words(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

fn jq(flag: &str, program: &str) -> Command {
    let mut command = Command::new("jq");
    command.args([flag, program]);
    command
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    command
}
