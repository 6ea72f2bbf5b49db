//! Makes the completions: what the generator of clap gives, with values for flags, and files only where a file is expected.

use std::fs;
use std::process::Command;

use clap::builder::{PossibleValuesParser, ValueHint};
use clap::{Arg, Command as Definition};
use clap_complete::Shell;
use clap_complete::aot::Generator as _;

use super::profiles;
use crate::support::broker::installed;

/// Values of flags that accept more than a fixed list.
const VALUES: [(&str, &[&str]); 6] = [
    ("qos", &["0", "1", "2"]),
    ("lines", &["10", "100", "all"]),
    ("since", &["1h", "today", "yesterday"]),
    ("until", &["1h", "today", "yesterday"]),
    ("calls", &["answer", "fail", "silent", "delay=2s"]),
    ("state", &["available", "busy", "away"]),
];

/// The scripts: file name and text.
pub(super) fn scripts() -> [(String, String); 3] {
    [Shell::Bash, Shell::Zsh, Shell::Fish].map(|shell| {
        let mut script = Vec::new();
        let mut definition = definition();
        clap_complete::generate(shell, &mut definition, "rtcomm", &mut script);
        let mut script = String::from_utf8(script).expect("a script is text");
        match shell {
            Shell::Bash => script = with_files(&script, &definition),
            Shell::Fish => script += &without_files(&definition),
            _ => {}
        }
        (shell.file_name("rtcomm"), profiles::complete(shell, &script))
    })
}

/// The commands with hints on their values.
fn definition() -> Definition {
    let mut tool = rtcomm::internals::command();
    tool.build();
    tool.mut_subcommands(|command| without_hidden(command).mut_args(with_hint))
}

/// Removes flags that are not in the help. The generator offers them.
fn without_hidden(command: Definition) -> Definition {
    if !command.get_arguments().any(Arg::is_hide_set) {
        return command;
    }
    let visible: Vec<Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned().collect();
    let about = command.get_about().expect("a command has a description").clone();
    let bin_name = command.get_bin_name().expect("the tool is built").to_owned();
    Definition::new(command.get_name().to_owned()).bin_name(bin_name).about(about).disable_help_flag(true).args(visible)
}

fn with_hint(arg: Arg) -> Arg {
    let values = VALUES.iter().find(|(flag, _)| arg.get_long() == Some(flag)).map(|(_, values)| *values);
    if let Some(values) = values {
        return arg.value_parser(PossibleValuesParser::new(values));
    }
    let has_values = !arg.get_possible_values().is_empty();
    let hint = match arg.get_value_hint() {
        ValueHint::AnyPath if arg.get_long() == Some("capath") => ValueHint::DirPath,
        ValueHint::AnyPath => ValueHint::FilePath,
        // `profiles` completes it.
        ValueHint::Unknown if arg.get_action().takes_values() && !has_values && arg.get_long() != Some("profile") => {
            ValueHint::Other
        }
        hint => hint,
    };
    arg.value_hint(hint)
}

/// Whether the arguments of a command are files.
fn takes_files(command: &Definition) -> bool {
    command.get_positionals().any(|arg| arg.get_value_hint() == ValueHint::FilePath)
}

/// Has bash complete files as arguments of commands that take files. The generator offers flags there.
fn with_files(script: &str, tool: &Definition) -> String {
    const FLAGS_FIRST: &str = " || ${COMP_CWORD} -eq 2 ]]";
    const FLAGS_LAST: &str =
        "            COMPREPLY=( $(compgen -W \"${opts}\" -- \"${cur}\") )\n            return 0\n            ;;\n";
    const FILES: &str = "            compopt -o filenames\n            local IFS=$'\\n'\n            COMPREPLY=($(compgen -f -- \"${cur}\"))\n            return 0\n            ;;\n";
    let mut script = script.to_owned();
    let takes_files =
        |command: &&Definition| command.get_positionals().any(|it| it.get_value_hint() == ValueHint::FilePath);
    for command in tool.get_subcommands().filter(takes_files) {
        let begin =
            script.find(&format!("        rtcomm__subcmd__{})\n", command.get_name())).expect("a case of its own");
        let (before, rest) = script.split_at(begin);
        let rest = rest.replacen(FLAGS_FIRST, " ]]", 1).replacen(FLAGS_LAST, FILES, 1);
        assert!(rest.contains(FILES), "the generator has changed");
        script = format!("{before}{rest}");
    }
    script
}

/// Has fish complete the values of arguments, and no files if none is expected. The generator knows only flags.
fn without_files(tool: &Definition) -> String {
    let line = |command: &Definition| {
        let values = command.get_positionals().flat_map(Arg::get_possible_values);
        let values: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
        let name = command.get_name();
        format!("complete -c rtcomm -n \"__fish_rtcomm_using_subcommand {name}\" -f -a \"{}\"\n", values.join(" "))
    };
    let commands = tool.get_subcommands().filter(|command| command.get_name() != "help" && !takes_files(command));
    commands.map(line).collect()
}

#[test]
fn fish_offers_files_and_values_each_in_its_place() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("events.jsonl"), "").expect("it can be written");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/completions/rtcomm.fish");
    for (line, expected) in [
        ("completions ", "bash fish zsh"),
        ("man wa", "watch"),
        ("watch ", ""),
        ("watch --from ", ""),
        ("watch --qos ", "0 1 2"),
        ("call ", ""),
        ("call --batch ", "events.jsonl"),
        ("tail ", "events.jsonl"),
    ] {
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", "source $argv[1]; complete -C $argv[2]", script, &format!("rtcomm {line}")]);
        let Ok(output) = fish.env("HOME", dir.path()).current_dir(&dir).output() else {
            // Few machines have it.
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let mut offered: Vec<&str> = text.lines().filter_map(|line| line.split('\t').next()).collect();
        offered.sort_unstable();
        assert_eq!(offered.join(" "), expected, "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn bash_offers_files_values_and_flags_each_in_its_place() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for file in ["events.jsonl", "with space.jsonl"] {
        fs::write(dir.path().join(file), "").expect("it can be written");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/completions/rtcomm.bash");
    // The real one works only while bash completes.
    let line = r#"compopt() { :; }; . "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
                  _rtcomm rtcomm "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
                  printf '%s\n' "${COMPREPLY[@]}""#;
    let offered = |words: &[&str]| {
        let mut bash = Command::new(installed("bash"));
        bash.args(["-c", line, "bash", script, "rtcomm"]).args(words).current_dir(&dir).env_clear().env("LC_ALL", "C");
        let output = bash.output().expect("it runs");
        assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let mut offered: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        offered.retain(|line| !line.is_empty());
        offered.sort();
        offered
    };
    let files = ["events.jsonl", "with space.jsonl"];
    for (words, expected) in [
        (&["tail", ""][..], &files[..]),
        (&["tail", "--failed", "ev"], &files[..1]),
        (&["call", "--batch", ""], &files),
        (&["watch", "--output", "w"], &files[1..]),
        (&["watch", "--qos", ""], &["0", "1", "2"]),
        (&["watch", "--mqtt-version", ""], &["3.1.1", "5", "auto"]),
        (&["tail", "--summary", ""], &["all", "app", "endpoint", "reason"]),
        (&["demo", "--calls", "a"], &["answer"]),
        (&["completions", "b"], &["bash"]),
        (&["man", "w"], &["watch"]),
        (&["watch", "--from", ""], &[]),
        (&["call", "--timeout", ""], &[]),
        (&["wat"], &["watch"]),
        (&["-b", "mqtt://h", "tail", "--fo"], &["--follow", "--for"]),
    ] {
        let offered = offered(words);
        let offered: Vec<&str> = offered.iter().map(|word| word.split(' ').next().unwrap_or(word)).collect();
        let expected: Vec<&str> = expected.iter().map(|word| word.split(' ').next().unwrap_or(word)).collect();
        assert_eq!(offered, expected, "{words:?}");
    }
}

#[test]
fn the_program_prints_the_files_that_a_package_installs() {
    let read = |file: &str| fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).expect("it is there");
    for (shell, file) in [("bash", "rtcomm.bash"), ("zsh", "_rtcomm"), ("fish", "rtcomm.fish")] {
        let outcome = crate::support::rtcomm(&format!("completions {shell}")).run().has_status(0);
        outcome.check(outcome.stdout == read(&format!("completions/{file}")), file);
    }
    let pages = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/man")).expect("a directory");
    for page in pages.map(|page| page.expect("a file").file_name().into_string().expect("a name")) {
        let command = page.trim_end_matches(".1").trim_start_matches("rtcomm").trim_start_matches('-');
        let outcome = crate::support::rtcomm(&format!("man {command}")).run().has_status(0);
        outcome.check(outcome.stdout == read(&format!("man/{page}")), &page);
    }
}

#[test]
fn a_terminal_shows_a_page_or_the_help_without_man() {
    let shown = |line: &str| crate::support::terminal(80, line).env("MANPAGER", "cat").run().has_status(0).stdout;
    let without_man = "PATH=${PATH%%:*} rtcomm man watch";
    let help = shown(without_man);
    assert!(help.contains("Usage:") && help.contains("--fsync"), "{help}");
    if Command::new("man").arg("--version").output().is_ok_and(|output| output.status.success()) {
        let page = shown("rtcomm man watch");
        assert!(page.contains("RTCOMM-WATCH(1)"), "{page}");
    }
}
