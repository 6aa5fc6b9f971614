//! Exports traces and metrics by OTLP, over HTTP with protobuf.

use std::{env, fmt, pin::Pin, sync::OnceLock, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::{global, trace::TracerProvider};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Handle;
use tracing::warn;

use crate::http_client::{build_client, client_builder};

/// Maximum time for exporting the remaining telemetry at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Returns the tracer, once traces are exported.
pub(super) fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// The running exporters of traces and metrics.
#[derive(Debug, Default)]
pub struct Exporters {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// Starts the exporters that the `OTEL_*` variables configure; none without an endpoint.
///
/// # Errors
/// Returns an error if a variable has an invalid value.
pub fn start() -> anyhow::Result<Exporters> {
    let mut exports = Exporters::default();
    let traces = super::is_enabled("TRACES");
    let metrics = super::is_enabled("METRICS");
    if !traces && !metrics {
        return Ok(exports);
    }
    let client = OtlpHttpClient {
        http: build_client(|| Ok::<_, anyhow::Error>(client_builder()))?,
        runtime: Handle::current(),
    };
    if traces {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client.clone())
            .build();
        let exporter = exporter.context("traces cannot be exported")?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        _ = TRACER.set(provider.tracer(env!("CARGO_PKG_NAME")));
        exports.traces = Some(provider);
    }
    if metrics {
        let exporter = MetricExporter::builder()
            .with_http()
            .with_http_client(client)
            .build();
        let exporter = exporter.context("metrics cannot be exported")?;
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter)
            .with_resource(resource())
            .build();
        global::set_meter_provider(provider.clone());
        exports.metrics = Some(provider);
    }
    Ok(exports)
}

/// Describes this service: by the `OTEL_*` variables if they name it, else by the package name.
fn resource() -> Resource {
    let named = env::var_os("OTEL_SERVICE_NAME").is_some()
        || env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|all| all.contains("service.name="));
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    match named {
        true => resource.build(),
        false => resource.with_service_name(env!("CARGO_PKG_NAME")).build(),
    }
}

impl Exporters {
    /// Returns true if metrics are exported.
    pub const fn has_metrics(&self) -> bool {
        self.metrics.is_some()
    }

    /// Exports the remaining telemetry and shuts the exporters down.
    pub async fn flush(self) {
        // The exporters wait for this runtime to send, so the runtime must not block on them.
        let flushed = tokio::task::spawn_blocking(move || {
            let traces = self
                .traces
                .map(|traces| traces.shutdown_with_timeout(FLUSH_TIMEOUT));
            let metrics = self
                .metrics
                .map(|metrics| metrics.shutdown_with_timeout(FLUSH_TIMEOUT));
            [traces, metrics]
                .into_iter()
                .flatten()
                .find_map(Result::err)
        });
        if let Ok(Some(error)) = flushed.await {
            warn!(%error, "the last traces or metrics were not exported");
        }
    }
}

/// Sends requests of the exporters, whose threads run outside the Tokio runtime.
#[derive(Clone)]
struct OtlpHttpClient {
    http: reqwest::Client,
    runtime: Handle,
}

impl fmt::Debug for OtlpHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl HttpClient for OtlpHttpClient {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move {
            let answer = http.execute(request.try_into()?).await?;
            let status = answer.status();
            let headers = answer.headers().clone();
            let mut response = Response::new(answer.bytes().await?);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok::<_, reqwest::Error>(response)
        });
        Box::pin(async move { Ok(sent.await??) })
    }
}
