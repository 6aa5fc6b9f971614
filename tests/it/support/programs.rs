//! Programs and files that tests need and that may be missing. Skipped tests are counted and named
//! in one line at the end of the run.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Write},
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex},
};

/// The value `required` makes a missing `redis-server` a failure.
pub(crate) const REDIS_VARIABLE: &str = "PORTKEY_MCP_TEST_REDIS";

/// Reads the names of skipped tests until this process exits, and then reports them. Tests have no
/// common end at which code could run, so another process waits for it.
const REPORT_SCRIPT: &str = r#"
    count=0 names=
    while read -r name; do count=$((count + 1)) names="$names${names:+, }$name"; done
    echo "skipped for want of $1: $count, $names" >&2
"#;

type ReportProcesses = BTreeMap<&'static str, Child>;

static REPORT_PROCESSES: LazyLock<Mutex<ReportProcesses>> = LazyLock::new(Mutex::default);
static INSTALLED_PROGRAMS: LazyLock<Mutex<BTreeMap<&'static str, bool>>> =
    LazyLock::new(Mutex::default);

/// Returns true if a program is missing, and reports the test as skipped.
pub(crate) fn is_missing(program: &'static str) -> bool {
    if *INSTALLED_PROGRAMS
        .lock()
        .unwrap()
        .entry(program)
        .or_insert_with(|| is_installed(program))
    {
        return false;
    }
    assert!(
        !(program == "redis-server"
            && std::env::var(REDIS_VARIABLE).is_ok_and(|value| value == "required")),
        "{REDIS_VARIABLE}=required, and there is no redis-server: `apt-get install redis-server`"
    );
    report_skipped(program);
    true
}

/// Reports the test of this thread as skipped, because something is missing.
pub(crate) fn report_skipped(missing: &'static str) {
    let thread = std::thread::current();
    let mut reports = REPORT_PROCESSES.lock().unwrap();
    let report = reports
        .entry(missing)
        .or_insert_with(|| start_report(missing));
    writeln!(
        report.stdin.as_mut().unwrap(),
        "{}",
        thread.name().unwrap_or("a test")
    )
    .unwrap();
}

fn is_installed(program: &str) -> bool {
    let started = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match started {
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        started => started.is_ok(),
    }
}

fn start_report(missing: &str) -> Child {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", REPORT_SCRIPT, "report", missing])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    shell.spawn().unwrap()
}
