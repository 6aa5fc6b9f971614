//! The safest change that helps against failures, as steps of a plan.

use serde_json::{Value, json};

use super::{Diagnosis, Grouped, Threshold, Window, arguments, names};

/// Maximum number of configs that are read, and of their targets whose failures are counted.
const MAX_CONFIGS: usize = 2;
const MAX_TARGETS: usize = 4;
/// Attempts of a config that retries.
const RETRY_ATTEMPTS: u64 = 3;

/// The reason why requests fail, by the status that most of them have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Provider,
    Credential,
    Budget,
    RateLimit,
    Guardrail,
    Request,
}

impl Cause {
    fn of(status: &str) -> Self {
        match status {
            "401" | "403" => Self::Credential,
            "412" => Self::Budget,
            "429" => Self::RateLimit,
            "246" | "446" => Self::Guardrail,
            "408" => Self::Provider,
            status if status.starts_with('5') => Self::Provider,
            _ => Self::Request,
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::Provider => {
                "the provider fails: send the requests to another one until it answers again"
            }
            Self::Credential => {
                "a credential or a right is missing: compare the changes near the onset with `get-integration` and \
                 `list-integration-models`"
            }
            Self::Budget => {
                "a budget is used up: `report-budgets` with `state: over` says which one. Raising it is a decision of its \
                 owner"
            }
            Self::RateLimit => {
                "a rate limit is reached: retry with a pause, or spread the requests over providers"
            }
            Self::Guardrail => {
                "a guardrail rejects the requests: read it with `get-guardrail` before you change it"
            }
            Self::Request => {
                "the requests themselves are rejected: look at one with `get-log`, and at the changes near the onset"
            }
        }
    }
}

/// A target of a config.
struct Target {
    is_failing: bool,
}

impl Diagnosis<'_> {
    /// Returns what would help, with steps where a config can be changed safely.
    pub(super) async fn mitigation(
        &mut self,
        grouped: &[Grouped],
        window: Window,
        threshold: Threshold,
    ) -> Value {
        let status = names(grouped, "status_code").into_iter().next();
        let cause = status.as_deref().map_or(Cause::Request, Cause::of);
        let mut steps = Vec::new();
        if matches!(
            cause,
            Cause::Provider | Cause::Credential | Cause::RateLimit
        ) {
            for config in names(grouped, "config").into_iter().take(MAX_CONFIGS) {
                let Some(document) = self.config(&config).await else {
                    continue;
                };
                let patch = match cause {
                    Cause::RateLimit => add_retry(&document),
                    _ => self.reroute(&document, window, threshold).await,
                };
                if !patch.is_null() {
                    let id = format!("step_{}", steps.len() + 1);
                    steps.push(json!({ "id": id, "tool": "update-config",
                        "arguments": { "slug": config, "patch": patch } }));
                }
            }
        }
        let next = match steps.is_empty() {
            true => Value::Null,
            false => {
                "give `steps` to `plan-changes`; the version of before is in `list-config-versions`"
                    .into()
            }
        };
        arguments([
            ("advice", cause.advice().into()),
            (
                "steps",
                match steps.is_empty() {
                    true => Value::Null,
                    false => steps.into(),
                },
            ),
            ("next", next),
        ])
        .into()
    }

    /// Reads the document of a config.
    async fn config(&mut self, slug: &str) -> Option<Value> {
        let args = arguments([("slug", slug.into())]);
        let part = format!("config `{slug}`");
        let answer = self.reads.read(&part, "get-config", args).await?;
        let config = answer
            .get("config")
            .or_else(|| answer.pointer("/data/config"));
        match config? {
            Value::String(text) => serde_json::from_str(text).ok(),
            document => Some(document.clone()),
        }
    }

    /// Returns the operations that move requests from failing targets to others; null if there is no
    /// target that works.
    async fn reroute(&mut self, document: &Value, window: Window, threshold: Threshold) -> Value {
        let targets = document.get("targets").and_then(Value::as_array);
        let targets = targets.map(Vec::as_slice).unwrap_or_default();
        let mode = document.pointer("/strategy/mode").and_then(Value::as_str);
        if targets.len() < 2 || targets.len() > MAX_TARGETS {
            return Value::Null;
        }
        let mut known = Vec::new();
        for target in targets {
            let Some(target) = self.target(target, window, threshold).await else {
                // A target whose failures are not known may be the one that fails.
                return Value::Null;
            };
            known.push(target);
        }
        match mode {
            Some("fallback") => move_first(&known),
            Some("loadbalance") => clear_weights(targets, &known),
            _ => Value::Null,
        }
    }

    /// Counts the failures of a target.
    async fn target(
        &mut self,
        target: &Value,
        window: Window,
        threshold: Threshold,
    ) -> Option<Target> {
        let name = ["provider", "virtual_key"]
            .iter()
            .find_map(|field| target.get(*field)?.as_str())?;
        let slug = name.trim_start_matches('@');
        let mut args = self.traffic(window);
        args.insert("virtual_keys".to_owned(), slug.into());
        let part = format!("failures of `{slug}`");
        let graph = self.reads.read(&part, "get-error-rate-graph", args).await?;
        let rate = graph.pointer("/summary/rate").and_then(Value::as_f64)?;
        Some(Target {
            is_failing: threshold.is_exceeded(rate / 100.0, 1.0),
        })
    }
}

/// Returns the operation that brings the first target that works before those that fail.
fn move_first(targets: &[Target]) -> Value {
    let works = targets.iter().position(|target| !target.is_failing);
    match works {
        // The first target works already, or none does.
        Some(0) | None => Value::Null,
        Some(number) => json!([
            { "op": "move", "from": format!("/config/targets/{number}"), "path": "/config/targets/0" },
        ]),
    }
}

/// Returns the operations that take the weight from the targets that fail.
fn clear_weights(documents: &[Value], targets: &[Target]) -> Value {
    let failing = targets.iter().filter(|target| target.is_failing).count();
    if failing == 0 || failing == targets.len() {
        return Value::Null;
    }
    let operations = documents.iter().zip(targets).enumerate();
    let operations: Vec<Value> = operations
        .filter(|(_, (_, target))| target.is_failing)
        .map(|(number, _)| {
            json!({ "op": "add", "path": format!("/config/targets/{number}/weight"), "value": 0 })
        })
        .collect();
    operations.into()
}

/// Returns the patch that retries after a rate limit; null if the config retries already.
fn add_retry(document: &Value) -> Value {
    match document.get("retry") {
        Some(_) => Value::Null,
        None => {
            json!({ "config": { "retry": { "attempts": RETRY_ATTEMPTS, "on_status_codes": [429] } } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(failing: &[bool]) -> Vec<Target> {
        let target = |is_failing: &bool| Target {
            is_failing: *is_failing,
        };
        failing.iter().map(target).collect()
    }

    #[test]
    fn target_that_works_comes_first() {
        assert!(move_first(&targets(&[false, true])).is_null());
        assert!(move_first(&targets(&[true, true])).is_null());
        let moved = move_first(&targets(&[true, true, false]));
        assert_eq!(moved[0]["from"], "/config/targets/2");
    }

    #[test]
    fn weights_of_failing_targets_are_cleared_unless_all_fail() {
        let documents = [json!({ "weight": 0.8 }), json!({})];
        assert!(clear_weights(&documents, &targets(&[true, true])).is_null());
        assert!(clear_weights(&documents, &targets(&[false, false])).is_null());
        let cleared = clear_weights(&documents, &targets(&[true, false]));
        assert_eq!(
            cleared,
            json!([{ "op": "add", "path": "/config/targets/0/weight", "value": 0 }])
        );
    }

    #[test]
    fn statuses_have_causes() {
        for (status, cause) in [
            ("503", Cause::Provider),
            ("412", Cause::Budget),
            ("429", Cause::RateLimit),
            ("400", Cause::Request),
        ] {
            assert!(Cause::of(status) == cause, "{status}");
        }
    }
}
