//! The `rtcomm` binary: hands its arguments to the library, and ends with the status that comes back.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Where this is set the MQTT library writes its trace to standard output, among the data.
const LIBRARY_TRACE: &str = "MQTT_C_CLIENT_TRACE";

fn main() -> ExitCode {
    if std::env::var_os(LIBRARY_TRACE).is_some()
        && let Ok(program) = std::env::current_exe()
    {
        // Returns only where it fails; then the trace is the lesser evil.
        let _ = Command::new(program).args(std::env::args_os().skip(1)).env_remove(LIBRARY_TRACE).exec();
    }
    ExitCode::from(rtcomm::run(std::env::args_os()).code())
}
