//! Validates request bodies against declared fields, and keeps only those fields.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
};

use serde_json::Value;

use super::{
    api_error::ApiError,
    clock::is_timestamp,
    domains::workspaces,
    field::{DefaultValue, Field, FieldType, ListSchema, NullPolicy},
    store::{Item, Store, text},
};

/// Maximum length of names and slugs, in characters.
const MAX_NAME_CHARS: usize = 255;

/// Purpose of a validated body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteKind {
    /// A new item: required fields must be present, and absent fields get their defaults.
    Create,
    /// A change: absent fields keep their values.
    Update,
}

/// Validates the declared fields of a body. Undeclared fields are ignored, as in the API.
pub(crate) fn validate_body(
    store: &Store,
    fields: &[Field],
    body: &Item,
    occasion: WriteKind,
) -> Result<Item, ApiError> {
    validate_object(store, fields, "", body, occasion)
}

/// Validates one value. `path` names the value in errors.
pub(crate) fn validate_value(
    store: &Store,
    kind: FieldType,
    path: &str,
    value: &Value,
) -> Result<Value, ApiError> {
    let accept = |holds: bool, expected: &str| match holds {
        true => Ok(value.clone()),
        false => Err(ApiError::invalid_field(
            path,
            format_args!("must be {expected}"),
        )),
    };
    let written = value.as_str();
    match kind {
        FieldType::Text => accept(written.is_some(), "a text"),
        FieldType::TextUpTo(max) => accept(
            written.is_some_and(|text| text.chars().count() <= max),
            &format!("a text of at most {max} characters"),
        ),
        FieldType::TextOrObject => accept(
            written.is_some() || value.is_object(),
            "a text or an object",
        ),
        FieldType::TextOrTexts => accept(is_text_or_texts(value), "a text or a list of texts"),
        FieldType::Name => accept(
            written.is_some_and(|text| !text.trim().is_empty() && fits_name_length(text)),
            "a text of 1 to 255 characters",
        ),
        FieldType::Slug => accept(
            written.is_some_and(is_slug),
            "made of letters, digits, `-` and `_`, 1 to 255",
        ),
        FieldType::Enum(choices) => accept(
            written.is_some_and(|text| choices.contains(&text)),
            &format!("one of `{}`", choices.join("`, `")),
        ),
        FieldType::EnumList(choices) => accept(
            written.is_some_and(|text| text.split(',').all(|one| choices.contains(&one.trim()))),
            &format!("some of `{}`, separated by commas", choices.join("`, `")),
        ),
        FieldType::Bool => accept(value.is_boolean(), "true or false"),
        FieldType::IntegerOrText(min, max) => {
            let number = written.and_then(|text| text.trim().parse::<i64>().ok());
            let number = number.map(Value::from);
            self::validate_value(
                store,
                FieldType::Integer(min, max),
                path,
                number.as_ref().unwrap_or(value),
            )
        }
        FieldType::Integer(min, max) => accept(
            value
                .as_i64()
                .is_some_and(|number| (min..=max).contains(&number)),
            &describe_integer_range(min, max),
        ),
        FieldType::NonNegative => accept(
            value.as_f64().is_some_and(|number| number >= 0.0),
            "a number from 0 up",
        ),
        FieldType::Number(min, max) => accept(
            value
                .as_f64()
                .is_some_and(|number| (min..=max).contains(&number)),
            &format!("a number from {min} to {max}"),
        ),
        FieldType::Timestamp => accept(
            written.is_some_and(is_timestamp),
            "a date and time in ISO 8601",
        ),
        FieldType::TimestampOrLocal => {
            let zoned = written
                .map(|text| format!("{text}Z"))
                .filter(|text| is_timestamp(text));
            let zoned = zoned.map(Value::from);
            self::validate_value(
                store,
                FieldType::Timestamp,
                path,
                zoned.as_ref().unwrap_or(value),
            )
        }
        FieldType::Url => accept(written.is_some_and(is_url), "an http or https URL"),
        FieldType::PublicUrl => accept(
            written.is_some_and(is_public_url),
            "a URL of a public host, without `#`",
        ),
        FieldType::Workspace => {
            let handle = written.ok_or_else(|| ApiError::invalid_field(path, "must be a text"))?;
            workspaces::resolve(store, handle).map(|workspace| text(workspace, "id").into())
        }
        FieldType::Labels => accept(is_labels(value), "an object with texts in it"),
        FieldType::EncodedLabels => written
            .and_then(|json| serde_json::from_str(json).ok())
            .filter(is_labels)
            .ok_or_else(|| ApiError::invalid_field(path, "must be a JSON object with texts in it")),
        FieldType::Multipliers => accept(
            value.is_object() && is_multipliers(value),
            "an object whose leaves are numbers from 0 up or null",
        ),
        FieldType::AnyObject => accept(value.is_object(), "an object"),
        FieldType::Object(shape) => {
            let given = value
                .as_object()
                .ok_or_else(|| ApiError::invalid_field(path, "must be an object"))?;
            let clean = validate_object(store, shape.fields, path, given, WriteKind::Create)?;
            (shape.rule)(&clean).map_err(|why| ApiError::invalid_field(path, why))?;
            if shape.keeps_unknown {
                let mut whole = given.clone();
                whole.extend(clean);
                return Ok(Value::Object(whole));
            }
            Ok(Value::Object(clean))
        }
        FieldType::List(declared) => validate_list(store, declared, path, value),
        FieldType::ListOrItem(declared) => match value {
            Value::Object(_) => {
                let one = self::validate_value(store, declared.item_type, path, value)?;
                Ok(Value::Array(vec![one]))
            }
            value => validate_list(store, declared, path, value),
        },
    }
}

fn validate_object(
    store: &Store,
    fields: &[Field],
    path: &str,
    given: &Item,
    occasion: WriteKind,
) -> Result<Item, ApiError> {
    let inside = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    let creates = occasion == WriteKind::Create;
    let mut clean = Item::new();
    for field in fields.iter().filter(|field| creates || !field.immutable) {
        let value = match given.get(field.name) {
            None if creates && field.required => {
                return Err(ApiError::invalid_field(&inside(field.name), "is required"));
            }
            Some(Value::Null)
                if creates && field.required && field.null_policy == NullPolicy::Rejected =>
            {
                return Err(ApiError::invalid_field(&inside(field.name), "is required"));
            }
            None if creates => default_json(field.default),
            None => None,
            Some(Value::Null) => match field.null_policy {
                NullPolicy::OnCreate | NullPolicy::Allowed if creates => {
                    Some(default_json(field.default).unwrap_or_default())
                }
                NullPolicy::Allowed => Some(Value::Null),
                NullPolicy::OnCreate | NullPolicy::Rejected => {
                    return Err(ApiError::invalid_field(
                        &inside(field.name),
                        "cannot be null",
                    ));
                }
            },
            Some(given) => Some(validate_value(
                store,
                field.kind,
                &inside(field.name),
                given,
            )?),
        };
        if let Some(value) = value {
            clean.insert(field.name.to_owned(), value);
        }
    }
    Ok(clean)
}

fn validate_list(
    store: &Store,
    declared: &ListSchema,
    path: &str,
    given: &Value,
) -> Result<Value, ApiError> {
    let given = given
        .as_array()
        .ok_or_else(|| ApiError::invalid_field(path, "must be a list"))?;
    if !(declared.min_items..=declared.max_items).contains(&given.len()) {
        let bounds = match declared.max_items {
            usize::MAX => format!("must have {} items or more", declared.min_items),
            most => format!("must have {} to {most} items", declared.min_items),
        };
        return Err(ApiError::invalid_field(path, bounds));
    }
    let items = given.iter().enumerate();
    let clean: Vec<Value> = items
        .map(|(index, item)| {
            validate_value(store, declared.item_type, &format!("{path}[{index}]"), item)
        })
        .collect::<Result<_, _>>()?;
    if let Some(field) = declared.unique_field {
        let mut seen = HashSet::new();
        let mut values = clean.iter().filter_map(|item| item.get(field)?.as_str());
        if let Some(twice) = values.find(|text| !seen.insert(*text)) {
            return Err(ApiError::invalid_field(
                path,
                format_args!("has `{field}` `{twice}` twice"),
            ));
        }
    }
    Ok(Value::Array(clean))
}

fn default_json(preset: DefaultValue) -> Option<Value> {
    Some(match preset {
        DefaultValue::Absent => return None,
        DefaultValue::Null => Value::Null,
        DefaultValue::Bool(flag) => flag.into(),
        DefaultValue::Text(text) => text.into(),
        DefaultValue::EmptyList => Value::Array(Vec::new()),
        DefaultValue::EmptyObject => Value::Object(Item::new()),
    })
}

fn describe_integer_range(min: i64, max: i64) -> String {
    match max {
        i64::MAX => format!("a whole number from {min} up"),
        max => format!("a whole number from {min} to {max}"),
    }
}

fn fits_name_length(text: &str) -> bool {
    text.chars().count() <= MAX_NAME_CHARS
}

fn is_slug(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && fits_name_length(text) && text.bytes().all(allowed)
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.host().is_some_and(|host| !host.is_empty())
    })
}

/// Returns true if the gateway may call a URL: its host must not be local or private.
fn is_public_url(text: &str) -> bool {
    let url = text.parse::<http::Uri>().unwrap_or_default();
    let host = url.host().unwrap_or_default().to_ascii_lowercase();
    let near = match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => is_private_address(ip),
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.to_ipv4_mapped().is_some_and(is_private_address)
        }
        Err(_) => {
            host == "localhost"
                || [".localhost", ".local", ".internal"]
                    .iter()
                    .any(|end| host.ends_with(end))
        }
    };
    is_url(text) && !text.contains('#') && !near
}

fn is_private_address(ip: Ipv4Addr) -> bool {
    ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
}

fn is_text_or_texts(value: &Value) -> bool {
    match value {
        Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_string),
        value => value.is_string(),
    }
}

fn is_labels(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|labels| labels.values().all(Value::is_string))
}

fn is_multipliers(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => number.as_f64().is_some_and(|number| number >= 0.0),
        Value::Object(inner) => inner.values().all(is_multipliers),
        _ => false,
    }
}
