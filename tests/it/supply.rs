//! Dependencies come only from the public registry, with licenses that `deny.toml` allows. `cargo deny` checks more if it is
//! installed.

use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{name}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the quoted texts of a list in `deny.toml`.
fn quoted(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// Returns the licenses that `deny.toml` allows for a crate.
fn allowed<'a>(deny: &'a str, name: &str) -> Vec<&'a str> {
    let list = deny.split_once("\nallow = [").expect("a list of licenses").1.split_once(']').expect("a list ends").0;
    let own = deny.lines().filter(|line| line.contains(&format!("{{ crate = \"{name}\", allow = ")));
    let own = own.flat_map(|line| quoted(line.split_once("allow = ").map_or("", |(_, list)| list)));
    quoted(list).into_iter().chain(own).collect()
}

/// Returns whether these licenses satisfy an expression [SPDX 2.3, annex D]. AND binds tighter than OR.
fn is_met(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    // Treat a license and its exception as one word.
    let spaced = spaced.replace(" WITH ", "\u{a0}WITH\u{a0}");
    let words: Vec<&str> = spaced.split(' ').filter(|word| !word.is_empty()).collect();
    let (met, rest) = any_of(&words, allowed);
    assert!(rest.is_empty(), "{expression} is understood");
    met
}

fn any_of<'a, 'w>(words: &'a [&'w str], allowed: &[&str]) -> (bool, &'a [&'w str]) {
    let (mut met, mut rest) = all_of(words, allowed);
    while let Some((&"OR", more)) = rest.split_first() {
        let (next, after) = all_of(more, allowed);
        (met, rest) = (met || next, after);
    }
    (met, rest)
}

fn all_of<'a, 'w>(words: &'a [&'w str], allowed: &[&str]) -> (bool, &'a [&'w str]) {
    let (mut met, mut rest) = one_of(words, allowed);
    while let Some((&"AND", more)) = rest.split_first() {
        let (next, after) = one_of(more, allowed);
        (met, rest) = (met && next, after);
    }
    (met, rest)
}

fn one_of<'a, 'w>(words: &'a [&'w str], allowed: &[&str]) -> (bool, &'a [&'w str]) {
    match words.split_first() {
        Some((&"(", inner)) => {
            let (met, rest) = any_of(inner, allowed);
            (met, rest.strip_prefix(&[")"]).expect("a bracket is closed"))
        }
        Some((license, rest)) => (allowed.contains(&&*license.replace('\u{a0}', " ")), rest),
        None => panic!("an expression has a license"),
    }
}

#[test]
fn license_expressions_are_parsed() {
    let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception"];
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND MIT", true),
        ("GPL-3.0 OR MIT AND BSL-1.0", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn every_dependency_has_an_allowed_license() {
    let cargo = |args: &[&str]| {
        let output = Command::new(env!("CARGO")).args(args).current_dir(ROOT).output().expect("cargo runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("cargo prints text")
    };
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo prints its host");
    let metadata = cargo(&["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 50, "the dependencies are there");
    let deny = file("deny.toml");
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let license = package["license"].as_str().unwrap_or_else(|| panic!("{name} names no license"));
        assert!(is_met(license, &allowed(&deny, name)), "{name}: {license} is not allowed by deny.toml");
    }
}

#[test]
fn every_dependency_comes_from_the_public_registry_with_its_checksum() {
    for (lock, own) in [("Cargo.lock", &["rtcomm"][..]), ("fuzz/Cargo.lock", &["rtcomm", "rtcomm-fuzz"])] {
        let text = file(lock);
        for package in text.split("[[package]]").skip(1) {
            let value = |key: &str| {
                let head = format!("{key} = \"");
                package.lines().find_map(|line| line.strip_prefix(&head)?.strip_suffix('"'))
            };
            let name = value("name").expect("a name");
            if own.contains(&name) {
                assert_eq!(value("source"), None, "{lock}: {name} is our own");
            } else {
                assert_eq!(value("source"), Some(REGISTRY), "{lock}: {name}");
                assert!(value("checksum").is_some_and(|sum| sum.len() == 64), "{lock}: {name} has a checksum");
            }
        }
    }
}
