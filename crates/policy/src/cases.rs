//! Test cases for policies: calls, each with the decision that is expected.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    CallerClaims, Decision, DecisionKind, FixedAnswer, Policy, PolicyEvaluation, PolicyInput,
    PolicyTarget, RuleTrace, decide_with, explain,
};
use crate::Transport;
use portkey_api::catalog::Catalog;
use portkey_operation::{JsonMap, ValidatedArguments, ValidationOptions};
use portkey_store::Store;

/// A call, written by hand, to evaluate a policy with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyCase {
    /// Name of the tool.
    #[serde(default)]
    pub call: String,
    /// Name of the prompt, in place of a tool.
    #[serde(default)]
    pub prompt: Option<String>,
    /// URI of the resource, in place of a tool.
    #[serde(default)]
    pub resource: Option<String>,
    /// Arguments of the call, as a client would send them.
    #[serde(default)]
    pub args: JsonMap,
    /// Title of the case, shown in reports.
    #[serde(default)]
    pub name: Option<String>,
    /// Caller of the tool; defaults to `local`.
    #[serde(default)]
    pub principal: Option<String>,
    /// Claims of the caller's token.
    #[serde(default)]
    pub claims: Option<JsonMap>,
    /// Address of the caller.
    #[serde(default)]
    pub source: Option<IpAddr>,
    /// Tools that the session has called before. Without it, a case with a session has called none,
    /// and one without a session is one of which that is unknown.
    #[serde(default)]
    pub called: Option<Vec<String>>,
    /// Answer of outside decision points: `allow` or `deny`.
    #[serde(default)]
    pub outside: Option<OutsideVerdict>,
    /// Name that the client claims in its client info.
    #[serde(default)]
    pub client: Option<String>,
    /// Transport of the request: `stdio` or `http`, the default.
    #[serde(default)]
    pub transport: Option<String>,
    /// Identifier of the session, if the call belongs to one.
    #[serde(default)]
    pub session: Option<String>,
    /// Time of the call in RFC 3339; defaults to now.
    #[serde(default)]
    pub time: Option<String>,
    /// True if the session has read untrusted content.
    #[serde(default)]
    pub tainted: bool,
    /// Number of times the call is made; the decision on the last one counts.
    #[serde(default)]
    pub times: Option<u16>,
    /// Expected decision: `allow`, `deny`, `approve` or `dry_run`.
    #[serde(default)]
    pub expect: Option<DecisionKind>,
    /// Name of the rule that is expected to decide.
    #[serde(default)]
    pub rule: Option<String>,
}

/// Answer of an outside decision point in a case.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum OutsideVerdict {
    /// The decision point permits the call.
    Allow,
    /// The decision point denies the call.
    Deny,
}

/// Contents of a file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    cases: Vec<Spanned<PolicyCase>>,
}

/// Outcome of a case.
#[derive(Debug)]
pub struct CaseResult {
    /// Decision on the last call.
    pub decision: PolicyEvaluation,
    /// Result of every rule for the last call.
    pub trace: Vec<RuleTrace>,
}

/// Reason why a case could not be evaluated, or did not give the expected decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CaseError(String);

impl PolicyCase {
    /// Evaluates a policy for the case, with counters that start at zero. The arguments are
    /// validated like those of a call.
    ///
    /// # Errors
    /// Returns an error if the tool does not exist, does not accept the arguments, or if
    /// `transport` or `time` is invalid.
    pub async fn run(&self, policy: &Policy, catalog: &Catalog) -> Result<CaseResult, CaseError> {
        let case_error = |what: String| CaseError(what);
        let (target, args, unknown) = self.resolve_target(catalog)?;
        let called = self.resolve_called(catalog)?;
        let claims = self.claims.clone().map(Arc::new).map(CallerClaims::new);
        let claims = claims.unwrap_or_default();
        let transport = match self.transport.as_deref() {
            None => Transport::Http,
            Some(name) => Transport::from_name(name)
                .ok_or_else(|| case_error(format!("`{name}` is neither stdio nor http")))?,
        };
        let time = match self.time.as_deref().map(DateTime::parse_from_rfc3339) {
            None => SystemTime::now(),
            Some(Ok(time)) => time.into(),
            Some(Err(error)) => return Err(case_error(format!("`time`: {error}"))),
        };
        let input = PolicyInput {
            target,
            claims: &claims,
            source: self.source,
            called: called.as_deref(),
            args: &args,
            unknown_fields: &unknown,
            principal: self.principal.as_deref().unwrap_or("local"),
            client: self.client.as_deref(),
            transport,
            session: self.session.as_deref(),
            time,
            tainted: self.tainted,
        };
        let store = Store::in_memory();
        let outside = FixedAnswer(self.outside.map(|said| said == OutsideVerdict::Allow));
        for _ in 1..self.times.unwrap_or(1) {
            decide_with(&[policy], &input, &store, &outside).await;
        }
        let (decision, steps) = explain(&[policy], &input, &store, &outside).await;
        Ok(CaseResult {
            decision,
            trace: steps,
        })
    }

    /// Returns the subject of the case, with its arguments and the paths of unknown ones.
    fn resolve_target(
        &self,
        catalog: &Catalog,
    ) -> Result<(PolicyTarget<'_>, JsonMap, Vec<String>), CaseError> {
        let item = match (&self.prompt, &self.resource) {
            (Some(prompt), None) => Some(PolicyTarget::Prompt(prompt)),
            (None, Some(uri)) => Some(PolicyTarget::Resource(uri)),
            (None, None) => None,
            (Some(_), Some(_)) => {
                return Err(CaseError("a case has one subject".to_owned()));
            }
        };
        if let Some(item) = item {
            return match self.call.is_empty() {
                true => Ok((item, self.args.clone(), Vec::new())),
                false => Err(CaseError("a case has one subject".to_owned())),
            };
        }
        let case_error = |error: &dyn std::fmt::Display| CaseError(error.to_string());
        let entry = catalog
            .find(&self.call)
            .map_err(|error| case_error(&error))?;
        let options = ValidationOptions::default();
        let validated = entry.compiled().validate(self.args.clone(), &options);
        let ValidatedArguments { args, unknown, .. } =
            validated.map_err(|error| case_error(&error))?;
        let target = PolicyTarget::Tool {
            operation: entry.operation,
            domain: entry.domain.name,
        };
        Ok((target, args, unknown))
    }

    /// Returns the operations that the session has called; `None` if that is unknown.
    fn resolve_called(&self, catalog: &Catalog) -> Result<Option<Vec<&'static str>>, CaseError> {
        let Some(called) = &self.called else {
            return Ok(self.session.is_some().then(Vec::new));
        };
        let find = |name: &String| {
            let entry = catalog.find(name);
            entry
                .map(|entry| entry.operation.name())
                .map_err(|error| CaseError(format!("`called`: {error}")))
        };
        called.iter().map(find).collect::<Result<_, _>>().map(Some)
    }

    /// Returns the tool, prompt or resource that the case is about.
    pub fn subject(&self) -> &str {
        let item = self.prompt.as_deref().or(self.resource.as_deref());
        item.unwrap_or(&self.call)
    }

    /// Checks that the policy decides as the case expects.
    ///
    /// # Errors
    /// Returns an error if the decision or the deciding rule differs, or if the case cannot be
    /// evaluated.
    pub async fn check(&self, policy: &Policy, catalog: &Catalog) -> Result<(), CaseError> {
        let CaseResult { decision, .. } = self.run(policy, catalog).await?;
        let said = decision.decision.kind();
        let rule = decision.decision.rule();
        let by = rule.map_or_else(String::new, |rule| format!(" by {rule}"));
        let said_so = self.expect.is_none_or(|expected| expected == said);
        let by_it = self
            .rule
            .as_deref()
            .is_none_or(|name| rule.is_some_and(|rule| &*rule.name == name));
        match said_so && by_it {
            true => Ok(()),
            false => {
                let expected = self.expect.map_or("a decision", DecisionKind::as_str);
                let wanted = self.rule.as_deref().map(|name| format!(" by `{name}`"));
                let wanted = wanted.unwrap_or_default();
                Err(CaseError(format!(
                    "expected {expected}{wanted}, got {}{by}",
                    said.as_str()
                )))
            }
        }
    }
}

/// Parses a file of cases. Each case comes with the number of its first line.
///
/// # Errors
/// Returns an error if the text is not a valid file of cases.
pub fn parse_cases(text: &str) -> Result<Vec<(u64, PolicyCase)>, CaseError> {
    let file: CaseFile = serde_saphyr::from_str_with_options(text, super::document::yaml_options())
        .map_err(|error| CaseError(error.without_snippet().to_string()))?;
    Ok(file
        .cases
        .into_iter()
        .map(|case| (case.referenced.line(), case.value))
        .collect())
}

/// Describes a decision in a sentence.
pub fn describe_decision(verdict: &Decision) -> String {
    let kind = verdict.kind().as_str();
    match verdict {
        Decision::Allow => kind.to_owned(),
        Decision::Deny(denied) => format!("{kind}: {denied}"),
        Decision::Approve(noted) | Decision::DryRun(noted) => format!("{kind}: {}", noted.message),
    }
}

/// Parses arguments from JSON text.
///
/// # Errors
/// Returns an error if the text is not a JSON object.
pub fn parse_arguments(text: &str) -> Result<JsonMap, CaseError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(args)) => Ok(args),
        Ok(_) => Err(CaseError("the arguments are not a JSON object".to_owned())),
        Err(error) => Err(CaseError(format!("the arguments are not JSON: {error}"))),
    }
}
