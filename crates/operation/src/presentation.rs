//! How operations are shown to clients: the form of their schemas, and an operator's own words.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{JsonMap, Profile, Published};

/// How many characters a description may have: clients cut longer ones.
const LONGEST: usize = 2048;

/// How operations are shown.
#[derive(Clone, Debug, Default)]
pub struct Presentation {
    /// The form of schemas.
    pub profile: Profile,
    /// Words to put in the place of ours, by the names of tools.
    pub wording: BTreeMap<String, Wording>,
}

/// The words of one tool that clients read; those left out stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Wording {
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The descriptions of its arguments, by path: `name`, `usage_limits.type`, and `models[].slug` for what
    /// is in a list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, String>,
}

/// Words that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordingError {
    /// They are empty, or longer than clients read.
    #[error("{what} has {characters} characters; give 1 to {LONGEST}")]
    Length {
        /// What they are of.
        what: String,
        /// How many there are.
        characters: usize,
    },
    /// They are of an argument that the tool does not show.
    #[error("the tool shows no argument `{path}` in this form of schemas")]
    NoArgument {
        /// Where it would be.
        path: String,
    },
}

impl Wording {
    /// The words of a tool as they are.
    pub fn of(published: &Published) -> Self {
        let mut arguments = BTreeMap::new();
        collect(published.schema(), "", &mut arguments);
        Self {
            title: Some(published.title.clone()),
            description: Some(published.description.clone()),
            arguments,
        }
    }

    /// Looks whether the words can be put on a tool.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self, published: &Published) -> Result<(), WordingError> {
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
            if !(1..=LONGEST).contains(&characters) {
                return Err(WordingError::Length {
                    what: format!("`{what}`"),
                    characters,
                });
            }
        }
        let mut schema = published.schema().as_ref().clone();
        for path in self.arguments.keys() {
            if argument(&mut schema, path).is_none() {
                return Err(WordingError::NoArgument { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Puts the words in the place of a tool's own.
    pub(super) fn put_on(&self, published: &mut Published) {
        if let Some(title) = &self.title {
            published.title.clone_from(title);
        }
        if let Some(description) = &self.description {
            published.description.clone_from(description);
        }
        let schema = Arc::make_mut(&mut published.schema);
        for (path, text) in &self.arguments {
            if let Some(argument) = argument(schema, path) {
                argument.insert("description".to_owned(), text.as_str().into());
            }
        }
    }
}

/// The schema of what stands at a path.
fn argument<'a>(schema: &'a mut JsonMap, path: &str) -> Option<&'a mut JsonMap> {
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

/// Every description below a schema, by its path.
fn collect(schema: &JsonMap, at: &str, found: &mut BTreeMap<String, String>) {
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
            collect(shown, &path, found);
            path += "[]";
            field = shown.get("items").and_then(Value::as_object);
        }
    }
}
