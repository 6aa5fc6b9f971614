//! Conversion of arguments to CEL values that borrow their text.

use std::collections::HashMap;

use cel::common::{
    types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString},
    value::{CowVal, Val},
};
use portkey_operation::JsonMap;
use serde_json::Value;

/// Maximum number of values in the arguments that expressions evaluate.
pub const MAX_ARGUMENT_VALUES: usize = 10_000;
/// Maximum amount of text in these arguments, in bytes.
pub const MAX_ARGUMENT_TEXT_BYTES: usize = 1 << 20;

/// Size of arguments.
#[derive(Debug, Default)]
pub(crate) struct ArgumentSize {
    pub(crate) values: usize,
    pub(crate) text_bytes: usize,
}

impl ArgumentSize {
    pub(crate) fn from_args(args: &JsonMap) -> Self {
        let mut extent = Self::default();
        args.iter()
            .for_each(|(name, value)| extent.add(name, value));
        extent
    }

    pub(super) const fn is_within(&self) -> bool {
        self.values <= MAX_ARGUMENT_VALUES && self.text_bytes <= MAX_ARGUMENT_TEXT_BYTES
    }

    fn add(&mut self, name: &str, value: &Value) {
        self.values += 1;
        self.text_bytes += name.len();
        match value {
            Value::String(text) => self.text_bytes += text.len(),
            Value::Array(items) => items.iter().for_each(|item| self.add("", item)),
            Value::Object(map) => map.iter().for_each(|(name, value)| self.add(name, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Converts a JSON object to a CEL map.
pub(super) fn to_cel_map(map: &JsonMap) -> Box<dyn Val + '_> {
    entries_to_cel_map(map.iter().map(|(name, value)| (name.as_str(), value)))
}

/// Converts named values to a CEL map.
pub(super) fn entries_to_cel_map<'a>(
    entries: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Box<dyn Val + 'a> {
    let entry = |(name, value)| (CelMapKey::from(name), to_cel_value(value));
    let entries: HashMap<CelMapKey<'_>, Box<dyn Val + '_>> = entries.map(entry).collect();
    Box::new(CelMap::from(entries))
}

fn to_cel_value(value: &Value) -> Box<dyn Val + '_> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(truth) => Box::new(CelBool::from(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Box::new(CelInt::from(whole)),
            (None, Some(other)) => Box::new(CelDouble::from(other)),
            (None, None) => Box::new(CelNull),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => {
            let items: Vec<Box<dyn Val + '_>> = items.iter().map(to_cel_value).collect();
            Box::new(CelList::from(items))
        }
        Value::Object(object) => to_cel_map(object),
    }
}

/// Lends a value to an expression.
pub(super) fn borrow_value<'b, 'a: 'b>(val: &'b (dyn Val + 'a)) -> CowVal<'b, 'b> {
    CowVal::Borrowed(val)
}
