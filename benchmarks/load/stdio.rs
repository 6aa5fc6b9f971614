//! The server on stdio: its start, sequential calls, and many calls in flight.
//!
//! Reads and writes block on one thread. The requests in flight fit into the pipe, so that writing
//! them never waits for the server.

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{
    Plan,
    mcp::{self, SUCCESS_TEXT},
    process::Process,
    stats::{Figures, Latencies, LoadResult, RoundResult, Target, Unit, to_millis},
};

/// Number of calls in flight during the measurement of throughput.
const CALLS_IN_FLIGHT: usize = 64;

/// An initialized server on stdio.
pub(crate) struct StdioServer {
    pub(crate) process: Process,
    pub(crate) input: ChildStdin,
    pub(crate) output: BufReader<ChildStdout>,
    /// Last response.
    pub(crate) line: Vec<u8>,
    pub(crate) id: usize,
}

impl StdioServer {
    pub(crate) fn start(args: &[&str]) -> anyhow::Result<Self> {
        let mut process = Process::pipe(args)?;
        let input = process.child.stdin.take().context("no standard input")?;
        let output = process.child.stdout.take().context("no standard output")?;
        let output = BufReader::with_capacity(256 * 1024, output);
        let mut pipe = Self {
            process,
            input,
            output,
            line: Vec::new(),
            id: 0,
        };
        pipe.input.write_all(mcp::INITIALIZE.as_bytes())?;
        pipe.input.write_all(b"\n")?;
        pipe.receive(mcp::INITIALIZE_RESPONSE_TEXT)?;
        Ok(pipe)
    }

    /// Sends the `initialized` notification.
    pub(crate) fn ready(&mut self) -> anyhow::Result<()> {
        Ok(writeln!(self.input, "{}", mcp::INITIALIZED_NOTIFICATION)?)
    }

    /// Reads one line, which must contain `words`.
    pub(crate) fn receive(&mut self, words: &[u8]) -> anyhow::Result<()> {
        self.line.clear();
        if self.output.read_until(b'\n', &mut self.line)? == 0 {
            bail!("the server closed its output");
        }
        mcp::check(&self.line, words)
    }

    fn write_call(&mut self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        self.id += 1;
        Ok(writeln!(out, "{}", mcp::call(self.id, ""))?)
    }

    pub(crate) fn call(&mut self) -> anyhow::Result<Duration> {
        let mut request = Vec::with_capacity(256);
        self.write_call(&mut request)?;
        let started = Instant::now();
        self.input.write_all(&request)?;
        self.receive(SUCCESS_TEXT)?;
        Ok(started.elapsed())
    }

    /// Makes calls with a fixed number in flight.
    fn flood(&mut self, calls: usize) -> anyhow::Result<()> {
        let mut out = Vec::new();
        let mut sent = 0;
        for received in 0..calls {
            while sent < calls && sent - received < CALLS_IN_FLIGHT {
                self.write_call(&mut out)?;
                sent += 1;
            }
            // Responses that already arrived are read first, so that requests need few writes.
            if !self.output.buffer().contains(&b'\n') {
                self.input.write_all(&out)?;
                out.clear();
            }
            self.receive(SUCCESS_TEXT)?;
        }
        ensure!(out.is_empty(), "{} bytes were never sent", out.len());
        Ok(())
    }
}

/// Measures the time from the start of the process to its first responses.
pub(crate) fn start(url: &str, plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
    let args = ["--base-url", url, "--api-key", "bench"];
    for run in 0..plan.warm_starts + plan.starts {
        let started = Instant::now();
        let mut pipe = StdioServer::start(&args)?;
        let initialized = started.elapsed();
        pipe.ready()?;
        pipe.input.write_all(mcp::LIST.as_bytes())?;
        pipe.input.write_all(b"\n")?;
        pipe.receive(mcp::LIST_RESPONSE_TEXT)?;
        let listed = started.elapsed();
        if run >= plan.warm_starts {
            let target = Target::AtMost(15.0);
            let name = "start: exec to `initialize` reply, stdio";
            figures.add(name, Unit::Millis, target, to_millis(initialized));
            let name = "start: exec to full `tools/list` reply, stdio";
            figures.add(name, Unit::Millis, Target::None, to_millis(listed));
        }
    }
    Ok(())
}

/// Measures one round over stdio, on a new server.
pub(crate) fn round(url: &str, plan: &Plan, figures: &mut Figures) -> anyhow::Result<RoundResult> {
    let mut pipe = StdioServer::start(&["--base-url", url, "--api-key", "bench"])?;
    pipe.ready()?;
    let idle = Target::AtMost(15.0);
    let rss = pipe.process.memory("VmRSS")?;
    figures.add("stdio: RSS after `initialize`", Unit::Megabytes, idle, rss);
    pipe.call()?;
    let rss = pipe.process.memory("VmRSS")?;
    figures.add(
        "stdio: RSS after the first call",
        Unit::Megabytes,
        idle,
        rss,
    );

    for _ in 0..plan.warm_up {
        pipe.call()?;
    }
    let cpu = pipe.process.cpu()?;
    let started = Instant::now();
    let mut latencies = Latencies::default();
    for _ in 0..plan.sequential {
        latencies.add(pipe.call()?);
    }
    let alone = LoadResult::new(
        plan.sequential,
        started.elapsed(),
        pipe.process.cpu()? - cpu,
    );
    let (p50, p99) = latencies.p50_p99();
    figures.add(
        "stdio: latency p50, one at a time",
        Unit::Millis,
        Target::None,
        p50,
    );
    figures.add(
        "stdio: latency p99, one at a time",
        Unit::Millis,
        Target::None,
        p99,
    );
    figures.add(
        "stdio: CPU per call, one at a time",
        Unit::Micros,
        Target::None,
        alone.cpu,
    );

    pipe.flood(plan.warm_up)?;
    let cpu = pipe.process.cpu()?;
    let started = Instant::now();
    pipe.flood(plan.load)?;
    let load = LoadResult::new(plan.load, started.elapsed(), pipe.process.cpu()? - cpu);
    let name = format!("stdio: throughput, {CALLS_IN_FLIGHT} in flight");
    figures.add(&name, Unit::PerSecond, Target::None, load.per_second);
    let name = format!("stdio: CPU per call, {CALLS_IN_FLIGHT} in flight");
    figures.add(&name, Unit::Micros, Target::AtMost(60.0), load.cpu);
    let peak = pipe.process.memory("VmHWM")?;
    let name = format!("stdio: peak RSS, {CALLS_IN_FLIGHT} in flight");
    figures.add(&name, Unit::Megabytes, Target::None, peak);
    Ok(RoundResult {
        p50,
        per_second: load.per_second,
    })
}
