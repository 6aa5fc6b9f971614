//! Proxies and TLS between the server and Portkey.

use std::{fs, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    LazyConfigAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::Acceptor,
    },
};

use crate::support::{
    process::{command, run_cli},
    server::serve_sandbox,
    upstream::{MockUpstream, http_response, json_response},
};

/// Calls a tool at a URL with these variables; returns the result, or standard error.
async fn call_with_env(
    base_url: &str,
    variables: &[(&str, &str)],
    more: &[&str],
) -> Result<Value, String> {
    let mut args = vec![
        "call",
        "list-all-integrations",
        "--api-key",
        "k",
        "--retries",
        "0",
        "--base-url",
        base_url,
    ];
    args.extend(more);
    let mut command = command(&args);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.envs(variables.iter().copied());
    let output = tokio::process::Command::from(command)
        .output()
        .await
        .unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test]
async fn invalid_proxy_variable_fails_the_start_with_its_name() {
    let reached = MockUpstream::start(|_| json_response("{}")).await;
    let cases = [
        ("HTTPS_PROXY", "http://user:hunter2@proxy.invalid:99999"),
        ("http_proxy", "http://user:hunter2@"),
        ("ALL_PROXY", "socks5://user:hunter2@proxy.invalid:1080"),
    ];
    for (name, address) in cases {
        let outcome = call_with_env(&reached.base_url, &[(name, address)], &[])
            .await
            .unwrap_err();
        assert!(
            outcome.contains(&format!("`{name}`")) && !outcome.contains("hunter2"),
            "{outcome}"
        );
    }
    assert_eq!(reached.count(), 0, "nothing was sent past the proxy");
    // Irrelevant, because the sandbox sends nothing.
    let sandboxed = [("HTTPS_PROXY", "http://")];
    let (ok, text) = run_apart(&["call", "list-labels", "--sandbox"], &sandboxed).await;
    assert!(ok, "{text}");
}

#[tokio::test]
async fn proxy_variables_and_no_proxy_are_honoured() {
    let proxy = MockUpstream::start(|_| json_response(r#"{"by":"proxy"}"#)).await;
    let address = proxy.base_url.trim_end_matches("/v1").to_owned();
    let through = [("HTTP_PROXY", address.as_str())];
    let answered = call_with_env("http://portkey.invalid/v1", &through, &[])
        .await
        .unwrap();
    assert_eq!(answered["by"], "proxy");
    assert_eq!(
        proxy.requests()[0].target,
        "http://portkey.invalid/v1/integrations"
    );

    let excepted = [
        ("HTTP_PROXY", address.as_str()),
        ("NO_PROXY", "portkey.invalid"),
    ];
    let text = call_with_env("http://portkey.invalid/v1", &excepted, &[])
        .await
        .unwrap_err();
    assert!(text.contains("could not be reached"), "{text}");
    assert_eq!(proxy.requests().len(), 1);

    // TLS is tunnelled, so that the proxy never sees the key.
    let refusing = MockUpstream::start(|_| http_response("403 Forbidden", "", "")).await;
    let address = refusing.base_url.trim_end_matches("/v1").to_owned();
    call_with_env(
        "https://portkey.invalid/v1",
        &[("HTTPS_PROXY", &address)],
        &[],
    )
    .await
    .unwrap_err();
    let seen = &refusing.requests()[0];
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("CONNECT", "portkey.invalid:443")
    );
    assert!(!seen.head.contains("x-portkey-api-key"), "{}", seen.head);
}

#[tokio::test]
async fn unreachable_proxy_is_named_in_the_error() {
    let through = [("HTTPS_PROXY", "http://me:planted@127.0.0.1:1")];
    let text = call_with_env("https://portkey.invalid/v1", &through, &[])
        .await
        .unwrap_err();
    for part in [
        "`https://portkey.invalid` through the proxy `http://127.0.0.1:1`",
        "NO_PROXY",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(
        text.contains("connection refused") && !text.contains("planted"),
        "{text}"
    );
    let text = call_with_env("http://127.0.0.1:1/v1", &[], &[])
        .await
        .unwrap_err();
    let expected =
        "`http://127.0.0.1:1`: nothing listens there (connection refused). Check --base-url";
    assert!(
        text.contains(expected) && !text.contains("through the proxy"),
        "{text}"
    );
}

#[tokio::test]
async fn https_request_to_a_plain_http_server_is_explained() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Unread input would reset the connection and lose the response.
        _ = stream.read(&mut [0; 4096]).await;
        _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        _ = stream.shutdown().await;
    });
    let text = call_with_env(&base_url, &[], &[]).await.unwrap_err();
    assert!(
        text.contains("does not speak TLS") && text.contains("begins with http://"),
        "{text}"
    );
    assert!(!text.contains("InvalidContentType"), "{text}");
}

#[tokio::test]
async fn http_request_to_a_tls_server_is_explained() {
    let (base_url, _) = start_tls_upstream().await;
    let text = call_with_env(&base_url.replace("https://", "http://"), &[], &[])
        .await
        .unwrap_err();
    // The system determines whether the TLS alert or the close is seen first.
    assert!(
        text.contains("begin with https://") || text.contains("broke before"),
        "{text}"
    );
}

/// `openssl req -x509` makes such certificates: a CA certificate used as a server certificate.
#[tokio::test]
async fn ca_certificate_used_by_a_server_is_explained() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, certificate.pem()).unwrap();
    let base_url = start_tls_server(certificate.into(), &key).await;
    let trusting = ["--ca-file", file.to_str().unwrap()];
    for more in [&[] as &[&str], &trusting] {
        let text = call_with_env(&base_url, &[], more).await.unwrap_err();
        assert!(
            text.contains("`https://localhost:") && text.contains("--ca-file"),
            "{text}"
        );
        assert!(
            !text.contains("OtherError") && !text.contains("CaUsedAsEndEntity"),
            "{text}"
        );
    }
}

#[test]
fn port_in_use_is_reported_with_the_option_to_change() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], &str); 4] = [
        (&["sandbox", "--listen", &address], "--listen"),
        (&["http", "--sandbox", "--listen", &address], "--listen"),
        (
            &[
                "http",
                "--sandbox",
                "--listen",
                "127.0.0.1:0",
                "--metrics-listen",
                &address,
            ],
            "--metrics-listen",
        ),
        (
            &[
                "http",
                "--sandbox",
                "--listen",
                "127.0.0.1:0",
                "--approve-deletes",
                "--admin-listen",
                &address,
            ],
            "--admin-listen",
        ),
    ];
    for (args, option) in cases {
        let (ok, _, log) = run_cli(args);
        assert!(!ok, "{args:?}");
        let expected = format!("cannot listen on {address}: another process listens there already");
        assert!(
            log.contains(&expected) && log.contains(&format!("with `{option}`")),
            "{args:?}: {log}"
        );
    }
}

/// The embedded sandbox is in the same process, so no proxy applies.
#[tokio::test]
async fn embedded_sandbox_ignores_proxies() {
    let variables = [
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
    ];
    let (ok, text) = run_apart(&["call", "list-all-integrations", "--sandbox"], &variables).await;
    assert!(ok && text.contains("\"object\": \"list\""), "{text}");
}

/// An upstream behind a certificate of a private CA; the client offers HTTP/2.
#[tokio::test]
async fn certificate_of_the_ca_file_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (base_url, authority) = start_tls_upstream().await;
    let file = folder.path().join("ca.pem");
    fs::write(&file, authority).unwrap();
    let text = call_with_env(&base_url, &[], &[]).await.unwrap_err();
    assert!(
        text.contains("could not be reached") && text.contains("certificate"),
        "{text}"
    );
    let trusting = ["--ca-file", file.to_str().unwrap()];
    let answered = call_with_env(&base_url, &[], &trusting).await.unwrap();
    assert_eq!(answered["offers_h2"], true);
}

/// Each fault of a certificate is told in words, by calls, `doctor` and `health`.
#[tokio::test]
async fn certificate_faults_are_explained() {
    struct Case {
        name: &'static str,
        /// Host name of the certificate.
        host: &'static str,
        /// Years between which it is valid.
        years: (i32, i32),
        is_trusted: bool,
        expected: &'static str,
    }
    let cases = [
        Case {
            name: "self-signed",
            host: "localhost",
            years: (2020, 4000),
            is_trusted: false,
            expected: "self-signed, or issued by an authority that is not trusted here",
        },
        Case {
            name: "wrong name",
            host: "other.example",
            years: (2020, 4000),
            is_trusted: true,
            expected: "its certificate is for another host name",
        },
        Case {
            name: "expired",
            host: "localhost",
            years: (2020, 2021),
            is_trusted: true,
            expected: "its certificate has expired",
        },
        Case {
            name: "not valid yet",
            host: "localhost",
            years: (3000, 4000),
            is_trusted: true,
            expected: "its certificate is not valid yet",
        },
    ];
    let folder = tempfile::tempdir().unwrap();
    for Case {
        name,
        host,
        years,
        is_trusted,
        expected,
    } in cases
    {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = folder.path().join("ca.pem");
        fs::write(&file, authority.self_signed(&authority_key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        // Otherwise it names the authority as its issuer.
        params.distinguished_name.push(DnType::CommonName, "server");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = match is_trusted {
            true => params.signed_by(&key, &issuer).unwrap(),
            false => params.self_signed(&key).unwrap(),
        };
        let base_url = start_tls_server(certificate.into(), &key).await;
        let trust = ["--ca-file", file.to_str().unwrap()];
        let text = call_with_env(&base_url, &[], &trust).await.unwrap_err();
        assert!(text.contains(expected), "{name}: {text}");
        for args in [
            &[
                "doctor",
                "--json",
                "--api-key",
                "k",
                "--base-url",
                &base_url,
            ][..],
            &["health", "--url", &base_url],
        ] {
            let (_, output) = run_apart(&[args, &trust].concat(), &[]).await;
            assert!(output.contains(expected), "{name} {args:?}: {output}");
        }
    }
}

/// Runs the binary without a proxy; returns its success and both outputs.
async fn run_apart(args: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let mut command = command(args);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.envs(variables.iter().copied());
    let output = tokio::process::Command::from(command)
        .output()
        .await
        .unwrap();
    let text =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

/// An image that holds one program has no certificate authorities.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn machine_without_authorities_reaches_plain_http_and_explains_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("none.pem");
    fs::write(&empty, "").unwrap();
    let empty_folder = folder.path().join("none");
    fs::create_dir(&empty_folder).unwrap();
    let without = [
        ("SSL_CERT_FILE", empty.to_str().unwrap()),
        ("SSL_CERT_DIR", empty_folder.to_str().unwrap()),
    ];
    let (ok, text) = run_apart(&["call", "list-labels", "--sandbox"], &without).await;
    assert!(ok, "{text}");
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let url = upstream.base_url.as_str();
    let (ok, text) = run_apart(&["health", "--url", url], &without).await;
    assert!(ok, "{text}");

    let (base_url, authority) = start_tls_upstream().await;
    for args in [
        &[
            "call",
            "list-labels",
            "--api-key",
            "k",
            "--retries",
            "0",
            "--base-url",
            &base_url,
        ][..],
        &["doctor", "--api-key", "k", "--base-url", &base_url],
        &["health", "--url", &base_url],
    ] {
        let (ok, text) = run_apart(args, &without).await;
        assert!(!ok, "{args:?}: {text}");
        for part in [
            "no certificate authority is trusted on this machine",
            "ca-certificates",
            "--ca-file",
        ] {
            assert!(text.contains(part), "{args:?}: no `{part}` in {text}");
        }
        assert!(!text.contains("builder error"), "{text}");
    }
    // One that is named is enough.
    let file = folder.path().join("ca.pem");
    fs::write(&file, authority).unwrap();
    let args = [
        "health",
        "--url",
        &base_url,
        "--ca-file",
        file.to_str().unwrap(),
    ];
    let (ok, text) = run_apart(&args, &without).await;
    assert!(ok, "{text}");
}

/// The client of a server is told in both directions; see also `http_request_to_a_tls_server_is_explained`.
#[tokio::test]
async fn tls_on_a_plain_port_of_the_server_is_logged() {
    let mut server = serve_sandbox(&["--metrics-listen", "127.0.0.1:0"]);
    let line = server.read_until("serving metrics at ");
    let metrics = line.split("serving metrics at ").nth(1).unwrap().trim();
    for url in [server.url.clone(), metrics.to_owned()] {
        let url = url.replace("http://", "https://");
        let (ok, text) = run_apart(&["health", "--url", &url], &[]).await;
        assert!(!ok && text.contains("does not speak TLS"), "{url}: {text}");
        let line = server.read_until("TLS on a port with plain HTTP");
        assert!(
            line.contains("INFO") && line.contains("127.0.0.1"),
            "{url}: {line}"
        );
    }
}

/// Plain HTTP to a TLS port is told by calls, `doctor` and `health`, whatever the port answers.
#[tokio::test]
async fn plain_http_on_a_tls_port_is_explained_to_the_client() {
    struct Case {
        name: &'static str,
        base_url: String,
        expected: &'static str,
    }
    let (closing, _) = start_tls_upstream().await;
    let nginx = MockUpstream::start(|_| {
        http_response(
            "400 Bad Request",
            "content-type: text/html\r\n",
            "<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>",
        )
    })
    .await;
    let alert = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alert_url = format!("http://{}/v1", alert.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = alert.accept().await {
            _ = stream.read(&mut [0; 4096]).await;
            // An alert of TLS: unexpected message.
            _ = stream.write_all(&[21, 3, 1, 0, 2, 2, 10]).await;
            _ = stream.shutdown().await;
        }
    });
    let cases = [
        Case {
            name: "a server that closes the connection",
            base_url: closing.replace("https://", "http://"),
            expected: "if the port speaks TLS, the address has to begin with https://",
        },
        Case {
            name: "a server that sends an alert",
            base_url: alert_url,
            expected: "if the port speaks TLS, the address has to begin with https://",
        },
        Case {
            name: "a server that answers",
            base_url: nginx.base_url.clone(),
            expected: "speaks TLS",
        },
    ];
    for Case {
        name,
        base_url,
        expected,
    } in cases
    {
        let text = call_with_env(&base_url, &[], &[]).await.unwrap_err();
        assert!(
            text.contains(expected) && text.contains("https://"),
            "{name}: {text}"
        );
        for args in [
            &["doctor", "--api-key", "k", "--base-url", &base_url][..],
            &["health", "--url", &base_url],
        ] {
            let (ok, text) = run_apart(args, &[]).await;
            assert!(!ok, "{name} {args:?}: {text}");
            assert!(
                text.contains(expected) && text.contains("https://"),
                "{name} {args:?}: {text}"
            );
        }
    }
}

/// Starts a TLS server that responds with the offered protocols. Returns its URL and the PEM of its
/// CA.
async fn start_tls_upstream() -> (String, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    (
        start_tls_server(certificate.into(), &key).await,
        authority_pem,
    )
}

/// Starts a TLS server with this certificate; returns its URL.
async fn start_tls_server(certificate: CertificateDer<'static>, key: &KeyPair) -> String {
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Arc::new(config);
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(hello) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else {
                continue;
            };
            let offers_h2 = hello
                .client_hello()
                .alpn()
                .into_iter()
                .flatten()
                .any(|p| p == b"h2");
            // A client that does not trust the certificate closes the connection here.
            let Ok(mut stream) = hello.into_stream(config.clone()).await else {
                continue;
            };
            _ = stream.read(&mut [0; 4096]).await;
            let body = format!(r#"{{"offers_h2":{offers_h2}}}"#);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            _ = stream.write_all((head + &body).as_bytes()).await;
            _ = stream.shutdown().await;
        }
    });
    format!("https://localhost:{port}/v1")
}
