//! A PostgreSQL server for one test.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::programs::find_program;

/// Maximum time until the server accepts connections.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Password of the only user.
pub(crate) const PASSWORD: &str = "horse-battery-staple";

/// The user that runs the server where tests run as root, which PostgreSQL refuses.
const SERVER_USER: &str = "nobody";

/// A server on a socket in a folder of its own; killed when dropped.
pub(crate) struct PostgresServer {
    child: Child,
    folder: TempDir,
}

impl PostgresServer {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        give_away(folder.path());
        give_away(&password);
        let mut init = as_server_user("initdb");
        init.arg("--pgdata")
            .arg(folder.path().join("data"))
            .arg("--pwfile")
            .arg(&password)
            .args(["--username", "portkey", "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C", "--no-sync"]);
        let output = init.output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {log}");
        let child = spawn(&folder);
        let server = Self { child, folder };
        server.wait_until_ready();
        server
    }

    /// Returns the address as `--journal-url` takes it.
    pub(crate) fn url(&self) -> String {
        let socket = self.folder.path().display();
        format!("postgres://portkey:{PASSWORD}@localhost/postgres?host={socket}")
    }

    /// Runs a statement; returns what it prints, one row a line.
    pub(crate) fn run(&self, statement: &str) -> String {
        let output = self.query(statement);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statement}: {log}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn query(&self, statement: &str) -> Output {
        let mut shell = self.shell();
        shell.args(["--command", statement]).output().unwrap()
    }

    /// Returns a command that runs the statements of its input.
    pub(crate) fn shell(&self) -> Command {
        let mut shell = Command::new(find_program("psql"));
        shell
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet"])
            .args(["--username", "portkey", "--dbname", "postgres", "--host"])
            .arg(self.folder.path())
            .env("PGPASSWORD", PASSWORD);
        shell
    }

    /// Ends the server at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        // Its processes end with it; the next one recovers what was acknowledged.
        self.signal("-QUIT");
        self.child.wait().unwrap();
    }

    /// Starts the server again, with the previous data.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.folder);
        self.wait_until_ready();
    }

    fn signal(&self, signal: &str) {
        // With privileges dropped in between, the child is still the server itself.
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    fn wait_until_ready(&self) {
        let start = Instant::now();
        while !self.query("SELECT 1").status.success() {
            assert!(start.elapsed() < START_TIMEOUT, "postgres does not start");
            std::thread::yield_now();
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // The process may have exited already.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("-QUIT");
            _ = self.child.wait();
        }
    }
}

fn spawn(folder: &TempDir) -> Child {
    let mut command = as_server_user("postgres");
    command
        .arg("-D")
        .arg(folder.path().join("data"))
        .arg("-k")
        .arg(folder.path())
        // No port, and so none that is taken. Acknowledged is on the disk, as by default.
        .args(["-c", "listen_addresses=", "-c", "shared_buffers=8MB"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Returns a command of the server, run by somebody who is not root.
fn as_server_user(name: &str) -> Command {
    let program = find_program(name);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid",
            SERVER_USER,
            "--regid",
            "nogroup",
            "--clear-groups",
        ])
        .arg(program);
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn give_away(path: &Path) {
    if is_root() {
        let given = Command::new("chown").arg(SERVER_USER).arg(path).status();
        assert!(given.unwrap().success());
    }
}
