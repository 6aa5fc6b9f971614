//! An operation ready to be listed and called.

use std::{fmt, sync::Arc};

use http::Method;
use serde_json::Value;

use super::{
    Body, Effect, Findings, InputError, JsonMap, Operation, Presentation, Slot, Validated,
    ValidationOptions, WireRequest, extent, preview,
    profile::{self, CLEAR},
    schema,
    shape::{At, Nulls, Opaque, Shape, Walk},
    wire,
};

/// An operation with its schema built.
#[derive(Clone, Debug)]
pub struct Published {
    operation: Operation,
    pub(super) title: String,
    pub(super) description: String,
    full: Value,
    pub(super) schema: Arc<JsonMap>,
    shape: Shape,
    takes_secrets: bool,
    clears_by_name: bool,
    /// Whether `null` is how this form of schemas leaves a field out.
    null_leaves_out: bool,
}

impl Published {
    /// Builds the schema in the usual form; a catalog does this once for every operation, when it is first
    /// asked for.
    pub fn new(operation: Operation) -> Self {
        Self::presented(operation, &Presentation::default())
    }

    /// The same as an operator wants it presented.
    pub fn presented(operation: Operation, presentation: &Presentation) -> Self {
        let mut full = schema::full(operation.describe);
        let (title, description) = schema::take_docs(&mut full);
        let (title, description) = match operation.about {
            Some((title, description)) => (title.to_owned(), description.to_owned()),
            None => (title, description),
        };
        let (profile, shape) = (presentation.profile, Shape::of(&full));
        let clears_by_name = profile.clears_by_name() && profile::clearable(&full);
        let shape = if clears_by_name {
            shape.clearing_by_name()
        } else {
            shape
        };
        let schema = profile
            .publish(&full, operation.effect == Effect::Update)
            .into();
        let takes_secrets = shape.has_secrets();
        let mut published = Self {
            operation,
            title,
            description,
            full,
            schema,
            shape,
            takes_secrets,
            clears_by_name,
            null_leaves_out: profile.clears_by_name(),
        };
        if let Some(wording) = presentation.wording.get(published.operation.name()) {
            wording.put_on(&mut published);
        }
        published
    }

    /// The declaration behind it.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The first paragraph of the input's rustdoc.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The rest of the input's rustdoc.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The input schema as clients get it.
    pub fn schema(&self) -> &Arc<JsonMap> {
        &self.schema
    }

    /// The input schema with every constraint and mark, as it is enforced.
    pub fn full_schema(&self) -> &Value {
        &self.full
    }

    /// Validates arguments with the usual options: hands them back as they may travel.
    ///
    /// # Errors
    /// Everything that is wrong with the arguments, each with its path.
    pub fn admit(&self, args: JsonMap) -> Result<JsonMap, InputError> {
        Ok(self.validate(args, &ValidationOptions::default())?.args)
    }

    /// Validates arguments: hands them back as they may travel, a text in the place of a number or an object
    /// read as such, with what the caller is to be told of them.
    ///
    /// # Errors
    /// What is wrong with the arguments, each with its path.
    pub fn validate(
        &self,
        mut args: JsonMap,
        options: &ValidationOptions,
    ) -> Result<Validated, InputError> {
        extent::check(&args).map_err(|excess| InputError::one("", excess))?;
        let mut findings = Findings::default();
        let cleared = if self.clears_by_name {
            args.shift_remove(CLEAR)
        } else {
            None
        };
        self.wrap_bare_body(&mut args);
        self.refuse_parts_of_document(&mut args, &mut findings);
        self.leave_out_empty(&mut args, &mut findings);
        let nulls = match self.operation.effect {
            _ if self.null_leaves_out => Nulls::LeaveOut,
            Effect::Update => Nulls::Refuse,
            _ => Nulls::LeaveOutTold,
        };
        let mut walk = Walk {
            options,
            nulls,
            findings: &mut findings,
        };
        self.shape.validate_arguments(&mut args, &mut walk);
        if let Some(named) = cleared {
            self.shape.clear(&mut args, named, &mut findings);
        }
        if let Some(rule) = self.operation.rule {
            rule(&args, &mut findings);
        }
        if findings.problems().is_empty() {
            self.refuse_empty_update(&args, &mut findings);
        }
        let validated = findings.finish(args, options.unknown_fields)?;
        #[cfg(debug_assertions)]
        assert!(
            (self.operation.check)(&validated.args).is_ok(),
            "the schema of `{}` lets pass what its type does not",
            self.operation.name()
        );
        Ok(validated)
    }

    /// Where the body is the value of one argument, its fields may stand in that argument's place, as in the
    /// body.
    fn wrap_bare_body(&self, args: &mut JsonMap) {
        let Body::Bare(name) = self.operation.body else {
            return;
        };
        let is_body = |other: &String| {
            !self
                .operation
                .placeholders()
                .any(|placeholder| placeholder == other)
        };
        if args.contains_key(name) || !args.keys().any(is_body) {
            return;
        }
        let (body, rest) = std::mem::take(args)
            .into_iter()
            .partition(|(other, _)| is_body(other));
        *args = rest;
        args.insert(name.to_owned(), Value::Object(body));
    }

    /// Fields of a document given as arguments of their own: one error for all of them.
    fn refuse_parts_of_document(&self, args: &mut JsonMap, findings: &mut Findings) {
        let Some((argument, fields)) = self.operation.document else {
            return;
        };
        let fields = fields.iter().filter(|field| args.contains_key(**field));
        let given: Vec<_> = fields.copied().collect();
        if !given.is_empty() {
            args.retain(|name, _| !given.contains(&name.as_str()));
            let given: Vec<_> = given.iter().map(|field| format!("`{field}`")).collect();
            let given = given.join(", ");
            findings.add(
                "",
                format!("put {given} into `{argument}`, which is the whole document"),
            );
        }
    }

    /// An argument that says where or whether to look, and has no value, asks for nothing; strict clients
    /// write all of them.
    fn leave_out_empty(&self, args: &mut JsonMap, findings: &mut Findings) {
        let why = |name: &str, value: &Value| match value {
            // What says what to change may be cleared by null; the schema knows.
            Value::Null => (!self.operation.is_change(name)).then_some("null"),
            Value::String(text) if text.bytes().all(|byte| byte.is_ascii_whitespace()) => {
                self.operation.is_filter(name).then_some("empty")
            }
            Value::Array(items) if items.is_empty() => {
                self.operation.is_filter(name).then_some("empty")
            }
            _ => None,
        };
        if !args.iter().any(|(name, value)| why(name, value).is_some()) {
            return;
        }
        let required = self.full.get("required").and_then(Value::as_array);
        let is_required = |name: &str| {
            required.is_some_and(|names| names.iter().any(|required| required == name))
        };
        args.retain(|name, value| match why(name, value) {
            Some(why) if !is_required(name) => {
                if !self.null_leaves_out {
                    findings.leave_out(name, why);
                }
                false
            }
            _ => true,
        });
    }

    /// An update that names nothing to change would be answered with a success, and change nothing.
    fn refuse_empty_update(&self, args: &JsonMap, findings: &mut Findings) {
        let operation = &self.operation;
        let updates = matches!(operation.method, Method::PUT | Method::PATCH)
            && operation.body == Body::Arguments
            && !operation.acts_alone;
        // An object that says nothing changes nothing; a map that is empty may replace another.
        let says_nothing = |name: &str, value: &Value| {
            let declared = || self.full.get("properties")?.get(name)?.get("properties");
            value.as_object().is_some_and(JsonMap::is_empty) && declared().is_some()
        };
        let mut changes = args.iter().filter(|(name, _)| operation.is_change(name));
        if !updates || changes.any(|(name, value)| !says_nothing(name, value)) {
            return;
        }
        let fields = self
            .full
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let fields: Vec<_> = fields
            .filter(|(name, _)| operation.is_change(name))
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        if !fields.is_empty() {
            let what = format!("nothing to change is given; it takes {}", fields.join(", "));
            findings.add("", what);
        }
    }

    /// Whether a call with these arguments changes anything; one that only asks for a preview does not.
    pub fn writes(&self, args: &JsonMap) -> bool {
        self.operation.effects() != Effect::Read && !self.previews(args)
    }

    /// Whether a call with these arguments only asks what it would leave behind.
    pub fn previews(&self, args: &JsonMap) -> bool {
        self.operation.previews() && preview::is_wished(args)
    }

    /// Lays arguments that were admitted out on the wire.
    ///
    /// # Errors
    /// A value that cannot stand where it belongs, in the path or in a header.
    pub fn lay_out(&self, args: JsonMap) -> Result<WireRequest, InputError> {
        wire::lay_out(&self.operation, args)
    }

    /// The request that arguments make, past the gate.
    ///
    /// # Errors
    /// As of [`Published::admit`] and [`Published::lay_out`].
    pub fn request(&self, args: JsonMap) -> Result<WireRequest, InputError> {
        self.lay_out(self.admit(args)?)
    }

    /// Shows every text and every reference that stands where a secret does, with its path and what
    /// belongs there, until `visit` finds one wanting.
    ///
    /// # Errors
    /// What `visit` says.
    pub fn secrets<E>(
        &self,
        args: &mut JsonMap,
        mut visit: impl FnMut(&dyn fmt::Display, Slot, &mut Value) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.takes_secrets {
            return Ok(());
        }
        let mut cargo = Value::Object(std::mem::take(args));
        let outcome = self.shape.secrets(&mut cargo, false, At::Root, &mut visit);
        if let Value::Object(cargo) = cargo {
            *args = cargo;
        }
        outcome
    }

    /// The arguments with every secret blanked, and with it everything that may hold one.
    pub fn redacted(&self, args: JsonMap) -> JsonMap {
        self.redacted_with(args, |_, _, value| *value = "***".into())
    }

    /// The arguments with every secret blanked; documents, maps of secrets and undeclared fields are left to
    /// `blank`, which is given the name of each.
    pub fn redacted_with(
        &self,
        args: JsonMap,
        blank: impl Fn(Opaque, &str, &mut Value),
    ) -> JsonMap {
        let mut args = Value::Object(args);
        self.shape.redact(&mut args, &blank);
        match args {
            Value::Object(args) => args,
            _ => JsonMap::new(),
        }
    }
}
