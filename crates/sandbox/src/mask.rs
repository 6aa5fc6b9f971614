//! Masks secrets in responses.

use serde_json::Value;

use super::store::Item;

/// Masks a secret except for its first two and last three characters. Short secrets are masked
/// completely.
pub(crate) fn mask(secret: &str) -> String {
    let characters: Vec<char> = secret.chars().collect();
    match (characters.first_chunk::<2>(), characters.last_chunk::<3>()) {
        (Some(head), Some(tail)) if characters.len() > 7 => {
            format!(
                "{}*****{}",
                String::from_iter(head),
                String::from_iter(tail)
            )
        }
        _ => "*****".to_owned(),
    }
}

/// Masks the secrets of an object. A secret text is renamed to `masked_<name>`. Secret objects,
/// such as headers, keep their names, and each value is masked.
pub(crate) fn mask_object(object: &Item, secrets: &[&str]) -> Item {
    let masked = object.iter().map(|(name, value)| match value {
        value if value.is_null() || !secrets.contains(&name.as_str()) => {
            (name.clone(), value.clone())
        }
        Value::Object(inner) => {
            let hidden = inner
                .iter()
                .map(|(name, value)| (name.clone(), mask_value(value)));
            (name.clone(), Value::Object(hidden.collect()))
        }
        value => (format!("masked_{name}"), mask_value(value)),
    });
    masked.collect()
}

/// Masks settings like [`mask_object`], and also every text whose name suggests a secret, because
/// unknown providers have their own settings.
pub(crate) fn mask_settings(settings: &Item, secrets: &[&str]) -> Item {
    let named = settings
        .iter()
        .filter(|(name, value)| value.is_string() && is_secret_name(name));
    let named = named.map(|(name, _)| name.as_str());
    let all: Vec<&str> = secrets.iter().copied().chain(named).collect();
    mask_object(settings, &all)
}

/// Returns true if a name in snake case or camel case ends like that of a secret.
fn is_secret_name(name: &str) -> bool {
    const ENDS: [&str; 9] = [
        "accesskey",
        "accesskeyid",
        "apikey",
        "credentials",
        "password",
        "privatekey",
        "secret",
        "secretkey",
        "token",
    ];
    let name = name.to_ascii_lowercase().replace(['_', '-'], "");
    ENDS.iter().any(|end| name.ends_with(end))
}

fn mask_value(value: &Value) -> Value {
    // Values other than texts are too short for a partial mask.
    mask(value.as_str().unwrap_or_default()).into()
}
