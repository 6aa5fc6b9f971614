//! Servers in processes of their own, over stdio and HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    marker::PhantomData,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::support::process::command;

/// A server that can be started from a command.
pub(crate) trait Spawn {
    fn spawn(command: Command) -> Self;
}

/// The options and variables of a server that is not started yet.
pub(crate) struct ServerBuilder<S> {
    subcommand: Vec<String>,
    listen: Option<String>,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    started: PhantomData<S>,
}

impl<S: Spawn> ServerBuilder<S> {
    pub(crate) fn new(subcommand: &[&str]) -> Self {
        Self {
            subcommand: subcommand.iter().map(|&arg| arg.to_owned()).collect(),
            listen: None,
            args: Vec::new(),
            variables: Vec::new(),
            started: PhantomData,
        }
    }

    /// Sets the address of the listener.
    pub(crate) fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// Uses the sandbox as the upstream.
    pub(crate) fn sandbox(self) -> Self {
        self.args(&["--sandbox"])
    }

    /// Sets the base URL of Portkey.
    pub(crate) fn upstream(self, base_url: &str) -> Self {
        self.args(&["--base-url", base_url])
    }

    /// Sets the server's own Portkey key.
    pub(crate) fn api_key(self, key: &str) -> Self {
        self.args(&["--api-key", key])
    }

    /// Sets how callers authenticate: `key`, `token` or `oauth`.
    pub(crate) fn auth(self, mode: &str) -> Self {
        self.args(&["--auth", mode])
    }

    /// Adds further arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Sets environment variables.
    pub(crate) fn variables(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.variables.extend(variables.iter().map(owned));
        self
    }

    /// Returns the command, for tests that run it in another program or with another client.
    pub(crate) fn command(&self) -> Command {
        let mut command = command(&[]);
        command.args(&self.subcommand);
        if let Some(address) = &self.listen {
            command.args(["--listen", address]);
        }
        command.args(&self.args);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn start(self) -> S {
        S::spawn(self.command())
    }
}

/// An MCP server on stdio, with messages as lines.
pub(crate) struct StdioServer {
    pub(crate) child: Child,
    pub(crate) input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Spawn for StdioServer {
    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            input: child.stdin.take(),
            output,
            child,
        }
    }
}

impl StdioServer {
    /// Returns a builder of a server, which is what the binary is without a subcommand.
    pub(crate) fn builder() -> ServerBuilder<Self> {
        ServerBuilder::new(&[])
    }

    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn receive(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Closes the input; returns the exit status, the rest of stdout, and stderr.
    pub(crate) fn end(mut self) -> (std::process::ExitStatus, String, String) {
        drop(self.input.take());
        let mut rest = String::new();
        let mut log = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (self.child.wait().unwrap(), rest, log)
    }
}

/// A server process that logs its address to standard error; killed when dropped.
pub(crate) struct ServerProcess {
    pub(crate) child: Child,
    pub(crate) url: String,
    log: BufReader<std::process::ChildStderr>,
}

impl Spawn for ServerProcess {
    /// Starts a server and reads its address.
    fn spawn(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut served = Self {
            child,
            url: String::new(),
            log,
        };
        let line = served.read_until("://");
        let at = line[..line.find("://").unwrap()].rfind("http").unwrap();
        served.url = line[at..]
            .split([';', ' ', '"', '\n'])
            .next()
            .unwrap()
            .to_owned();
        served
    }
}

impl ServerProcess {
    /// Returns a builder of `portkey-mcp http` at a free port of a loopback address.
    pub(crate) fn http() -> ServerBuilder<Self> {
        ServerBuilder::new(&["http"]).listen("127.0.0.1:0")
    }

    /// Returns a builder of `portkey-mcp sandbox`, a simulated upstream at a free port.
    pub(crate) fn sandbox_api() -> ServerBuilder<Self> {
        ServerBuilder::new(&["sandbox"]).listen("127.0.0.1:0")
    }

    /// Sends a signal, as a supervisor would.
    pub(crate) fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Reads the log up to the line that contains `marker`; returns that line.
    pub(crate) fn read_until(&mut self, marker: &str) -> String {
        let mut log = String::new();
        loop {
            let start = log.len();
            assert!(
                self.log.read_line(&mut log).unwrap() > 0,
                "no {marker} before it ended: {log}"
            );
            if log[start..].contains(marker) {
                return log.split_off(start);
            }
        }
    }

    /// Stops the server and waits until it exits.
    pub(crate) fn terminate(self) -> (std::process::ExitStatus, String) {
        self.signal("TERM");
        self.end()
    }

    /// Waits until the server exits; returns its status and the rest of the log.
    pub(crate) fn end(mut self) -> (std::process::ExitStatus, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // The process may have exited already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Starts an HTTP server in front of the sandbox.
pub(crate) fn serve_sandbox(more: &[&str]) -> ServerProcess {
    ServerProcess::http().sandbox().args(more).start()
}
