//! A Redis server for one test.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use portkey_store::Store;
use tempfile::TempDir;

/// A server without persistence; killed when dropped.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
    args: Vec<String>,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::with(|_| Vec::new())
    }

    /// Starts a server with additional arguments, built for a folder in which they may name files.
    pub(crate) fn with(args: impl FnOnce(&TempDir) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args = args(&folder);
        // Another process may take a free port before Redis.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            if let Some(child) = spawn(port, &folder, &args) {
                return Self {
                    child,
                    port,
                    folder,
                    args,
                };
            }
        }
        panic!("redis-server does not start");
    }

    /// Starts a server whose only user is the one in `docs/deployment.md`.
    pub(crate) fn documented() -> Self {
        Self::with_user(documented_rights())
    }

    /// Starts a server with one user; `rights` begins with its name.
    pub(crate) fn with_user(rights: &str) -> Self {
        let (name, rights) = rights.split_once(' ').unwrap();
        let user = ["--user", "default", "off", "--user", name, "on", ">horse"];
        let args: Vec<_> = user.into_iter().chain(rights.split_whitespace()).collect();
        Self::with(|_| args.into_iter().map(str::to_owned).collect())
    }

    /// Returns the URL for that user.
    pub(crate) fn documented_url(&self, database: u8) -> String {
        format!(
            "redis://portkey-mcp:horse@127.0.0.1:{}/{database}",
            self.port
        )
    }

    pub(crate) fn folder(&self) -> &TempDir {
        &self.folder
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/1", self.port)
    }

    /// Connects a store, as one replica has it.
    pub(crate) async fn store(&self) -> Store {
        connect(&self.url(), Duration::from_secs(5)).await
    }

    /// Runs a command of `redis-cli`; returns its output.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port, "-n", "1"])
            .args(command)
            .output();
        String::from_utf8(output.unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    }

    /// Returns the whole content, as a reader of its files sees it.
    pub(crate) fn dump(&self) -> Vec<u8> {
        assert_eq!(self.run(&["CONFIG", "SET", "rdbcompression", "no"]), "OK");
        assert_eq!(self.run(&["SAVE"]), "OK");
        std::fs::read(self.folder.path().join("dump.rdb")).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server at the same port, without the previous data.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, &self.folder, &self.args).unwrap();
    }

    /// Suspends the server without closing a connection.
    pub(crate) fn freeze(&self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-STOP", &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // The process may have exited already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Returns the user of `docs/deployment.md`: its name and rights, without the password.
pub(crate) fn documented_rights() -> &'static str {
    static RIGHTS: LazyLock<String> = LazyLock::new(|| {
        let page = std::fs::read_to_string("docs/deployment.md").unwrap();
        let line = page.split("echo \"user portkey-mcp on ").nth(1).unwrap();
        let line = line.split("; }").next().unwrap();
        let (_, rights) = line.split_once(") ").unwrap();
        let rights = rights.replace(['"', '\\', '\n'], " ");
        format!(
            "portkey-mcp {}",
            rights.split_whitespace().collect::<Vec<_>>().join(" ")
        )
    });
    &RIGHTS
}

pub(crate) async fn connect(url: &str, timeout: Duration) -> Store {
    Store::connect(Some(&url.to_owned().into()), &[], timeout)
        .await
        .unwrap()
}

/// Starts the server and waits until it accepts connections; `None` if it exits before.
fn spawn(port: u16, folder: &TempDir, args: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    // The port comes first, so that later arguments can replace it by another kind of port.
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]);
    command
        .arg(folder.path())
        .args(["--save", "", "--appendonly", "no"]);
    command.args(
        args.iter()
            .map(|arg| arg.replace("{port}", &port.to_string())),
    );
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while log.read_line(&mut line).unwrap() > 0 {
        if line.contains("Ready to accept connections") {
            // The pipe must not fill up after the last line that is read.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Some(child);
        }
        line.clear();
    }
    _ = child.wait();
    None
}
