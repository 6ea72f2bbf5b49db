//! Makes the section JSON LINES of the man pages from docs/json-lines.md.

use std::sync::LazyLock;

use clap_mangen::roff::{Roff, bold};
use regex::Regex;

use super::json_keys::{document, documented, documented_outcomes, section};
use super::man::{marked, paragraph, verbatim};

/// Maximum width of a sample line.
const WIDTH: usize = 74;

/// Makes the section with these parts of the document.
pub(super) fn chapter(headings: &[&str]) -> Roff {
    let mut roff = Roff::new();
    if headings.is_empty() {
        return roff;
    }
    roff.control("SH", ["JSON LINES"]);
    let document = document();
    let introduction = document.split("\n## ").next().unwrap_or_default();
    // The title is the section's.
    add(&mut roff, introduction.split_once('\n').map_or("", |(_, text)| text));
    paragraph(&mut roff, "Samples are wrapped here. In the output, each object is one line.");
    for heading in headings {
        roff.control("SS", [*heading]);
        add(&mut roff, section(&document, heading));
    }
    roff
}

/// Adds a part of the document. Understands the Markdown that the document uses.
fn add(roff: &mut Roff, part: &str) {
    for block in blocks(part) {
        match block.as_slice() {
            [first, ..] if first.starts_with("<!--") => {}
            ["```json", lines @ .., "```"] => {
                let wrapped: Vec<String> = lines.iter().flat_map(|line| wrap(line)).collect();
                verbatim(roff, &wrapped);
            }
            [first, ..] if first.starts_with("| key ") => {
                for key in documented(part) {
                    let meaning = sentence(&key.meaning);
                    let text = match key.present.as_str() {
                        "always" => meaning,
                        present => format!("{meaning} Present: {present}."),
                    };
                    entry(roff, &key.name, &text);
                }
            }
            [first, ..] if first.starts_with("| outcome ") => {
                for outcome in documented_outcomes(part) {
                    let text = format!("{} Exit status {}.", sentence(&outcome.meaning), outcome.status);
                    entry(roff, &outcome.name, &text);
                }
            }
            lines if lines[0].starts_with("- ") => {
                for item in lines.join(" ").trim_start_matches("- ").split(" - ") {
                    let (term, text) = item.split_once("**: ").expect("an item is `**term**: text`");
                    entry(roff, term.trim_start_matches('*'), &sentence(text.trim_end_matches([';', '.'])));
                }
            }
            lines => paragraph(roff, &plain(&lines.join(" "))),
        }
    }
}

fn entry(roff: &mut Roff, term: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text(marked(&plain(text)));
}

/// Splits a text at empty lines.
fn blocks(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let blocks: Vec<Vec<&str>> = lines.split(|line| line.is_empty()).map(<[&str]>::to_vec).collect();
    blocks.into_iter().filter(|block| !block.is_empty())
}

/// Capitalizes the first letter of a phrase, and ends it with a period.
fn sentence(phrase: &str) -> String {
    let (first, rest) = phrase.split_at(phrase.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}.", first.to_uppercase())
}

/// Replaces links by their texts, and removes the escapes of table cells.
fn plain(text: &str) -> String {
    static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[([^\]`]+)\]\([^)]+\)").expect("a pattern"));
    LINK.replace_all(text, "$1").replace("\\|", "|")
}

/// Breaks a JSON object between its keys.
fn wrap(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in line.replace(",\"", ",\n\"").lines() {
        let last = lines.last_mut().expect("one at least");
        if !last.is_empty() && last.chars().count() + part.chars().count() > WIDTH {
            lines.push(format!(" {part}"));
        } else {
            last.push_str(part);
        }
    }
    lines
}
