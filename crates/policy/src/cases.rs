//! Cases that a policy is held against: calls, and what is expected of each.

use std::time::SystemTime;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{Decision, DecisionKind, Facts, Policy, Step, Verdict, explain};
use crate::Transport;
use portkey_api::catalog::Catalog;
use portkey_operation::{JsonMap, Validated, ValidationOptions};
use portkey_store::Store;

/// A call as it is told to a policy by hand.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The tool's name.
    pub call: String,
    /// Its arguments.
    #[serde(default)]
    pub args: JsonMap,
    /// What the case is about.
    #[serde(default)]
    pub name: Option<String>,
    /// Who calls; `local` when left out.
    #[serde(default)]
    pub principal: Option<String>,
    /// What the client calls itself.
    #[serde(default)]
    pub client: Option<String>,
    /// `stdio`, or `http` when left out.
    #[serde(default)]
    pub transport: Option<String>,
    /// The session.
    #[serde(default)]
    pub session: Option<String>,
    /// When, in RFC 3339; now when left out.
    #[serde(default)]
    pub time: Option<String>,
    /// Whether the session has read text that strangers wrote.
    #[serde(default)]
    pub tainted: bool,
    /// How often the call is made; what counts is the last time.
    #[serde(default)]
    pub times: Option<u16>,
    /// `allow`, `deny`, `approve` or `dry_run`.
    #[serde(default)]
    pub expect: Option<DecisionKind>,
    /// The rule that has to decide.
    #[serde(default)]
    pub rule: Option<String>,
}

/// What a file of cases holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cases: Vec<Spanned<Case>>,
}

/// What a case came to.
#[derive(Debug)]
pub struct Told {
    /// The decision.
    pub decision: Decision,
    /// What each rule said, the last time.
    pub steps: Vec<Step>,
}

/// Why a case could not be asked, or was not answered as expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CaseError(String);

impl Case {
    /// Asks a policy, each case from counters that begin at zero. The arguments go through the tool's gate,
    /// as those of a call do.
    ///
    /// # Errors
    /// There is no such tool, or it does not take the arguments, or a field does not hold.
    pub async fn ask(&self, policy: &Policy, catalog: &Catalog) -> Result<Told, CaseError> {
        let fault = |what: String| CaseError(what);
        let entry = catalog
            .find(&self.call)
            .map_err(|error| fault(error.to_string()))?;
        let options = ValidationOptions::default();
        let validated = entry.published().validate(self.args.clone(), &options);
        let Validated { args, unknown, .. } =
            validated.map_err(|error| fault(error.to_string()))?;
        let transport = match self.transport.as_deref() {
            None => Transport::Http,
            Some(name) => Transport::from_name(name)
                .ok_or_else(|| fault(format!("`{name}` is neither stdio nor http")))?,
        };
        let time = match self.time.as_deref().map(DateTime::parse_from_rfc3339) {
            None => SystemTime::now(),
            Some(Ok(time)) => time.into(),
            Some(Err(error)) => return Err(fault(format!("`time`: {error}"))),
        };
        let facts = Facts {
            operation: entry.operation,
            domain: entry.domain.name,
            args: &args,
            unknown: &unknown,
            principal: self.principal.as_deref().unwrap_or("local"),
            client: self.client.as_deref(),
            transport,
            session: self.session.as_deref(),
            time,
            tainted: self.tainted,
        };
        let store = Store::memory();
        for _ in 1..self.times.unwrap_or(1) {
            policy.decide(&facts, &store).await;
        }
        let (decision, steps) = explain(&[policy], &facts, &store).await;
        Ok(Told { decision, steps })
    }

    /// Whether the policy says what is expected.
    ///
    /// # Errors
    /// It does not, or the case cannot be asked.
    pub async fn check(&self, policy: &Policy, catalog: &Catalog) -> Result<(), CaseError> {
        let Told { decision, .. } = self.ask(policy, catalog).await?;
        let (said, rule) = (decision.verdict.kind(), decision.verdict.rule());
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

/// Reads a file of cases: each with the line it begins in.
///
/// # Errors
/// The text is no such file.
pub fn read(text: &str) -> Result<Vec<(u64, Case)>, CaseError> {
    let file: File = serde_saphyr::from_str_with_options(text, super::document::options())
        .map_err(|error| CaseError(error.without_snippet().to_string()))?;
    Ok(file
        .cases
        .into_iter()
        .map(|case| (case.referenced.line(), case.value))
        .collect())
}

/// A verdict in a sentence.
pub fn sentence(verdict: &Verdict) -> String {
    let kind = verdict.kind().as_str();
    match verdict {
        Verdict::Allow => kind.to_owned(),
        Verdict::Deny(denied) => format!("{kind}: {denied}"),
        Verdict::Approve(noted) | Verdict::DryRun(noted) => format!("{kind}: {}", noted.words),
    }
}

/// The arguments in a text.
///
/// # Errors
/// It is no JSON object.
pub fn arguments(text: &str) -> Result<JsonMap, CaseError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(args)) => Ok(args),
        Ok(_) => Err(CaseError("the arguments are no JSON object".to_owned())),
        Err(error) => Err(CaseError(format!("the arguments are no JSON: {error}"))),
    }
}
