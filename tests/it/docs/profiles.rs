//! Completes `--profile` with the names of the profiles, which the generator of the completions does not know.

use std::process::Command;

use clap_complete::Shell;

use crate::support::broker::installed;

/// For each shell: a function, and what calls it in place of the generated completion of files.
struct Completion {
    function: &'static str,
    /// The line before which the function is inserted. The script begins with it if it is empty.
    before: &'static str,
    /// In a line with `marker`, or in the line after it, `from` becomes `to`.
    marker: &'static str,
    from: &'static str,
    to: &'static str,
}

const BASH: Completion = Completion {
    function: r#"_rtcomm_profiles() {
    local file name
    COMPREPLY=()
    for file in "${XDG_CONFIG_HOME:-$HOME/.config}"/rtcomm/*.env; do
        name="${file##*/}"
        name="${name%.env}"
        if [[ -e "$file" && "$name" == "$1"* ]]; then
            COMPREPLY+=("$(printf %q "$name")")
        fi
    done
}

"#,
    before: "_rtcomm() {",
    marker: "--profile)",
    from: r#"COMPREPLY=($(compgen -f "${cur}"))"#,
    to: r#"_rtcomm_profiles "${cur}""#,
};

const ZSH: Completion = Completion {
    function: r#"(( $+functions[_rtcomm_profiles] )) ||
_rtcomm_profiles() {
    local -a profiles
    profiles=("${XDG_CONFIG_HOME:-$HOME/.config}"/rtcomm/*.env(N:t:r))
    compadd -a profiles
}

"#,
    before: "if [ \"$funcstack[1]\" = \"_rtcomm\" ]; then",
    marker: "'--profile=",
    from: ":NAME:_default'",
    to: ":NAME:_rtcomm_profiles'",
};

const FISH: Completion = Completion {
    function: r#"function __fish_rtcomm_profiles
	set -l config $XDG_CONFIG_HOME
	test -n "$config"; or set config ~/.config
	for file in $config/rtcomm/*.env
		string replace -r '.*/(.*)\.env$' '$1' -- $file
	end
end

"#,
    before: "",
    marker: " -l profile ",
    from: " -r",
    to: " -x -a \"(__fish_rtcomm_profiles)\"",
};

/// Returns the script with a completion of `--profile`.
pub(super) fn complete(shell: Shell, script: &str) -> String {
    let Completion { function, before, marker, from, to } = match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        other => panic!("no completion for {other}"),
    };
    let mut lines: Vec<String> = script.split_inclusive('\n').map(str::to_owned).collect();
    for at in 0..lines.len() {
        if lines[at].contains(marker) {
            let line = lines[at..].iter_mut().take(2).find(|line| line.contains(from));
            let line = line.unwrap_or_else(|| panic!("{shell}: no completion of files after {marker}"));
            *line = line.replacen(from, to, 1);
        }
    }
    let at = lines.iter().position(|line| line.starts_with(before)).unwrap_or_else(|| panic!("{shell}: no {before}"));
    lines.insert(at, function.to_owned());
    lines.concat()
}

#[test]
fn the_names_of_profiles_are_completed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let folder = dir.path().join("rtcomm");
    std::fs::create_dir(&folder).expect("it can be made");
    for file in ["prod.env", "pre prod.env", "dev.env", "prod.txt", "$(touch harm).env"] {
        std::fs::write(folder.join(file), "").expect("it can be written");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/completions/rtcomm.bash");
    let line = r#". "$1"; COMP_WORDS=(rtcomm watch --profile "$2"); COMP_CWORD=3; _rtcomm rtcomm "$2" --profile
                  printf '%s\n' "${COMPREPLY[@]}""#;
    for (typed, expected) in
        [("pr", "pre\\ prod\nprod\n"), ("", "\\$\\(touch\\ harm\\)\ndev\npre\\ prod\nprod\n"), ("x", "\n")]
    {
        let mut bash = Command::new(installed("bash"));
        bash.args(["-c", line, "bash", script, typed]).current_dir(&dir);
        bash.env_clear().env("LC_ALL", "C").env("XDG_CONFIG_HOME", dir.path());
        let output = bash.output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!dir.path().join("harm").exists(), "a name is not run");
}
