//! Operations with their schema built, ready to be listed and called.

use std::{fmt, sync::Arc};

use http::Method;
use serde_json::Value;

use super::{
    ArgumentAlias, BodyKind, Effect, Findings, InputError, JsonMap, Operation, PathOverlap,
    Presentation, SecretSlot, UpstreamRequest, ValidatedArguments, ValidationOptions,
    argument_alias::ArgumentAliases,
    argument_schema::{ArgumentPath, ArgumentSchema, ArgumentWalk, NullPolicy, OpaqueKind},
    is_same_name,
    plain_text::to_plain_text,
    preview,
    profile::{self, CLEAR_ARGUMENT},
    schema, size_limits, upstream_request,
};

/// The end of the description of an operation that the vendor does not stand by.
const PREVIEW_NOTE: &str = " Preview: Portkey has not documented it and may change it.";

/// An operation with its schema, its compiled validation and its descriptions.
#[derive(Clone, Debug)]
pub struct CompiledOperation {
    operation: Operation,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) summary: String,
    full_schema: Value,
    pub(super) schema: Arc<JsonMap>,
    argument_schema: ArgumentSchema,
    argument_aliases: ArgumentAliases,
    takes_secrets: bool,
    clears_by_name: bool,
    /// True if `null` means that a field is omitted in this profile.
    null_omits: bool,
    find_overlaps: fn(&'static str) -> &'static [PathOverlap],
}

/// Returns the first two sentences of a description.
pub(super) fn summarize(description: &str) -> String {
    description.split_inclusive(". ").take(2).collect()
}

impl CompiledOperation {
    /// Builds the schema in the default profile.
    ///
    /// A catalog does this once for every operation, when the operation is first used.
    pub fn new(operation: Operation) -> Self {
        Self::with_presentation(operation, &Presentation::default())
    }

    /// Builds the schema in the operator's presentation.
    pub fn with_presentation(operation: Operation, presentation: &Presentation) -> Self {
        let mut full = schema::build_full_schema(operation.build_schema);
        let (title, description) = schema::take_docs(&mut full);
        let (title, description) = match operation.shared_docs {
            Some((title, description)) => (title.to_owned(), description.to_owned()),
            None => (title, description),
        };
        let summary = to_plain_text(&summarize(&description));
        let title = to_plain_text(&title);
        let mut description = to_plain_text(&description);
        if !operation.is_stable() {
            description.push_str(PREVIEW_NOTE);
        }
        let profile = presentation.profile;
        let shape = ArgumentSchema::compile(&full);
        let clears_by_name = profile.clears_by_argument() && profile::has_clearable_fields(&full);
        let shape = if clears_by_name {
            shape.with_clear_argument()
        } else {
            shape
        };
        let mut schema = profile.publish(&full, operation.effect == Effect::Update);
        if operation.update_rules().is_some() {
            profile.publish_patch(&mut schema);
        }
        let schema = schema.into();
        let takes_secrets = shape.has_secrets();
        let argument_aliases = ArgumentAliases::new(&operation, |name| is_declared(&full, name));
        let mut published = Self {
            operation,
            title,
            description,
            summary,
            full_schema: full,
            schema,
            argument_schema: shape,
            argument_aliases,
            takes_secrets,
            clears_by_name,
            null_omits: profile.clears_by_argument(),
            find_overlaps: |_| &[],
        };
        if let Some(wording) = presentation.wording.get(published.operation.name()) {
            wording.apply_to(&mut published);
        }
        published
    }

    /// Sets the function that finds the overlaps of the operation's path, by the operation's name.
    /// It is called when a request is built.
    #[must_use]
    pub fn with_overlaps(mut self, find: fn(&'static str) -> &'static [PathOverlap]) -> Self {
        self.find_overlaps = find;
        self
    }

    /// Returns the declaration.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Returns the title: the first paragraph of the input's rustdoc.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Returns the description: the rest of the input's rustdoc.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns the compiled schema of the arguments.
    pub(super) fn argument_schema(&self) -> &ArgumentSchema {
        &self.argument_schema
    }

    /// Returns what the operation does, without the conditions: the first two sentences of the
    /// description as it is written, where a semicolon ends none.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Returns the input schema as clients receive it.
    pub fn schema(&self) -> &Arc<JsonMap> {
        &self.schema
    }

    /// Returns the input schema with every constraint and marker that is enforced.
    pub fn full_schema(&self) -> &Value {
        &self.full_schema
    }

    /// Iterates over the other names of arguments that documents list: all but those of the entity in
    /// the path.
    pub fn argument_aliases(&self) -> impl Iterator<Item = &ArgumentAlias> {
        self.argument_aliases.iter()
    }

    /// Returns the argument that another spelling of its name means, such as `usage_limits` for `usageLimits`.
    /// Returns `None` for the names of arguments, and for names of nothing.
    pub fn find_meant_argument(&self, name: &str) -> Option<&str> {
        self.argument_schema.find_meant_field(name)
    }

    /// Returns true if `null` clears what an argument has stored, or if the argument is not known.
    pub fn takes_null(&self, name: &str) -> bool {
        self.argument_schema.takes_null(name)
    }

    /// Returns the path of the argument that a name stands for, such as
    /// `configurations.aws_region`. Returns `None` for the names of arguments.
    pub fn resolve_argument_alias(&self, name: &str) -> Option<&'static str> {
        match is_declared(&self.full_schema, name) {
            true => None,
            false => self.argument_aliases.target(name),
        }
    }

    /// Returns a list of the arguments, and the path within each of its items that a name in an item
    /// stands for, such as `usage_limits[].credit_limit`.
    pub fn resolve_item_alias(
        &self,
        list: &str,
        name: &str,
    ) -> Option<(&'static str, &'static str)> {
        self.argument_aliases.target_in_items(list, name)
    }

    /// Validates arguments with the default options, and returns them in the form in which they are
    /// sent.
    ///
    /// # Errors
    /// Returns every problem of the arguments, each with its path.
    pub fn validate_with_defaults(&self, args: JsonMap) -> Result<JsonMap, InputError> {
        Ok(self.validate(args, &ValidationOptions::default())?.args)
    }

    /// Validates arguments, and returns them in the form in which they are sent, with warnings for
    /// the caller.
    ///
    /// Text in the place of a number or an object is parsed as one.
    ///
    /// # Errors
    /// Returns the problems of the arguments, each with its path.
    pub fn validate(
        &self,
        mut args: JsonMap,
        options: &ValidationOptions,
    ) -> Result<ValidatedArguments, InputError> {
        size_limits::check(&args).map_err(|excess| InputError::new("", excess))?;
        let mut findings = Findings::default();
        let cleared = if self.clears_by_name {
            args.shift_remove(CLEAR_ARGUMENT)
        } else {
            None
        };
        if self.argument_aliases.has_item_aliases()
            || !args.keys().all(|name| is_declared(&self.full_schema, name))
        {
            self.argument_aliases.resolve(
                &mut args,
                |name| is_declared(&self.full_schema, name),
                |name| self.is_spelling_of_argument(name),
                &mut findings,
            );
        }
        self.wrap_bare_body(&mut args);
        self.omit_empty_arguments(&mut args, &mut findings);
        self.add_default_arguments(&mut args);
        // Told before missing arguments, which are not what is wrong.
        if cleared.is_none() && !args.keys().any(|name| self.operation.is_change(name)) {
            self.reject_empty_update(&args, &mut findings);
        }
        let nulls = match self.operation.effect {
            _ if self.null_omits => NullPolicy::Omit,
            Effect::Update => NullPolicy::Reject,
            _ => NullPolicy::OmitWithWarning,
        };
        let mut walk = ArgumentWalk {
            options,
            null_policy: nulls,
            findings: &mut findings,
        };
        self.argument_schema
            .coerce_and_validate_arguments(&mut args, &mut walk);
        if let Some(named) = cleared {
            self.argument_schema.clear(&mut args, named, &mut findings);
        }
        self.add_companion_arguments(&mut args);
        if let Some(rule) = self.operation.rule {
            rule(&args, &mut findings);
        }
        if findings.errors().is_empty() {
            self.reject_empty_update(&args, &mut findings);
        }
        let validated = findings.finish(args, options.unknown_fields)?;
        #[cfg(debug_assertions)]
        assert!(
            (self.operation.check_deserialize)(&validated.args).is_ok(),
            "the schema of `{}` lets pass what its type does not",
            self.operation.name()
        );
        Ok(validated)
    }

    /// Returns true if a name is that of an argument in any spelling.
    fn is_spelling_of_argument(&self, name: &str) -> bool {
        let fields = self.full_schema.get("properties");
        let mut fields = fields.and_then(Value::as_object).into_iter().flatten();
        fields.any(|(known, _)| is_same_name(known, name))
    }

    /// Adds the arguments that a call leaves out and that have a declared value.
    fn add_default_arguments(&self, args: &mut JsonMap) {
        for (name, json) in self.operation.default_arguments {
            // Strict clients write all fields, and leave out by null.
            let is_given =
                |(given, value): (&String, &Value)| is_same_name(given, name) && !value.is_null();
            if !args.iter().any(is_given)
                && let Ok(value) = serde_json::from_str(json)
            {
                args.insert((*name).to_owned(), value);
            }
        }
    }

    /// Adds the arguments without which Portkey ignores others that are given.
    fn add_companion_arguments(&self, args: &mut JsonMap) {
        for companion in self.operation.companion_arguments {
            if args.contains_key(companion.of)
                && !args.contains_key(companion.name)
                && let Ok(value) = serde_json::from_str(companion.json)
            {
                args.insert(companion.name.to_owned(), value);
            }
        }
    }

    /// Wraps fields that stand in the place of a bare body's argument.
    ///
    /// Callers may give the fields of a bare body's value at the top level, as in the body itself.
    fn wrap_bare_body(&self, args: &mut JsonMap) {
        let BodyKind::Bare(name) = self.operation.body else {
            return;
        };
        let is_body = |other: &String| {
            !self
                .operation
                .placeholders()
                .any(|placeholder| placeholder == other)
        };
        let is_given = args.keys().any(|given| is_same_name(given, name));
        if is_given || !args.keys().any(is_body) {
            return;
        }
        let (body, rest) = std::mem::take(args)
            .into_iter()
            .partition(|(other, _)| is_body(other));
        *args = rest;
        args.insert(name.to_owned(), Value::Object(body));
    }

    /// Omits locating or filtering arguments that have no value. They ask for nothing, and strict
    /// clients write all of them.
    fn omit_empty_arguments(&self, args: &mut JsonMap, findings: &mut Findings) {
        let omit_reason = |name: &str, value: &Value| match value {
            // Null may clear an argument that names a change. The schema decides that.
            Value::Null => (!self.operation.is_change(name)).then_some("null"),
            Value::String(text) if text.bytes().all(|byte| byte.is_ascii_whitespace()) => {
                self.operation.is_filter(name).then_some("empty")
            }
            Value::Array(items) if items.is_empty() => {
                self.operation.is_filter(name).then_some("empty")
            }
            _ => None,
        };
        if !args
            .iter()
            .any(|(name, value)| omit_reason(name, value).is_some())
        {
            return;
        }
        let required = self.full_schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| {
            required.is_some_and(|names| names.iter().any(|required| required == name))
        };
        args.retain(|name, value| match omit_reason(name, value) {
            Some(why) if !is_required(name) => {
                if !self.null_omits {
                    findings.add_omitted(name, why);
                }
                false
            }
            _ => true,
        });
    }

    /// Rejects an update that names no change. Portkey would answer with a success and change
    /// nothing.
    fn reject_empty_update(&self, args: &JsonMap, findings: &mut Findings) {
        let operation = &self.operation;
        let updates = matches!(operation.method, Method::PUT | Method::PATCH)
            && operation.body == BodyKind::Arguments
            && !operation.allows_empty_update;
        // An empty object of declared fields changes nothing. An empty map may replace another one.
        let is_empty_object = |name: &str, value: &Value| {
            let declared = || {
                self.full_schema
                    .get("properties")?
                    .get(name)?
                    .get("properties")
            };
            value.as_object().is_some_and(JsonMap::is_empty) && declared().is_some()
        };
        let mut changes = args.iter().filter(|(name, _)| operation.is_change(name));
        if !updates || changes.any(|(name, value)| !is_empty_object(name, value)) {
            return;
        }
        let fields = self
            .full_schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let fields: Vec<_> = fields
            .filter(|(name, _)| operation.is_change(name))
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        if !fields.is_empty() {
            let message = format!("nothing to change is given; it takes {}", fields.join(", "));
            findings.add_error("", message);
        }
    }

    /// Returns true if a call with these arguments changes anything. A preview does not.
    pub fn is_write(&self, args: &JsonMap) -> bool {
        self.operation.effect() != Effect::Read && !self.is_preview(args)
    }

    /// Returns true if a call with these arguments asks for a preview only.
    pub fn is_preview(&self, args: &JsonMap) -> bool {
        self.operation.supports_preview() && preview::is_requested(args)
    }

    /// Builds the upstream request from validated arguments.
    ///
    /// # Errors
    /// Returns an error if a value cannot be a path segment or a header, if the path would be that
    /// of another operation, or if the address gets too long.
    pub fn build_request(&self, args: JsonMap) -> Result<UpstreamRequest, InputError> {
        if !(self.find_overlaps)(self.operation.name()).is_empty() {
            let values = self.operation.placeholders().map(|name| {
                let value = args.get(name).and_then(upstream_request::flatten_value);
                value.unwrap_or_default()
            });
            self.reject_other_paths(&values.collect::<Vec<_>>())?;
        }
        upstream_request::build_request(&self.operation, args)
    }

    /// Rejects values with which the path would be that of another operation. Documented values of
    /// an argument pass.
    pub(super) fn reject_other_paths(&self, values: &[String]) -> Result<(), InputError> {
        let overlaps = (self.find_overlaps)(self.operation.name());
        for (position, text) in overlaps.iter().filter_map(|one| one.first_match(values)) {
            let name = self.operation.placeholders().nth(position);
            let name = name.unwrap_or_default();
            if !self.is_documented_value(name, text) {
                let what =
                    format!("is `{text}`, which is not an id: it is part of another address");
                return Err(InputError::new(name, what));
            }
        }
        Ok(())
    }

    /// Returns true if the schema lists a value of an argument.
    fn is_documented_value(&self, name: &str, value: &str) -> bool {
        let schema = self.full_schema.get("properties");
        let listed = schema
            .and_then(|fields| fields.get(name)?.get("enum"))
            .and_then(Value::as_array);
        listed.is_some_and(|values| values.iter().any(|listed| listed == value))
    }

    /// Validates arguments with the default options and builds the upstream request.
    ///
    /// # Errors
    /// Returns the errors of [`CompiledOperation::validate_with_defaults`] and [`CompiledOperation::build_request`].
    pub fn validate_and_build_request(&self, args: JsonMap) -> Result<UpstreamRequest, InputError> {
        self.build_request(self.validate_with_defaults(args)?)
    }

    /// Visits every text and every reference that stands where a secret does, with its path and its
    /// kind.
    ///
    /// # Errors
    /// Returns the first error of `visit`, and visits no further values.
    pub fn visit_secrets<E>(
        &self,
        args: &mut JsonMap,
        mut visit: impl FnMut(&dyn fmt::Display, SecretSlot, &mut Value) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.takes_secrets {
            return Ok(());
        }
        let mut arguments = Value::Object(std::mem::take(args));
        let outcome = self.argument_schema.visit_secrets(
            &mut arguments,
            false,
            ArgumentPath::Root,
            &mut visit,
        );
        if let Value::Object(cargo) = arguments {
            *args = cargo;
        }
        outcome
    }

    /// Replaces every secret by stars, and everything that may hold one.
    pub fn redact(&self, args: JsonMap) -> JsonMap {
        self.redact_with(args, |_, _, value| *value = "***".into())
    }

    /// Replaces every secret by stars, and passes everything else that may hold one to `blank`.
    ///
    /// `blank` receives documents, maps of secrets and undeclared fields, each with its name.
    pub fn redact_with(
        &self,
        args: JsonMap,
        blank: impl Fn(OpaqueKind, &str, &mut Value),
    ) -> JsonMap {
        let mut args = Value::Object(args);
        self.argument_schema.redact(&mut args, &blank);
        match args {
            Value::Object(args) => args,
            _ => JsonMap::new(),
        }
    }
}

/// Returns true if a schema declares a property.
fn is_declared(schema: &Value, name: &str) -> bool {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|properties| properties.contains_key(name))
}
