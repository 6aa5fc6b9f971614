//! Another MCP server beside this one: the same calls against the same sandbox, in pairs.
//!
//! Both are driven by the same code, which asks for nothing that the protocol leaves open: an answer may be JSON or a
//! stream of events, a session is optional, and notifications may precede an answer.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    process::{ChildStdin, ChildStdout},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use memchr::memmem;

use crate::{
    CONNECTIONS,
    line::HttpConnection,
    list, mcp,
    process::Process,
    stats::{Figures, Latencies, LoadResult, Target, Unit, to_millis},
};

/// Number of calls in flight on a pipe.
const CALLS_IN_FLIGHT: usize = 64;
/// Minimum number of new integrations in a list: it has a hundred items, and the sandbox a few of its own.
const LISTED: usize = 90;
/// Text of each new integration in a list.
const LISTED_TEXT: &[u8] = b"Models of team ";
/// Timeout for the start of a server over HTTP.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A call of a tool.
#[derive(Clone)]
struct Call {
    tool: String,
    arguments: String,
}

impl Call {
    fn new(tool: &str, arguments: &str) -> Self {
        Self {
            tool: tool.to_owned(),
            arguments: arguments.to_owned(),
        }
    }

    fn request(&self, id: usize) -> String {
        mcp::tool_call(id, &self.tool, &self.arguments, "")
    }
}

/// A server: its command, and its two calls.
struct Contender {
    name: &'static str,
    command: Vec<String>,
    get: Call,
    list: Call,
}

/// Options of the comparison.
pub(crate) struct Comparison {
    /// Path of the other server over HTTP; `None` for stdio.
    path: Option<String>,
    other: Contender,
}

/// Numbers of rounds and calls.
struct Amount {
    rounds: usize,
    gets: usize,
    lists: usize,
    load: usize,
}

const FULL: Amount = Amount {
    rounds: 5,
    gets: 2000,
    lists: 640,
    load: 9600,
};
const QUICK: Amount = Amount {
    rounds: 1,
    gets: 64,
    lists: 32,
    load: 320,
};

impl Comparison {
    /// Reads `[--http PATH] [--get TOOL ARGUMENTS] [--list TOOL ARGUMENTS] -- COMMAND…`.
    pub(crate) fn read(args: Vec<String>) -> anyhow::Result<Self> {
        let mut path = None;
        let mut get = Call::new("get-integration", mcp::GET_ARGUMENTS);
        let mut list = Call::new(list::TOOL, list::ARGUMENTS);
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut next = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--http" => path = Some(next()?),
                "--get" => get = Call::new(&next()?, &next()?),
                "--list" => list = Call::new(&next()?, &next()?),
                "--" => break,
                other => bail!("compare has no option {other}"),
            }
        }
        let command: Vec<_> = args.collect();
        ensure!(
            !command.is_empty(),
            "name the command of the other server after `--`"
        );
        let other = Contender {
            name: "other",
            command,
            get,
            list,
        };
        Ok(Self { path, other })
    }

    /// Runs rounds of both servers, in direct succession and in alternating order.
    pub(crate) async fn run(&self, quick: bool, figures: &mut Figures) -> anyhow::Result<()> {
        let amount = if quick { QUICK } else { FULL };
        let (_sandbox, address) = Process::listening(&["sandbox", "--listen", "127.0.0.1:0"])?;
        let mock = format!("http://{address}/v1");
        list::fill(&mock).await?;
        let ours = self.ours()?;
        for round in 0..amount.rounds {
            let other_path = self.path.as_deref().unwrap_or_default();
            let mut pair = [(&ours, "/mcp"), (&self.other, other_path)];
            if round % 2 == 1 {
                pair.reverse();
            }
            let mut found = Vec::new();
            for (server, path) in pair {
                let measured = match self.path {
                    Some(_) => http_round(server, path, &mock, &amount).await,
                    None => stdio_round(server, &mock, &amount),
                };
                let measured = measured.with_context(|| format!("the {} server", server.name))?;
                found.push((server.name, measured));
            }
            if round % 2 == 1 {
                found.reverse();
            }
            add_pair(&found, figures);
        }
        Ok(())
    }

    /// Returns this server, which answers in full as the other does.
    fn ours(&self) -> anyhow::Result<Contender> {
        let binary = crate::process::binary();
        let mut command = vec![binary.to_str().context("the path is no text")?.to_owned()];
        if self.path.is_some() {
            command.extend(["http", "--listen", "{address}"].map(str::to_owned));
        }
        let options = [
            "--base-url",
            "{mock}",
            "--api-key",
            "bench",
            "--max-result-bytes",
            "0",
        ];
        command.extend(options.map(str::to_owned));
        Ok(Contender {
            name: "ours",
            command,
            get: Call::new("get-integration", mcp::GET_ARGUMENTS),
            list: Call::new(list::TOOL, list::ARGUMENTS),
        })
    }
}

/// Figures of one server in a round.
type Measured = Vec<(String, Unit, f64)>;

/// Adds the figures of both servers, and those of the other as a share of ours.
fn add_pair(found: &[(&str, Measured)], figures: &mut Figures) {
    let [(_, ours), (_, other)] = found else {
        return;
    };
    for ((what, unit, ours), (_, _, other)) in ours.iter().zip(other) {
        let mut add = |whose: &str, unit, value| {
            figures.add(&format!("{what}: {whose}"), unit, Target::None, value);
        };
        add("ours", *unit, *ours);
        add("other", *unit, *other);
        add("other, share of ours", Unit::Percent, 100.0 * other / ours);
    }
}

/// Adds the figures of sequential calls.
fn add_sequential(
    measured: &mut Measured,
    what: &str,
    latencies: Latencies,
    took: Duration,
    cpu: Duration,
) {
    let result = LoadResult::new(latencies.len(), took, cpu);
    let (p50, p99) = latencies.p50_p99();
    measured.push((format!("{what}: latency p50"), Unit::Millis, p50));
    measured.push((format!("{what}: latency p99"), Unit::Millis, p99));
    measured.push((format!("{what}: CPU per call"), Unit::Micros, result.cpu));
}

/// Adds the figures of concurrent calls.
fn add_load(measured: &mut Measured, what: &str, result: &LoadResult) {
    measured.push((
        format!("{what}: throughput"),
        Unit::PerSecond,
        result.per_second,
    ));
    measured.push((format!("{what}: CPU per call"), Unit::Micros, result.cpu));
}

/// Returns a command with the addresses in it.
fn filled(command: &[String], mock: &str, address: Option<SocketAddr>) -> Vec<String> {
    let fill = |word: &String| {
        let word = word.replace("{mock}", mock);
        match address {
            Some(address) => word
                .replace("{address}", &address.to_string())
                .replace("{port}", &address.port().to_string()),
            None => word,
        }
    };
    command.iter().map(fill).collect()
}

/// Checks that a response is the result of a call and holds what the sandbox has.
fn check_result(answer: &[u8], words: &[u8], least: usize) -> anyhow::Result<()> {
    mcp::check(answer, b"\"result\"")?;
    let shown = || String::from_utf8_lossy(answer.get(..2000).unwrap_or(answer)).into_owned();
    let is_error = [b"\"isError\":true".as_slice(), b"\"isError\": true"]
        .iter()
        .any(|words| mcp::contains(answer, words));
    ensure!(!is_error, "the tool failed: {}", shown());
    let count = memmem::find_iter(answer, words).count();
    ensure!(
        count >= least,
        "the answer has {count} times {:?} instead of at least {least}: {}",
        String::from_utf8_lossy(words),
        shown()
    );
    Ok(())
}

fn check_get(answer: &[u8]) -> anyhow::Result<()> {
    check_result(answer, mcp::SLUG.as_bytes(), 1)
}

fn check_list(answer: &[u8]) -> anyhow::Result<()> {
    check_result(answer, LISTED_TEXT, LISTED)
}

/// A server on a pipe.
struct Pipe {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    line: Vec<u8>,
    id: usize,
}

impl Pipe {
    fn start(command: &[String]) -> anyhow::Result<Self> {
        let mut process = Process::other(command, true)?;
        let input = process.child.stdin.take().context("no standard input")?;
        let output = process.child.stdout.take().context("no standard output")?;
        Ok(Self {
            process,
            input,
            output: BufReader::with_capacity(256 * 1024, output),
            line: Vec::new(),
            id: 0,
        })
    }

    /// Reads the next response. Lines of other kinds are skipped.
    fn receive(&mut self) -> anyhow::Result<()> {
        loop {
            self.line.clear();
            if self.output.read_until(b'\n', &mut self.line)? == 0 {
                bail!("the server closed its output");
            }
            let is_response = |word: &&[u8]| mcp::contains(&self.line, word);
            if [b"\"result\"".as_slice(), b"\"error\""]
                .iter()
                .any(is_response)
            {
                return Ok(());
            }
        }
    }

    fn send(&mut self, message: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{message}\n").as_bytes())?;
        Ok(self.input.flush()?)
    }

    fn sequential(
        &mut self,
        call: &Call,
        count: usize,
        check: fn(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<(Latencies, Duration, Duration)> {
        let mut latencies = Latencies::default();
        let cpu = self.process.cpu()?;
        let begun = Instant::now();
        for _ in 0..count {
            self.id += 1;
            let request = call.request(self.id);
            let started = Instant::now();
            self.send(&request)?;
            self.receive()?;
            latencies.add(started.elapsed());
            check(&self.line)?;
        }
        Ok((latencies, begun.elapsed(), self.process.cpu()? - cpu))
    }

    /// Makes calls with a fixed number in flight.
    fn flood(&mut self, call: &Call, count: usize) -> anyhow::Result<LoadResult> {
        let cpu = self.process.cpu()?;
        let started = Instant::now();
        let mut out = String::new();
        let mut sent = 0;
        for received in 0..count {
            while sent < count && sent - received < CALLS_IN_FLIGHT {
                self.id += 1;
                out.push_str(&call.request(self.id));
                out.push('\n');
                sent += 1;
            }
            if !self.output.buffer().contains(&b'\n') {
                self.input.write_all(out.as_bytes())?;
                self.input.flush()?;
                out.clear();
            }
            self.receive()?;
            check_get(&self.line)?;
        }
        let cpu = self.process.cpu()? - cpu;
        Ok(LoadResult::new(count, started.elapsed(), cpu))
    }
}

fn stdio_round(server: &Contender, mock: &str, amount: &Amount) -> anyhow::Result<Measured> {
    let mut measured = Measured::new();
    let started = Instant::now();
    let mut pipe = Pipe::start(&filled(&server.command, mock, None))?;
    pipe.send(mcp::INITIALIZE)?;
    pipe.receive()?;
    mcp::check(&pipe.line, b"\"protocolVersion\"")?;
    let took = to_millis(started.elapsed());
    measured.push(("exec to `initialize` reply".to_owned(), Unit::Millis, took));
    pipe.send(mcp::INITIALIZED_NOTIFICATION)?;
    let rss = pipe.process.memory("VmRSS")?;
    measured.push(("RSS after `initialize`".to_owned(), Unit::Megabytes, rss));
    pipe.sequential(&server.get, amount.gets / 4, check_get)?;
    let (latencies, took, cpu) = pipe.sequential(&server.get, amount.gets, check_get)?;
    add_sequential(&mut measured, "get, one at a time", latencies, took, cpu);
    pipe.flood(&server.get, amount.load / 8)?;
    let result = pipe.flood(&server.get, amount.load)?;
    let what = format!("get, {CALLS_IN_FLIGHT} in flight");
    add_load(&mut measured, &what, &result);
    pipe.sequential(&server.list, amount.lists / 4, check_list)?;
    let (latencies, took, cpu) = pipe.sequential(&server.list, amount.lists, check_list)?;
    add_sequential(&mut measured, "list, one at a time", latencies, took, cpu);
    let size = pipe.line.len() as f64 / 1e3;
    measured.push(("list: size of an answer".to_owned(), Unit::Kilobytes, size));
    let peak = pipe.process.memory("VmHWM")?;
    measured.push(("peak RSS".to_owned(), Unit::Megabytes, peak));
    Ok(measured)
}

/// A connection to a server over HTTP, with a session if the server has sessions.
struct Connection {
    line: HttpConnection,
    /// The part of each request that precedes its length.
    head: String,
}

impl Connection {
    async fn open(address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let line = HttpConnection::connect(address).await?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\n"
        );
        let mut opened = Self { line, head };
        let request = opened.request(mcp::INITIALIZE);
        opened.line.exchange(&request, "HTTP/1.1 200").await?;
        let answer = String::from_utf8_lossy(&opened.line.body).replace(": ", ":");
        let version = mcp::text_after(&answer, "\"protocolVersion\":\"")
            .context("the response to `initialize` has no version")?;
        let mut more = format!("mcp-protocol-version: {version}\r\n");
        if let Some(session) = opened.line.header("mcp-session-id") {
            more += &format!("mcp-session-id: {session}\r\n");
        }
        opened.head += &more;
        let request = opened.request(mcp::INITIALIZED_NOTIFICATION);
        opened.line.exchange(&request, "HTTP/1.1 2").await?;
        Ok(opened)
    }

    fn request(&self, body: &str) -> Vec<u8> {
        let head = &self.head;
        let length = body.len();
        format!("{head}content-length: {length}\r\n\r\n{body}").into_bytes()
    }

    async fn calls(
        &mut self,
        call: &Call,
        count: usize,
        check: fn(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::default();
        // One is in flight at a time, so that all may have one id.
        let request = self.request(&call.request(1));
        for _ in 0..count {
            let started = Instant::now();
            self.line.exchange(&request, "HTTP/1.1 200").await?;
            latencies.add(started.elapsed());
            check(&self.line.body)?;
        }
        Ok(latencies)
    }
}

/// Makes calls on all connections at once.
async fn call_all(
    lines: Vec<Connection>,
    call: &Call,
    count: usize,
    check: fn(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Connection>> {
    let each = count.div_ceil(lines.len());
    let start = |mut line: Connection| {
        let call = call.clone();
        tokio::spawn(async move {
            line.calls(&call, each, check).await?;
            anyhow::Ok(line)
        })
    };
    let tasks: Vec<_> = lines.into_iter().map(start).collect();
    let mut lines = Vec::new();
    for task in tasks {
        lines.push(task.await??);
    }
    Ok(lines)
}

/// Waits until a server accepts connections.
async fn wait_for(process: &mut Process, address: SocketAddr) -> anyhow::Result<()> {
    let started = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        if let Some(status) = process.child.try_wait()? {
            bail!("the server ended before it listened: {status}");
        }
        ensure!(
            started.elapsed() < START_TIMEOUT,
            "nothing listens on {address}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn http_round(
    server: &Contender,
    path: &str,
    mock: &str,
    amount: &Amount,
) -> anyhow::Result<Measured> {
    // Free at this moment; servers of others cannot report the port that they chose.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut process = Process::other(&filled(&server.command, mock, Some(address)), false)?;
    wait_for(&mut process, address).await?;
    let mut measured = Measured::new();
    let rss = process.memory("VmRSS")?;
    measured.push((
        "RSS before the first client".to_owned(),
        Unit::Megabytes,
        rss,
    ));
    let mut lines = Vec::new();
    for _ in 0..CONNECTIONS {
        lines.push(Connection::open(address, path).await?);
    }
    let work = [
        (
            "get",
            &server.get,
            amount.gets,
            amount.load,
            check_get as fn(&[u8]) -> _,
        ),
        (
            "list",
            &server.list,
            amount.lists,
            2 * amount.lists,
            check_list,
        ),
    ];
    for (what, call, alone, load, check) in work {
        let line = lines.first_mut().context("no connection")?;
        line.calls(call, alone / 4, check).await?;
        let cpu_before = process.cpu()?;
        let started = Instant::now();
        let latencies = line.calls(call, alone, check).await?;
        let took = started.elapsed();
        let cpu = process.cpu()? - cpu_before;
        let name = format!("{what}, one connection");
        add_sequential(&mut measured, &name, latencies, took, cpu);
        lines = call_all(lines, call, load / 8, check).await?;
        let cpu_before = process.cpu()?;
        let started = Instant::now();
        lines = call_all(lines, call, load, check).await?;
        let result = LoadResult::new(
            load.next_multiple_of(CONNECTIONS),
            started.elapsed(),
            process.cpu()? - cpu_before,
        );
        let name = format!("{what}, {CONNECTIONS} connections");
        add_load(&mut measured, &name, &result);
    }
    let peak = process.memory("VmHWM")?;
    measured.push(("peak RSS".to_owned(), Unit::Megabytes, peak));
    Ok(measured)
}
