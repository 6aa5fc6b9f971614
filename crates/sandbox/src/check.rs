//! Validates request bodies against declared fields, and keeps only those fields.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
};

use serde_json::Value;

use super::{
    clock::is_instant,
    domains::workspaces,
    field::{Field, Kind, List, Nulls, Preset},
    refusal::Refusal,
    store::{Item, Store, text},
};

/// Maximum length of names and slugs, in characters.
const LONGEST_NAME: usize = 255;

/// Purpose of a validated body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// A new item: required fields must be present, and absent fields get their defaults.
    Create,
    /// A change: absent fields keep their values.
    Update,
}

/// Validates the declared fields of a body. Undeclared fields are ignored, as in the API.
pub(crate) fn body(
    store: &Store,
    fields: &[Field],
    body: &Item,
    occasion: Occasion,
) -> Result<Item, Refusal> {
    object(store, fields, "", body, occasion)
}

/// Validates one value. `path` names the value in errors.
pub(crate) fn value(
    store: &Store,
    kind: Kind,
    path: &str,
    value: &Value,
) -> Result<Value, Refusal> {
    let accept = |holds: bool, expected: &str| match holds {
        true => Ok(value.clone()),
        false => Err(Refusal::field(path, format_args!("must be {expected}"))),
    };
    let written = value.as_str();
    match kind {
        Kind::Text => accept(written.is_some(), "a text"),
        Kind::TextUpTo(most) => accept(
            written.is_some_and(|text| text.chars().count() <= most),
            &format!("a text of at most {most} characters"),
        ),
        Kind::TextOrObject => accept(
            written.is_some() || value.is_object(),
            "a text or an object",
        ),
        Kind::TextOrTexts => accept(is_text_or_texts(value), "a text or a list of texts"),
        Kind::Name => accept(
            written.is_some_and(|text| !text.trim().is_empty() && fits(text)),
            "a text of 1 to 255 characters",
        ),
        Kind::Slug => accept(
            written.is_some_and(is_slug),
            "made of letters, digits, `-` and `_`, 1 to 255",
        ),
        Kind::Choice(choices) => accept(
            written.is_some_and(|text| choices.contains(&text)),
            &format!("one of `{}`", choices.join("`, `")),
        ),
        Kind::Choices(choices) => accept(
            written.is_some_and(|text| text.split(',').all(|one| choices.contains(&one.trim()))),
            &format!("some of `{}`, separated by commas", choices.join("`, `")),
        ),
        Kind::Flag => accept(value.is_boolean(), "true or false"),
        Kind::WholeOrText(least, most) => {
            let number = written.and_then(|text| text.trim().parse::<i64>().ok());
            let number = number.map(Value::from);
            self::value(
                store,
                Kind::Whole(least, most),
                path,
                number.as_ref().unwrap_or(value),
            )
        }
        Kind::Whole(least, most) => accept(
            value
                .as_i64()
                .is_some_and(|number| (least..=most).contains(&number)),
            &whole_range(least, most),
        ),
        Kind::Amount => accept(
            value.as_f64().is_some_and(|number| number >= 0.0),
            "a number from 0 up",
        ),
        Kind::Number(least, most) => accept(
            value
                .as_f64()
                .is_some_and(|number| (least..=most).contains(&number)),
            &format!("a number from {least} to {most}"),
        ),
        Kind::Instant => accept(
            written.is_some_and(is_instant),
            "a date and time in ISO 8601",
        ),
        Kind::Moment => {
            let zoned = written
                .map(|text| format!("{text}Z"))
                .filter(|text| is_instant(text));
            let zoned = zoned.map(Value::from);
            self::value(store, Kind::Instant, path, zoned.as_ref().unwrap_or(value))
        }
        Kind::Url => accept(written.is_some_and(is_url), "an http or https URL"),
        Kind::PublicUrl => accept(
            written.is_some_and(is_public_url),
            "a URL of a public host, without `#`",
        ),
        Kind::Workspace => {
            let handle = written.ok_or_else(|| Refusal::field(path, "must be a text"))?;
            workspaces::resolve(store, handle).map(|workspace| text(workspace, "id").into())
        }
        Kind::Labels => accept(is_labels(value), "an object with texts in it"),
        Kind::EncodedLabels => written
            .and_then(|json| serde_json::from_str(json).ok())
            .filter(is_labels)
            .ok_or_else(|| Refusal::field(path, "must be a JSON object with texts in it")),
        Kind::Multipliers => accept(
            value.is_object() && is_multipliers(value),
            "an object whose leaves are numbers from 0 up or null",
        ),
        Kind::Object => accept(value.is_object(), "an object"),
        Kind::Shape(shape) => {
            let given = value
                .as_object()
                .ok_or_else(|| Refusal::field(path, "must be an object"))?;
            let clean = object(store, shape.fields, path, given, Occasion::Create)?;
            (shape.rule)(&clean).map_err(|why| Refusal::field(path, why))?;
            if shape.open {
                let mut whole = given.clone();
                whole.extend(clean);
                return Ok(Value::Object(whole));
            }
            Ok(Value::Object(clean))
        }
        Kind::List(declared) => list(store, declared, path, value),
        Kind::ListOrOne(declared) => match value {
            Value::Object(_) => {
                let one = self::value(store, declared.of, path, value)?;
                Ok(Value::Array(vec![one]))
            }
            value => list(store, declared, path, value),
        },
    }
}

fn object(
    store: &Store,
    fields: &[Field],
    path: &str,
    given: &Item,
    occasion: Occasion,
) -> Result<Item, Refusal> {
    let inside = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    let creates = occasion == Occasion::Create;
    let mut clean = Item::new();
    for field in fields.iter().filter(|field| creates || !field.fixed) {
        let kept = match given.get(field.name) {
            None if creates && field.required => {
                return Err(Refusal::field(&inside(field.name), "is required"));
            }
            Some(Value::Null) if creates && field.required && field.nulls == Nulls::Refused => {
                return Err(Refusal::field(&inside(field.name), "is required"));
            }
            None if creates => preset(field.preset),
            None => None,
            Some(Value::Null) => match field.nulls {
                Nulls::AtFirst | Nulls::Clear if creates => {
                    Some(preset(field.preset).unwrap_or_default())
                }
                Nulls::Clear => Some(Value::Null),
                Nulls::AtFirst | Nulls::Refused => {
                    return Err(Refusal::field(&inside(field.name), "cannot be null"));
                }
            },
            Some(given) => Some(value(store, field.kind, &inside(field.name), given)?),
        };
        if let Some(kept) = kept {
            clean.insert(field.name.to_owned(), kept);
        }
    }
    Ok(clean)
}

fn list(store: &Store, declared: &List, path: &str, given: &Value) -> Result<Value, Refusal> {
    let given = given
        .as_array()
        .ok_or_else(|| Refusal::field(path, "must be a list"))?;
    if !(declared.least..=declared.most).contains(&given.len()) {
        let bounds = match declared.most {
            usize::MAX => format!("must have {} items or more", declared.least),
            most => format!("must have {} to {most} items", declared.least),
        };
        return Err(Refusal::field(path, bounds));
    }
    let items = given.iter().enumerate();
    let clean: Vec<Value> = items
        .map(|(index, item)| value(store, declared.of, &format!("{path}[{index}]"), item))
        .collect::<Result<_, _>>()?;
    if let Some(field) = declared.unique {
        let mut seen = HashSet::new();
        let mut values = clean.iter().filter_map(|item| item.get(field)?.as_str());
        if let Some(twice) = values.find(|text| !seen.insert(*text)) {
            return Err(Refusal::field(
                path,
                format_args!("has `{field}` `{twice}` twice"),
            ));
        }
    }
    Ok(Value::Array(clean))
}

fn preset(preset: Preset) -> Option<Value> {
    Some(match preset {
        Preset::Absent => return None,
        Preset::Null => Value::Null,
        Preset::Flag(flag) => flag.into(),
        Preset::Text(text) => text.into(),
        Preset::EmptyList => Value::Array(Vec::new()),
        Preset::EmptyObject => Value::Object(Item::new()),
    })
}

fn whole_range(least: i64, most: i64) -> String {
    match most {
        i64::MAX => format!("a whole number from {least} up"),
        most => format!("a whole number from {least} to {most}"),
    }
}

fn fits(text: &str) -> bool {
    text.chars().count() <= LONGEST_NAME
}

fn is_slug(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && fits(text) && text.bytes().all(allowed)
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
        Ok(IpAddr::V4(ip)) => is_near(ip),
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.to_ipv4_mapped().is_some_and(is_near)
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

fn is_near(ip: Ipv4Addr) -> bool {
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
