//! `/metrics`, at an address of its own: the main one may be open to the internet.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum::{Router, routing::get};
use http::{StatusCode, header};
use tracing::{error, info};

use super::listener::{self, Connections, Ending};
use crate::metrics::{CONTENT_TYPE, Metrics};

/// Takes the address.
pub(super) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    crate::transport::listen(address, "--metrics-listen")
}

/// Serves what was recorded, to whoever can connect.
pub(super) async fn serve(listener: TcpListener, metrics: Metrics) {
    if let Ok(address) = listener.local_addr() {
        info!("serving metrics at http://{address}/metrics");
    }
    let render = async move || ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render());
    let router = Router::new()
        .route("/metrics", get(render))
        .fallback(async || (StatusCode::NOT_FOUND, "metrics are served at /metrics\n"));
    let bounds = Connections {
        most: 64,
        head_timeout: Duration::from_secs(10),
        head_bytes: 16 << 10,
        // Those who read are not counted among those who call.
        metrics: Metrics::default(),
    };
    if let Err(error) = listener::serve(listener, router, bounds, None, Ending::default()).await {
        error!(%error, "metrics are no longer served");
    }
}
