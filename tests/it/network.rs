//! Proxies and TLS between the server and Portkey.

use std::{fs, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
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
    let outcome = call_with_env("http://portkey.invalid/v1", &sandboxed, &["--sandbox"]).await;
    assert!(outcome.is_ok(), "{outcome:?}");
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
    let answered = call_with_env("http://portkey.invalid/v1", &variables, &["--sandbox"])
        .await
        .unwrap();
    assert_eq!(answered["object"], "list");
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
