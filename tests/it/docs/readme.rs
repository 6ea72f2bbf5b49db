//! Runs the commands in README, `docs/` and the man pages, and compares README's tables with the program.
//!
//! In README and `docs/`, the lines of a `console` block are run one by one, an `sh` block as one script if it uses `rtcomm`, and the lines
//! of a `crontab` block without their times. `# exits N` is the expected status if it is not 0. Inline code that begins with
//! `rtcomm ` is run too.

use std::sync::{Mutex, PoisonError};
use std::thread;

use super::shown::Sandbox;
use super::{STATUSES, man, meaning};

/// Number of sandboxes that run at once. They mostly wait.
const WORKERS: usize = 8;

/// The commands for one sandbox.
type Task<'a> = Vec<Shown<'a>>;

/// A command, as shown.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// Its document and line.
    pub(super) at: String,
    pub(super) command: String,
    status: Option<u8>,
    /// The sample of its output.
    pub(super) sample: Vec<&'a str>,
}

impl Shown<'_> {
    fn new(at: String, text: &str) -> Self {
        let (command, status) = match text.rsplit_once("# exits ") {
            None => (text, None),
            Some((command, status)) => (command, Some(status.trim().parse().expect("`# exits N` names a status"))),
        };
        Self { at, command: command.trim().to_owned(), status, sample: Vec::new() }
    }

    /// Whether it runs `rtcomm`.
    fn is_ours(&self) -> bool {
        self.command.split(|c: char| c.is_whitespace() || "(;|&".contains(c)).any(|word| word == "rtcomm")
    }

    /// Whether its output is always the same, so that the sample must match.
    fn is_exact(&self) -> bool {
        self.command.contains("--dry-run") && !self.command.contains("rtcomm call")
    }
}

#[test]
fn every_command_in_readme_and_docs_works() {
    let documents = documents();
    let mut tasks: Vec<_> = documents.iter().flat_map(|(name, text)| commands_of(name, text)).collect();
    for task in &mut tasks {
        task.retain(Shown::is_ours);
    }
    tasks.retain(|task| !task.is_empty());
    let count = tasks.iter().map(Vec::len).sum::<usize>();
    assert!(count > 40, "only {count} commands are found: has the form of the documents changed?");
    run_all(tasks);
}

#[test]
fn every_example_in_the_man_pages_works() {
    run_all(
        man::examples()
            .map(|lines| lines.into_iter().map(|line| Shown::new("man page".to_owned(), line)).collect())
            .collect(),
    );
}

#[test]
fn every_example_in_help_works() {
    let mut tool = rtcomm::internals::command();
    tool.build();
    let examples = |command: &clap::Command| {
        let text = command.get_before_help().map(ToString::to_string).unwrap_or_default();
        let lines = text.lines().filter(|line| line.trim_start().starts_with("rtcomm "));
        lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let examples: Vec<_> = tool.get_subcommands().map(examples).collect();
    assert_eq!(examples.iter().map(Vec::len).max(), Some(3), "each command has examples");
    // A sandbox for each: after the first call, its endpoints are busy.
    run_all(examples.iter().flatten().map(|line| vec![Shown::new("help".to_owned(), line)]).collect());
}

#[test]
fn a_topic_in_readme_matches_the_command_next_to_it() {
    let readme = readme();
    let mut sandbox = Sandbox::new();
    let mut count = 0;
    for row in readme.lines().filter(|line| line.starts_with('|')) {
        let codes: Vec<_> = inline_code(row).collect();
        if let [topic, command] = codes.as_slice()
            && topic.starts_with("/rtcomm/")
            && command.starts_with("rtcomm ")
        {
            let printed = sandbox.run(&format!("{command} --dry-run"), None).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(printed, format!("{topic}\n"), "{command}");
            count += 1;
        }
    }
    assert!(count >= 7, "only {count} rows with a topic and a command are found in README");
}

#[test]
fn the_statuses_in_readme_match_the_man_pages() {
    let readme = readme();
    let rows: Vec<_> =
        readme.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()).collect();
    let expected: Vec<_> =
        STATUSES.iter().map(|status| format!("| {} | {} |", status.code(), meaning(*status))).collect();
    assert_eq!(rows, expected);
}

#[test]
fn readme_names_the_required_rust_version() {
    assert!(readme().contains(concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"), " or newer")));
}

pub(super) fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("there is a README")
}

/// README and the files of `docs/`: each one's name and text.
pub(super) fn documents() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let files = std::fs::read_dir(folder).expect("a directory").map(|file| file.expect("a file").path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let mut documents: Vec<_> = files
        .map(|path| {
            let name = path.file_name().expect("a file has a name").to_string_lossy();
            (format!("docs/{name}"), std::fs::read_to_string(&path).expect("it can be read"))
        })
        .collect();
    documents.push(("README.md".to_owned(), readme()));
    documents.sort();
    documents
}

/// The commands in a document.
fn commands_of<'a>(name: &str, text: &'a str) -> Vec<Task<'a>> {
    let mut tasks = Vec::new();
    let mut lines = text.lines().zip((1..).map(|line: usize| format!("{name} line {line}")));
    while let Some((line, at)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|(line, _)| *line != "```").collect();
            tasks.push(match language {
                "console" => console(&block),
                "sh" => vec![Shown::new(at, &block.iter().map(|(line, _)| *line).collect::<Vec<_>>().join("\n"))],
                "crontab" => block.iter().filter_map(|(line, at)| cron(line, at)).collect(),
                _ => Vec::new(),
            });
        } else {
            let commands = inline_code(line).filter(|code| code.starts_with("rtcomm "));
            tasks.extend(commands.map(|code| vec![Shown::new(at.clone(), &code)]));
        }
    }
    tasks
}

/// The commands in a document that have a sample of their output.
pub(super) fn samples_of<'a>(name: &str, text: &'a str) -> impl Iterator<Item = Shown<'a>> {
    commands_of(name, text).into_iter().flatten().filter(|shown| !shown.sample.is_empty())
}

/// The prompts of a console block, with their output.
fn console<'a>(block: &[(&'a str, String)]) -> Task<'a> {
    let mut task: Task<'a> = Vec::new();
    for (line, at) in block {
        match (line.strip_prefix("$ "), task.last_mut()) {
            (Some(command), _) => task.push(Shown::new(at.clone(), command)),
            (None, Some(shown)) => shown.sample.push(line),
            (None, None) => panic!("{at}: a console block begins with a prompt"),
        }
    }
    task
}

/// The command of a line of a crontab.
fn cron<'a>(line: &str, at: &str) -> Option<Shown<'a>> {
    if line.starts_with('#') || !line.contains("rtcomm ") {
        return None;
    }
    let command = line.splitn(6, ' ').nth(5).expect("five times and a command");
    // cron treats a bare percent sign as a line end.
    Some(Shown::new(at.to_owned(), &command.replace("\\%", "%")))
}

/// The pieces of inline code in a line.
fn inline_code(line: &str) -> impl Iterator<Item = String> {
    line.split('`').skip(1).step_by(2).map(|code| code.replace("\\|", "|"))
}

fn run_all(tasks: Vec<Task<'_>>) {
    let tasks = Mutex::new(tasks.into_iter());
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(task) = next(&tasks) {
                    if let Err(fault) = run(&task) {
                        faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// Takes the next task; the lock is released at once.
fn next<'a>(tasks: &Mutex<std::vec::IntoIter<Task<'a>>>) -> Option<Task<'a>> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner).next()
}

fn run(task: &[Shown<'_>]) -> Result<(), String> {
    let mut sandbox = Sandbox::new();
    for shown in task {
        let Shown { at, command, status, sample } = shown;
        let printed = sandbox.run(command, *status).map_err(|error| format!("{at}: {error}"))?;
        if shown.is_exact() && !sample.is_empty() && !printed.lines().eq(sample.iter().copied()) {
            return Err(format!("{at}: {command} prints\n{printed}"));
        }
    }
    sandbox.close()
}
