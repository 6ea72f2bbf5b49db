//! Keeps the project in plain technical English: names and phrases that were replaced do not come back.
//!
//! CONTRIBUTING.md has the rules. If a match is right in its place, change the pattern, not the text.

use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Old names of types, functions, constants and files.
const NAMES: &[&str] = &[
    "Voice|Desk|Ears|Bell|Wish|Tally|Keeper|Passage|Vocabulary|Inbox|Happening",
    "InOrder|NotOurs|Backlog|Pointless|Needle|WORLD",
    "gone_or|hang_up|where_to_go_on|put_aside|for_rest|for_goodbye|from_where|in_order",
    "suspect_a_namesake|write_what_waits|way_to_broker|pass_over_all_but|take_answers",
    "GOODBYE|HURRY|PATIENCE|SOON|APART|CAST|STARS|LOOK_AGAIN|UNCHECKED",
    "unheard|untold|namesake|logfile|canvas|wishes",
    "stands_still|typed_topics_win",
    "Tap|Refusal|Fate|Tell|Told|Asking|Tone|Paint|Tape|Story|for_end|complaint|mend|vitals|mischief|hear",
];

/// Phrases, in any case. CONTRIBUTING.md says what to write instead.
const PHRASES: &[&str] = &[
    "goodbye|whoever|so-manieth|told|tells|for ever|colour|colours|coloured|licence|licences",
    "where (nobody|there is|it is|they are)",
    "is none (from|of|that)",
    "that (is|are) none|nothing is no|is no proxy",
    "a word of|no word about|turned away|gives? something back",
    "(error|gap|hint|warning|reason|reply) says so",
    "(it|that|which|what|line|message|payload|input|output|answer) is no (JSON|event|request|reply|record|number|topic|UTF-8|URL|file)",
    "tell of",
    "says of",
    "near enough|in the midst|by way of|what became of|what is to come",
    "somebody made to hurt|stands still from here|what was asked for|what is to be said",
];

/// Returns the lines of tracked files that match a pattern as whole words.
fn grep(patterns: &[&str], flags: &[&str]) -> String {
    let mut git = Command::new("git");
    git.current_dir(ROOT).args(["grep", "--line-number", "--word-regexp", "--extended-regexp", "-I"]).args(flags);
    for pattern in patterns {
        git.args(["-e", pattern]);
    }
    // Files that are not ours, test input, and this list.
    git.args(["--", ".", ":!LICENSE", ":!*.lock", ":!tests/data", ":!tests/it/docs/language.rs"]);
    let found = git.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&found).into_owned()
}

#[test]
fn replaced_names_and_phrases_do_not_come_back() {
    let found = grep(NAMES, &[]) + &grep(PHRASES, &["--ignore-case"]);
    assert!(found.is_empty(), "see the style in CONTRIBUTING.md:\n{found}");
}
