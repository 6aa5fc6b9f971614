//! Questions to outside decision points: their bodies, and the meaning of the answers.

use chrono::{DateTime, SecondsFormat, Utc};
use portkey_operation::{CompiledOperation, JsonMap};
use portkey_policy::{
    DecisionApi, DecisionPoint, OutsideAnswer, OutsideDecisions, OutsideError, OutsideQuestion,
    PolicyTarget,
};
use serde_json::{Map, Value, json};

use crate::{
    auth::principal::AuthMethod,
    http_client::decision_point::{DecisionClient, DecisionRequest},
    observability::request::RequestId,
    security::secrets::{mask_text, redact_arguments},
};

/// Maximum size of a question, in bytes.
const MAX_QUESTION_BYTES: usize = 1 << 20;

/// Asks decision points about one call.
pub(super) struct CallDecisions<'a> {
    pub(super) client: Option<&'a DecisionClient>,
    /// The called operation, which knows the secrets among its arguments.
    pub(super) published: Option<&'a CompiledOperation>,
    pub(super) method: AuthMethod,
    pub(super) request_id: &'a RequestId,
}

impl OutsideDecisions for CallDecisions<'_> {
    fn ask<'a>(&'a self, question: OutsideQuestion<'a>) -> OutsideAnswer<'a> {
        Box::pin(self.decide(question))
    }
}

impl CallDecisions<'_> {
    async fn decide(&self, question: OutsideQuestion<'_>) -> Result<bool, OutsideError> {
        let point = question.point;
        let failed = |reason: &str| OutsideError(reason.to_owned());
        let client = self
            .client
            .ok_or_else(|| failed("this process has no client for decision points"))?;
        let body = self.build_body(question);
        let body = serde_json::to_vec(&body).map_err(|_| failed("the question is no JSON"))?;
        if body.len() > MAX_QUESTION_BYTES {
            return Err(failed("the arguments are too large to ask about"));
        }
        let request = DecisionRequest {
            url: &point.url,
            body,
            token: read_token(point)?,
            request_id: self.request_id.as_header_value(),
            timeout: point.timeout,
        };
        let answer = client.ask(request).await;
        let answer = answer.map_err(|error| OutsideError(error.to_string()))?;
        let decision = match point.api {
            DecisionApi::Authzen => answer.get("decision"),
            DecisionApi::Opa => answer.get("result"),
        };
        let decision = decision.and_then(Value::as_bool);
        decision.ok_or_else(|| failed("its answer has no decision that is true or false"))
    }

    fn build_body(&self, question: OutsideQuestion<'_>) -> Value {
        let OutsideQuestion { point, rule, input } = question;
        let arguments = match self.published {
            Some(published) => redact_arguments(published, input.args.clone()),
            None => mask_texts(input.args),
        };
        // Claims that are too large are none: the decision point must not take them for complete.
        let claims = input.claims.visible().map(|claims| {
            let owned = claims.map(|(name, value)| (name.to_owned(), value.clone()));
            Value::Object(owned.collect::<Map<_, _>>())
        });
        let (resource, action) = match input.target {
            PolicyTarget::Tool { operation, domain } => {
                let id = operation.placeholders().last();
                let id = id.and_then(|name| arguments.get(name)?.as_str());
                let id = id.unwrap_or(operation.name());
                let resource = json!({
                    "type": domain, "id": id, "properties": { "arguments": arguments },
                });
                (resource, operation.name())
            }
            PolicyTarget::Prompt(name) => {
                let resource = json!({
                    "type": "prompt", "id": name, "properties": { "arguments": arguments },
                });
                (resource, "prompts/get")
            }
            PolicyTarget::Resource(uri) => {
                (json!({ "type": "resource", "id": uri }), "resources/read")
            }
        };
        let time = DateTime::<Utc>::from(input.time);
        let question = json!({
            "subject": {
                "type": "caller",
                "id": input.principal,
                "properties": { "auth": self.method.as_str(), "claims": claims.ok() },
            },
            "action": {
                "name": action,
                "properties": { "effect": input.target.effect(), "domain": input.target.domain() },
            },
            "resource": resource,
            "context": {
                "client": input.client.map(mask_text),
                "policy": &*rule.policy,
                "rule": &*rule.name,
                "source": input.source.map(|address| address.to_canonical().to_string()),
                "tainted": input.tainted,
                "time": time.to_rfc3339_opts(SecondsFormat::Secs, true),
                "transport": input.transport.as_str(),
                "unknown_fields": input.unknown_fields,
            },
        });
        match point.api {
            DecisionApi::Authzen => question,
            DecisionApi::Opa => json!({ "input": question }),
        }
    }
}

/// Reads the token for a decision point. A variable that is not set is an error, so that nothing is
/// asked without the token that its owner expects.
fn read_token(point: &DecisionPoint) -> Result<Option<String>, OutsideError> {
    let Some(name) = &point.token_env else {
        return Ok(None);
    };
    let token = std::env::var(name).ok().filter(|token| !token.is_empty());
    let missing = || OutsideError(format!("the environment variable `{name}` is not set"));
    token.ok_or_else(missing).map(Some)
}

/// Masks keys in the texts of arguments.
fn mask_texts(args: &JsonMap) -> JsonMap {
    let masked = args.iter().map(|(name, value)| {
        let value = match value {
            Value::String(text) => Value::from(mask_text(text)),
            other => other.clone(),
        };
        (name.clone(), value)
    });
    masked.collect()
}
