//! The Debian package: what it contains, and that the program, the man pages and the completions in it work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The files of the package, besides those of the documentation.
const FILES: [&str; 5] = [
    "bin/rtcomm",
    "share/bash-completion/completions/rtcomm",
    "share/fish/vendor_completions.d/rtcomm.fish",
    "share/zsh/vendor-completions/_rtcomm",
    "share/man/man1/rtcomm.1.gz",
];

/// Runs a command to its end, and returns its output.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// Makes the package, and returns its file.
fn package() -> PathBuf {
    // The flags of an outer make are not for this one.
    let mut make = Command::new("make");
    let printed = run(make.args(["--silent", "deb"]).current_dir(ROOT).env_remove("MAKEFLAGS").env_remove("RUSTFLAGS"));
    Path::new(ROOT).join(printed.lines().last().expect("it prints the file"))
}

#[test]
#[ignore = "builds the program for release: some minutes"]
fn the_package_works_where_it_is_unpacked() {
    let package = package();
    let dir = TempDir::new().expect("a temporary directory");
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(&package).arg(dir.path()));
    let usr = dir.path().join("usr");
    for file in FILES {
        assert!(usr.join(file).is_file(), "{file}");
    }
    let control = fs::read_to_string(dir.path().join("DEBIAN/control")).expect("a control file");
    for field in ["Depends: libc6", "libssl", "Installed-Size: ", "Maintainer: "] {
        assert!(control.contains(field), "{field} in\n{control}");
    }
    run(Command::new("md5sum").args(["--check", "--quiet", "DEBIAN/md5sums"]).current_dir(dir.path()));

    let program = usr.join("bin/rtcomm");
    let shown = run(Command::new(&program).args(["demo", "--listen", "127.0.0.1:0", "--interval", "20ms", "-c", "3"]));
    assert_eq!(shown.lines().count(), 3, "{shown}");
    let bytes = fs::read(&program).expect("it can be read");
    for path in [ROOT.to_owned(), std::env::var("HOME").unwrap_or_default() + "/"] {
        let is_inside = path.len() > 1 && bytes.windows(path.len()).any(|text| text == path.as_bytes());
        assert!(!is_inside, "the program contains {path}");
    }

    for page in fs::read_dir(usr.join("share/man/man1")).expect("man pages") {
        let page = page.expect("a man page").path();
        let text = run(Command::new("man").arg("-l").arg(&page).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100"));
        assert!(text.contains("SYNOPSIS") && text.contains("EXIT STATUS"), "{}", page.display());
    }
    let bash = r#". "$1"; COMP_WORDS=(rtcomm wa); COMP_CWORD=1; _rtcomm rtcomm wa rtcomm; echo "${COMPREPLY[@]}""#;
    let completed = run(Command::new("bash").args(["-c", bash, "bash"]).arg(usr.join(FILES[1])));
    assert_eq!(completed, "watch\n");
}
