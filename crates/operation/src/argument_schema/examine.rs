//! Examines arguments that are sent as they came: reads them as an API would, and finds unknown
//! fields. Renames, removes and rejects nothing, apart from text with too much JSON.

use serde_json::Value;

use super::{
    super::JsonMap, ArgumentPath, ArgumentSchema, ArgumentWalk, ObjectSchema,
    validate::TOO_MUCH_JSON_TEXT,
};

impl ArgumentSchema {
    /// Examines the arguments of a request.
    pub(in super::super) fn examine_arguments(
        &self,
        args: &mut JsonMap,
        walk: &mut ArgumentWalk<'_>,
    ) {
        if let Self::Object(structure) = self {
            structure.examine(args, ArgumentPath::Root, walk);
        }
    }

    fn examine(&self, value: &mut Value, at: ArgumentPath<'_>, walk: &mut ArgumentWalk<'_>) {
        if let Value::String(text) = &*value
            && self.accepts_structures()
            && !walk.reserve_json_text(text)
        {
            walk.findings.add_error(at, TOO_MUCH_JSON_TEXT);
            return;
        }
        self.coerce_from_string(value);
        match (self, value) {
            (Self::OneOrMany(items) | Self::List { items, .. }, Value::Array(list)) => {
                for (i, value) in list.iter_mut().enumerate() {
                    items.examine(value, ArgumentPath::Item(&at, i), walk);
                }
            }
            (Self::OneOrMany(other) | Self::TextOr(other), value) if !value.is_string() => {
                other.examine(value, at, walk);
            }
            (Self::Object(structure), Value::Object(map)) => structure.examine(map, at, walk),
            (Self::Map { values, .. }, Value::Object(map)) => {
                for (name, value) in map {
                    values.examine(value, ArgumentPath::Field(&at, name), walk);
                }
            }
            _ => {}
        }
    }
}

impl ObjectSchema {
    fn examine(&self, map: &mut JsonMap, at: ArgumentPath<'_>, walk: &mut ArgumentWalk<'_>) {
        for (name, value) in map {
            let here = ArgumentPath::Field(&at, name);
            let Some(field) = self.fields.iter().find(|field| field.name == *name) else {
                if !self.accepts_any_name {
                    walk.report_unknown_name(here);
                }
                continue;
            };
            if field.is_secret {
                if !walk.reserve_nested_json(value) {
                    walk.findings.add_error(here, TOO_MUCH_JSON_TEXT);
                    continue;
                }
                field.schema.normalize_references(value);
            }
            field.schema.examine(value, here, walk);
        }
    }
}
