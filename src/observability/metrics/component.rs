//! Metrics about the readiness of components.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use portkey_readiness::Readiness;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

const DEGRADED_METRIC: (&str, &str) = (
    "portkey_mcp.component.degraded",
    "Whether a component does not work as it should",
);
const AGE_METRIC: (&str, &str) = (
    "portkey_mcp.component.age",
    "Seconds since a component last worked, where that is known",
);

/// Collects the states of the components once they are known; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct ComponentCollector(Arc<OnceLock<Readiness>>);

impl ComponentCollector {
    /// Sets the readiness whose components are exported.
    pub(super) fn set_readiness(&self, readiness: &Readiness) {
        // A process has one server and so one readiness; a second one is ignored.
        _ = self.0.set(readiness.clone());
        #[cfg(feature = "otel")]
        register_otel_gauges(readiness);
    }
}

impl Collector for ComponentCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let components = self.0.get().map(Readiness::components).unwrap_or_default();
        if components.is_empty() {
            return Ok(());
        }
        let (name, about) = DEGRADED_METRIC;
        let name = name.replace('.', "_");
        let kind = MetricType::Gauge;
        let mut metric = encoder.encode_descriptor(&name, about, None, kind)?;
        for component in &components {
            let labels = [("component", component.name.as_str())];
            let degraded = i64::from(component.state.degraded.is_some());
            ConstGauge::new(degraded).encode(metric.encode_family(&labels)?)?;
        }
        let (name, about) = AGE_METRIC;
        let name = format!("{}_seconds", name.replace('.', "_"));
        let mut metric = encoder.encode_descriptor(&name, about, None, kind)?;
        for component in &components {
            let labels = [("component", component.name.as_str())];
            if let Some(age) = component.state.since_success {
                ConstGauge::new(age.as_secs_f64()).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// Registers the same gauges with OpenTelemetry, which polls them when it exports.
#[cfg(feature = "otel")]
fn register_otel_gauges(readiness: &Readiness) {
    use opentelemetry::{KeyValue, global};

    let meter = global::meter(env!("CARGO_PKG_NAME"));
    let label = |name: &'static str| [KeyValue::new("component", name)];
    let (name, about) = DEGRADED_METRIC;
    let from = readiness.clone();
    let degraded = meter.u64_observable_gauge(name).with_description(about);
    _ = degraded
        .with_callback(move |observer| {
            for component in from.components() {
                let degraded = u64::from(component.state.degraded.is_some());
                observer.observe(degraded, &label(component.name.as_str()));
            }
        })
        .build();
    let (name, about) = AGE_METRIC;
    let from = readiness.clone();
    let age = meter
        .f64_observable_gauge(name)
        .with_description(about)
        .with_unit("s");
    _ = age
        .with_callback(move |observer| {
            for component in from.components() {
                if let Some(age) = component.state.since_success {
                    observer.observe(age.as_secs_f64(), &label(component.name.as_str()));
                }
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Metrics;
    use portkey_file_watch::FileKind;
    use portkey_readiness::{ComponentName, ComponentState, DegradedReason, Readiness};

    #[test]
    fn components_are_rendered_with_state_and_age() {
        let readiness = Readiness::default();
        let metrics = Metrics::new(true).with_readiness(&readiness);
        assert!(
            !metrics.render().contains("portkey_mcp_component"),
            "{}",
            metrics.render()
        );
        readiness.watch(ComponentName::Redis, || ComponentState::OK);
        readiness.watch(ComponentName::File(FileKind::PolicyFile), || {
            ComponentState::degraded(DegradedReason::NotChecked).with_age(Duration::from_secs(3))
        });
        let text = metrics.render();
        for line in [
            r#"portkey_mcp_component_degraded{component="policy_file"} 1"#,
            r#"portkey_mcp_component_degraded{component="redis"} 0"#,
            r#"portkey_mcp_component_age_seconds{component="policy_file"} 3.0"#,
        ] {
            assert!(
                text.lines().any(|each| each == line),
                "no `{line}` in\n{text}"
            );
        }
    }
}
