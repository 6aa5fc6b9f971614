//! An upstream with an API key that is being rotated.

use serde_json::{Value, json};

use crate::support::upstream::{MockUpstream, ReceivedRequest, json_response};

/// Time at which the successor was made.
pub(crate) const STARTED: &str = "2026-01-10T08:00:00Z";

/// Starts an upstream with the key `old` and its successor `new`, which have further fields. `analytics` makes the
/// answer to a request for analytics from its target.
pub(crate) async fn start_upstream_with_successor(
    key_fields: Value,
    successor_fields: Value,
    analytics: impl Fn(&str) -> Value + Send + Sync + 'static,
) -> MockUpstream {
    let key = json!({ "id": "old", "name": "Agent", "workspace_id": "ws-a" });
    let key = with_fields(key, &key_fields);
    let successor = json!({ "id": "new", "name": "Agent", "description": "Replaces key old",
        "created_at": STARTED });
    let successor = with_fields(successor, &successor_fields);
    MockUpstream::start_by(move |request: &ReceivedRequest, _| {
        let target = request.target.as_str();
        let answer = if request.method == "DELETE" {
            json!({})
        } else if target.contains("/analytics/") {
            analytics(target)
        } else if target.contains("/api-keys/old") {
            key.clone()
        } else {
            json!({ "total": 2, "object": "list", "data": [key, successor] })
        };
        json_response(&answer.to_string())
    })
    .await
}

fn with_fields(mut item: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        item[name] = value.clone();
    }
    item
}
