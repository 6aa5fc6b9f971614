//! The kinds of instruments, each with a fixed set of label names.
//!
//! Label values are `'static`, so that nothing a caller sends can become one.

use std::{
    fmt::{self, Write},
    hash::{Hash, Hasher},
    sync::atomic::AtomicU64,
    time::Duration,
};

#[cfg(feature = "otel")]
use opentelemetry::{KeyValue, global, metrics::Meter};
use prometheus_client::{
    encoding::{EncodeLabelSet, LabelSetEncoder},
    metrics::{
        counter,
        family::{Family, MetricConstructor},
        gauge, histogram,
    },
    registry::{Registry, Unit},
};

/// The name of an instrument in OpenTelemetry's dotted form, and its description.
pub(super) type NameAndHelp = (&'static str, &'static str);

/// The labels of one series.
#[derive(Clone, Debug)]
struct Labels<const N: usize> {
    names: [&'static str; N],
    values: [&'static str; N],
}

// The names are fixed per instrument, so only the values are compared.
impl<const N: usize> PartialEq for Labels<N> {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl<const N: usize> Eq for Labels<N> {}

impl<const N: usize> Hash for Labels<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values.hash(state);
    }
}

impl<const N: usize> Labels<N> {
    #[cfg(feature = "otel")]
    fn attributes(&self) -> Vec<KeyValue> {
        self.non_empty()
            .map(|(name, value)| KeyValue::new(name, value))
            .collect()
    }

    /// Returns the labels that have a value; an empty value means that the label is absent.
    fn non_empty(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.names
            .into_iter()
            .zip(self.values)
            .filter(|(_, value)| !value.is_empty())
    }
}

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, value) in self.non_empty() {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            key.write_str(&to_prometheus_name(name))?;
            let mut written = key.encode_label_value()?;
            written.write_str(value)?;
            written.finish()?;
        }
        Ok(())
    }
}

/// Returns the OpenTelemetry meter. Its instruments do nothing if nothing is exported.
#[cfg(feature = "otel")]
fn meter() -> Meter {
    global::meter(env!("CARGO_PKG_NAME"))
}

/// Converts a dotted name to Prometheus' form.
fn to_prometheus_name(name: &str) -> String {
    name.replace('.', "_")
}

/// A histogram of durations in seconds.
#[derive(Debug)]
pub(super) struct DurationHistogram<const N: usize> {
    names: [&'static str; N],
    series: Family<Labels<N>, histogram::Histogram, Buckets>,
    #[cfg(feature = "otel")]
    exported: opentelemetry::metrics::Histogram<f64>,
}

/// Upper bounds in seconds, in ascending order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets(pub(super) &'static [f64]);

impl MetricConstructor<histogram::Histogram> for Buckets {
    fn new_metric(&self) -> histogram::Histogram {
        histogram::Histogram::new(self.0.iter().copied())
    }
}

impl<const N: usize> DurationHistogram<N> {
    pub(super) fn new(
        registry: &mut Registry,
        (name, about): NameAndHelp,
        names: [&'static str; N],
        buckets: Buckets,
    ) -> Self {
        let series = Family::new_with_constructor(buckets);
        registry.register_with_unit(
            to_prometheus_name(name),
            about,
            Unit::Seconds,
            series.clone(),
        );
        #[cfg(feature = "otel")]
        let exported = meter()
            .f64_histogram(name)
            .with_description(about)
            .with_unit("s")
            .with_boundaries(buckets.0.to_vec())
            .build();
        Self {
            names,
            series,
            #[cfg(feature = "otel")]
            exported,
        }
    }

    pub(super) fn record(&self, values: [&'static str; N], took: Duration) {
        let labels = Labels {
            names: self.names,
            values,
        };
        self.series
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        #[cfg(feature = "otel")]
        self.exported
            .record(took.as_secs_f64(), &labels.attributes());
    }
}

/// A counter of events.
#[derive(Debug)]
pub(super) struct EventCounter<const N: usize> {
    names: [&'static str; N],
    series: Family<Labels<N>, counter::Counter<u64, AtomicU64>>,
    #[cfg(feature = "otel")]
    exported: opentelemetry::metrics::Counter<u64>,
}

impl<const N: usize> EventCounter<N> {
    pub(super) fn new(
        registry: &mut Registry,
        (name, about): NameAndHelp,
        names: [&'static str; N],
    ) -> Self {
        let series = Family::default();
        registry.register(to_prometheus_name(name), about, series.clone());
        Self {
            names,
            series,
            #[cfg(feature = "otel")]
            exported: meter().u64_counter(name).with_description(about).build(),
        }
    }

    pub(super) fn add(&self, values: [&'static str; N]) {
        let labels = Labels {
            names: self.names,
            values,
        };
        self.series.get_or_create(&labels).inc();
        #[cfg(feature = "otel")]
        self.exported.add(1, &labels.attributes());
    }
}

/// A gauge of a current number.
#[derive(Debug)]
pub(super) struct LevelGauge {
    gauge: gauge::Gauge,
    #[cfg(feature = "otel")]
    exported: opentelemetry::metrics::UpDownCounter<i64>,
}

impl LevelGauge {
    pub(super) fn new(registry: &mut Registry, (name, about): NameAndHelp) -> Self {
        let gauge = gauge::Gauge::default();
        registry.register(to_prometheus_name(name), about, gauge.clone());
        Self {
            gauge,
            #[cfg(feature = "otel")]
            exported: meter()
                .i64_up_down_counter(name)
                .with_description(about)
                .build(),
        }
    }

    pub(super) fn increment(&self) {
        self.gauge.inc();
        #[cfg(feature = "otel")]
        self.exported.add(1, &[]);
    }

    pub(super) fn decrement(&self) {
        self.gauge.dec();
        #[cfg(feature = "otel")]
        self.exported.add(-1, &[]);
    }
}
