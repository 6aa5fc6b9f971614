//! Limits of a stdio client: unread responses, processes without a reader, and duplicate ids.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use portkey_mcp::{mcp::server::Server, transport::stdio::serve_on};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, DuplexStream, Lines},
    sync::Semaphore,
    time::timeout,
};

use crate::support::{
    process::command,
    server::StdioServer,
    stdio::{INITIALIZE, call_request, list_request, start_initialized},
    upstream::{MockUpstream, ResponseAction, dispatcher, operator},
};

/// Number of output bytes that a client leaves unread in its pipe.
const PIPE_BYTES: usize = 4096;

/// Starts a server in this process, with an initialized client.
async fn connect(
    upstream: &MockUpstream,
) -> (DuplexStream, Lines<tokio::io::BufReader<DuplexStream>>) {
    let server = Server::new(dispatcher(upstream).into(), None).with_local_principal(operator());
    let ((mut input, theirs), (ours, output)) =
        (tokio::io::duplex(PIPE_BYTES), tokio::io::duplex(PIPE_BYTES));
    tokio::spawn(serve_on(server, theirs, ours, std::future::pending()));
    input
        .write_all(format!("{INITIALIZE}\n").as_bytes())
        .await
        .unwrap();
    let mut output = tokio::io::BufReader::new(output).lines();
    output.next_line().await.unwrap().unwrap();
    (input, output)
}

/// Sends requests until no more are accepted; returns their number. The clock is paused.
async fn send_until_full(input: &mut DuplexStream, request: impl Fn(u32) -> String) -> u32 {
    for id in 1..20_000 {
        let line = request(id) + "\n";
        if timeout(Duration::from_secs(1), input.write_all(line.as_bytes()))
            .await
            .is_err()
        {
            return id;
        }
    }
    panic!("20,000 requests were read whose answers nobody reads");
}

#[tokio::test(start_paused = true)]
async fn requests_are_not_read_while_responses_are_unread() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let (mut input, mut output) = connect(&upstream).await;
    let sent = send_until_full(&mut input, list_request).await;
    // The requests that were read, and those that fit into the pipe to the server and its buffer.
    let in_pipes = u32::try_from((PIPE_BYTES + 64 * 1024) / list_request(1000).len()).unwrap();
    assert!(sent < 128 + in_pipes + 64, "{sent} requests were read");
    // The last request was sent in part; the others are answered once the client reads.
    let mut answered = BTreeSet::new();
    while answered.len() < sent as usize - 1 {
        let line = output.next_line().await.unwrap().unwrap();
        answered.insert(
            serde_json::from_str::<Value>(&line).unwrap()["id"]
                .as_u64()
                .unwrap(),
        );
    }
    assert_eq!(answered, (1..u64::from(sent)).collect());
}

#[tokio::test(start_paused = true)]
async fn invalid_lines_are_not_read_while_errors_are_unread() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let (mut input, _output) = connect(&upstream).await;
    let sent = send_until_full(&mut input, |_| "x".repeat(1000)).await;
    assert!(sent < 128 + 128, "{sent} lines were read");
}

/// Waits until a process exits by itself.
fn wait_for_exit(child: &mut std::process::Child) -> (ExitStatus, Duration) {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, began.elapsed());
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the process goes on"
        );
        std::thread::yield_now();
    }
}

/// Starts a process, initializes it, and closes the read end of its output.
fn start_and_close_output(args: &[&str]) -> std::process::Child {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{INITIALIZE}").unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    child
}

#[test]
fn closed_output_ends_an_idle_server() {
    let mut child = start_and_close_output(&["--sandbox"]);
    let (status, took) = wait_for_exit(&mut child);
    let mut log = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("standard output was closed"), "{log}");
    // The promise is one second; other tests may slow the machine down.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// A server that ends before the initialization reports the reason without type names.
#[tokio::test]
async fn failed_initialization_is_explained_without_type_names() {
    struct Case {
        is_read: bool,
        first: &'static str,
        message: &'static str,
    }
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    for Case {
        is_read,
        first,
        message,
    } in [
        Case {
            is_read: false,
            first: INITIALIZE,
            message: "standard output was closed",
        },
        Case {
            is_read: true,
            first: r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            message: "the first message of the client is no request",
        },
    ] {
        let server =
            Server::new(dispatcher(&upstream).into(), None).with_local_principal(operator());
        let ((mut input, theirs), (ours, output)) =
            (tokio::io::duplex(PIPE_BYTES), tokio::io::duplex(PIPE_BYTES));
        let _output = is_read.then_some(output);
        input
            .write_all(format!("{first}\n").as_bytes())
            .await
            .unwrap();
        let served = serve_on(server, theirs, ours, std::future::pending()).await;
        let text = format!("{:#}", served.unwrap_err());
        assert!(text.contains(message) && !text.contains("::"), "{text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn full_output_device_is_explained_without_type_names() {
    let mut child = command(&["--sandbox"])
        .stdin(Stdio::piped())
        .stdout(
            std::fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{INITIALIZE}").unwrap();
    let (status, _) = wait_for_exit(&mut child);
    let mut log = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap();
    assert!(
        last.starts_with("portkey-mcp: standard output") && !last.contains("::"),
        "{log}"
    );
}

#[test]
fn closing_input_and_output_exits_successfully() {
    let mut child = start_and_close_output(&["--sandbox"]);
    drop(child.stdin.take());
    let (status, _) = wait_for_exit(&mut child);
    assert!(status.success());
}

/// Standard output that is not a pipe, as some clients have it.
#[cfg(unix)]
#[test]
fn closed_output_socket_ends_the_server() {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut child = command(&["--sandbox"])
        .stdin(Stdio::piped())
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{INITIALIZE}").unwrap();
    let mut output = BufReader::new(ours);
    output.read_line(&mut String::new()).unwrap();
    drop(output);
    assert_eq!(wait_for_exit(&mut child).0.code(), Some(1));
}

#[tokio::test]
async fn server_with_closed_input_exits_despite_unread_output() {
    let mut child = command(&["--sandbox"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{INITIALIZE}").unwrap();
    for id in 1..8 {
        writeln!(input, "{}", list_request(id)).unwrap();
    }
    drop(input);
    tokio::task::spawn_blocking(move || wait_for_exit(&mut child))
        .await
        .unwrap();
}

#[tokio::test]
async fn request_id_in_use_is_rejected() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let mut pipe = start_initialized(&[
        "--api-key",
        "k",
        "--base-url",
        &upstream.base_url,
        "--timeout",
        "1",
    ]);
    for _ in 0..8 {
        pipe.send(&call_request(7, "get-integration", &json!({ "slug": "x" })));
    }
    let answers: Vec<Value> = tokio::task::spawn_blocking(move || {
        let answers = (0..8).map(|_| pipe.receive()).collect();
        pipe.send(&call_request(7, "get-integration", &json!({ "slug": "x" })));
        // The id is free after the response.
        assert!(pipe.receive()["result"]["isError"].as_bool().unwrap());
        answers
    })
    .await
    .unwrap();
    assert_eq!(upstream.count(), 2);
    let (refused, answered): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer["error"].is_object());
    assert_eq!((refused.len(), answered.len()), (7, 1));
    for answer in refused {
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(7), &json!(-32600))
        );
        assert!(
            answer["error"]["message"]
                .as_str()
                .unwrap()
                .contains("in use"),
            "{answer}"
        );
    }
}

/// The cancelled call may still run, and its response must not be mistaken for another one.
#[tokio::test]
async fn request_id_of_a_cancelled_call_is_rejected() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let mut pipe = start_initialized(&["--api-key", "k", "--base-url", &upstream.base_url]);
    pipe.send(&call_request(7, "get-integration", &json!({ "slug": "x" })));
    upstream.wait_for_requests(1).await;
    let params = json!({ "requestId": 7 });
    let cancelled =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    pipe.send(&cancelled.to_string());
    pipe.send(&list_request(7));
    let answer = tokio::task::spawn_blocking(move || pipe.receive())
        .await
        .unwrap();
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(7), &json!(-32600))
    );
}

fn send_signal(pipe: &StdioServer, name: &str) {
    let pid = pipe.child.id().to_string();
    assert!(
        Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .unwrap()
            .success()
    );
}

fn terminate(pipe: &StdioServer) {
    send_signal(pipe, "TERM");
}

#[tokio::test]
async fn write_in_flight_survives_sighup() {
    let release = Arc::new(Semaphore::new(0));
    let held = release.clone();
    let upstream =
        MockUpstream::start(move |_| ResponseAction::Later(held.clone(), r#"{"id":"i"}"#)).await;
    let mut pipe = start_initialized(&["--api-key", "k", "--base-url", &upstream.base_url]);
    let arguments = json!({ "name": "n", "ai_provider_id": "openai", "key": "sk-1" });
    pipe.send(&call_request(1, "create-integration", &arguments));
    upstream.wait_for_requests(1).await;
    send_signal(&pipe, "HUP");
    release.add_permits(1);
    let (answer, log) = tokio::task::spawn_blocking(move || {
        let answer = pipe.receive();
        (answer, pipe.end().2)
    })
    .await
    .unwrap();
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    assert!(
        log.contains("SIGHUP: the files in use are read again"),
        "{log}"
    );
}

#[tokio::test]
async fn write_in_flight_at_shutdown_has_an_unknown_outcome() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let mut pipe = start_initialized(&["--api-key", "k", "--base-url", &upstream.base_url]);
    let arguments = json!({ "name": "n", "ai_provider_id": "openai", "key": "sk-1" });
    pipe.send(&call_request(1, "create-integration", &arguments));
    upstream.wait_for_requests(1).await;
    terminate(&pipe);
    let (answer, status) = tokio::task::spawn_blocking(move || {
        let answer = pipe.receive();
        (answer, pipe.end().0)
    })
    .await
    .unwrap();
    assert!(status.success());
    assert_eq!(
        (&answer["id"], &answer["result"]["isError"]),
        (&json!(1), &json!(true))
    );
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("was sent, and cut off before Portkey had answered"),
        "{text}"
    );
    assert!(text.contains("look with `list-all-integrations`"), "{text}");
}

/// The SDKs close the input, and kill a process that has not ended two seconds after SIGTERM.
#[tokio::test]
async fn write_of_a_client_that_left_is_on_record_after_sigterm() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let mut pipe = start_initialized(&[
        "--api-key",
        "k",
        "--base-url",
        &upstream.base_url,
        "--audit-log",
        log.to_str().unwrap(),
    ]);
    let arguments = json!({ "name": "n", "ai_provider_id": "openai", "key": "sk-1" });
    pipe.send(&call_request(1, "create-integration", &arguments));
    upstream.wait_for_requests(1).await;
    drop(pipe.input.take());
    terminate(&pipe);
    let status = tokio::task::spawn_blocking(move || pipe.end().0).await;
    assert!(status.unwrap().success());
    let entries = std::fs::read_to_string(log).unwrap();
    assert!(entries.contains(r#""outcome":"unknown""#), "{entries}");
}

/// Calls that end soon are finished instead of aborted.
#[test]
fn short_call_is_answered_during_shutdown() {
    let mut pipe = start_initialized(&["--sandbox", "--sandbox-faults", "latency:300ms"]);
    pipe.send(&call_request(1, "create-label", &json!({ "name": "soon" })));
    // Answered immediately, so that the call before it is in flight.
    pipe.send(&json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" }).to_string());
    assert_eq!(pipe.receive()["id"], 2);
    terminate(&pipe);
    let answer = pipe.receive();
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    assert!(pipe.end().0.success());
}
