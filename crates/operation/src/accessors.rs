//! Accessors of a declared operation.

use http::Method;
use serde_json::Value;

use super::{
    ApiBase, BodyKind, Effect, Hints, JsonMap, MovedLabel, Operation, Plan, RiskRule, Stability,
    UndoSemantics, UpdateRules, UpdateSemantics, is_same_name, preview,
};

impl Operation {
    /// Returns the name of the tool.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the aliases of the tool.
    pub fn alias_names(&self) -> &'static [&'static str] {
        self.aliases
    }

    /// Returns true if items of lists in the arguments have fields with other names.
    pub fn has_item_aliases(&self) -> bool {
        self.argument_aliases
            .iter()
            .any(|alias| alias.target().contains("[*]."))
    }

    /// Returns true if a name may be another name of an argument. Only the schema knows whether it is
    /// an argument itself; this is told without building it.
    pub fn may_alias_argument(&self, name: &str) -> bool {
        is_same_name(name, "id")
            || self
                .argument_aliases
                .iter()
                .any(|alias| is_same_name(alias.name(), name))
    }

    /// Returns the values, as JSON, of arguments that a call leaves out.
    pub fn default_arguments(&self) -> &'static [(&'static str, &'static str)] {
        self.default_arguments
    }

    /// Returns the search terms: words of callers who mean this tool that its name and descriptions
    /// lack.
    pub fn search_terms(&self) -> &'static [&'static str] {
        self.search_terms
    }

    /// Returns the HTTP method of the endpoint.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the base URL of the endpoint.
    pub fn base(&self) -> ApiBase {
        self.base
    }

    /// Returns the path of the endpoint, with its `{placeholders}`.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Returns the effect that a call has on the account.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Returns the hints that MCP publishes about the tool.
    pub fn hints(&self) -> Hints {
        self.hints
    }

    /// Returns the API-key scopes of which any one suffices. The list is empty if no source names
    /// one.
    pub fn required_scopes(&self) -> &'static [&'static str] {
        self.scopes
    }

    /// Returns the Portkey plan that the endpoint needs.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Returns true if the vendor stands by the endpoint. Other operations are off by default.
    pub const fn is_stable(&self) -> bool {
        matches!(self.stability, Stability::Stable)
    }

    /// Returns the fields of the answer that hold a one-time secret.
    pub fn one_time_secrets(&self) -> &'static [&'static str] {
        self.one_time_secrets
    }

    /// Returns true if a call with these arguments returns a one-time secret.
    pub fn returns_secrets_for(&self, args: &JsonMap) -> bool {
        let is_true = |argument| args.get(argument) == Some(&Value::Bool(true));
        !self.one_time_secrets.is_empty() && self.one_time_secrets_if.is_none_or(is_true)
    }

    /// Returns the fields of the answer that are a credential or may hold one.
    pub fn secret_fields(&self) -> &'static [&'static str] {
        self.secret_fields
    }

    /// Returns true if the answer has untrusted content: text that third parties wrote.
    pub fn has_untrusted_content(&self) -> bool {
        self.returns_untrusted_content
    }

    /// Returns true if stored values are read back in answers that declare no secret fields.
    pub const fn has_unmasked_reads(&self) -> bool {
        self.has_unmasked_reads
    }

    /// Returns the fields of the answer that hold personal data or free text. They are kept out of
    /// logs and shown in results.
    pub fn sensitive_fields(&self) -> &'static [&'static str] {
        self.sensitive_fields
    }

    /// Returns true if an argument travels in the query.
    pub(super) fn is_filter(&self, name: &str) -> bool {
        let in_query = self.body == BodyKind::None || self.query.contains(&name);
        in_query && !self.placeholders().any(|placeholder| placeholder == name)
    }

    /// Returns true if an argument names a change, rather than the resource to change.
    pub fn is_change(&self, name: &str) -> bool {
        /// Arguments that locate a resource, in the query or in the body.
        const LOCATION_ARGUMENTS: [&str; 2] = ["workspace_id", "organisation_id"];
        self.body != BodyKind::None
            && name != preview::PREVIEW_ARGUMENT
            && !self.query.contains(&name)
            && !LOCATION_ARGUMENTS.contains(&name)
            && !self.headers.iter().any(|(argument, _)| *argument == name)
            && !self.placeholders().any(|placeholder| placeholder == name)
    }

    /// Returns the arguments that travel in the query of a request with a body.
    pub fn query_arguments(&self) -> &'static [&'static str] {
        self.query
    }

    /// Returns the arguments that travel in a request header, each with its header.
    pub fn header_arguments(&self) -> &'static [(&'static str, &'static str)] {
        self.headers
    }

    /// Returns the path of the GET that a preview reads, if the operation has a preview.
    pub fn preview_path(&self) -> Option<&'static str> {
        self.preview.map(|preview| preview.read_path)
    }

    /// Returns true if the argument `preview` asks for a preview.
    pub(super) fn supports_preview(&self) -> bool {
        self.preview.is_some()
    }

    /// Returns the names between braces in the path.
    pub fn placeholders(&self) -> impl Iterator<Item = &'static str> {
        self.path.split(['{', '}']).skip(1).step_by(2)
    }

    /// Returns true if a request without an answer can be sent again.
    ///
    /// A POST never can: Portkey has no idempotency key, so a POST without an answer may have
    /// succeeded.
    pub fn is_retryable(&self) -> bool {
        self.hints.idempotent && self.method != Method::POST
    }

    /// Returns how a call is undone, where it does not follow from the effect.
    pub const fn undo_semantics(&self) -> Option<UndoSemantics> {
        self.undo
    }

    /// Returns the argument that moves a label from version to version.
    pub const fn moved_label(&self) -> Option<MovedLabel> {
        self.moved_label
    }

    /// Returns the declared behaviour of an update.
    pub const fn update_semantics(&self) -> Option<&UpdateSemantics> {
        self.update.as_ref()
    }

    /// Returns the rules by which a patch is computed, if the operation takes one.
    pub const fn update_rules(&self) -> Option<&UpdateRules> {
        match &self.update {
            Some(UpdateSemantics::Fields(rules)) => Some(rules),
            Some(UpdateSemantics::NoPatch(_)) | None => None,
        }
    }

    /// Returns the declared risks of its calls.
    pub const fn risk_rules(&self) -> &'static [RiskRule] {
        self.risks
    }
}
