//! What lies between the server and Portkey: proxies and TLS.

use std::{fs, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    LazyConfigAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer, server::Acceptor},
};

use crate::{
    process::command,
    upstream::{Upstream, answer, ok},
};

/// Calls a tool at an address, with these variables; the answer, or what was said on standard error.
async fn call(base_url: &str, variables: &[(&str, &str)], more: &[&str]) -> Result<Value, String> {
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
    let output = tokio::process::Command::from(command).output().await.unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test]
async fn system_proxies_are_used_and_excepted() {
    let proxy = Upstream::start(|_| ok(r#"{"by":"proxy"}"#)).await;
    let address = proxy.base_url.trim_end_matches("/v1").to_owned();
    let through = [("HTTP_PROXY", address.as_str())];
    let answered = call("http://portkey.invalid/v1", &through, &[]).await.unwrap();
    assert_eq!(answered["by"], "proxy");
    assert_eq!(proxy.requests()[0].target, "http://portkey.invalid/v1/integrations");

    let excepted = [("HTTP_PROXY", address.as_str()), ("NO_PROXY", "portkey.invalid")];
    let text = call("http://portkey.invalid/v1", &excepted, &[]).await.unwrap_err();
    assert!(text.contains("could not be reached"), "{text}");
    assert_eq!(proxy.requests().len(), 1);

    // TLS is tunnelled, so that the proxy never sees the key.
    let refusing = Upstream::start(|_| answer("403 Forbidden", "", "")).await;
    let address = refusing.base_url.trim_end_matches("/v1").to_owned();
    call("https://portkey.invalid/v1", &[("HTTPS_PROXY", &address)], &[]).await.unwrap_err();
    let seen = &refusing.requests()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("CONNECT", "portkey.invalid:443"));
    assert!(!seen.head.contains("x-portkey-api-key"), "{}", seen.head);
}

/// The embedded sandbox is in the same process: no proxy has business in between.
#[tokio::test]
async fn the_sandbox_is_reached_directly() {
    let variables = [("HTTP_PROXY", "http://127.0.0.1:1"), ("ALL_PROXY", "http://127.0.0.1:1")];
    let answered = call("http://portkey.invalid/v1", &variables, &["--sandbox"]).await.unwrap();
    assert_eq!(answered["object"], "list");
}

/// A Portkey behind a certificate of one's own authority; HTTP/2 is offered to it.
#[tokio::test]
async fn an_extra_authority_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (base_url, authority) = tls_portkey().await;
    let file = folder.path().join("ca.pem");
    fs::write(&file, authority).unwrap();
    let text = call(&base_url, &[], &[]).await.unwrap_err();
    assert!(text.contains("could not be reached") && text.contains("certificate"), "{text}");
    let trusting = ["--ca-file", file.to_str().unwrap()];
    let answered = call(&base_url, &[], &trusting).await.unwrap();
    assert_eq!(answered["offers_h2"], true);
}

/// Answers every request with what protocols the client offered; returns its address and the PEM of
/// the authority behind its certificate.
async fn tls_portkey() -> (String, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.into()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let (listener, config) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(config));
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(hello) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else {
                continue;
            };
            let offers_h2 = hello.client_hello().alpn().into_iter().flatten().any(|p| p == b"h2");
            // A client that does not trust us hangs up here.
            let Ok(mut stream) = hello.into_stream(config.clone()).await else { continue };
            _ = stream.read(&mut [0; 4096]).await;
            let body = format!(r#"{{"offers_h2":{offers_h2}}}"#);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            _ = stream.write_all((head + &body).as_bytes()).await;
            _ = stream.shutdown().await;
        }
    });
    (format!("https://localhost:{port}/v1"), authority_pem)
}
