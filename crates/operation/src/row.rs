//! Builder methods of an operation: everything a declaration says beyond method and path.

use super::{Base, Body, Effect, Merge, Operation, Plan, Rule, preview::Preview};

/// Deviations from the defaults of the HTTP method, and facts about answers. Each is part of the
/// declaration.
impl Operation {
    /// Sets the effect of the call where the HTTP method suggests another one.
    pub const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self.hints.read_only = matches!(effect, Effect::Read);
        self.hints.destructive = matches!(effect, Effect::Delete);
        self.hints.idempotent = !matches!(effect, Effect::Create);
        self
    }

    /// Declares that the call may overwrite or remove something that cannot be restored.
    pub const fn destructive(mut self) -> Self {
        self.hints.destructive = true;
        self
    }

    /// Declares that the call makes the API contact a third system.
    pub const fn open_world(mut self) -> Self {
        self.hints.open_world = true;
        self
    }

    /// Sets the base URL, if it is not that of the control plane.
    pub const fn on(mut self, base: Base) -> Self {
        self.base = base;
        self
    }

    /// Declares that a DELETE has a body.
    pub const fn with_body(mut self) -> Self {
        self.body = Body::Arguments;
        self
    }

    /// Declares that the body is the value of one argument, where the API expects a list.
    pub const fn bare_body(mut self, argument: &'static str) -> Self {
        self.body = Body::Bare(argument);
        self
    }

    /// Declares that a second call adds or breaks something.
    pub const fn not_idempotent(mut self) -> Self {
        self.hints.idempotent = false;
        self
    }

    /// Declares that a second call changes nothing more.
    pub const fn idempotent(mut self) -> Self {
        self.hints.idempotent = true;
        self
    }

    /// Names the fields of the answer that hold a one-time secret, such as `data[].key`.
    pub const fn reveals(mut self, fields: &'static [&'static str]) -> Self {
        self.reveals = fields;
        self
    }

    /// Declares that the answer holds a one-time secret only if this argument is true.
    pub const fn reveals_if(mut self, argument: &'static str) -> Self {
        self.reveals_if = Some(argument);
        self
    }

    /// Names the fields of the answer that are a credential or may hold one. Results show them
    /// masked.
    ///
    /// Text at `data[].key` is masked as a whole, an object where its names give a secret away, and
    /// `custom_headers.*` masks everything below.
    pub const fn secret(mut self, fields: &'static [&'static str]) -> Self {
        self.secret = fields;
        self
    }

    /// Declares that the answer has untrusted content: prompts, logs, or text of other servers.
    pub const fn untrusted(mut self) -> Self {
        self.untrusted = true;
        self
    }

    /// Names the fields of the answer that are kept out of logs and are no secret to an
    /// administrator.
    ///
    /// These are personal data, and text that may hold it. A path such as `data[].user` covers
    /// everything below it.
    pub const fn sensitive(mut self, fields: &'static [&'static str]) -> Self {
        self.sensitive = fields;
        self
    }

    /// Names the arguments that travel in the query although the request has a body.
    pub const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    /// Names the arguments that travel in request headers, each with its header.
    pub const fn headers(mut self, names: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = names;
        self
    }

    /// Declares a preview, which `preview: true` asks for.
    ///
    /// The preview sends a single GET to the path `reads`. It shows the stored document, and the
    /// same with the call's body merged in.
    pub const fn preview(mut self, reads: &'static str, merge: Merge) -> Self {
        self.preview = Some(Preview { reads, merge });
        self
    }

    /// Names the lists of which each item travels as a query argument of its own. Other lists are
    /// joined by commas.
    pub const fn repeated(mut self, names: &'static [&'static str]) -> Self {
        self.repeated = names;
        self
    }

    /// Names the aliases of the tool. They are accepted and never listed.
    pub const fn aliases(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }

    /// Names three to six search terms: words of callers who mean this tool that its names and
    /// texts lack.
    ///
    /// These are everyday words, terms of other products, and German ones. They are searched and
    /// never listed.
    pub const fn found_by(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    /// Names the API-key scopes of which any one suffices.
    pub const fn scopes(mut self, scopes: &'static [&'static str]) -> Self {
        self.scopes = scopes;
        self
    }

    /// Declares that Portkey answers 403 below the Enterprise plan.
    pub const fn enterprise(mut self) -> Self {
        self.plan = Plan::Enterprise;
        self
    }

    /// Sets title and description where several operations share one input struct.
    pub const fn about(mut self, title: &'static str, description: &'static str) -> Self {
        self.about = Some((title, description));
        self
    }

    /// Declares that one argument is a document with these fields.
    ///
    /// Callers who give such a field as an argument of its own then get one error that names the
    /// document.
    pub const fn document(
        mut self,
        argument: &'static str,
        fields: &'static [&'static str],
    ) -> Self {
        self.document = Some((argument, fields));
        self
    }

    /// Declares that an update has an effect even if it names no change.
    pub const fn acts_alone(mut self) -> Self {
        self.acts_alone = true;
        self
    }

    /// Declares that stored values are read back in answers that declare no secret fields.
    ///
    /// A reference to a secret is then accepted only under a name that is masked in every answer.
    pub const fn read_back_undeclared(mut self) -> Self {
        self.read_back_undeclared = true;
        self
    }

    /// Adds a condition over several arguments.
    pub const fn rule(mut self, rule: Rule) -> Self {
        self.rule = Some(rule);
        self
    }
}
