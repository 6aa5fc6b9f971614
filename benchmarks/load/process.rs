//! The binary as a process, and its figures from the kernel.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};

/// Ticks per second in `/proc/<pid>/stat`, fixed in the interface of Linux.
const TICKS: f64 = 100.0;

/// A child process; killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
}

impl Process {
    /// Starts the binary as an MCP server on stdio.
    pub(crate) fn pipe(args: &[&str]) -> anyhow::Result<Self> {
        let child = command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("the server cannot be started")?;
        Ok(Self { child })
    }

    /// Starts any server by its command. With `is_pipe` it is one on stdio.
    pub(crate) fn other(words: &[String], is_pipe: bool) -> anyhow::Result<Self> {
        let (program, args) = words.split_first().context("an empty command")?;
        let stream = || match is_pipe {
            true => Stdio::piped(),
            false => Stdio::null(),
        };
        let child = isolated(program.as_ref())
            .args(args)
            .stdin(stream())
            .stdout(stream())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        Ok(Self { child })
    }

    /// Starts the binary as a server and reads its address from standard error.
    pub(crate) fn listening(args: &[&str]) -> anyhow::Result<(Self, SocketAddr)> {
        let mut child = command(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("the server cannot be started")?;
        let mut log = BufReader::new(child.stderr.take().context("no standard error")?);
        let mut seen = String::new();
        loop {
            let start = seen.len();
            if log.read_line(&mut seen)? == 0 {
                bail!("the server ended before it listened: {seen}");
            }
            let line = seen.get(start..).unwrap_or_default();
            // Metrics may be served first, at their own address.
            let served = line
                .split_once("http://")
                .filter(|_| !line.contains("/metrics"));
            if let Some((_, rest)) = served {
                let address = rest.split(['/', ';', ' ', '\n']).next().unwrap_or_default();
                let address = address
                    .parse()
                    .with_context(|| format!("where is {line:?}?"))?;
                // Read on, because the process blocks when the pipe is full.
                std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
                return Ok((Self { child }, address));
            }
        }
    }

    /// Runs the binary until it exits.
    pub(crate) fn run(args: &[&str]) -> anyhow::Result<Output> {
        command(args)
            .stdin(Stdio::null())
            .output()
            .context("the command cannot be started")
    }

    /// Returns a memory field of `/proc/<pid>/status`, such as `VmRSS`, in megabytes.
    pub(crate) fn memory(&self, field: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("memory is read from /proc, which needs Linux")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let count = line.and_then(|line| line.split_whitespace().nth(1));
        let kib: f64 = count
            .with_context(|| format!("there is no {field}"))?
            .parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// Returns the CPU time of all threads so far, in user and kernel mode.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may contain anything, so fields are counted from its end.
        let (_, rest) = stat.rsplit_once(')').context("stat has no name")?;
        let fields = rest.split_whitespace().skip(11).take(2);
        let ticks = fields.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(Duration::from_secs_f64(ticks / TICKS))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have exited already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Returns the path of the binary.
pub(crate) fn binary() -> OsString {
    let built_with_us = || env!("CARGO_BIN_EXE_portkey-mcp").into();
    std::env::var_os("PORTKEY_MCP_BIN").unwrap_or_else(built_with_us)
}

fn command(args: &[&str]) -> Command {
    let mut command = isolated(&binary());
    command.args(args);
    command
}

/// Returns the command of a program without configuration from the environment.
fn isolated(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if text.starts_with("PORTKEY")
            || text.starts_with("ENKRYPT")
            || text.ends_with("_PROXY")
            || text == "RUST_LOG"
        {
            command.env_remove(name);
        }
    }
    // A history of changes is written only where a trial asks for one.
    command.env("PORTKEY_MCP_NO_JOURNAL", "true");
    command
}
