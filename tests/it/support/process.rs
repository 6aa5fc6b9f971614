//! The binary as a process, as users start it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

/// Returns the command of the binary without configuration from the environment.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portkey-mcp"));
    command.args(args);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let ours = ["PORTKEY", "ENKRYPT", "OTEL"]
            .iter()
            .any(|mark| name_text.starts_with(mark));
        if ours || name_text == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary until it exits.
pub(crate) fn run(args: &[&str]) -> Output {
    command(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs the binary until it exits; returns its success, standard output and standard error.
pub(crate) fn run_cli(args: &[&str]) -> (bool, String, String) {
    let output = run(args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// An MCP server on stdio, with messages as lines.
pub(crate) struct StdioServer {
    pub(crate) child: Child,
    pub(crate) input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl StdioServer {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(command(args))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
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

impl ServerProcess {
    /// Starts a server and reads its address.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// Starts a server with environment variables.
    pub(crate) fn start_with(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(args);
        command.envs(variables.iter().copied());
        Self::spawn(command)
    }

    /// Starts a server from a command.
    pub(crate) fn spawn(mut command: Command) -> Self {
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

pub(crate) fn serve_sandbox(more: &[&str]) -> ServerProcess {
    let mut args = vec!["http", "--sandbox", "--listen", "127.0.0.1:0"];
    args.extend(more);
    ServerProcess::start(&args)
}
