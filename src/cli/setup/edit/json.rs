//! Changes of files in JSON. Comments and trailing commas are accepted, because some clients accept them.

use jsonc_parser::{
    ParseOptions,
    cst::{CstArray, CstInputValue, CstNode, CstObject, CstRootNode},
};
use serde_json::{Map, Value};

use super::{
    Area, Change, EditError, MANAGED, changes_of_list, handed_on, is_stdio, mask_lines, own_name,
};
use crate::cli::setup::entry::{ENV, ENV_VARS, HEADERS};

const BYTE_ORDER_MARK: char = '\u{feff}';

fn parse(text: &str) -> Result<CstRootNode, EditError> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    CstRootNode::parse(text, &options).map_err(|error| EditError::Invalid {
        line: error.line_display(),
        column: error.column_display(),
        message: error.kind().to_string(),
    })
}

/// Checks the syntax of a file.
pub(super) fn check(text: &str) -> Result<(), EditError> {
    parse(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)).map(|_| ())
}

/// Returns the text of the file after the change.
pub(super) fn apply(change: &Change<'_>, text: &str) -> Result<String, EditError> {
    let (mark, text) = match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(text) => (BYTE_ORDER_MARK.to_string(), text),
        None => (String::new(), text),
    };
    let root = parse(text)?;
    let file = root
        .object_value_or_create()
        .ok_or_else(|| EditError::NotAnObject("the file".to_owned()))?;
    let field = change.client.servers;
    reject_duplicates(&file, &[field, "inputs"])?;
    let servers = file
        .object_value_or_create(field)
        .ok_or_else(|| EditError::NotAnObject(format!("`{field}`")))?;
    reject_duplicates(&servers, &[change.name])?;
    match servers.get(change.name) {
        None => {
            servers.append(change.name, from_map(&change.entry.fields));
        }
        Some(before) => match before.object_value() {
            None => before.set_value(from_map(&change.entry.fields)),
            Some(before) => {
                reject_duplicates(&before, &MANAGED)?;
                reject_duplicates(&before, &[ENV])?;
                reject_duplicates(&before, &HEADERS)?;
                merge(&before, change)?;
            }
        },
    }
    add_inputs(&file, &change.entry.inputs)?;
    let mut changed = root.to_string();
    // Some clients write their files without a last line break, and such a file is not changed for it.
    if text.is_empty() && !changed.ends_with('\n') {
        changed.push('\n');
    }
    Ok(mark + &changed)
}

/// Rejects an object with two fields of the same name.
fn reject_duplicates(object: &CstObject, names: &[&str]) -> Result<(), EditError> {
    let properties = object.properties();
    for name in names {
        let found = properties
            .iter()
            .filter(|property| property.decoded_name().is_some_and(|found| found == *name));
        if found.count() > 1 {
            return Err(EditError::Duplicate((*name).to_owned()));
        }
    }
    Ok(())
}

/// Sets the fields of an entry that exists.
fn merge(before: &CstObject, change: &Change<'_>) -> Result<(), EditError> {
    let fields = &change.entry.fields;
    let [headers, http_headers] = HEADERS;
    for field in MANAGED {
        let wanted = match field {
            ENV_VARS => handed_on(value_of(before, field), fields.get(field)),
            _ => fields.get(field).cloned(),
        };
        set(before, field, wanted);
    }
    for field in [ENV, headers, http_headers] {
        let applies = (field == ENV) == is_stdio(change.entry);
        let name = own_name(field);
        let wanted = fields.get(field).and_then(|map| map.get(name));
        match before.object_value(field).filter(|_| applies) {
            // The other members keep their comments and the form of their numbers.
            Some(map) => {
                reject_duplicates(&map, &[name])?;
                let has_own = map.get(name).is_some();
                set(&map, name, wanted.cloned());
                if has_own && !has_content(&map) {
                    set(before, field, None);
                }
            }
            None => set(
                before,
                field,
                wanted
                    .map(|value| Value::Object(Map::from_iter([(name.to_owned(), value.clone())]))),
            ),
        }
    }
    Ok(())
}

/// Returns true if an object has a field or a comment.
fn has_content(object: &CstObject) -> bool {
    let children = object.children();
    let is_content = |child: &CstNode| child.as_object_prop().is_some() || child.is_comment();
    children.iter().any(is_content)
}

fn value_of(object: &CstObject, field: &str) -> Option<Value> {
    object.get(field)?.to_serde_value()
}

/// Sets a field, or removes it. A field that has the value already keeps its form.
fn set(object: &CstObject, field: &str, wanted: Option<Value>) {
    if value_of(object, field) == wanted {
        return;
    }
    let list = object.array_value(field).filter(spans_lines);
    match (list, object.get(field), wanted) {
        (Some(list), _, Some(Value::Array(wanted))) => set_list(&list, &wanted),
        (_, Some(before), Some(wanted)) => before.set_value(from_value(&wanted)),
        (_, Some(before), None) => before.remove(),
        (_, None, Some(wanted)) => {
            object.append(field, from_value(&wanted));
        }
        (_, None, None) => {}
    }
}

/// Returns true if a list is on several lines or has a comment. Another one is written anew as one line.
fn spans_lines(list: &CstArray) -> bool {
    let children = list.children();
    children
        .iter()
        .any(|child| child.is_newline() || child.is_comment())
}

/// Changes the elements of a list that differ. The others keep their lines and comments.
fn set_list(list: &CstArray, wanted: &[Value]) {
    let before = list.elements();
    let before: Vec<_> = before.iter().map(CstNode::to_serde_value).collect();
    for change in changes_of_list(&before, wanted) {
        let mut at = change.range.start;
        let mut values = change.values.iter();
        let elements = list.elements().into_iter();
        for element in elements.skip(at).take(change.range.len()) {
            match (values.next(), element.as_string_lit()) {
                (Some(Value::String(text)), Some(element)) => {
                    element.set_raw_value(Value::String(text.clone()).to_string());
                    at += 1;
                }
                (Some(value), _) => {
                    list.insert(at, from_value(value));
                    element.remove();
                    at += 1;
                }
                (None, _) => element.remove(),
            }
        }
        for value in values {
            list.insert(at, from_value(value));
            at += 1;
        }
    }
}

/// Adds what the client is to ask for, unless it is there.
fn add_inputs(file: &CstObject, inputs: &[Value]) -> Result<(), EditError> {
    if inputs.is_empty() {
        return Ok(());
    }
    let list = file
        .array_value_or_create("inputs")
        .ok_or_else(|| EditError::NotAnObject("`inputs`".to_owned()))?;
    for input in inputs {
        let is_there = list.elements().iter().any(|element| {
            let element = element.to_serde_value();
            element.is_some_and(|element| element.get("id") == input.get("id"))
        });
        if !is_there {
            list.append(from_value(input));
        }
    }
    Ok(())
}

fn from_map(map: &Map<String, Value>) -> CstInputValue {
    let fields = map
        .iter()
        .map(|(name, value)| (name.clone(), from_value(value)));
    CstInputValue::Object(fields.collect())
}

fn from_value(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(value) => CstInputValue::Number(value.to_string()),
        Value::String(value) => CstInputValue::String(value.clone()),
        Value::Array(list) => CstInputValue::Array(list.iter().map(from_value).collect()),
        Value::Object(map) => from_map(map),
    }
}

/// Returns the text with values hidden.
pub(super) fn hide_values(change: &Change<'_>, text: &str) -> Result<String, EditError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let root = parse(text)?;
    if let Some(value) = root.value() {
        hide(&value, Area::File, None, change);
    }
    // Comments are left, but for keys.
    Ok(mask_lines(&root.to_string()))
}

fn hide(node: &CstNode, area: Area, before: Option<&str>, change: &Change<'_>) {
    if let Some(object) = node.as_object() {
        for field in object.properties() {
            let name = field.decoded_name().unwrap_or_default();
            if let Some(value) = field.value() {
                hide(&value, area.below(&name, change), None, change);
            }
        }
    } else if let Some(array) = node.as_array() {
        let mut before = None::<String>;
        for element in array.elements() {
            hide(&element, area, before.as_deref(), change);
            before = element
                .as_string_lit()
                .and_then(|text| text.decoded_value().ok());
        }
    } else if let Some(text) = node.as_string_lit()
        && let Some(shown) = area.hide(&text.decoded_value().unwrap_or_default(), before, change)
    {
        text.set_raw_value(Value::String(shown).to_string());
    }
}
