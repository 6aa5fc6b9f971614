//! The server that the conformance suite tests: the product's own handler, router, authentication,
//! limits and sandbox. On top are the tools, prompts and resources that the suite expects by name.
//!
//! `tests/clients/conformance.py` starts it, with the options of `portkey-mcp http` and a token in
//! `CONFORMANCE_TOKEN`. The suite cannot send a token, so the token is added to each request here,
//! outside of all code under test. The address is printed to standard error.

#![allow(
    deprecated,
    reason = "the suite of 2025-11-25 asks for logging, sampling and roots"
)]
#![allow(
    clippy::indexing_slicing,
    reason = "JSON that has no such member answers with null"
)]

mod fixtures;
mod input_requests;
mod server;

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use axum::{
    extract::Request,
    middleware::{self, Next},
};
use clap::Parser;
use http::{HeaderValue, header};
use portkey_mcp::{
    app::HttpServerParts,
    cli::{HttpOptions, Options},
    transport::{
        self,
        http::{ShutdownTokens, router},
    },
};
use tokio::net::TcpListener;

use crate::server::ConformanceServer;

/// Options of `portkey-mcp http`.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    http: HttpOptions,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { options, http } = Arguments::parse();
    let token = std::env::var("CONFORMANCE_TOKEN").context("CONFORMANCE_TOKEN is not set")?;
    let bearer: HeaderValue = format!("Bearer {token}").parse()?;
    let http_settings = http.settings(&options, false)?;
    let HttpServerParts {
        server,
        auth,
        settings,
        shared,
        sandbox,
        ..
    } = HttpServerParts::build(options.app_settings()?, http_settings).await?;
    // The suite calls tools that it has never seen, with invented arguments.
    ensure!(sandbox.is_some(), "the suite may only meet the sandbox");

    let listener = TcpListener::bind(settings.listen).await?;
    let address = listener.local_addr()?;
    let stop = ShutdownTokens::default();
    let judged = router(
        ConformanceServer::new(server)?,
        auth,
        &settings,
        &shared,
        &stop,
    );
    let with_token = middleware::from_fn(move |mut request: Request, next: Next| {
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, bearer.clone());
        next.run(request)
    });
    let service = judged
        .layer(with_token)
        .into_make_service_with_connect_info::<SocketAddr>();
    eprintln!("serving the fixtures at http://{address}/mcp");
    tokio::select! {
        ended = axum::serve(listener, service) => ended?,
        signal = transport::wait_for_shutdown_signal() => signal?,
    }
    Ok(())
}
