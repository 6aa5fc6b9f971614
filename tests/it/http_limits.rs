//! Limits of the HTTP server: slow clients, many clients, proxies, browsers and TLS.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use reqwest::{Certificate, StatusCode};
use serde_json::json;

use crate::support::{
    process::run_cli,
    requests::{
        call_request, client, client_builder, post_request, send_request, stateless_request,
    },
    server::{ServerProcess, serve_sandbox},
    upstream::{MockUpstream, ResponseAction, json_response},
};

fn connect(server: &ServerProcess) -> TcpStream {
    let address = server.url.split('/').nth(2).unwrap();
    TcpStream::connect(address).unwrap()
}

/// Reads until the server closes the connection.
fn read_to_end(mut stream: TcpStream) -> String {
    let mut text = String::new();
    _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn slow_body_times_out() {
    let server = serve_sandbox(&["--body-timeout", "0.2"]);
    let mut stream = connect(&server);
    let head = "host: localhost\r\ncontent-type: application/json\r\nconnection: close";
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\n{head}\r\ncontent-length: 100\r\n\r\n{{\"js"
    )
    .unwrap();
    let text = read_to_end(stream);
    assert!(
        text.starts_with("HTTP/1.1 408 ") && text.contains("\"error\":{\"code\":-32000"),
        "{text}"
    );
}

#[test]
fn slow_head_and_idle_connection_are_closed() {
    let server = serve_sandbox(&["--idle-timeout", "0.2"]);
    // Covers an empty connection and a partial HTTP/2 preface, before the protocol is known.
    for opening in ["", "PRI * HT"] {
        let mut stream = connect(&server);
        write!(stream, "{opening}").unwrap();
        assert_eq!(read_to_end(stream), "", "{opening:?}");
    }
    let mut stream = connect(&server);
    write!(stream, "POST /mcp HTTP/1.1\r\nhost: local").unwrap();
    let text = read_to_end(stream);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 408 "),
        "{text}"
    );
    let mut stream = connect(&server);
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let text = read_to_end(stream);
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.ends_with("ok\n"),
        "{text}"
    );
}

#[test]
fn oversized_head_is_rejected() {
    let server = serve_sandbox(&["--max-head-bytes", "8192"]);
    let mut stream = connect(&server);
    let long = "x".repeat(20_000);
    _ = write!(
        stream,
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-long: {long}\r\n\r\n"
    );
    let text = read_to_end(stream);
    // Bytes in flight when the connection closes may reset it before the response is read.
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 431 "),
        "{text}"
    );
}

/// A chunked body does not declare its size.
#[tokio::test]
async fn chunked_body_is_limited() {
    let server = serve_sandbox(&["--max-request-bytes", "1000"]);
    let mut stream = connect(&server);
    let head = "host: localhost\r\ncontent-type: application/json\r\nconnection: close";
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\n{head}\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .unwrap();
    let chunk = "x".repeat(600);
    write!(stream, "258\r\n{chunk}\r\n258\r\n{chunk}\r\n").unwrap();
    let text = read_to_end(stream);
    assert!(
        text.starts_with("HTTP/1.1 413 ") && text.contains("--max-request-bytes"),
        "{text}"
    );
    let (status, _) = send_request(stateless_request(&server, "tools/list", json!({}))).await;
    assert_eq!(status, StatusCode::OK);
}

/// Covers every path of every listener.
#[test]
fn request_with_two_host_headers_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let admin = folder.path().join("admin.json");
    let mut server = serve_sandbox(&[
        "--path-prefix",
        "/prefix",
        "--metrics-listen",
        "127.0.0.1:0",
        "--approve-deletes",
        "--admin-listen",
        "127.0.0.1:0",
        "--admin-file",
        admin.to_str().unwrap(),
    ]);
    let address = |url: &str| url.split('/').nth(2).unwrap().to_owned();
    let main = address(&server.url);
    let line = server.read_until("/metrics");
    let metrics = address(&line[line.find("http://").unwrap()..]);
    let admin: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&admin).unwrap()).unwrap();
    let admin = address(admin["url"].as_str().unwrap());
    for (address, path) in [
        (&main, "/prefix/mcp"),
        (&main, "/prefix/mcp/readonly"),
        (&main, "/prefix/healthz"),
        (&main, "/healthz"),
        (&main, "/readyz"),
        (&main, "/prefix/sse"),
        (&main, "/.well-known/oauth-protected-resource"),
        (&main, "/prefix/.well-known/oauth-protected-resource"),
        (&main, "/prefix"),
        (&main, "/"),
        (&metrics, "/metrics"),
        (&metrics, "/"),
        (&admin, "/"),
        (&admin, "/approvals"),
    ] {
        for (hosts, is_refused) in [
            ("host: localhost\r\nhost: localhost", true),
            ("host: localhost", false),
        ] {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(
                stream,
                "GET {path} HTTP/1.1\r\n{hosts}\r\nconnection: close\r\n\r\n"
            )
            .unwrap();
            let text = read_to_end(stream);
            let is_reported =
                text.starts_with("HTTP/1.1 400 ") && text.contains("more than one `Host`");
            assert_eq!(is_reported, is_refused, "{path}: {text}");
        }
    }
}

#[test]
fn number_of_connections_is_limited() {
    let server = serve_sandbox(&["--max-connections", "2"]);
    let healthy = |stream: &mut TcpStream| {
        _ = write!(stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut some = [0; 15];
        stream.read_exact(&mut some).is_ok() && &some == b"HTTP/1.1 200 OK"
    };
    let mut one = connect(&server);
    let mut two = connect(&server);
    assert!(healthy(&mut one) && healthy(&mut two));
    assert!(!healthy(&mut connect(&server)), "a third");
    drop(one);
    // The server notices the closed connection a moment later.
    assert!(
        (0..1000).any(|_| healthy(&mut connect(&server))),
        "one in the place of the first"
    );
}

#[tokio::test]
async fn concurrent_requests_of_one_caller_are_limited() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = gate.clone();
    let upstream = MockUpstream::start(move |_| ResponseAction::Later(held.clone(), "{}")).await;
    let server = ServerProcess::http()
        .auth("key")
        .upstream(&upstream.base_url)
        .args(&["--concurrency", "2"])
        .start();
    let list = |key: &'static str| {
        call_request(&server, "list-all-integrations", json!({})).header("x-portkey-api-key", key)
    };
    let under_way: Vec<_> = (0..2).map(|_| tokio::spawn(list("pk-a").send())).collect();
    upstream.wait_for_requests(2).await;
    let refused = list("pk-a").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let other = tokio::spawn(list("pk-b").send());
    upstream.wait_for_requests(3).await;
    gate.add_permits(100);
    for call in under_way.into_iter().chain([other]) {
        assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(list("pk-a").send().await.unwrap().status(), StatusCode::OK);
}

/// Requests are counted before the caller is authenticated, so that guesses count as well.
#[tokio::test]
async fn rate_limited_request_is_told_when_to_retry() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let serve = |more: &[&str]| {
        let server = ServerProcess::http().auth("key");
        server.upstream(&upstream.base_url).args(more).start()
    };
    let list = |server: &ServerProcess, key: &str| {
        call_request(server, "list-all-integrations", json!({})).header("x-portkey-api-key", key)
    };
    let of_caller = serve(&["--rate-limit", "3/h"]);
    let statuses = async |server: &ServerProcess, keys: &[&str]| {
        let mut statuses = Vec::new();
        for key in keys {
            statuses.push(list(server, key).send().await.unwrap().status().as_u16());
        }
        statuses
    };
    assert_eq!(
        statuses(&of_caller, &["a", "a", "a", "a", "b"]).await,
        [200, 200, 200, 429, 200]
    );
    let refused = list(&of_caller, "a").send().await.unwrap();
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1100..=1200).contains(&wait), "a third of an hour: {wait}");
    let text = refused.text().await.unwrap();
    assert!(
        text.contains("from one principal") && text.contains("\"jsonrpc\""),
        "{text}"
    );

    let of_address = serve(&["--address-rate-limit", "2/h"]);
    assert_eq!(
        statuses(&of_address, &["", "\t", "a"]).await,
        [401, 401, 429]
    );
    let nobody = serve(&["--rate-limit", "none", "--address-rate-limit", "none"]);
    let many = ["a"; 20];
    assert_eq!(statuses(&nobody, &many).await, [200; 20]);
    for wrong in ["3", "3/d", "0/s", "x/s", "1/ms"] {
        let (ok, _, log) = run_cli(&["http", "--rate-limit", wrong]);
        assert!(!ok && log.contains("20/s"), "{wrong}: {log}");
    }
}

/// If the store of a limit is unavailable, every request is rejected.
#[tokio::test]
async fn request_that_cannot_be_counted_is_rejected() {
    // A listener that accepts connections and never responds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://:planted-password@{}", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("state.keys");
    let (made, line, _) = run_cli(&["state-key", "new", "--id", "one"]);
    assert!(made);
    fs::write(&keys, line).unwrap();
    let keys = ["--state-key-file", keys.to_str().unwrap()];
    let args = ["--redis-url", &url, "--rate-limit", "100/s"];
    let server = serve_sandbox(&[&args[..], &keys].concat());
    let refused = stateless_request(&server, "tools/list", json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.unwrap().contains("cannot be counted"));
    let (_, log) = server.terminate();
    assert!(!log.contains("planted"), "{log}");
}

/// All addresses of one /64 share a limit, and an IPv4-mapped address counts as its IPv4 address.
#[tokio::test]
async fn ipv6_addresses_of_one_network_share_a_limit() {
    struct Case {
        ipv6_prefix: &'static [&'static str],
        hops: [&'static str; 3],
        statuses: [u16; 3],
    }
    for Case {
        ipv6_prefix,
        hops,
        statuses,
    } in [
        Case {
            ipv6_prefix: &[],
            hops: ["2001:db8::1", "2001:db8::2:0:0:1", "2001:db8:0:1::1"],
            statuses: [200, 429, 200],
        },
        Case {
            ipv6_prefix: &["--ipv6-prefix", "56"],
            hops: ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:100::1"],
            statuses: [200, 429, 200],
        },
        Case {
            ipv6_prefix: &[],
            hops: ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"],
            statuses: [200, 429, 200],
        },
    ] {
        let limits = [
            "--address-rate-limit",
            "1/h",
            "--trusted-proxies",
            "127.0.0.1",
        ];
        let server = serve_sandbox(&[&limits[..], ipv6_prefix].concat());
        let mut seen = Vec::new();
        for hops in hops {
            let list =
                stateless_request(&server, "tools/list", json!({})).header("x-forwarded-for", hops);
            seen.push(list.send().await.unwrap().status().as_u16());
        }
        assert_eq!(seen, statuses, "{hops:?} {ipv6_prefix:?}");
    }
}

/// Behind a trusted proxy, the client addresses come from the proxy. Forged entries have no effect.
#[tokio::test]
async fn client_address_is_taken_from_trusted_proxies() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = gate.clone();
    let upstream = MockUpstream::start(move |_| ResponseAction::Later(held.clone(), "{}")).await;
    let serve = |more: &[&str]| {
        ServerProcess::http()
            .args(&["--address-concurrency", "1"])
            .api_key("pk-1")
            .upstream(&upstream.base_url)
            .args(more)
            .start()
    };
    let (behind, open) = (
        serve(&["--trusted-proxies", "127.0.0.1,10.0.0.0/8"]),
        serve(&[]),
    );
    let list = |server: &ServerProcess, hops: &'static str| {
        call_request(server, "list-all-integrations", json!({})).header("x-forwarded-for", hops)
    };
    let mut under_way = vec![tokio::spawn(list(&behind, "192.0.2.1").send())];
    upstream.wait_for_requests(1).await;
    for hops in [
        "192.0.2.1",
        "6.6.6.6, 192.0.2.1",
        "192.0.2.1, 10.1.2.3",
        "192.0.2.1:4711",
    ] {
        let status = list(&behind, hops).send().await.unwrap().status();
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{hops}");
    }
    for (i, hops) in ["192.0.2.2", "192.0.2.1, 192.0.2.3", "[2001:db8::1]:80"]
        .into_iter()
        .enumerate()
    {
        under_way.push(tokio::spawn(list(&behind, hops).send()));
        upstream.wait_for_requests(i + 2).await;
    }
    let asked = upstream.count();
    under_way.push(tokio::spawn(list(&open, "192.0.2.7").send()));
    upstream.wait_for_requests(asked + 1).await;
    let status = list(&open, "192.0.2.8").send().await.unwrap().status();
    assert_eq!(
        status,
        StatusCode::TOO_MANY_REQUESTS,
        "nobody's word counts here"
    );
    gate.add_permits(100);
    for call in under_way {
        assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn cors_allows_only_the_configured_origins() {
    let server = serve_sandbox(&["--allowed-origin", "http://localhost:6274"]);
    let ask = |origin: &str| {
        client()
            .request(reqwest::Method::OPTIONS, &server.url)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,mcp-method,mcp-param-x",
            )
    };
    let allowed = ask("http://localhost:6274").send().await.unwrap();
    assert_eq!(allowed.status(), StatusCode::OK);
    let header = |name: &str| allowed.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        header("access-control-allow-origin"),
        "http://localhost:6274"
    );
    assert_eq!(
        header("access-control-allow-headers"),
        "authorization,mcp-method,mcp-param-x"
    );
    assert!(header("access-control-allow-methods").contains("DELETE"));
    let other = ask("https://evil.example").send().await.unwrap();
    assert!(!other.headers().contains_key("access-control-allow-origin"));

    let request = stateless_request(&server, "tools/list", json!({}));
    let answered = request
        .header("origin", "http://localhost:6274")
        .send()
        .await
        .unwrap();
    assert_eq!(answered.status(), StatusCode::OK);
    assert_eq!(
        answered.headers()["access-control-allow-origin"],
        "http://localhost:6274"
    );
    let exposed = answered.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(
        exposed.contains("mcp-session-id") && exposed.contains("retry-after"),
        "{exposed}"
    );
    let (status, _) =
        send_request(post_request(&server, "{}").header("origin", "https://evil.example")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[test]
fn plain_http_on_a_tls_port_gets_an_explanation() {
    let folder = tempfile::tempdir().unwrap();
    let cert = folder.path().join("tls.crt");
    let key = folder.path().join("tls.key");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    let files = [
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let mut server = serve_sandbox(&files);
    let mut stream = connect(&server);
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let text = read_to_end(stream);
    assert!(
        text.starts_with("HTTP/1.1 400 ") && text.contains("https://"),
        "{text}"
    );
    assert!(
        server
            .read_until("plain HTTP on a port with TLS")
            .contains("127.0.0.1")
    );
    let mut stream = connect(&server);
    write!(stream, "\0 no protocol").unwrap();
    assert_eq!(read_to_end(stream), "");
}

/// A replaced certificate is used from the next connection on.
#[tokio::test]
async fn replaced_tls_certificate_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let cert = folder.path().join("tls.crt");
    let key = folder.path().join("tls.key");
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        fs::write(&cert, made.cert.pem()).unwrap();
        Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
    };
    let trusting = |root: Certificate| {
        client_builder()
            .tls_certs_only([root])
            .no_proxy()
            .build()
            .unwrap()
    };
    let first = renew();
    let files = [
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let mut server = serve_sandbox(&files);
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let url = server
        .url
        .replace("127.0.0.1", "localhost")
        .replace("/mcp", "/healthz");
    let answered = trusting(first.clone()).get(&url).send().await.unwrap();
    assert_eq!(
        (answered.status(), answered.version()),
        (StatusCode::OK, http::Version::HTTP_2)
    );
    let health = ["health", "--url", &url];
    assert!(!run_cli(&health).0, "nobody vouches for it");
    let (up, _, log) = run_cli(&[&health[..], &["--ca-file", cert.to_str().unwrap()]].concat());
    assert!(up, "{log}");
    let plain = url.replace("https://", "http://");
    let refused = client().get(plain).send().await.unwrap();
    assert_eq!(
        refused.status(),
        StatusCode::BAD_REQUEST,
        "plain HTTP is not served there"
    );

    let second = renew();
    server.read_until("reloaded the changed file");
    assert_eq!(
        trusting(second.clone())
            .get(&url)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
    assert!(
        trusting(first).get(&url).send().await.is_err(),
        "the old one is gone"
    );

    fs::write(&cert, "no PEM").unwrap();
    server.read_until("the change is invalid");
    assert_eq!(
        trusting(second).get(&url).send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn http_2_request_is_served() {
    let upstream = MockUpstream::start(|_| json_response("{\"data\":[]}")).await;
    let server = ServerProcess::http()
        .api_key("pk-1")
        .upstream(&upstream.base_url)
        .start();
    let (client, request) = call_request(&server, "list-all-integrations", json!({}))
        .version(http::Version::HTTP_2)
        .build_split();
    drop(client);
    let client = client_builder().http2_prior_knowledge().build().unwrap();
    let answered = client.execute(request.unwrap()).await.unwrap();
    assert_eq!(
        (answered.status(), answered.version()),
        (StatusCode::OK, http::Version::HTTP_2)
    );
    assert!(answered.text().await.unwrap().contains("\"isError\":false"));
}

/// Of two concurrent large bodies one is rejected, with and without a declared length.
#[test]
fn large_bodies_of_one_caller_share_a_limit() {
    for coding in ["content-length: 20000000", "transfer-encoding: chunked"] {
        let server = serve_sandbox(&["--max-request-bytes", "20000000"]);
        let host = server.url.split('/').nth(2).unwrap();
        let (answered, answers) = std::sync::mpsc::channel();
        let streams = [connect(&server), connect(&server)].map(|mut stream| {
            let head = "content-type: application/json\r\nconnection: close";
            write!(
                stream,
                "POST /mcp HTTP/1.1\r\nhost: {host}\r\n{head}\r\n{coding}\r\n\r\n"
            )
            .unwrap();
            if coding.ends_with("chunked") {
                // The rejected connection may be closed before all of the body is sent.
                _ = write!(stream, "11000\r\n{}\r\n", "0".repeat(0x11000));
            }
            let reads = stream.try_clone().unwrap();
            let answered = answered.clone();
            std::thread::spawn(move || answered.send(read_to_end(reads)));
            stream
        });
        let first = answers.recv().unwrap();
        assert!(
            first.starts_with("HTTP/1.1 429 ") || first.is_empty(),
            "{coding}: {first}"
        );
        drop(streams);
    }
}
