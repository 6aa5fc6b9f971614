//! Metrics of the process itself, with the names that Prometheus' own clients use where there are
//! such.

use std::{
    fmt,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use tracing_appender::non_blocking::ErrorCounter;

/// Counter of lost log lines; a process has one log.
static LOST_LOG_LINES: OnceLock<ErrorCounter> = OnceLock::new();

/// Sets the counter of lost log lines.
pub(crate) fn register_log_counter(lost: ErrorCounter) {
    // Only the first log is written, so a second counter is ignored.
    _ = LOST_LOG_LINES.set(lost);
}

/// Collects the start time, the resident memory and the number of lost log lines.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    started: f64,
}

impl ProcessCollector {
    pub(super) fn new() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started: since.as_secs_f64(),
        }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(lost) = LOST_LOG_LINES.get() {
            let (name, about) = (
                "portkey_mcp_log_lines_lost",
                "Lines that nobody read from the log",
            );
            let metric = encoder.encode_descriptor(name, about, None, MetricType::Counter)?;
            let lost = u64::try_from(lost.dropped_lines()).unwrap_or(u64::MAX);
            ConstCounter::<u64>::new(lost).encode(metric)?;
        }
        let mut gauge = |name, about, value| {
            let metric = encoder.encode_descriptor(name, about, None, MetricType::Gauge)?;
            ConstGauge::<f64>::new(value).encode(metric)
        };
        gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            self.started,
        )?;
        match resident_memory_bytes() {
            Some(bytes) => gauge(
                "process_resident_memory_bytes",
                "Memory that the process has in RAM",
                bytes,
            ),
            None => Ok(()),
        }
    }
}

/// Returns the resident memory in bytes, on systems with `/proc`.
fn resident_memory_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}
