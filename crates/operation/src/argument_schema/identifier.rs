//! Identifiers as callers write them: with blanks around them, or in place of none.

use super::validate::is_slug;

/// Texts that programs write where they have no value. Other spellings may be somebody's names.
const ABSENT_WORDS: [&str; 4] = ["null", "undefined", "None", "NaN"];

/// Names of fields whose text the caller's own programs choose, so that it may be any word.
const FREE_NAMES: [&str; 4] = ["trace_id", "span_id", "entity_id", "aws_external_id"];

/// Returns true if the value of a field of this name identifies an entity of Portkey, or a person.
pub(super) fn is_identifier_name(name: &str) -> bool {
    let is_named =
        matches!(name, "id" | "slug" | "email") || name.ends_with("_id") || name.ends_with("_slug");
    is_named && !FREE_NAMES.contains(&name)
}

/// Removes what is around an identifier and no part of it: white space, and the `@` with which
/// models name the slug of their provider.
///
/// # Errors
/// Returns the problem if the text stands for no value. It would be sent as an identifier.
pub(super) fn normalize(name: &str, text: &mut String) -> Result<(), String> {
    let mut bare = text.trim();
    if name == "slug"
        && let Some(slug) = bare.strip_prefix('@')
        && is_slug(slug)
    {
        bare = slug;
    }
    if ABSENT_WORDS.contains(&bare) {
        return Err(format!(
            "`{bare}` stands for no value and would be sent as an identifier; give one, or leave the argument out"
        ));
    }
    if bare.len() < text.len() && !bare.is_empty() {
        *text = bare.to_owned();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(name: &str, text: &str) -> Result<String, String> {
        let mut text = text.to_owned();
        normalize(name, &mut text).map(|()| text)
    }

    #[test]
    fn blanks_and_the_mark_of_a_provider_are_removed() {
        for (name, text, expected) in [
            ("prompt_id", " pp-a\n", "pp-a"),
            ("slug", "@openai-prod", "openai-prod"),
            ("slug", " @openai-prod", "openai-prod"),
            // Slugs of models have other characters.
            ("slug", "@openai/gpt-4o", "@openai/gpt-4o"),
            ("integration_id", "@openai", "@openai"),
            ("workspace_id", "none", "none"),
            ("workspace_id", "  ", "  "),
        ] {
            let found = normalized(name, text);
            assert_eq!(found.as_deref(), Ok(expected), "{name} {text:?}");
        }
    }

    #[test]
    fn words_for_no_value_are_rejected() {
        for text in ["null", "undefined", "None", " null "] {
            assert!(normalized("workspace_id", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_that_callers_choose_are_no_identifiers() {
        for name in ["trace_id", "span_id", "entity_id", "name", "model"] {
            assert!(!is_identifier_name(name), "{name}");
        }
        for name in ["id", "slug", "email", "prompt_id", "workspace_slug"] {
            assert!(is_identifier_name(name), "{name}");
        }
    }
}
