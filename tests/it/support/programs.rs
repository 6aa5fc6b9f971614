//! Programs and files that tests need and that may be missing. Skipped tests are counted and named
//! in one line at the end of the run.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex},
};

/// Variable for `redis-server`.
pub(crate) const REDIS_VARIABLE: &str = "PORTKEY_MCP_TEST_REDIS";

/// Variables by program. The value `required` makes a missing one a failure.
const REQUIRED_PROGRAMS: &[(&str, &str)] = &[
    ("redis-server", REDIS_VARIABLE),
    ("postgres", "PORTKEY_MCP_TEST_POSTGRES"),
];

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
    for (required, variable) in REQUIRED_PROGRAMS {
        let is_required = std::env::var(variable).is_ok_and(|value| value == "required");
        assert!(
            *required != program || !is_required,
            "{variable}=required, and there is no {program}: `apt-get install redis-server postgresql`"
        );
    }
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

/// Returns the path of a program: Debian keeps those of PostgreSQL's server out of `PATH`.
pub(crate) fn find_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let found = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists());
    found.max().unwrap_or_else(|| name.into())
}

fn is_installed(program: &str) -> bool {
    let started = Command::new(find_program(program))
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
