//! Changes of files in TOML.

use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike};

use super::{
    Area, Change, EditError, MANAGED, handed_on, is_stdio, mask_lines, own_name, toml_list,
};
use crate::cli::setup::entry::{ENV, ENV_VARS, HEADERS};

fn parse(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        EditError::Invalid {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message: error.message().to_owned(),
        }
    })
}

/// Checks the syntax of a file.
pub(super) fn check(text: &str) -> Result<(), EditError> {
    parse(text).map(|_| ())
}

/// Returns the text of the file after the change.
pub(super) fn apply(change: &Change<'_>, text: &str) -> Result<String, EditError> {
    let mut file = parse(text)?;
    let field = change.client.servers;
    let new_table = |is_implicit| {
        let mut table = Table::new();
        table.set_implicit(is_implicit);
        Item::Table(table)
    };
    let servers = file
        .entry(field)
        .or_insert_with(|| new_table(true))
        .as_table_like_mut()
        .ok_or_else(|| EditError::NotAnObject(format!("`{field}`")))?;
    if servers
        .get(change.name)
        .is_none_or(|entry| !entry.is_table_like())
    {
        servers.insert(change.name, new_table(false));
    }
    let entry = servers
        .get_mut(change.name)
        .and_then(Item::as_table_like_mut)
        .ok_or_else(|| EditError::NotAnObject(format!("`{field}.{}`", change.name)))?;
    merge(entry, change);
    let changed = file.to_string();
    // New lines are written with the line break of Unix.
    Ok(match text.contains("\r\n") {
        true => changed.replace("\r\n", "\n").replace('\n', "\r\n"),
        false => changed,
    })
}

/// Sets the fields of an entry.
fn merge(before: &mut dyn TableLike, change: &Change<'_>) {
    let fields = &change.entry.fields;
    let [headers, http_headers] = HEADERS;
    for field in MANAGED {
        let wanted = match field {
            ENV_VARS => handed_on(before.get(field).map(to_value), fields.get(field)),
            _ => fields.get(field).cloned(),
        };
        set(before, field, wanted);
    }
    for field in [ENV, headers, http_headers] {
        let applies = (field == ENV) == is_stdio(change.entry);
        let name = own_name(field);
        let wanted = fields.get(field).and_then(|map| map.get(name)).cloned();
        if let Some(map) = before.get_mut(field).and_then(Item::as_table_like_mut)
            && applies
        {
            let has_own = map.contains_key(name);
            set(map, name, wanted);
            if has_own && map.is_empty() {
                before.remove(field);
            }
            continue;
        }
        let wanted = wanted.map(|value| Value::Object(Map::from_iter([(name.to_owned(), value)])));
        set(before, field, wanted);
    }
}

/// Sets a field, or removes it. A field that has the value already keeps its form.
fn set(table: &mut dyn TableLike, field: &str, wanted: Option<Value>) {
    if table.get(field).map(to_value) == wanted {
        return;
    }
    let list = table.get_mut(field).and_then(Item::as_array_mut);
    if let (Some(list), Some(Value::Array(wanted))) = (list, &wanted)
        && toml_list::spans_lines(list)
    {
        toml_list::set(list, wanted);
        return;
    }
    match wanted.as_ref().and_then(from_value) {
        Some(value) => match table.get_mut(field).and_then(Item::as_value_mut) {
            Some(before) => {
                let decor = before.decor().clone();
                *before = value;
                *before.decor_mut() = decor;
            }
            None => {
                table.insert(field, Item::Value(value));
            }
        },
        None => {
            table.remove(field);
        }
    }
}

/// Returns a value in the form of JSON, to compare it.
pub(super) fn to_value(item: &Item) -> Value {
    let map = |table: &dyn TableLike| {
        let fields = table.iter();
        Value::Object(
            fields
                .map(|(name, item)| (name.to_owned(), to_value(item)))
                .collect(),
        )
    };
    match item {
        Item::Table(table) => map(table),
        Item::Value(toml_edit::Value::InlineTable(table)) => map(table),
        Item::Value(toml_edit::Value::Array(list)) => {
            let items = list
                .iter()
                .map(|value| to_value(&Item::Value(value.clone())));
            Value::Array(items.collect())
        }
        Item::Value(toml_edit::Value::String(text)) => text.value().as_str().into(),
        Item::Value(toml_edit::Value::Boolean(value)) => (*value.value()).into(),
        Item::Value(toml_edit::Value::Integer(value)) => (*value.value()).into(),
        Item::Value(toml_edit::Value::Float(value)) => (*value.value()).into(),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| map(table)).collect(),
        _ => Value::Null,
    }
}

/// Returns a value in the form of TOML, which has no `null`.
pub(super) fn from_value(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => (*value).into(),
        Value::Number(value) => match value.as_i64() {
            Some(value) => value.into(),
            None => value.as_f64()?.into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => {
            let list: Array = list.iter().filter_map(from_value).collect();
            list.into()
        }
        Value::Object(map) => {
            let fields = map.iter();
            let table: InlineTable = fields
                .filter_map(|(name, value)| Some((name, from_value(value)?)))
                .collect();
            table.into()
        }
    })
}

/// Returns the text with values hidden.
pub(super) fn hide_values(change: &Change<'_>, text: &str) -> Result<String, EditError> {
    let mut file = parse(text)?;
    hide_table(file.as_table_mut(), Area::File, change);
    // Comments are part of the text around values.
    Ok(mask_lines(&file.to_string()))
}

fn hide_table(table: &mut dyn TableLike, area: Area, change: &Change<'_>) {
    for (name, item) in table.iter_mut() {
        let area = area.below(name.get(), change);
        hide_item(item, area, change);
    }
}

fn hide_item(item: &mut Item, area: Area, change: &Change<'_>) {
    match item {
        Item::None => {}
        Item::Value(value) => hide_value(value, area, None, change),
        Item::Table(table) => hide_table(table, area, change),
        Item::ArrayOfTables(tables) => {
            for table in tables.iter_mut() {
                hide_table(table, area, change);
            }
        }
    }
}

fn hide_value(value: &mut toml_edit::Value, area: Area, before: Option<&str>, change: &Change<'_>) {
    match value {
        toml_edit::Value::String(text) => {
            if let Some(shown) = area.hide(text.value(), before, change) {
                let decor = text.decor().clone();
                let mut shown = toml_edit::Value::from(shown);
                *shown.decor_mut() = decor;
                *value = shown;
            }
        }
        toml_edit::Value::Array(list) => {
            let mut before = None::<String>;
            for value in list.iter_mut() {
                let text = value.as_str().map(str::to_owned);
                hide_value(value, area, before.as_deref(), change);
                before = text;
            }
        }
        toml_edit::Value::InlineTable(table) => hide_table(table, area, change),
        _ => {}
    }
}
