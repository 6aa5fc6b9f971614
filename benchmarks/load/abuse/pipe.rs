//! A client on a pipe that leaves its answers unread, and one whose arguments are wrong.
//!
//! There are no other callers on a pipe: what is compared is its own calls before the abuse and after it.

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

/// How many lists are asked for before one is read: 160 kB each.
const LIST_REQUESTS: usize = 3000;

/// How long the answers may take once they are read.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a process without a reader may go on.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest line that is sent, in hundredths of what HTTP takes: 13 MiB.
const ARGUMENTS_PERCENT: usize = 330;

/// The pause between two calls.
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
        let (mut answered, mut line) = (0, Vec::new());
        while answered < lists
            && output
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
        {
            answered += usize::from(mcp::contains(&line, mcp::LIST_RESPONSE_TEXT));
            line.clear();
        }
        // Whoever waits may have given up.
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
        // As the result of a tool, or as an error of the protocol.
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

/// A server on a pipe that has answered calls for a while.
fn start_trial(
    trial: &'static str,
    schedule: &Schedule,
) -> anyhow::Result<(Process, StdioServer, TrialResult)> {
    let (sandbox, upstream) = Process::listening(&["sandbox", "--listen", "127.0.0.1:0"])?;
    let url = format!("http://{upstream}/v1");
    let mut pipe = StdioServer::start(&["--base-url", &url, "--api-key", "bench"])?;
    pipe.ready()?;
    // It builds them once, and keeps them.
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

/// Waits for the memory to come back, and makes calls again.
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

/// A process whose output nobody can read any more has to end, although more may still come in.
fn check_closed_output(pipe: StdioServer) -> anyhow::Result<Check> {
    let StdioServer {
        mut process,
        mut input,
        output,
        ..
    } = pipe;
    drop(output);
    // It may have ended already.
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
