//! Outside decision points: services that decide about calls by themselves. This crate states what
//! is asked; another one sends it.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use url::{Host, Url};

use super::{PolicyInput, RuleRef, document::RawDecide, limit::parse_duration};
use crate::document::RawDecisionPoint;

/// Time that a decision point has for its answer, unless the rule says otherwise.
pub const DEFAULT_DECISION_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum time that a rule may give a decision point for its answer.
pub const MAX_DECISION_TIMEOUT: Duration = Duration::from_secs(30);

/// Protocol of a decision point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecisionApi {
    /// Access evaluation of AuthZEN Authorization API 1.0.
    #[default]
    Authzen,
    /// Data API of Open Policy Agent.
    Opa,
}

impl DecisionApi {
    /// Returns the value in policy files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authzen => "authzen",
            Self::Opa => "opa",
        }
    }
}

/// A service that decides about calls.
#[derive(Debug, PartialEq, Eq)]
pub struct DecisionPoint {
    /// Address that questions are sent to: HTTPS, or HTTP on loopback.
    pub url: Url,
    /// Protocol of the service.
    pub api: DecisionApi,
    /// Time for the answer.
    pub timeout: Duration,
    /// Environment variable with the bearer token for the service.
    pub token_env: Option<String>,
}

impl DecisionPoint {
    /// Returns scheme, host and port, without a path that could hold a secret.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub(super) fn compile(raw: &RawDecide) -> Result<Arc<Self>, String> {
        let (url, api, timeout, token_env) = match raw {
            RawDecide::Url(url) => (url, DecisionApi::default(), None, None),
            RawDecide::Point(RawDecisionPoint {
                url,
                api,
                timeout,
                token_env,
            }) => (
                url,
                api.unwrap_or_default(),
                timeout.as_ref(),
                token_env.clone(),
            ),
        };
        let timeout = timeout.map(parse_duration).transpose()?;
        let timeout = timeout.unwrap_or(DEFAULT_DECISION_TIMEOUT);
        if timeout > MAX_DECISION_TIMEOUT {
            let max = MAX_DECISION_TIMEOUT.as_secs();
            return Err(format!("`decide`: the timeout is at most {max}s"));
        }
        let is_name =
            |name: &String| !name.is_empty() && !name.contains(['=', '\0']) && name.len() <= 200;
        if !token_env.as_ref().is_none_or(is_name) {
            return Err("`decide`: `token_env` names an environment variable".to_owned());
        }
        Ok(Arc::new(Self {
            url: parse_url(url)?,
            api,
            timeout,
            token_env,
        }))
    }
}

/// Parses the address of a decision point.
fn parse_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|_| {
        "`decide`: give the address of a decision point, such as https://pdp.example.com/access/v1/evaluation"
            .to_owned()
    })?;
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
        return Err(
            "`decide`: only https addresses can be used, and http on this machine's loopback"
                .to_owned(),
        );
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(
            "`decide`: the address may not hold a user name, a password or a fragment; name the variable \
             with a bearer token in `token_env`"
                .to_owned(),
        );
    }
    Ok(url)
}

/// A question to a decision point.
#[derive(Clone, Copy, Debug)]
pub struct OutsideQuestion<'a> {
    /// The service to ask.
    pub point: &'a DecisionPoint,
    /// The rule that asks.
    pub rule: &'a RuleRef,
    /// The call, with secrets in its arguments.
    pub input: &'a PolicyInput<'a>,
}

/// A reason why a decision point gave no usable answer. Such a call is denied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OutsideError(pub String);

/// The future of an answer.
pub type OutsideAnswer<'a> = Pin<Box<dyn Future<Output = Result<bool, OutsideError>> + Send + 'a>>;

/// Asks decision points.
pub trait OutsideDecisions: Sync {
    /// Asks whether a call is permitted.
    fn ask<'a>(&'a self, question: OutsideQuestion<'a>) -> OutsideAnswer<'a>;
}

/// Gives one answer to all questions, as test cases need it.
#[derive(Clone, Copy, Debug)]
pub struct FixedAnswer(pub Option<bool>);

impl OutsideDecisions for FixedAnswer {
    fn ask<'a>(&'a self, _: OutsideQuestion<'a>) -> OutsideAnswer<'a> {
        let answer = self.0.ok_or_else(|| {
            OutsideError("it is not asked here; say what it would answer".to_owned())
        });
        Box::pin(std::future::ready(answer))
    }
}

impl fmt::Display for DecisionPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.origin(), self.api.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_https_or_loopback() {
        for text in [
            "https://pdp.example.com/access/v1/evaluation",
            "http://127.0.0.1:8181/v1/data/portkey/allow",
            "http://[::1]:8181/v1/data/portkey/allow",
            "http://localhost/x",
        ] {
            assert!(
                DecisionPoint::compile(&RawDecide::Url(text.to_owned())).is_ok(),
                "{text}"
            );
        }
        for text in [
            "http://pdp.example.com/",
            "ftp://pdp.example.com/",
            "https://user:secret@pdp.example.com/",
            "https://pdp.example.com/#x",
            "pdp",
            "file:///etc/passwd",
        ] {
            assert!(
                DecisionPoint::compile(&RawDecide::Url(text.to_owned())).is_err(),
                "{text}"
            );
        }
    }
}
