//! Readiness of the components that the server depends on, for `/readyz` and the metrics.
//!
//! A component either reports each change of its state ([`Readiness::report`]), or is polled on
//! demand ([`Readiness::watch`]). Names and reasons are enums, so that they can contain neither an
//! address nor a secret.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portkey_file_watch::FileKind;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

/// A component that the server depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComponentName {
    /// A file that is reloaded when it changes.
    File(FileKind),
    /// The audit log.
    AuditLog,
    /// The authorization server.
    OauthIssuer,
    /// The store that replicas share.
    Redis,
}

impl ComponentName {
    /// Returns all possible components.
    pub fn all() -> impl Iterator<Item = Self> {
        let others = [Self::AuditLog, Self::OauthIssuer, Self::Redis];
        FileKind::ALL.into_iter().map(Self::File).chain(others)
    }

    /// Returns the name in `/readyz` and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File(kind) => kind.as_str(),
            Self::AuditLog => "audit_log",
            Self::OauthIssuer => "oauth_issuer",
            Self::Redis => "redis",
        }
    }
}

/// A reason why a component is degraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DegradedReason {
    /// The latest version of a file is invalid.
    InvalidVersion,
    /// The file has not been checked for changes for too long.
    NotChecked,
    /// The audit log cannot be written.
    CannotBeWritten,
    /// No connection is possible.
    Unreachable,
    /// A response took too long.
    Timeout,
    /// The response has an error status.
    ErrorStatus,
    /// The response is invalid.
    UnusableAnswer,
    /// The Redis user lacks a permission.
    MissingRight,
    /// Redis has recently lost data or was restored from an older state.
    Forgotten,
}

impl DegradedReason {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::InvalidVersion,
        Self::NotChecked,
        Self::CannotBeWritten,
        Self::Unreachable,
        Self::Timeout,
        Self::ErrorStatus,
        Self::UnusableAnswer,
        Self::MissingRight,
        Self::Forgotten,
    ];

    /// Returns the value in `/readyz`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidVersion => "invalid_version",
            Self::NotChecked => "not_checked",
            Self::CannotBeWritten => "cannot_be_written",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::ErrorStatus => "error_status",
            Self::UnusableAnswer => "unusable_answer",
            Self::MissingRight => "missing_right",
            Self::Forgotten => "forgotten",
        }
    }
}

/// The overall status of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerStatus {
    /// All components work.
    Ready,
    /// A component is degraded.
    Degraded,
    /// The server is shutting down and accepts no more requests.
    Stopping,
}

impl ServerStatus {
    /// All statuses.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Degraded, Self::Stopping];

    /// Returns the value in `/readyz`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
        }
    }
}

/// The state of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComponentState {
    /// Reason why the component is degraded; `None` if it works.
    pub degraded: Option<DegradedReason>,
    /// Time since the component last worked, if known.
    pub since_success: Option<Duration>,
}

/// A component with its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Name of the component.
    pub name: ComponentName,
    /// State at the time of the query.
    pub state: ComponentState,
}

/// The components of a server. Clones are cheap and share the same state.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<ComponentName, StateSource>>>);

#[derive(Clone)]
enum StateSource {
    Reported {
        degraded: Option<DegradedReason>,
        last_success: Option<Instant>,
    },
    Polled(Arc<dyn Fn() -> ComponentState + Send + Sync>),
}

impl ComponentState {
    /// The state of a component that works.
    pub const OK: Self = Self {
        degraded: None,
        since_success: None,
    };

    /// Creates the state of a degraded component.
    pub const fn degraded(reason: DegradedReason) -> Self {
        Self {
            degraded: Some(reason),
            since_success: None,
        }
    }

    /// Sets the time since the component last worked.
    #[must_use]
    pub const fn with_age(self, since_success: Duration) -> Self {
        Self {
            since_success: Some(since_success),
            ..self
        }
    }
}

impl Readiness {
    /// Registers a component that will report its state. It counts as working until it does.
    pub fn register(&self, name: ComponentName) {
        let unused = StateSource::Reported {
            degraded: None,
            last_success: None,
        };
        self.sources().entry(name).or_insert(unused);
    }

    /// Reports the state of a component. The time since it last worked counts from its last good
    /// report, unless the state sets it.
    pub fn report(&self, name: ComponentName, state: ComponentState) {
        let now = Instant::now();
        let mut sources = self.sources();
        let known = match sources.get(&name) {
            Some(StateSource::Reported { last_success, .. }) => *last_success,
            _ => None,
        };
        let last_success = match state {
            ComponentState {
                since_success: Some(age),
                ..
            } => now.checked_sub(age),
            ComponentState { degraded: None, .. } => Some(now),
            _ => known,
        };
        sources.insert(
            name,
            StateSource::Reported {
                degraded: state.degraded,
                last_success,
            },
        );
    }

    /// Registers a component whose state is polled on every query.
    pub fn watch(
        &self,
        name: ComponentName,
        state: impl Fn() -> ComponentState + Send + Sync + 'static,
    ) {
        self.sources()
            .insert(name, StateSource::Polled(Arc::new(state)));
    }

    /// Returns all components with their states, sorted by name.
    pub fn components(&self) -> Vec<Component> {
        // Polled outside of the lock, so that a component can report while it is polled.
        let sources: Vec<_> = self
            .sources()
            .iter()
            .map(|(name, source)| (*name, source.clone()))
            .collect();
        let state = |source: StateSource| match source {
            StateSource::Polled(state) => state(),
            StateSource::Reported {
                degraded,
                last_success,
            } => ComponentState {
                degraded,
                since_success: last_success.map(|last| last.elapsed()),
            },
        };
        let component = |(name, source)| Component {
            name,
            state: state(source),
        };
        sources.into_iter().map(component).collect()
    }

    /// Builds the body of `/readyz`: the status of the server and of each component.
    pub fn report_json(&self, stopping: bool) -> Value {
        let components = self.components();
        let status = match components.iter().any(|one| one.state.degraded.is_some()) {
            _ if stopping => ServerStatus::Stopping,
            true => ServerStatus::Degraded,
            false => ServerStatus::Ready,
        };
        let components: BTreeMap<_, _> = components
            .iter()
            .map(|one| (one.name.as_str(), ComponentReport::from(one.state)))
            .collect();
        json!({ "status": status.as_str(), "components": components })
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<ComponentName, StateSource>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A component's state as `/readyz` serializes it.
#[derive(Serialize)]
struct ComponentReport {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_seconds: Option<u64>,
}

impl From<ComponentState> for ComponentReport {
    fn from(
        ComponentState {
            degraded,
            since_success,
        }: ComponentState,
    ) -> Self {
        Self {
            status: if degraded.is_some() { "degraded" } else { "ok" },
            reason: degraded.map(DegradedReason::as_str),
            last_success_seconds: since_success.map(|age| age.as_secs()),
        }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_without_components_is_ready() {
        let report = Readiness::default().report_json(false);
        assert_eq!(report, json!({ "status": "ready", "components": {} }));
    }

    #[tokio::test(start_paused = true)]
    async fn degraded_component_has_reason_and_age() {
        let readiness = Readiness::default();
        readiness.report(ComponentName::OauthIssuer, ComponentState::OK);
        readiness.watch(ComponentName::Redis, || ComponentState::OK);
        tokio::time::advance(Duration::from_secs(7)).await;
        readiness.report(
            ComponentName::OauthIssuer,
            ComponentState::degraded(DegradedReason::Timeout),
        );
        tokio::time::advance(Duration::from_secs(5)).await;
        let expected = json!({
            "status": "degraded",
            "components": {
                "oauth_issuer": {
                    "status": "degraded", "reason": "timeout", "last_success_seconds": 12,
                },
                "redis": { "status": "ok" },
            },
        });
        assert_eq!(readiness.report_json(false), expected);
        readiness.report(ComponentName::OauthIssuer, ComponentState::OK);
        assert_eq!(readiness.report_json(false)["status"], "ready");
    }

    #[test]
    fn stopping_overrides_degraded() {
        let readiness = Readiness::default();
        readiness.report(
            ComponentName::Redis,
            ComponentState::degraded(DegradedReason::Unreachable),
        );
        assert_eq!(readiness.report_json(true)["status"], "stopping");
    }

    #[test]
    fn component_can_report_while_it_is_polled() {
        let readiness = Readiness::default();
        let other = readiness.clone();
        readiness.watch(ComponentName::File(FileKind::PolicyFile), move || {
            other.report(ComponentName::Redis, ComponentState::OK);
            ComponentState::degraded(DegradedReason::NotChecked).with_age(Duration::from_secs(3))
        });
        let report = readiness.report_json(false);
        let file =
            json!({ "status": "degraded", "reason": "not_checked", "last_success_seconds": 3 });
        assert_eq!(report["components"]["policy_file"], file);
        assert_eq!(
            readiness.report_json(false)["components"]["redis"]["status"],
            "ok"
        );
    }
}
