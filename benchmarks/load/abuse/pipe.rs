//! A stdio client that leaves its responses unread, and one that sends invalid arguments.
//!
//! There are no other callers on stdio: the comparison is between its own calls before and after
//! the abuse.

use std::{
    io::{BufRead, Write},
    sync::mpsc,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};

use super::{
    MAX_GROWTH, Schedule,
    arguments::{MAX_ERROR_BYTES, wrong_arguments},
    report::{Check, TrialResult},
};
use crate::{mcp, process::Process, stats::Latencies, stdio::StdioServer};

/// Number of lists requested before the first one is read; each has 160 kB.
const LIST_REQUESTS: usize = 3000;

/// Maximum time until all responses are read.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum time until a process without a reader exits.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Length of the longest line, in percent of the maximum HTTP request: 13 MiB.
const ARGUMENTS_PERCENT: usize = 330;

/// Delay between two calls.
const CALL_PAUSE: Duration = Duration::from_millis(5);

pub(super) fn unread(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    let (_sandbox, pipe, mut row) = start_trial("unread-stdio", schedule)?;
    let StdioServer {
        process,
        mut input,
        mut output,
        line,
        id,
    } = pipe;
    let lists = LIST_REQUESTS / schedule.divisor;
    let (count, taken) = mpsc::channel();
    let writing = thread::spawn(move || {
        for number in 0..lists {
            let list = format!(r#"{{"jsonrpc":"2.0","id":"{number}","method":"tools/list"}}"#);
            if writeln!(input, "{list}").is_err() || count.send(()).is_err() {
                break;
            }
        }
        input
    });
    sleep(schedule.abuse);
    let held = taken.try_iter().count();
    row.checks.push(Check::new(
        format!("{held} of {lists} requests were taken while no answer was read"),
        true,
    ));
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let mut answered = 0;
        let mut line = Vec::new();
        while answered < lists
            && output
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
        {
            answered += usize::from(mcp::contains(&line, mcp::LIST_RESPONSE_TEXT));
            line.clear();
        }
        // The receiver may have timed out.
        _ = done.send((answered, output));
    });
    let (answered, output) = finished
        .recv_timeout(TIMEOUT)
        .map_err(|_| anyhow!("not all lists were answered within {} s", TIMEOUT.as_secs()))?;
    let input = writing.join().map_err(|_| anyhow!("the writer failed"))?;
    let mut pipe = StdioServer {
        process,
        input,
        output,
        line,
        id,
    };
    row.answered = answered as u64;
    let what = format!("{answered} of {lists} lists were answered once they were read");
    row.checks.push(Check::new(what, answered == lists));
    finish_trial(&mut pipe, schedule, &mut row)?;
    row.checks.push(check_closed_output(pipe)?);
    Ok(row)
}

pub(super) fn arguments(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    let (_sandbox, mut pipe, mut row) = start_trial("arguments-stdio", schedule)?;
    let mut largest = 0;
    for (name, arguments) in wrong_arguments(ARGUMENTS_PERCENT / schedule.divisor) {
        writeln!(pipe.input, "{}", mcp::tool_call(0, name, &arguments, ""))?;
        // As the result of a tool, or as a protocol error.
        pipe.receive(br#""id":0"#)?;
        ensure!(
            !mcp::contains(&pipe.line, mcp::SUCCESS_TEXT),
            "wrong arguments were taken"
        );
        largest = largest.max(pipe.line.len() as u64);
        row.answered += 1;
    }
    let what = format!("the largest answer to wrong arguments has {largest} bytes");
    row.checks
        .push(Check::new(what, largest <= MAX_ERROR_BYTES));
    finish_trial(&mut pipe, schedule, &mut row)?;
    Ok(row)
}

/// Starts a server on stdio and makes calls for a while.
fn start_trial(
    trial: &'static str,
    schedule: &Schedule,
) -> anyhow::Result<(Process, StdioServer, TrialResult)> {
    let (sandbox, upstream) = Process::listening(&["sandbox", "--listen", "127.0.0.1:0"])?;
    let url = format!("http://{upstream}/v1");
    let mut pipe = StdioServer::start(&["--base-url", &url, "--api-key", "bench"])?;
    pipe.ready()?;
    // The server builds the list once and caches it.
    writeln!(pipe.input, "{}", mcp::LIST)?;
    pipe.receive(mcp::LIST_RESPONSE_TEXT)?;
    make_calls(&mut pipe, schedule.warm_up)?;
    let (_, p99_alone) = make_calls(&mut pipe, schedule.alone)?.p50_p99();
    let before = pipe.process.memory("VmRSS")?;
    Ok((
        sandbox,
        pipe,
        TrialResult {
            trial,
            p99_alone,
            before,
            ..TrialResult::default()
        },
    ))
}

/// Waits until the memory is released, and makes calls again.
fn finish_trial(
    pipe: &mut StdioServer,
    schedule: &Schedule,
    row: &mut TrialResult,
) -> anyhow::Result<()> {
    let abused = make_calls(pipe, schedule.alone)?;
    (row.calls, row.p99_abused) = (abused.len(), abused.p50_p99().1);
    row.peak = pipe.process.memory("VmHWM")?;
    let idle = Instant::now();
    row.after = pipe.process.memory("VmRSS")?;
    while row.after > row.before * MAX_GROWTH && idle.elapsed() < schedule.idle {
        sleep(Duration::from_secs(1));
        row.after = pipe.process.memory("VmRSS")?;
    }
    row.idled = idle.elapsed().as_secs_f64();
    Ok(())
}

fn make_calls(pipe: &mut StdioServer, time: Duration) -> anyhow::Result<Latencies> {
    let until = Instant::now() + time;
    let mut latencies = Latencies::default();
    while Instant::now() < until {
        latencies.add(pipe.call()?);
        sleep(CALL_PAUSE);
    }
    ensure!(latencies.len() > 0, "no call was made");
    Ok(latencies)
}

/// Checks that the process exits when nobody can read its output, although more input may come.
fn check_closed_output(pipe: StdioServer) -> anyhow::Result<Check> {
    let StdioServer {
        mut process,
        mut input,
        output,
        ..
    } = pipe;
    drop(output);
    // The process may have exited already.
    _ = writeln!(input, "{}", mcp::call(1, ""));
    let closed = Instant::now();
    let mut ended = None;
    while ended.is_none() && closed.elapsed() < EXIT_TIMEOUT {
        sleep(Duration::from_millis(10));
        ended = process
            .child
            .try_wait()
            .context("the process cannot be waited for")?;
    }
    let what = match ended {
        Some(_) => format!(
            "{:.1} s after its output was closed the process ended",
            closed.elapsed().as_secs_f64()
        ),
        None => "the process went on although its output was closed".to_owned(),
    };
    Ok(Check::new(what, ended.is_some()))
}
