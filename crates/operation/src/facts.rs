//! What a row says of its operation, for whoever asks.

use http::Method;
use serde_json::Value;

use super::{Base, Body, Effect, Hints, JsonMap, Operation, Plan, preview};

impl Operation {
    /// The tool's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Other names the tool answers to.
    pub fn other_names(&self) -> &'static [&'static str] {
        self.aliases
    }

    /// What people say who mean it, beside what its name and its texts say.
    pub fn words(&self) -> &'static [&'static str] {
        self.words
    }

    /// The HTTP method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The host it lives on.
    pub fn base(&self) -> Base {
        self.base
    }

    /// The path, with its `{placeholders}`.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// What a call does.
    pub fn effects(&self) -> Effect {
        self.effect
    }

    /// What MCP publishes about it.
    pub fn hints(&self) -> Hints {
        self.hints
    }

    /// The API-key scopes of which any one suffices; empty where no source names one.
    pub fn needs_scopes(&self) -> &'static [&'static str] {
        self.scopes
    }

    /// The plan it needs.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Fields of the answer that are a secret shown only here.
    pub fn revealed(&self) -> &'static [&'static str] {
        self.reveals
    }

    /// Whether a call with these arguments shows a secret.
    pub fn reveals_with(&self, args: &JsonMap) -> bool {
        let wanted = |argument| args.get(argument) == Some(&Value::Bool(true));
        !self.reveals.is_empty() && self.reveals_if.is_none_or(wanted)
    }

    /// Fields of the answer that are a credential or may hold some.
    pub fn secret_fields(&self) -> &'static [&'static str] {
        self.secret
    }

    /// Whether the answer has text that strangers wrote.
    pub fn is_untrusted(&self) -> bool {
        self.untrusted
    }

    /// Whether what it stores is read back in answers that declare no places of secrets.
    pub const fn is_read_back_undeclared(&self) -> bool {
        self.read_back_undeclared
    }

    /// Fields of the answer that are personal, or text: kept out of logs, and shown in results.
    pub fn sensitive_fields(&self) -> &'static [&'static str] {
        self.sensitive
    }

    /// Whether an argument travels in the query.
    pub(super) fn is_filter(&self, name: &str) -> bool {
        let in_query = self.body == Body::None || self.query.contains(&name);
        in_query && !self.placeholders().any(|placeholder| placeholder == name)
    }

    /// Whether an argument says what to change, and not only of what.
    pub(super) fn is_change(&self, name: &str) -> bool {
        /// Say where a resource is, wherever they travel.
        const WHEREABOUTS: [&str; 2] = ["workspace_id", "organisation_id"];
        self.body != Body::None
            && name != preview::ARGUMENT
            && !self.query.contains(&name)
            && !WHEREABOUTS.contains(&name)
            && !self.headers.iter().any(|(argument, _)| *argument == name)
            && !self.placeholders().any(|placeholder| placeholder == name)
    }

    /// The arguments that travel in the query although the request has a body.
    pub fn query_names(&self) -> &'static [&'static str] {
        self.query
    }

    /// The arguments that travel in a request header, each with its header.
    pub fn header_names(&self) -> &'static [(&'static str, &'static str)] {
        self.headers
    }

    /// The path of the GET that shows what the call changes, where the row names one.
    pub fn reads(&self) -> Option<&'static str> {
        self.preview.map(|preview| preview.reads)
    }

    /// Whether its argument `preview` asks for a preview.
    pub(super) fn previews(&self) -> bool {
        self.preview.is_some()
    }

    /// The names between braces in the path.
    pub fn placeholders(&self) -> impl Iterator<Item = &'static str> {
        self.path.split(['{', '}']).skip(1).step_by(2)
    }

    /// Whether a request that may or may not have arrived can be sent again. A POST never is: Portkey
    /// knows no idempotency key (quirks.md §10.3).
    pub fn repeatable(&self) -> bool {
        self.hints.idempotent && self.method != Method::POST
    }
}
