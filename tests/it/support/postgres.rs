//! A PostgreSQL server for one test.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rcgen::{CertificateParams, DnType, KeyPair};
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
    /// Port of connections over TLS, if there are any.
    port: Option<u16>,
}

impl PostgresServer {
    pub(crate) fn start() -> Self {
        Self::start_on(None)
    }

    /// Starts a server that also takes connections over TLS, as `localhost`.
    pub(crate) fn start_with_tls() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::start_on(Some(port))
    }

    fn start_on(port: Option<u16>) -> Self {
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
        if port.is_some() {
            write_certificate(folder.path(), "server");
            write_certificate(folder.path(), "other");
        }
        let child = spawn(&folder, port);
        let server = Self {
            child,
            folder,
            port,
        };
        server.wait_until_ready();
        server
    }

    /// Returns the address as `--journal-url` takes it.
    pub(crate) fn url(&self) -> String {
        let socket = self.folder.path().display();
        format!("postgres://portkey:{PASSWORD}@localhost/postgres?host={socket}")
    }

    /// Returns the address of connections over TLS to a host, with more parameters.
    pub(crate) fn tls_url(&self, host: &str, parameters: &str) -> String {
        let port = self.port.unwrap();
        format!("postgres://portkey:{PASSWORD}@{host}:{port}/postgres?{parameters}")
    }

    /// Returns the file of a certificate: that of the `server`, or an `other` one.
    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.crt"))
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
            .args(["--port", &self.port.unwrap_or(5432).to_string()])
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
        self.child = spawn(&self.folder, self.port);
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

/// Writes a certificate for `localhost`, and its key for the server.
fn write_certificate(folder: &Path, name: &str) {
    let pair = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    let certificate = parameters.self_signed(&pair).unwrap();
    fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
    let key = folder.join(format!("{name}.key"));
    fs::write(&key, pair.serialize_pem()).unwrap();
    // The server refuses a key that others can read.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&key, mode).unwrap();
    give_away(&key);
}

fn spawn(folder: &TempDir, port: Option<u16>) -> Child {
    let mut command = as_server_user("postgres");
    command
        .arg("-D")
        .arg(folder.path().join("data"))
        .arg("-k")
        .arg(folder.path())
        // Acknowledged is on the disk, as by default.
        .args(["-c", "shared_buffers=8MB"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match port {
        // No port, and so none that is taken.
        None => command.args(["-c", "listen_addresses="]),
        Some(port) => {
            let file = |name: &str| folder.path().join(name).display().to_string();
            command
                .args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"])
                .args(["-c", &format!("port={port}")])
                .args(["-c", &format!("ssl_cert_file={}", file("server.crt"))])
                .args(["-c", &format!("ssl_key_file={}", file("server.key"))])
        }
    };
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
