//! Checks that the paths of rules exist in the arguments of the rules' tools.
//!
//! A path that leads to nothing in any of them guards nothing, although its author believes that it
//! does.

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_operation::{did_you_mean, is_misspelling_of, is_same_name};
use serde_json::Value;

/// A path in a rule.
pub(super) struct Written {
    /// Location of the rule in the file, and the field that holds the path.
    pub(super) at: String,
    /// Path as written.
    pub(super) text: String,
    /// Field names in the path.
    pub(super) names: Vec<String>,
    pub(super) of: Of,
    /// Tools that the rule applies to, as indexes.
    pub(super) tools: Vec<usize>,
}

/// Document that a path is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// Arguments; names match in any spelling.
    Arguments,
    /// Arguments as an expression reads them; names match in the declared spelling only.
    Expression,
    /// Responses. Their fields are not declared, so only misspellings are reported.
    Answers,
}

/// Field names that occur in the responses of many operations, and in no arguments.
const OF_ANSWERS: [&str; 12] = [
    "created_at",
    "data",
    "email",
    "first_name",
    "has_more",
    "id",
    "last_name",
    "last_updated_at",
    "object",
    "owner",
    "total",
    "updated_at",
];

impl Written {
    /// Returns a warning if the path leads to nothing.
    pub(super) fn warning(&self, catalog: &Catalog, tools: &[&'static str]) -> Option<String> {
        let entries = || {
            let names = self.tools.iter().filter_map(|tool| tools.get(*tool));
            names.filter_map(|name| catalog.find(name).ok())
        };
        // A rule without a tool of this server guards nothing here; a warning says so already.
        entries().next()?;
        let hint = match self.of {
            Of::Answers => self.slip(entries)?,
            of => self.dead_end(of, entries)?,
        };
        let (at, text) = (&self.at, &self.text);
        let what = if self.of == Of::Answers {
            "answers"
        } else {
            "arguments"
        };
        Some(format!(
            "{at}: `{text}` leads to nothing in the {what} of the tools that the rule is about{hint}"
        ))
    }

    /// Returns the end of the warning if the path leads to no argument of any tool.
    fn dead_end<'a, I: Iterator<Item = &'a CatalogEntry>>(
        &self,
        of: Of,
        entries: impl Fn() -> I,
    ) -> Option<String> {
        let schema = |entry: &'a CatalogEntry| entry.compiled().full_schema();
        if entries().any(|entry| follow(schema(entry), &self.names, of).is_ok()) {
            return None;
        }
        // The tools in which the path leads furthest give the best suggestions.
        let ends: Vec<_> = entries()
            .filter_map(|entry| Some((follow(schema(entry), &self.names, of).err()?, entry)))
            .collect();
        let most = ends.iter().map(|(end, _)| end.steps).max()?;
        let furthest = || ends.iter().filter(|(end, _)| end.steps == most);
        let wrong = self.names.get(most)?;
        let near = furthest().find_map(|(end, _)| {
            Some(did_you_mean(wrong, end.known.iter().copied())).filter(|hint| !hint.is_empty())
        });
        // Otherwise the last name may exist at another place.
        let last = self.names.last()?;
        let elsewhere = || {
            furthest().find_map(|(_, entry)| {
                let mut place = None;
                collect(schema(entry), "", &mut |path, name| {
                    if is_same_name(name, last) {
                        place.get_or_insert_with(|| path.to_owned());
                    }
                });
                place.map(|place| format!(", did you mean `{place}`?"))
            })
        };
        Some(near.or_else(elsewhere).unwrap_or_default())
    }

    /// Returns the end of the warning if a name in the path misspells a field of responses.
    fn slip<'a, I: Iterator<Item = &'a CatalogEntry>>(&self, entries: impl Fn() -> I) -> Option<String> {
        let declared = || {
            entries().flat_map(|entry| {
                let operation = entry.operation;
                let paths = [
                    operation.secret_fields(),
                    operation.sensitive_fields(),
                    operation.one_time_secrets(),
                ];
                paths
                    .into_iter()
                    .flatten()
                    .flat_map(|path| path.split(['.', '[', ']']))
            })
        };
        let is_known = |name: &str| {
            OF_ANSWERS.iter().any(|known| is_same_name(known, name))
                || declared().any(|known| is_same_name(known, name))
        };
        let is_argument = |name: &str| {
            // Responses mostly repeat the arguments under the same names.
            entries().any(|entry| {
                let mut is_known = false;
                collect(entry.compiled().full_schema(), "", &mut |_, known| {
                    is_known |= is_same_name(known, name);
                });
                is_known
            })
        };
        let mut odd = self.names.iter().filter(|name| !is_known(name));
        odd.find_map(|name| {
            let mut known = OF_ANSWERS.into_iter().chain(declared());
            let meant = known.find(|known| is_misspelling_of(known, name))?;
            (!is_argument(name)).then(|| format!(", did you mean `{meant}`?"))
        })
    }
}

/// The point at which a path leads no further.
struct End<'a> {
    /// Number of names that were found.
    steps: usize,
    /// Names that exist in place of the next one.
    known: Vec<&'a str>,
}

/// Follows a path through a schema.
fn follow<'a>(mut schema: &'a Value, names: &[String], of: Of) -> Result<(), End<'a>> {
    for (steps, name) in names.iter().enumerate() {
        while let Some(items) = schema.get("items") {
            schema = items;
        }
        let known = schema.get("properties").and_then(Value::as_object);
        let is_meant = |known: &str| match of {
            Of::Expression => known == name,
            Of::Arguments | Of::Answers => is_same_name(known, name),
        };
        let field = known.and_then(|known| known.iter().find(|(known, _)| is_meant(known)));
        schema = match (field, schema.get("additionalProperties")) {
            (Some((_, field)), _) => field,
            (None, Some(values @ Value::Object(_))) => values,
            (None, Some(Value::Bool(true))) => return Ok(()),
            // A schema that declares no fields permits any.
            (None, None) if known.is_none() && may_be_object(schema) => return Ok(()),
            _ => {
                let known = known
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.as_str())
                    .collect();
                return Err(End { steps, known });
            }
        };
    }
    Ok(())
}

fn may_be_object(schema: &Value) -> bool {
    let is_object = |kind: &Value| kind == "object";
    schema.get("enum").is_none()
        && match schema.get("type") {
            None => true,
            Some(Value::Array(kinds)) => kinds.iter().any(is_object),
            Some(kind) => is_object(kind),
        }
}

/// Visits every field of a schema, at any depth, with its path.
fn collect(schema: &Value, at: &str, visit: &mut dyn FnMut(&str, &str)) {
    if let Some(items) = schema.get("items") {
        collect(items, at, visit);
    }
    let fields = schema.get("properties").and_then(Value::as_object);
    for (name, field) in fields.into_iter().flatten() {
        let path = if at.is_empty() {
            name.clone()
        } else {
            format!("{at}.{name}")
        };
        visit(&path, name);
        collect(field, &path, visit);
    }
}
