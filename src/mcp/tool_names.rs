//! Names of tools inside texts, in the spelling in which the tools are listed.

use std::{borrow::Cow, collections::HashSet, sync::LazyLock};

use portkey_api::catalog::Catalog;
use portkey_operation::{Operation, ToolNames};
use serde_json::Value;

use super::surface;

/// The names of all operations and of the built-in tools.
static TOOL_NAMES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let builtin = surface::builtin_tools().iter().map(|tool| tool.operation);
    Catalog::operations()
        .chain(builtin)
        .map(Operation::name)
        .collect()
});

/// Replaces each name of a tool in a text by its listed spelling.
///
/// A name that is a part of a path or a URI stays.
pub(crate) fn spell_in_text(names: ToolNames, text: &str) -> Cow<'_, str> {
    if names == ToolNames::Hyphen || !text.contains('-') {
        return Cow::Borrowed(text);
    }
    let is_part_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/');
    let mut spelled = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part_of_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match TOOL_NAMES.contains(word) {
            true => spelled.push_str(&names.spell(word)),
            false => spelled.push_str(word),
        }
        let end = after.find(is_part_of_word).unwrap_or(after.len());
        let (between, after) = after.split_at(end);
        spelled.push_str(between);
        rest = after;
    }
    Cow::Owned(spelled)
}

/// Replaces the names of tools in every text of a value. Names of fields stay.
pub(crate) fn spell_in_value(names: ToolNames, value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(spelled) = spell_in_text(names, text) {
                *text = spelled;
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| spell_in_value(names, item)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| spell_in_value(names, field)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use portkey_operation::ToolNames;

    use super::spell_in_text;

    #[test]
    fn names_of_tools_are_spelled_and_other_words_stay() {
        let text = "`list-all-configs`, get-config. x-portkey-api-key claude-3-5 /a/get-config read-result";
        assert_eq!(spell_in_text(ToolNames::Hyphen, text), text);
        assert_eq!(
            spell_in_text(ToolNames::Underscore, text),
            "`list_all_configs`, get_config. x-portkey-api-key claude-3-5 /a/get-config read_result"
        );
    }
}
