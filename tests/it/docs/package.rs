//! Checks the Debian package: program, man pages and completions work after unpacking.
//!
//! The package is made of the program under test, because a release build takes minutes. Debian's tools must be installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Files of the package below /usr.
const FILES: [&str; 7] = [
    "bin/rtcomm",
    "share/bash-completion/completions/rtcomm",
    "share/fish/vendor_completions.d/rtcomm.fish",
    "share/zsh/vendor-completions/_rtcomm",
    "share/man/man1/rtcomm.1.gz",
    "share/doc/rtcomm/copyright",
    "share/doc/rtcomm/changelog.Debian.gz",
];

/// Runs a command to its end, and returns its output.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Makes the package in a folder, and returns its file.
fn package(folder: &Path) -> PathBuf {
    // The copy is newer than the sources, and stripped as a release build is.
    let program = folder.join("rtcomm");
    run(Command::new("strip").arg(env!("CARGO_BIN_EXE_rtcomm")).arg("-o").arg(&program));
    let mut script = Command::new("packaging/deb");
    script.arg(&program).arg(folder).current_dir(ROOT).env_remove("MAKEFLAGS");
    script.env("SOURCE_DATE_EPOCH", "1795651200").env("DEB_XZ_LEVEL", "1");
    PathBuf::from(run(&mut script).trim_end())
}

#[test]
fn the_debian_package_works_after_unpacking() {
    if !["dpkg-deb", "dpkg-shlibdeps", "strip", "man"].into_iter().all(is_installed) {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let package = package(dir.path());
    let root = dir.path().join("root");
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(&package).arg(&root));
    let usr = root.join("usr");
    for file in FILES {
        assert!(usr.join(file).is_file(), "{file}");
    }
    let control = fs::read_to_string(root.join("DEBIAN/control")).expect("a control file");
    for text in [concat!("Version: ", env!("CARGO_PKG_VERSION"), "-1\n"), "Depends: libc6 (", "libssl"] {
        assert!(control.contains(text), "{text} in\n{control}");
    }
    run(Command::new("md5sum").args(["--check", "--quiet", "DEBIAN/md5sums"]).current_dir(&root));
    if is_installed("lintian") {
        run(Command::new("lintian").args(["--allow-root", "--fail-on", "error"]).arg(&package));
    }

    let demo = ["demo", "--listen", "127.0.0.1:0", "--interval", "20ms", "-c", "3"];
    let shown = run(Command::new(usr.join("bin/rtcomm")).args(demo));
    assert_eq!(shown.lines().count(), 3, "{shown}");
    for page in fs::read_dir(usr.join("share/man/man1")).expect("man pages") {
        let page = page.expect("a man page").path();
        let text = run(Command::new("man").arg("-l").arg(&page).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100"));
        assert!(text.contains("SYNOPSIS") && text.contains("EXIT STATUS"), "{}:\n{text}", page.display());
    }
    let bash = r#". "$1"; COMP_WORDS=(rtcomm wa); COMP_CWORD=1; _rtcomm rtcomm wa rtcomm; echo "${COMPREPLY[@]}""#;
    let completed = run(Command::new("bash").args(["-c", bash, "bash"]).arg(usr.join(FILES[1])));
    assert_eq!(completed, "watch\n");
}
