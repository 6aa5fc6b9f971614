//! What a row may say beyond its method and path.

use super::{Base, Body, Effect, Merge, Operation, Plan, Rule, preview::Preview};

/// Corrections to what the method implies; each is written on the operation's row.
impl Operation {
    /// Says what the call does where the HTTP method suggests something else.
    pub const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self.hints.read_only = matches!(effect, Effect::Read);
        self.hints.destructive = matches!(effect, Effect::Delete);
        self.hints.idempotent = !matches!(effect, Effect::Create);
        self
    }

    /// Says that the call may overwrite or cut off something that cannot be had back.
    pub const fn destructive(mut self) -> Self {
        self.hints.destructive = true;
        self
    }

    /// Says that the call makes the API reach out to a third system.
    pub const fn open_world(mut self) -> Self {
        self.hints.open_world = true;
        self
    }

    /// Says where it lives, if not on the control plane.
    pub const fn on(mut self, base: Base) -> Self {
        self.base = base;
        self
    }

    /// Says that a DELETE has a body.
    pub const fn with_body(mut self) -> Self {
        self.body = Body::Arguments;
        self
    }

    /// Says that the body is the value of one argument, where the API wants a list.
    pub const fn bare_body(mut self, argument: &'static str) -> Self {
        self.body = Body::Bare(argument);
        self
    }

    /// Says that a second call adds or breaks something.
    pub const fn not_idempotent(mut self) -> Self {
        self.hints.idempotent = false;
        self
    }

    /// Says that a second call changes nothing more.
    pub const fn idempotent(mut self) -> Self {
        self.hints.idempotent = true;
        self
    }

    /// Fields of the answer that are a secret shown only here, as `data[].key` (secrets.md §1).
    pub const fn reveals(mut self, fields: &'static [&'static str]) -> Self {
        self.reveals = fields;
        self
    }

    /// Says that it shows a secret only if this argument is true.
    pub const fn reveals_if(mut self, argument: &'static str) -> Self {
        self.reveals_if = Some(argument);
        self
    }

    /// Fields of the answer that are a credential or may hold some, and are masked in results
    /// (secrets.md §2, §3). Text at `data[].key` is one; of an object what its names give away; at
    /// `custom_headers.*` all that is below.
    pub const fn secret(mut self, fields: &'static [&'static str]) -> Self {
        self.secret = fields;
        self
    }

    /// Says that the answer has text that strangers wrote: prompts, logs, what other servers say.
    pub const fn untrusted(mut self) -> Self {
        self.untrusted = true;
        self
    }

    /// Fields of the answer that are kept out of logs, and are no secret to an administrator: personal
    /// data, and text that may hold it (secrets.md §4, §5). A path such as `data[].user` covers what is
    /// below it.
    pub const fn sensitive(mut self, fields: &'static [&'static str]) -> Self {
        self.sensitive = fields;
        self
    }

    /// Names arguments that travel in the query although the request has a body.
    pub const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    /// Names arguments that travel in request headers, each with its header.
    pub const fn headers(mut self, names: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = names;
        self
    }

    /// Says that `preview: true` shows what the call would leave behind and sends no more than a GET to
    /// the path `reads`: what is stored there, and that with the call's body merged in.
    pub const fn preview(mut self, reads: &'static str, merge: Merge) -> Self {
        self.preview = Some(Preview { reads, merge });
        self
    }

    /// Names lists of which each item travels as a query argument of its own, where others are joined
    /// by commas.
    pub const fn repeated(mut self, names: &'static [&'static str]) -> Self {
        self.repeated = names;
        self
    }

    /// Other names the tool answers to; they are never listed.
    pub const fn aliases(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }

    /// Three to six words or phrases of people who mean it, that stand in none of its names and texts:
    /// everyday words, other products' terms, German ones. They are never listed; searches look at them.
    pub const fn found_by(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    /// The API-key scopes of which any one suffices.
    pub const fn scopes(mut self, scopes: &'static [&'static str]) -> Self {
        self.scopes = scopes;
        self
    }

    /// Says that Portkey answers 403 below the Enterprise plan.
    pub const fn enterprise(mut self) -> Self {
        self.plan = Plan::Enterprise;
        self
    }

    /// Gives title and description where several operations share one input struct.
    pub const fn about(mut self, title: &'static str, description: &'static str) -> Self {
        self.about = Some((title, description));
        self
    }

    /// Says that one argument is a document with these fields, for callers who give them as arguments of
    /// their own.
    pub const fn document(
        mut self,
        argument: &'static str,
        fields: &'static [&'static str],
    ) -> Self {
        self.document = Some((argument, fields));
        self
    }

    /// Says that an update does something even where it names nothing to change.
    pub const fn acts_alone(mut self) -> Self {
        self.acts_alone = true;
        self
    }

    /// Says that what it stores is read back in answers that declare no places of secrets. A reference to a secret is
    /// then taken only under a name that is masked in every answer.
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
