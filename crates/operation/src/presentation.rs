//! Presentation of operations to clients: the schema profile, and descriptions that an operator
//! replaces.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CompiledOperation, JsonMap, Profile, compiled_operation::summarize};

/// The maximum length of a description in characters. Clients cut longer ones.
const MAX_DESCRIPTION_CHARS: usize = 2048;

/// The presentation of all operations to clients.
#[derive(Clone, Debug, Default)]
pub struct Presentation {
    /// The profile in which schemas are published.
    pub profile: Profile,
    /// Replacements of the built-in descriptions, by tool name.
    pub wording: BTreeMap<String, Wording>,
    /// The spelling of tool names in lists. Calls accept each spelling.
    pub tool_names: ToolNames,
}

/// The spelling of tool names in lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolNames {
    /// `list-all-configs`, as tools are declared.
    #[default]
    Hyphen,
    /// `list_all_configs`, for clients that accept no hyphens.
    Underscore,
}

impl ToolNames {
    /// Returns the name of a tool in this spelling.
    pub fn spell(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Hyphen => Cow::Borrowed(name),
            Self::Underscore => Cow::Owned(name.replace('-', "_")),
        }
    }
}

/// Replacements of one tool's descriptions. Absent fields keep the built-in text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Wording {
    /// The title of the tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The description of the tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The descriptions of the arguments, by path: `name`, `usage_limits.type`, and `models[].slug`
    /// for a field of list items.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, String>,
}

/// The reason why a replacement is rejected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordingError {
    /// The text is empty, or longer than clients read.
    #[error("{what} has {characters} characters; give 1 to {MAX_DESCRIPTION_CHARS}")]
    Length {
        /// The replaced field or argument.
        what: String,
        /// The length of the text in characters.
        characters: usize,
    },
    /// The published schema has no such argument.
    #[error("the tool shows no argument `{path}` in this form of schemas")]
    NoArgument {
        /// The path that was given.
        path: String,
    },
}

impl Wording {
    /// Collects the current descriptions of a tool.
    pub fn from_operation(published: &CompiledOperation) -> Self {
        let mut arguments = BTreeMap::new();
        collect_descriptions(published.schema(), "", &mut arguments);
        Self {
            title: Some(published.title.clone()),
            description: Some(published.description.clone()),
            arguments,
        }
    }

    /// Checks that the replacements apply to a tool.
    ///
    /// # Errors
    /// Returns the first replacement that is too short, too long, or names an unknown argument.
    pub fn check(&self, published: &CompiledOperation) -> Result<(), WordingError> {
        let own = [("title", &self.title), ("description", &self.description)];
        let own = own
            .into_iter()
            .filter_map(|(what, text)| Some((what, text.as_ref()?)));
        let arguments = self
            .arguments
            .iter()
            .map(|(path, text)| (path.as_str(), text));
        for (what, text) in own.chain(arguments) {
            let characters = text.trim().chars().count();
            if !(1..=MAX_DESCRIPTION_CHARS).contains(&characters) {
                return Err(WordingError::Length {
                    what: format!("`{what}`"),
                    characters,
                });
            }
        }
        let mut schema = published.schema().as_ref().clone();
        for path in self.arguments.keys() {
            if find_argument(&mut schema, path).is_none() {
                return Err(WordingError::NoArgument { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Replaces the descriptions of a tool.
    pub(super) fn apply_to(&self, published: &mut CompiledOperation) {
        if let Some(title) = &self.title {
            published.title.clone_from(title);
        }
        if let Some(description) = &self.description {
            published.description.clone_from(description);
            published.summary = summarize(description);
        }
        let schema = Arc::make_mut(&mut published.schema);
        for (path, text) in &self.arguments {
            if let Some(argument) = find_argument(schema, path) {
                argument.insert("description".to_owned(), text.as_str().into());
            }
        }
    }
}

/// Returns the schema at a path.
fn find_argument<'a>(schema: &'a mut JsonMap, path: &str) -> Option<&'a mut JsonMap> {
    path.split('.').try_fold(schema, |schema, step| {
        let name = step.trim_end_matches("[]");
        let lists = (step.len() - name.len()) / 2;
        let field = schema
            .get_mut("properties")?
            .as_object_mut()?
            .get_mut(name)?;
        let field = (0..lists).try_fold(field, |field, _| field.get_mut("items"));
        field?.as_object_mut()
    })
}

/// Collects every description below a schema, by path.
fn collect_descriptions(schema: &JsonMap, at: &str, found: &mut BTreeMap<String, String>) {
    for (name, field) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let mut path = if at.is_empty() {
            name.clone()
        } else {
            format!("{at}.{name}")
        };
        let mut field = field.as_object();
        while let Some(shown) = field {
            if let Some(text) = shown.get("description").and_then(Value::as_str) {
                found.insert(path.clone(), text.to_owned());
            }
            collect_descriptions(shown, &path, found);
            path += "[]";
            field = shown.get("items").and_then(Value::as_object);
        }
    }
}
