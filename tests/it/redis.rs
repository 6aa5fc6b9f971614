//! A Redis server of a test's own.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use portkey_store::Store;
use tempfile::TempDir;

/// A server that keeps nothing on disk; killed when dropped.
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

    /// With further arguments, made for a port and the folder they may name files in.
    pub(crate) fn with(args: impl FnOnce(&TempDir) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args = args(&folder);
        // A free port may be taken by someone else before Redis has it.
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

    /// With the one user that `docs/deployment.md` has, and no other.
    pub(crate) fn documented() -> Self {
        Self::with_user(documented_rights())
    }

    /// With one user, of these rights after its name.
    pub(crate) fn with_user(rights: &str) -> Self {
        let (name, rights) = rights.split_once(' ').unwrap();
        let user = ["--user", "default", "off", "--user", name, "on", ">horse"];
        let args: Vec<_> = user.into_iter().chain(rights.split_whitespace()).collect();
        Self::with(|_| args.into_iter().map(str::to_owned).collect())
    }

    /// The address for that user.
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

    /// A store in it, as one replica has it.
    pub(crate) async fn store(&self) -> Store {
        connect(&self.url(), Duration::from_secs(5)).await
    }

    /// Runs a command of `redis-cli`, and returns what it prints.
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

    /// All that it has, as a reader of its files sees it.
    pub(crate) fn dump(&self) -> Vec<u8> {
        assert_eq!(self.run(&["CONFIG", "SET", "rdbcompression", "no"]), "OK");
        assert_eq!(self.run(&["SAVE"]), "OK");
        std::fs::read(self.folder.path().join("dump.rdb")).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it where it was; empty, as it keeps nothing.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, &self.folder, &self.args).unwrap();
    }

    /// Stops it in the middle of whatever it does, without closing a connection.
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
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The user of `docs/deployment.md`: its name and rights, without the password.
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

/// Starts it, and waits until it says that it takes connections; none if it ended before.
fn spawn(port: u16, folder: &TempDir, args: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    // The port comes first, so that another kind of port can be given in its place.
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
            // Nobody reads on, and it must not stop on a full pipe.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Some(child);
        }
        line.clear();
    }
    _ = child.wait();
    None
}
