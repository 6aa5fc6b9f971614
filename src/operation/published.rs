//! An operation ready to be listed and called.

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::{
    Effect, InputError, JsonMap, Operation, Presentation, Problems, Slot, WireRequest, preview,
    profile::{self, CLEAR},
    schema,
    shape::{At, Shape},
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
        let shape = if clears_by_name { shape.clearing_by_name() } else { shape };
        let schema = profile.publish(&full).into();
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

    /// Passes arguments through the gate: hands them back as they may travel, a text in the place of a
    /// number or an object read as such.
    ///
    /// # Errors
    /// Everything that is wrong with the arguments, each with its path.
    pub fn admit(&self, mut args: JsonMap) -> Result<JsonMap, InputError> {
        let mut problems = Problems::default();
        let cleared = if self.clears_by_name { args.shift_remove(CLEAR) } else { None };
        self.shape.conform_arguments(&mut args, &mut problems);
        if let Some(named) = cleared {
            self.shape.clear(&mut args, named, &mut problems);
        }
        if let Some(rule) = self.operation.rule {
            rule(&args, &mut problems);
        }
        problems.into_result()?;
        #[cfg(debug_assertions)]
        assert!(
            (self.operation.check)(&args).is_ok(),
            "the shape of `{}` lets pass what its type does not",
            self.operation.name()
        );
        Ok(args)
    }

    /// Whether a call with these arguments changes anything; one that only asks for a preview does not.
    pub fn writes(&self, args: &JsonMap) -> bool {
        let previews = self.operation.reads().is_some() && preview::is_wished(args);
        self.operation.effects() != Effect::Read && !previews
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

    /// The arguments with every secret blanked, fit for logs and for a human to approve.
    pub fn redacted(&self, args: JsonMap) -> JsonMap {
        let mut args = Value::Object(args);
        self.shape.redact(&mut args);
        match args {
            Value::Object(args) => args,
            _ => JsonMap::new(),
        }
    }
}
