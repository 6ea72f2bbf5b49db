//! `--profile`: where values come from, and what a profile may contain.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::broker::password_file;
use crate::support::{Broker, Outcome, Rtcomm, rtcomm};

const SECRET: &str = "hunter2-Zq8xV";

/// A folder of configuration with profiles.
struct Profiles(TempDir);

impl Profiles {
    fn new() -> Self {
        let profiles = Self(TempDir::new().expect("a temporary directory"));
        fs::create_dir(profiles.folder()).expect("it can be made");
        profiles
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("rtcomm")
    }

    /// Writes a profile that only its owner can read.
    fn with(self, name: &str, text: &str) -> Self {
        let file = self.file(name);
        fs::write(&file, text).expect("it can be written");
        set_mode(&file, 0o600);
        self
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.env"))
    }

    fn rtcomm(&self, words: &str) -> Rtcomm {
        rtcomm(words).env("XDG_CONFIG_HOME", self.0.path())
    }
}

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[track_caller]
fn shows_no_secret(outcome: &Outcome) {
    outcome.check(!format!("{}{}", outcome.stdout, outcome.stderr).contains(SECRET), "no secret");
}

#[test]
fn a_value_comes_from_the_first_source_that_has_it() {
    let profiles = Profiles::new().with("typed", "RTCOMM_ROOT=typed_profile\n").with("named", "RTCOMM_ROOT=named\n");
    for case in 0..16 {
        let is = |bit: u32| case & (1 << bit) != 0;
        let mut run = profiles.rtcomm("watch --dry-run");
        let mut expected = "/rtcomm";
        if is(0) {
            (run, expected) = (run.env("RTCOMM_PROFILE", "named"), "named");
        }
        if is(1) {
            (run, expected) = (run.env("RTCOMM_ROOT", "environment"), "environment");
        }
        if is(2) {
            // The profile of the environment does not count then.
            (run, expected) = (run.arg("--profile=typed"), "typed_profile");
        }
        if is(3) {
            (run, expected) = (run.arg("--root").arg("typed_flag"), "typed_flag");
        }
        run.run().has_status(0).prints(&format!("{expected}/event/#\n"));
    }
}

#[test]
fn settings_that_a_typed_profile_lacks_come_from_the_environment() {
    let profiles = Profiles::new().with("p", "RTCOMM_EVENT_ROOT=events\n");
    let run = profiles.rtcomm("tail --dry-run --profile p").env("RTCOMM_ROOT", "root");
    run.run().has_status(0).prints("events/#\nroot/#\n");
    let run = profiles.rtcomm("watch --dry-run --profile p").env("RTCOMM_ROOT", "root");
    run.run().has_status(0).prints("events/#\n");
}

#[test]
fn every_command_with_connection_flags_has_profiles() {
    let profiles = Profiles::new().with("p", "# Ours.\n\nRTCOMM_ROOT=ours\nRTCOMM_REPLY_PREFIX=my/replies\n");
    for (command, expected) in
        [("watch", "ours/event/#"), ("tail", "ours/#"), ("call a b", "\"fromTopic\":\"my/replies/")]
    {
        let outcome = profiles.rtcomm(&format!("{command} --dry-run --profile p")).run().has_status(0);
        outcome.check(outcome.stdout.contains(expected), expected);
    }
}

#[test]
fn a_check_uses_the_broker_of_its_profile() {
    let broker = Broker::demo();
    let profiles = Profiles::new().with("p", &format!("RTCOMM_BROKER={}\n", broker.url()));
    let check = || profiles.rtcomm("check").env("RTCOMM_BROKER", "mqtt://127.0.0.1:1");
    check().run().has_status(2);
    check().arg("--profile").arg("p").run().has_status(0);
}

#[test]
fn a_profile_has_everything_that_a_connection_needs() {
    let dir = TempDir::new().expect("a temporary directory");
    let users = password_file(dir.path(), "ops", SECRET);
    let broker = Broker::mosquitto_with(&format!("allow_anonymous false\npassword_file {}\n", users.display()));
    let text = format!("RTCOMM_BROKER={}\nRTCOMM_USERNAME=ops\nRTCOMM_PASSWORD={SECRET}\n", broker.url());
    let profiles = Profiles::new().with("prod", &text).with("wrong", &text.replace(SECRET, "wrong"));
    for (run, name) in [
        (profiles.rtcomm("watch --profile prod"), "prod"),
        (profiles.rtcomm("tail").env("RTCOMM_PROFILE", "prod"), "prod"),
        (
            profiles
                .rtcomm("watch --profile prod")
                .env("RTCOMM_PASSWORD", "wrong")
                .env("RTCOMM_BROKER", "mqtt://[::1]:1"),
            "prod",
        ),
        (profiles.rtcomm("watch").env("RTCOMM_PROFILE", "wrong").env("RTCOMM_PASSWORD", SECRET), "wrong"),
    ] {
        let outcome = run.start().until_ready().terminate();
        outcome.check(
            outcome
                .stderr
                .lines()
                .any(|line| line.starts_with("rtcomm: ready ") && line.contains(&format!("profile {name}"))),
            "the profile in `ready`",
        );
        shows_no_secret(&outcome);
    }
    let outcome = profiles.rtcomm("call a b --profile wrong").run().has_status(4);
    shows_no_secret(&outcome);
}

#[test]
fn a_password_and_its_file_have_one_source() {
    let dir = TempDir::new().expect("a temporary directory");
    let users = password_file(dir.path(), "ops", SECRET);
    let broker = Broker::mosquitto_with(&format!("allow_anonymous false\npassword_file {}\n", users.display()));
    let secret = dir.path().join("secret");
    fs::write(&secret, SECRET).expect("it can be written");
    set_mode(&secret, 0o600);
    let profiles = Profiles::new()
        .with("file", &format!("RTCOMM_PASSWORD_FILE={}\n", secret.display()))
        .with("text", &format!("RTCOMM_PASSWORD={SECRET}\n"))
        .with("no_file", "RTCOMM_PASSWORD_FILE=/no/such/file\n")
        .with("both", &format!("RTCOMM_PASSWORD=wrong\nRTCOMM_PASSWORD_FILE={}\n", secret.display()));
    let run = |flags: &str| profiles.rtcomm(&format!("watch -u ops {flags}")).at(&broker);
    for run in [
        run("--profile file").env("RTCOMM_PASSWORD", "wrong"),
        run("--profile text").env("RTCOMM_PASSWORD_FILE", "/no/such/file"),
        run("--profile both"),
        run("--profile no_file --password-file").arg(&secret),
        run("").env("RTCOMM_PROFILE", "no_file").env("RTCOMM_PASSWORD", SECRET),
        run("").env("RTCOMM_PROFILE", "text").env("RTCOMM_PASSWORD_FILE", &secret),
    ] {
        shows_no_secret(&run.start().until_ready().terminate());
    }
}

#[test]
fn the_folder_is_that_of_xdg_or_below_home() {
    let profiles = Profiles::new().with("p", "RTCOMM_ROOT=xdg\n");
    let home = TempDir::new().expect("a temporary directory");
    let folder = home.path().join(".config/rtcomm");
    fs::create_dir_all(&folder).expect("it can be made");
    fs::write(folder.join("p.env"), "RTCOMM_ROOT=home\n").expect("it can be written");
    let run = |config: &Path| {
        rtcomm("watch --dry-run --profile p").env("HOME", home.path()).env("XDG_CONFIG_HOME", config).run()
    };
    run(profiles.0.path()).has_status(0).prints("xdg/event/#\n");
    run(Path::new("")).has_status(0).prints("home/event/#\n");
    let without = rtcomm("watch --dry-run --profile p").env("HOME", "");
    without.run().has_status(2).says("neither XDG_CONFIG_HOME nor HOME is set");
}

#[test]
fn a_name_that_is_not_that_of_a_profile_is_refused() {
    let profiles = Profiles::new().with("dev", "").with("prod", "");
    for name in ["", "a/b", "..", ".", "../rtcomm/dev", "/dev"] {
        let run = profiles.rtcomm("watch --dry-run --profile").arg(name);
        run.run().has_status(2).prints("").says("--profile");
        let run = profiles.rtcomm("watch --dry-run").env("RTCOMM_PROFILE", name);
        run.run().has_status(2).prints("").says("the environment variable RTCOMM_PROFILE");
    }
    let missing = profiles.rtcomm("watch --dry-run --profile stage").run().has_status(2).prints("");
    missing.says("cannot read the profile 'stage'").says("No such file").says("hint: ").says("dev, prod");
    let empty = Profiles::new();
    empty.rtcomm("watch --dry-run --profile stage").run().has_status(2).says("contains no profile");
    fs::create_dir(profiles.file("folder")).expect("it can be made");
    profiles.rtcomm("watch --dry-run --profile folder").run().has_status(2).says("folder.env");
}

#[test]
fn an_error_in_a_profile_names_file_and_line_and_no_secret() {
    for (text, message) in [
        (format!("RTCOMM_PASSWORD=\"{SECRET}\""), "line 2: the value must not start with a quote"),
        (format!("export RTCOMM_PASSWORD={SECRET}"), "line 2: expected RTCOMM_NAME=value"),
        (format!("{SECRET}="), "line 2: expected RTCOMM_NAME=value"),
        (format!("RTCOMM_PASSWORD={SECRET} "), "line 2: the value must not start or end with a space or a tab"),
        (format!("RTCOMM_PASSWORD={SECRET}\\"), "line 2: the value must not contain a backslash"),
        (format!("RTCOMM_PASSWRD={SECRET}"), "a profile cannot set RTCOMM_PASSWRD in "),
        ("RTCOMM_PROFILE=other".to_owned(), "a profile cannot set RTCOMM_PROFILE in "),
        (format!("RTCOMM_PASSWORD={SECRET}\nRTCOMM_PASSWORD=b"), "line 3: RTCOMM_PASSWORD is already set in line 2"),
        ("RTCOMM_PASSWORD=".to_owned(), "RTCOMM_PASSWORD in "),
        (format!("RTCOMM_BROKER=mqtt://ops:{SECRET}@localhost"), "RTCOMM_BROKER in "),
        ("RTCOMM_BROKER=localhost".to_owned(), "RTCOMM_BROKER in "),
        ("RTCOMM_PASSWORD_FILE=/no/such/file".to_owned(), "(RTCOMM_PASSWORD_FILE in "),
        ("RTCOMM_KEY=/no/such/file".to_owned(), "line 2 requires --cert"),
        ("RTCOMM_CAFILE=/no/such/file".to_owned(), "line 2 requires TLS"),
        ("RTCOMM_PROXY=socks5://localhost".to_owned(), "RTCOMM_PROXY in "),
        ("RTCOMM_KEEPALIVE=never".to_owned(), "the value comes from RTCOMM_KEEPALIVE in "),
        ("RTCOMM_MQTT_VERSION=4".to_owned(), "invalid value '4' for '--mqtt-version"),
    ] {
        let profiles = Profiles::new().with("p", &format!("# A profile.\n{text}\n"));
        for run in [profiles.rtcomm("watch --profile p"), profiles.rtcomm("watch").env("RTCOMM_PROFILE", "p")] {
            let outcome = run.run().has_status(2).prints("").says(message);
            if !text.contains("VERSION") {
                outcome.check(outcome.stderr.contains("rtcomm/p.env, line "), "the file and the line");
            }
            shows_no_secret(&outcome);
        }
    }
    let profiles = Profiles::new();
    fs::write(profiles.file("latin"), b"RTCOMM_USERNAME=bj\xf6rk\n").expect("it can be written");
    profiles.rtcomm("watch --profile latin").run().has_status(2).says("latin.env").says("UTF-8");
}

#[test]
fn a_password_in_a_file_that_others_can_read_is_refused() {
    let profiles =
        Profiles::new().with("secret", &format!("RTCOMM_PASSWORD={SECRET}\n")).with("open", "RTCOMM_ROOT=a\n");
    for mode in [0o644, 0o640, 0o604] {
        set_mode(&profiles.file("secret"), mode);
        set_mode(&profiles.file("open"), mode);
        let outcome = profiles.rtcomm("watch --dry-run --profile secret").run().has_status(2).prints("");
        shows_no_secret(&outcome.says("other users can read").says("hint: chmod 600 "));
        profiles.rtcomm("watch --dry-run --profile open").run().has_status(0).prints("a/event/#\n");
    }
    set_mode(&profiles.file("secret"), 0o400);
    profiles.rtcomm("watch --dry-run --profile secret").run().has_status(0);
}

#[test]
fn an_invalid_value_that_a_profile_overrides_does_not_matter() {
    let profiles = Profiles::new().with("good", "RTCOMM_KEEPALIVE=7s\n").with("bad", "RTCOMM_KEEPALIVE=never\n");
    let run = |words: &str| profiles.rtcomm(&format!("watch --dry-run {words}"));
    run("--profile good").env("RTCOMM_KEEPALIVE", "never").run().has_status(0);
    run("--profile bad --keepalive 7s").run().has_status(0);
    run("").env("RTCOMM_PROFILE", "bad").env("RTCOMM_KEEPALIVE", "7s").run().has_status(0);
    // An error names the source that counts.
    let outcome = run("").env("RTCOMM_PROFILE", "bad").env("RTCOMM_KEEPALIVE", "always").run().has_status(2);
    outcome.says("'always'").says("the environment variable RTCOMM_KEEPALIVE");
    let outcome = run("--profile bad --keepalive always").run().has_status(2);
    outcome.says("'always'").never_says("bad.env");
}

#[test]
fn flags_without_a_value_can_be_set_by_a_profile() {
    let broker = Broker::demo();
    let text = format!("RTCOMM_BROKER={}\nRTCOMM_VERBOSE=1\n", broker.url());
    let profiles = Profiles::new().with("loud", &text).with("off", &text.replace("=1", "=0"));
    let watch = |flags: &str| profiles.rtcomm(&format!("watch {flags}")).env("RTCOMM_QUIET", "1");
    let outcome = watch("--profile loud").start().until_ready().terminate();
    outcome.says("connected to ");
    watch("--profile off").start().until_ready().terminate().never_says("connected to ");
    let quiet = watch("--profile loud --quiet --for 500ms").run().has_status(0);
    quiet.check(quiet.stderr.is_empty(), "nothing but warnings");
}

#[test]
fn commands_without_a_connection_and_help_need_no_profile() {
    let run = |words: &str| rtcomm(words).env("RTCOMM_PROFILE", "no such profile");
    for words in ["watch --help", "--help", "--version", "demo --interval 10ms -c 1 --listen 127.0.0.1:0"] {
        run(words).run().has_status(0);
    }
    run("watch --dry-run").run().has_status(2);
}
