//! The state of what the server depends on, for `/readyz` and the metrics.
//!
//! A component either reports each change of its state ([`Readiness::report`]) or is asked for it whenever
//! somebody looks ([`Readiness::watch`]). Names and reasons are fixed words, so that neither an address nor a
//! secret can get into them.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

/// The state of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComponentState {
    /// Why the component does not work as it should, as a word in snake_case; none while it does.
    pub degraded: Option<&'static str>,
    /// How long ago the component last worked, where that is known.
    pub since_success: Option<Duration>,
}

/// A component and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The name, in snake_case: `redis`, `oauth_issuer`.
    pub name: Cow<'static, str>,
    /// The state when it was asked for.
    pub state: ComponentState,
}

/// The components of a server; cheap to clone, and clones share.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<Cow<'static, str>, Source>>>);

#[derive(Clone)]
enum Source {
    Reported {
        degraded: Option<&'static str>,
        last_success: Option<Instant>,
    },
    Watched(Arc<dyn Fn() -> ComponentState + Send + Sync>),
}

impl ComponentState {
    /// The state of a component that works.
    pub const OK: Self = Self {
        degraded: None,
        since_success: None,
    };

    /// The state of a component that does not work as it should, for this reason in snake_case.
    pub const fn degraded(reason: &'static str) -> Self {
        Self {
            degraded: Some(reason),
            since_success: None,
        }
    }

    /// The same state with the time since the component last worked.
    #[must_use]
    pub const fn with_age(self, since_success: Duration) -> Self {
        Self {
            since_success: Some(since_success),
            ..self
        }
    }
}

impl Readiness {
    /// Names a component that will report, and works as far as is known.
    pub fn register(&self, name: impl Into<Cow<'static, str>>) {
        let unused = Source::Reported {
            degraded: None,
            last_success: None,
        };
        self.sources().entry(name.into()).or_insert(unused);
    }

    /// Reports the state of a component. Its age counts from the last report that it works, unless the state
    /// brings its own.
    pub fn report(&self, name: impl Into<Cow<'static, str>>, state: ComponentState) {
        let (name, now) = (name.into(), Instant::now());
        let mut sources = self.sources();
        let known = match sources.get(&name) {
            Some(Source::Reported { last_success, .. }) => *last_success,
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
            Source::Reported {
                degraded: state.degraded,
                last_success,
            },
        );
    }

    /// Has a component asked for its state whenever somebody looks.
    pub fn watch(
        &self,
        name: impl Into<Cow<'static, str>>,
        state: impl Fn() -> ComponentState + Send + Sync + 'static,
    ) {
        self.sources()
            .insert(name.into(), Source::Watched(Arc::new(state)));
    }

    /// All components with their states, by name.
    pub fn components(&self) -> Vec<Component> {
        // Asked outside of the lock, so that a component may report while it is asked.
        let sources: Vec<_> = self
            .sources()
            .iter()
            .map(|(name, source)| (name.clone(), source.clone()))
            .collect();
        let state = |source: Source| match source {
            Source::Watched(state) => state(),
            Source::Reported {
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

    /// What `/readyz` answers: the status of the server, and that of each component.
    pub fn report_json(&self, stopping: bool) -> Value {
        let components = self.components();
        let status = match components.iter().any(|one| one.state.degraded.is_some()) {
            _ if stopping => "stopping",
            true => "degraded",
            false => "ready",
        };
        let components: BTreeMap<_, _> = components
            .iter()
            .map(|one| (&*one.name, Told::from(one.state)))
            .collect();
        json!({ "status": status, "components": components })
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<Cow<'static, str>, Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A state as `/readyz` has it.
#[derive(Serialize)]
struct Told {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_seconds: Option<u64>,
}

impl From<ComponentState> for Told {
    fn from(
        ComponentState {
            degraded,
            since_success,
        }: ComponentState,
    ) -> Self {
        Self {
            status: if degraded.is_some() { "degraded" } else { "ok" },
            reason: degraded,
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
    fn without_components_the_server_is_ready() {
        let told = Readiness::default().report_json(false);
        assert_eq!(told, json!({ "status": "ready", "components": {} }));
    }

    #[tokio::test(start_paused = true)]
    async fn degraded_component_is_told_with_reason_and_age() {
        let readiness = Readiness::default();
        readiness.report("oauth_issuer", ComponentState::OK);
        readiness.watch("redis", || ComponentState::OK);
        tokio::time::advance(Duration::from_secs(7)).await;
        readiness.report("oauth_issuer", ComponentState::degraded("timeout"));
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
        readiness.report("oauth_issuer", ComponentState::OK);
        assert_eq!(readiness.report_json(false)["status"], "ready");
    }

    #[test]
    fn stopping_outranks_degraded() {
        let readiness = Readiness::default();
        readiness.report("redis", ComponentState::degraded("unreachable"));
        assert_eq!(readiness.report_json(true)["status"], "stopping");
    }

    #[test]
    fn component_may_report_while_it_is_asked() {
        let readiness = Readiness::default();
        let other = readiness.clone();
        readiness.watch("file", move || {
            other.report("reader", ComponentState::OK);
            ComponentState::degraded("unreadable").with_age(Duration::from_secs(3))
        });
        let told = readiness.report_json(false);
        let file =
            json!({ "status": "degraded", "reason": "unreadable", "last_success_seconds": 3 });
        assert_eq!(told["components"]["file"], file);
        assert_eq!(
            readiness.report_json(false)["components"]["reader"]["status"],
            "ok"
        );
    }
}
