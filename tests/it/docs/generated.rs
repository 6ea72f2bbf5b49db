//! Compares `man/`, `completions/` and README's table of environment variables with the command-line definition. If `UPDATE` is
//! set in the environment, writes them instead.

use std::fs;
use std::path::Path;

use super::readme::readme;
use super::{completions, man};

#[test]
fn man_pages_match_the_commands() {
    compare("man", &man::pages());
}

#[test]
fn completions_match_the_commands() {
    compare("completions", &completions::scripts());
}

#[test]
fn the_environment_table_in_readme_matches_the_flags() {
    const HEAD: &str = "| Name | Flag |\n| --- | --- |\n";
    let readme = readme();
    let (before, table) = readme.split_once(HEAD).expect("README has a table of the environment");
    let (_, after) = table.split_once("\n\n").expect("something follows the table");
    let fresh = format!("{before}{HEAD}{}\n\n{after}", environment().join("\n"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"), fresh).expect("the repository can be written to");
        return;
    }
    assert!(
        readme == fresh,
        "the table of the environment in README is stale: run `make man`, and commit what changed"
    );
}

/// The environment variables of flags, as rows of a table.
fn environment() -> Vec<String> {
    let mut tool = rtcomm::internals::command();
    tool.build();
    let mut rows = Vec::new();
    for arg in tool.get_subcommands().flat_map(clap::Command::get_arguments) {
        let (Some(name), Some(flag)) = (arg.get_env().and_then(|it| it.to_str()), arg.get_long()) else { continue };
        let row = format!("| `{name}` | `--{flag}` |");
        if rows.contains(&row) {
            continue;
        }
        rows.push(row);
        if name == "RTCOMM_PASSWORD_FILE" {
            rows.push("| `RTCOMM_PASSWORD` | none: the password itself |".to_owned());
        }
    }
    rows
}

/// Checks that the directory contains exactly these files.
fn compare(dir: &str, files: &[(String, String)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    if std::env::var_os("UPDATE").is_some() {
        // It may not exist yet.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("the repository can be written to");
        for (name, text) in files {
            fs::write(path.join(name), text).expect("the repository can be written to");
        }
        return;
    }
    for (name, text) in files {
        let committed = fs::read_to_string(path.join(name)).unwrap_or_default();
        let line = committed.lines().zip(text.lines()).take_while(|(old, new)| old == new).count() + 1;
        assert!(
            committed == *text,
            "{dir}/{name} is stale from line {line} on: run `make man`, and commit what changed"
        );
    }
    let mut found: Vec<_> =
        fs::read_dir(&path).expect("a directory").map(|it| it.expect("a file").file_name()).collect();
    found.sort();
    let mut expected: Vec<_> = files.iter().map(|(name, _)| std::ffi::OsString::from(name)).collect();
    expected.sort();
    assert_eq!(found, expected, "{dir} holds other files than it should: run `make man`");
}
