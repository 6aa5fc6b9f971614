//! Clearing of fields by an argument that names them, for profiles where `null` omits a field.

use serde_json::Value;

use super::{
    super::{Findings, JsonMap, ValidationOptions, profile::CLEAR_ARGUMENT},
    ArgumentPath, ArgumentSchema, ArgumentWalk, ObjectSchema,
    validate::NullPolicy,
};

impl ArgumentSchema {
    /// Changes the schema so that `null` omits a field instead of clearing it.
    pub(crate) fn with_clear_argument(mut self) -> Self {
        self.disable_null_clearing();
        self
    }

    /// Returns the schema of one value, inside alternatives with a list or a text.
    fn inner(&self) -> &Self {
        match self {
            Self::OneOrMany(inner) | Self::TextOr(inner) => inner.inner(),
            other => other,
        }
    }

    fn disable_null_clearing(&mut self) {
        match self {
            Self::Object(structure) => {
                for field in &mut structure.fields {
                    // A required field cannot be omitted, so `null` keeps its meaning there.
                    field.null_clears &= field.is_required;
                    field.schema.disable_null_clearing();
                }
            }
            Self::Map {
                values,
                null_clears,
            } => {
                *null_clears = false;
                values.disable_null_clearing();
            }
            Self::List { items: shape, .. } | Self::OneOrMany(shape) | Self::TextOr(shape) => {
                shape.disable_null_clearing();
            }
            _ => {}
        }
    }

    /// Sets named fields to `null`. The names are JSON Pointers, with or without the first slash.
    pub(crate) fn clear(&self, args: &mut JsonMap, mut named: Value, findings: &mut Findings) {
        let at = ArgumentPath::Field(&ArgumentPath::Root, CLEAR_ARGUMENT);
        if named.is_null() {
            return;
        }
        let text = Self::Text {
            min: 1,
            max: usize::MAX,
            slug: false,
        };
        let names = Self::List {
            items: Box::new(text),
            min: 0,
            max: usize::MAX,
        };
        let mut found = Findings::default();
        let options = ValidationOptions::default();
        let mut walk = ArgumentWalk {
            options: &options,
            null_policy: NullPolicy::Reject,
            findings: &mut found,
        };
        names.coerce_and_validate(&mut named, at, &mut walk);
        found
            .errors()
            .iter()
            .for_each(|problem| findings.add_error(&problem.path, &problem.message));
        if !found.errors().is_empty() {
            return;
        }
        let names = named
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        for (i, name) in names.enumerate() {
            let path = name.strip_prefix('/').unwrap_or(name);
            let Self::Object(structure) = self else {
                return;
            };
            if !structure.can_clear(path) {
                findings.add_error(
                    ArgumentPath::Item(&at, i),
                    format!("`{name}` is nothing that can be cleared"),
                );
            } else if structure.is_given(args, path) {
                let message = format!("`{name}` has a value, too; leave out one of the two");
                findings.add_error(ArgumentPath::Item(&at, i), message);
            } else if structure.clear(args, path).is_none() {
                let message = format!("`{name}` is below what is not given");
                findings.add_error(ArgumentPath::Item(&at, i), message);
            }
        }
    }
}

impl ObjectSchema {
    /// Returns true if a path leads to a clearable field.
    fn can_clear(&self, path: &str) -> bool {
        let (name, below) = split_first_step(path);
        let Some(field) = self.fields.iter().find(|field| field.name == name) else {
            return false;
        };
        match (field.schema.inner(), below) {
            (_, None) => field.is_clearable,
            (ArgumentSchema::Object(structure), Some(below)) => structure.can_clear(below),
            (ArgumentSchema::List { items, .. }, Some(below)) => {
                match (items.inner(), split_first_step(below)) {
                    (ArgumentSchema::Object(structure), (index, Some(below))) => {
                        index.parse::<usize>().is_ok() && structure.can_clear(below)
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }

    /// Returns true if a path leads to a value other than `null`.
    fn is_given(&self, map: &JsonMap, path: &str) -> bool {
        let mut value: Option<&Value> = None;
        for name in path.split('/') {
            let here = match value {
                None => map.get(name),
                Some(Value::Object(map)) => map.get(name),
                Some(Value::Array(items)) => name.parse().ok().and_then(|i: usize| items.get(i)),
                Some(_) => None,
            };
            let Some(here) = here else { return false };
            value = Some(here);
        }
        value.is_some_and(|value| !value.is_null())
    }

    /// Clears the field at a path. Missing objects on the way are created, items of lists are not.
    fn clear(&self, map: &mut JsonMap, path: &str) -> Option<()> {
        let (name, below) = split_first_step(path);
        let field = self.fields.iter().find(|field| field.name == name)?;
        let Some(below) = below else {
            map.insert(name.to_owned(), Value::Null);
            return Some(());
        };
        match field.schema.inner() {
            ArgumentSchema::Object(structure) => {
                let value = map.entry(name).or_insert_with(|| JsonMap::new().into());
                structure.clear(value.as_object_mut()?, below)
            }
            ArgumentSchema::List { items, .. } => {
                let (index, below) = split_first_step(below);
                let index: usize = index.parse().ok()?;
                let item = map.get_mut(name)?.as_array_mut()?.get_mut(index)?;
                let ArgumentSchema::Object(structure) = items.inner() else {
                    return None;
                };
                structure.clear(item.as_object_mut()?, below?)
            }
            _ => None,
        }
    }
}

/// Splits a path into its first step and the rest.
///
/// Nothing is escaped: no field name contains a slash or a tilde.
fn split_first_step(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((name, below)) => (name, Some(below)),
        None => (path, None),
    }
}
