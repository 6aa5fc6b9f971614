//! Secrets in arguments: redacted where arguments are shown, visited where references are resolved.

use std::fmt;

use serde_json::Value;

use super::{
    super::{Reference, SecretSlot},
    ArgumentPath, ArgumentSchema, ObjectSchema,
};

/// Visits a value that stands where a secret does, with its path.
pub(in super::super) type SecretVisitor<'a, E> =
    dyn FnMut(&dyn fmt::Display, SecretSlot, &mut Value) -> Result<(), E> + 'a;

/// A part of the arguments that may hold secrets, while its schema does not say where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpaqueKind {
    /// A free-form document that is marked as secret.
    Document,
    /// A map that is marked as secret, with a secret in each value.
    Values,
    /// The value of an undeclared field.
    Unknown,
}

/// Redacts an opaque part, given its name.
pub(in super::super) type OpaqueRedactor<'a> = dyn Fn(OpaqueKind, &str, &mut Value) + 'a;

impl ArgumentSchema {
    /// Replaces every secret in the arguments by stars. Opaque parts are passed to `blank`.
    ///
    /// This runs on unvalidated arguments. A value without the expected structure is replaced as a
    /// whole, because the schema cannot tell its secrets apart.
    pub(in super::super) fn redact(&self, value: &mut Value, blank: &OpaqueRedactor<'_>) {
        self.coerce_from_string(value);
        match (self, value) {
            (Self::OneOrMany(one), Value::Array(list)) => {
                list.iter_mut().for_each(|value| one.redact(value, blank));
            }
            (Self::TextOr(_), Value::String(_)) => {}
            (Self::OneOrMany(other) | Self::TextOr(other), value) => other.redact(value, blank),
            (Self::Object(ObjectSchema { fields, .. }), Value::Object(map)) => {
                for (name, value) in map {
                    match fields.iter().find(|field| field.name == *name) {
                        Some(field) if field.is_secret => {
                            field.schema.redact_secret_field(name, value, blank)
                        }
                        Some(field) => field.schema.redact(value, blank),
                        None if value.is_null() => {}
                        None => blank(OpaqueKind::Unknown, name, value),
                    }
                }
            }
            (Self::Map { values: shape, .. }, Value::Object(map)) => {
                map.values_mut()
                    .for_each(|value| shape.redact(value, blank));
            }
            (Self::List { items, .. }, Value::Array(list)) => {
                list.iter_mut().for_each(|value| items.redact(value, blank));
            }
            (Self::Object(_) | Self::Map { .. } | Self::List { .. }, value) if !value.is_null() => {
                *value = "***".into();
            }
            _ => {}
        }
    }

    /// Redacts the value of a secret field.
    fn redact_secret_field(&self, name: &str, value: &mut Value, blank: &OpaqueRedactor<'_>) {
        // A reference names the location of a secret, not the secret.
        if value.is_null() || Reference::from_value(value).is_some() {
            return;
        }
        self.coerce_from_string(value);
        match (self, &*value) {
            (Self::Map { values, .. }, Value::Object(_)) if matches!(**values, Self::Any) => {
                blank(OpaqueKind::Document, name, value);
            }
            (Self::Map { .. }, Value::Object(_)) => blank(OpaqueKind::Values, name, value),
            _ => *value = "***".into(),
        }
    }

    /// Returns true if any field is secret.
    pub(in super::super) fn has_secrets(&self) -> bool {
        match self {
            Self::Object(ObjectSchema { fields, .. }) => fields
                .iter()
                .any(|field| field.is_secret || field.schema.has_secrets()),
            Self::Map { values: shape, .. }
            | Self::List { items: shape, .. }
            | Self::OneOrMany(shape)
            | Self::TextOr(shape) => shape.has_secrets(),
            _ => false,
        }
    }

    /// Writes each reference in the form that its field accepts: as text in a text field, otherwise
    /// as an object.
    pub(super) fn normalize_references(&self, value: &mut Value) {
        self.coerce_from_string(value);
        if let Some(reference) = Reference::from_value(value) {
            match self {
                Self::Text { .. } | Self::Enum { .. } | Self::TextOr(_) => {
                    *value = reference.to_text()
                }
                Self::Map { .. } => *value = reference.to_object(),
                _ => {}
            }
            return;
        }
        match (self, value) {
            (Self::OneOrMany(one), Value::Array(list)) => {
                list.iter_mut()
                    .for_each(|value| one.normalize_references(value));
            }
            (Self::OneOrMany(other) | Self::TextOr(other), value @ Value::Object(_)) => {
                other.normalize_references(value);
            }
            (Self::Object(ObjectSchema { fields, .. }), Value::Object(map)) => {
                for field in fields {
                    if let Some(value) = map.get_mut(&field.name) {
                        field.schema.normalize_references(value);
                    }
                }
            }
            (Self::Map { values: shape, .. }, Value::Object(map)) => {
                map.values_mut()
                    .for_each(|value| shape.normalize_references(value));
            }
            (Self::List { items, .. }, Value::Array(list)) => {
                list.iter_mut()
                    .for_each(|value| items.normalize_references(value));
            }
            _ => {}
        }
    }

    /// Visits every text and reference that stands where a secret does, until `visit` returns an
    /// error.
    pub(in super::super) fn visit_secrets<E>(
        &self,
        value: &mut Value,
        secret: bool,
        at: ArgumentPath<'_>,
        visit: &mut SecretVisitor<'_, E>,
    ) -> Result<(), E> {
        match (self, &mut *value) {
            (_, value) if secret && Reference::from_value(value).is_some() => {
                let slot = match self {
                    Self::Map { .. } | Self::Object(_) => SecretSlot::Object,
                    Self::Any => SecretSlot::Free,
                    _ => SecretSlot::Text,
                };
                visit(&at, slot, value)
            }
            (Self::OneOrMany(one), Value::Array(list)) => {
                list.iter_mut().enumerate().try_for_each(|(i, value)| {
                    one.visit_secrets(value, secret, ArgumentPath::Item(&at, i), visit)
                })
            }
            (Self::OneOrMany(other) | Self::TextOr(other), value @ Value::Object(_)) => {
                other.visit_secrets(value, secret, at, visit)
            }
            (Self::Object(ObjectSchema { fields, .. }), Value::Object(map)) => fields
                .iter()
                .try_for_each(|field| match map.get_mut(&field.name) {
                    Some(value) => {
                        let (secret, at) = (
                            secret || field.is_secret,
                            ArgumentPath::Field(&at, &field.name),
                        );
                        field.schema.visit_secrets(value, secret, at, visit)
                    }
                    None => Ok(()),
                }),
            (Self::Map { values: shape, .. }, Value::Object(map)) => {
                map.iter_mut().try_for_each(|(name, value)| {
                    shape.visit_secrets(value, secret, ArgumentPath::Field(&at, name), visit)
                })
            }
            (Self::List { items, .. }, Value::Array(list)) => {
                list.iter_mut().enumerate().try_for_each(|(i, value)| {
                    items.visit_secrets(value, secret, ArgumentPath::Item(&at, i), visit)
                })
            }
            // Free-form values may have references at any depth.
            (Self::Any, Value::Object(map)) => map.iter_mut().try_for_each(|(name, value)| {
                self.visit_secrets(value, secret, ArgumentPath::Field(&at, name), visit)
            }),
            (Self::Any, Value::Array(list)) => {
                list.iter_mut().enumerate().try_for_each(|(i, value)| {
                    self.visit_secrets(value, secret, ArgumentPath::Item(&at, i), visit)
                })
            }
            (Self::Any, value @ Value::String(_)) if secret => visit(&at, SecretSlot::Free, value),
            (_, value @ Value::String(_)) if secret => visit(&at, SecretSlot::Text, value),
            _ => Ok(()),
        }
    }
}
