//! Builder methods of an operation: everything a declaration says beyond method and path.

use super::{
    ApiBase, ArgumentAlias, ArgumentRule, BodyKind, CompanionArgument, Effect, MergeFn, MovedLabel,
    Operation, Plan, RiskRule, SentEntry, Stability, UndoSemantics, UpdateRules, UpdateSemantics,
    preview::PreviewSpec,
};

/// Deviations from the defaults of the HTTP method, and facts about answers. Each is part of the
/// declaration.
impl Operation {
    /// Sets the effect of the call where the HTTP method suggests another one.
    pub const fn with_effect(mut self, effect: Effect) -> Self {
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
    pub const fn with_base(mut self, base: ApiBase) -> Self {
        self.base = base;
        self
    }

    /// Declares that a DELETE has a body.
    pub const fn with_body(mut self) -> Self {
        self.body = BodyKind::Arguments;
        self
    }

    /// Declares that the body is the value of one argument, where the API expects a list.
    pub const fn with_bare_body(mut self, argument: &'static str) -> Self {
        self.body = BodyKind::Bare(argument);
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
    pub const fn returns_secrets(mut self, fields: &'static [&'static str]) -> Self {
        self.one_time_secrets = fields;
        self
    }

    /// Declares that the answer holds a one-time secret only if this argument is true.
    pub const fn returns_secrets_if(mut self, argument: &'static str) -> Self {
        self.one_time_secrets_if = Some(argument);
        self
    }

    /// Names the fields of the answer that are a credential or may hold one. Results show them
    /// masked.
    ///
    /// Text at `data[].key` is masked as a whole, an object where its names give a secret away, and
    /// `custom_headers.*` masks everything below.
    pub const fn with_secret_fields(mut self, fields: &'static [&'static str]) -> Self {
        self.secret_fields = fields;
        self
    }

    /// Declares that the answer has untrusted content: prompts, logs, or text of other servers.
    pub const fn returns_untrusted_content(mut self) -> Self {
        self.returns_untrusted_content = true;
        self
    }

    /// Names the fields of the answer that are kept out of logs and are no secret to an
    /// administrator.
    ///
    /// These are personal data, and text that may hold it. A path such as `data[].user` covers
    /// everything below it.
    pub const fn with_sensitive_fields(mut self, fields: &'static [&'static str]) -> Self {
        self.sensitive_fields = fields;
        self
    }

    /// Names the arguments that travel in the query although the request has a body.
    pub const fn with_query_arguments(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    /// Names the arguments that travel in request headers, each with its header.
    pub const fn with_header_arguments(
        mut self,
        names: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.headers = names;
        self
    }

    /// Declares a preview, which `preview: true` asks for.
    ///
    /// The preview sends a single GET to the path `reads`. It shows the stored document, and the
    /// same with the call's body merged in.
    pub const fn with_preview(mut self, reads: &'static str, merge: MergeFn) -> Self {
        self.preview = Some(PreviewSpec {
            read_path: reads,
            merge,
        });
        self
    }

    /// Names the lists of which each item travels as a query argument of its own. Other lists are
    /// joined by commas.
    pub const fn with_repeated_arguments(mut self, names: &'static [&'static str]) -> Self {
        self.repeated_arguments = names;
        self
    }

    /// Names the aliases of the tool. They are accepted and never listed.
    pub const fn aliases(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }

    /// Declares other names of arguments. They are accepted and never listed.
    pub const fn with_argument_aliases(mut self, aliases: &'static [ArgumentAlias]) -> Self {
        self.argument_aliases = aliases;
        self
    }

    /// Declares the values, as JSON, of arguments that a call leaves out. Portkey requires them and has
    /// no default of its own.
    pub const fn with_default_arguments(
        mut self,
        defaults: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.default_arguments = defaults;
        self
    }

    /// Declares arguments that are sent beside others which Portkey ignores without them.
    pub const fn with_companion_arguments(
        mut self,
        companions: &'static [CompanionArgument],
    ) -> Self {
        self.companion_arguments = companions;
        self
    }

    /// Names three to six search terms: words of callers who mean this tool that its names and
    /// texts lack.
    ///
    /// These are everyday words, terms of other products, and German ones. They are searched and
    /// never listed.
    pub const fn with_search_terms(mut self, words: &'static [&'static str]) -> Self {
        self.search_terms = words;
        self
    }

    /// Names the API-key scopes of which any one suffices.
    pub const fn scopes(mut self, scopes: &'static [&'static str]) -> Self {
        self.scopes = scopes;
        self
    }

    /// Sets whether the vendor stands by the endpoint.
    pub const fn with_stability(mut self, stability: Stability) -> Self {
        self.stability = stability;
        self
    }

    /// Declares that Portkey answers 403 below the Enterprise plan.
    pub const fn enterprise(mut self) -> Self {
        self.plan = Plan::Enterprise;
        self
    }

    /// Sets title and description where several operations share one input struct.
    pub const fn with_docs(mut self, title: &'static str, description: &'static str) -> Self {
        self.shared_docs = Some((title, description));
        self
    }

    /// Declares that an update has an effect even if it names no change.
    pub const fn allows_empty_update(mut self) -> Self {
        self.allows_empty_update = true;
        self
    }

    /// Declares that stored values are read back in answers that declare no secret fields.
    ///
    /// A reference to a secret is then accepted only under a name that is masked in every answer.
    pub const fn with_unmasked_reads(mut self) -> Self {
        self.has_unmasked_reads = true;
        self
    }

    /// Adds a condition over several arguments.
    pub const fn with_rule(mut self, rule: ArgumentRule) -> Self {
        self.rule = Some(rule);
        self
    }

    /// Declares how an update behaves, so that a patch can be computed.
    pub const fn with_update(mut self, rules: UpdateRules) -> Self {
        self.update = Some(UpdateSemantics::Fields(rules));
        self
    }

    /// Declares that the deletion that undoes the call takes its id from the only entry of a list of arguments.
    pub const fn with_undo_by_entry(
        mut self,
        list: &'static str,
        field: &'static str,
        argument: &'static str,
    ) -> Self {
        let entry = SentEntry {
            list,
            field,
            argument,
        };
        self.undo = Some(UndoSemantics::DeleteEntry(entry));
        self
    }

    /// Declares that a call is undone by another one with arguments from the state before: name of each
    /// argument, and of the field of the state that has its value.
    pub const fn with_undo_by_repeat(
        mut self,
        arguments: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.undo = Some(UndoSemantics::Repeat(arguments));
        self
    }

    /// Declares that an argument moves a label to a version, so that the versions can be compared.
    pub const fn with_moved_label(mut self, label: MovedLabel) -> Self {
        self.moved_label = Some(label);
        self
    }

    /// Declares that nothing undoes a call, with the reason for callers.
    pub const fn without_undo(mut self, reason: &'static str) -> Self {
        self.undo = Some(UndoSemantics::Impossible(reason));
        self
    }

    /// Declares that an update takes no patch, with the reason for callers.
    pub const fn without_patch(mut self, reason: &'static str) -> Self {
        self.update = Some(UpdateSemantics::NoPatch(reason));
        self
    }

    /// Declares the risks of calls that do not follow from the rest of the declaration. Of those of one
    /// kind, the first that applies is told.
    pub const fn with_risks(mut self, rules: &'static [RiskRule]) -> Self {
        self.risks = rules;
        self
    }
}
