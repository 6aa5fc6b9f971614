//! Checks that the paths of rules exist in the arguments of the rules' tools.
//!
//! A path that leads to nothing in any of them guards nothing, although its author believes that it
//! does.

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_operation::{did_you_mean, is_misspelling_of, is_same_name};
use serde_json::Value;

use super::normalize::RuleDraft;
use crate::{condition::Operand, limit::LimitAmount, path::FieldPath, rule::Rule};

/// A path in a rule.
pub(super) struct RulePath {
    /// Location of the rule in the file, and the field that holds the path.
    pub(super) location: String,
    /// Path as written.
    pub(super) text: String,
    /// Field names in the path.
    pub(super) names: Vec<String>,
    pub(super) target: PathTarget,
    /// Tools that the rule applies to, as indexes.
    pub(super) tools: Vec<usize>,
}

/// Another name of an argument in a path.
pub(super) struct PathAlias<'a> {
    /// The list whose items have the name; `None` for a name among the arguments.
    pub(super) list: Option<&'static str>,
    pub(super) name: &'a str,
    /// Path of the argument, from the item if there is a list.
    pub(super) target: &'static str,
}

/// Document that a path is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathTarget {
    /// Arguments; names match in any spelling.
    Arguments,
    /// Arguments as an expression reads them; names match in the declared spelling only.
    ExpressionArguments,
    /// Responses. Their fields are not declared, so only misspellings are reported.
    Responses,
}

/// Field names that occur in the responses of many operations, and in no arguments.
const COMMON_RESPONSE_FIELDS: [&str; 12] = [
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

impl RulePath {
    /// Returns a warning if the path leads to nothing.
    pub(super) fn warning(&self, catalog: &Catalog, tools: &[&'static str]) -> Option<String> {
        let entries = || {
            let names = self.tools.iter().filter_map(|tool| tools.get(*tool));
            names.filter_map(|name| catalog.find(name).ok())
        };
        // A rule without a tool of this server guards nothing here; a warning says so already.
        entries().next()?;
        if let Some(alias) = entries().find_map(|entry| self.alias_of(entry)) {
            let at = &self.location;
            let prefix = alias.list.map(|list| format!("{list}[]."));
            let prefix = prefix.unwrap_or_default();
            let PathAlias { name, target, .. } = alias;
            return Some(format!(
                "{at}: `{prefix}{name}` is another name of `{prefix}{target}`; write that one"
            ));
        }
        let hint = match self.target {
            PathTarget::Responses => self.misspelling_hint(entries)?,
            target => self.dead_end_hint(target, entries)?,
        };
        let at = &self.location;
        let text = &self.text;
        let what = if self.target == PathTarget::Responses {
            "answers"
        } else {
            "arguments"
        };
        Some(format!(
            "{at}: `{text}` leads to nothing in the {what} of the tools that the rule is about{hint}"
        ))
    }

    /// Returns the other name of an argument that the path uses, if it uses one.
    pub(super) fn alias_of(&self, entry: &CatalogEntry) -> Option<PathAlias<'_>> {
        let name = self.names.first()?;
        if self.target == PathTarget::Responses {
            return None;
        }
        if entry.operation.may_alias_argument(name)
            && let Some(target) = entry.compiled().resolve_argument_alias(name)
        {
            return Some(PathAlias {
                list: None,
                name,
                target,
            });
        }
        let within = self.names.get(1)?;
        if !entry.operation.has_item_aliases() {
            return None;
        }
        let (list, target) = entry.compiled().resolve_item_alias(name, within)?;
        Some(PathAlias {
            list: Some(list),
            name: within,
            target,
        })
    }

    /// Returns the end of the warning if the path leads to no argument of any tool.
    fn dead_end_hint<'a, I: Iterator<Item = &'a CatalogEntry>>(
        &self,
        target: PathTarget,
        entries: impl Fn() -> I,
    ) -> Option<String> {
        let schema = |entry: &'a CatalogEntry| entry.compiled().full_schema();
        let leads_on =
            |entry: &&'a CatalogEntry| resolve_path(schema(entry), &self.names, target).is_ok();
        // Some tools take any further argument, which says nothing about the others.
        let is_declared = |entry: &&'a CatalogEntry| {
            let properties = schema(entry).get("properties").and_then(Value::as_object);
            let first = self.names.first();
            properties.into_iter().flatten().any(|(name, _)| {
                first.is_some_and(|first| name == first || is_same_name(name, first))
            })
        };
        if entries().any(|entry| is_declared(&entry) && leads_on(&entry))
            || entries().all(|entry| leads_on(&entry))
        {
            return None;
        }
        // The tools in which the path leads furthest give the best suggestions.
        let ends: Vec<_> = entries()
            .filter_map(|entry| {
                Some((
                    resolve_path(schema(entry), &self.names, target).err()?,
                    entry,
                ))
            })
            .collect();
        let max_depth = ends.iter().map(|(end, _)| end.depth).max()?;
        let furthest = || ends.iter().filter(|(end, _)| end.depth == max_depth);
        let wrong = self.names.get(max_depth)?;
        let near = furthest().find_map(|(end, _)| {
            Some(did_you_mean(wrong, end.alternatives.iter().copied()))
                .filter(|hint| !hint.is_empty())
        });
        // Otherwise the last name may exist at another place.
        let last = self.names.last()?;
        let find_elsewhere = || {
            furthest().find_map(|(_, entry)| {
                let mut place = None;
                visit_fields(schema(entry), "", &mut |path, name| {
                    if is_same_name(name, last) {
                        place.get_or_insert_with(|| path.to_owned());
                    }
                });
                place.map(|place| format!(", did you mean `{place}`?"))
            })
        };
        Some(near.or_else(find_elsewhere).unwrap_or_default())
    }

    /// Returns the end of the warning if a name in the path misspells a field of responses.
    fn misspelling_hint<'a, I: Iterator<Item = &'a CatalogEntry>>(
        &self,
        entries: impl Fn() -> I,
    ) -> Option<String> {
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
            COMMON_RESPONSE_FIELDS
                .iter()
                .any(|known| is_same_name(known, name))
                || declared().any(|known| is_same_name(known, name))
        };
        let is_argument = |name: &str| {
            // Responses mostly repeat the arguments under the same names.
            entries().any(|entry| {
                let mut is_known = false;
                visit_fields(entry.compiled().full_schema(), "", &mut |_, known| {
                    is_known |= is_same_name(known, name);
                });
                is_known
            })
        };
        let mut odd = self.names.iter().filter(|name| !is_known(name));
        odd.find_map(|name| {
            let mut known = COMMON_RESPONSE_FIELDS.into_iter().chain(declared());
            let meant = known.find(|known| is_misspelling_of(known, name))?;
            (!is_argument(name)).then(|| format!(", did you mean `{meant}`?"))
        })
    }
}

/// Collects the paths of a rule with their locations.
pub(super) fn collect_paths(rule: &Rule, draft: &RuleDraft) -> Vec<RulePath> {
    let location = draft.described_location();
    let build_path = |field: &str, text: &str, names: Vec<String>, target| RulePath {
        location: format!("{location}: {field}"),
        text: text.to_owned(),
        names,
        target,
        tools: draft.selected.clone(),
    };
    let names = |path: &FieldPath| path.names().map(str::to_owned).collect();
    let mut paths = Vec::new();
    for cap in &rule.caps {
        paths.push(build_path(
            "cap",
            &cap.text,
            names(&cap.path),
            PathTarget::Arguments,
        ));
    }
    for condition in &rule.conditions {
        if let Operand::Argument(path) = &condition.operand {
            let text = &condition.path;
            paths.push(build_path(
                "conditions",
                text,
                names(path),
                PathTarget::Arguments,
            ));
        }
    }
    for limit in &rule.limits {
        if let LimitAmount::FromArgument(path, text) = &limit.amount {
            let target = PathTarget::Arguments;
            paths.push(build_path("increment_from", text, names(path), target));
        }
    }
    for names in rule.when.iter().flat_map(|when| &when.arguments) {
        let text = format!("args.{}", names.join("."));
        let target = PathTarget::ExpressionArguments;
        paths.push(build_path("when", &text, names.clone(), target));
    }
    let redactions = draft.rule.redact.iter().flatten();
    for (path, text) in rule.redactions.iter().zip(redactions) {
        paths.push(build_path(
            "redact",
            text,
            names(path),
            PathTarget::Responses,
        ));
    }
    paths
}

/// The point at which a path leads no further.
struct DeadEnd<'a> {
    /// Number of names that were found.
    depth: usize,
    /// Names that exist in place of the next one.
    alternatives: Vec<&'a str>,
}

/// Follows a path through a schema.
fn resolve_path<'a>(
    mut schema: &'a Value,
    names: &[String],
    target: PathTarget,
) -> Result<(), DeadEnd<'a>> {
    for (steps, name) in names.iter().enumerate() {
        while let Some(items) = schema.get("items") {
            schema = items;
        }
        let known = schema.get("properties").and_then(Value::as_object);
        let is_match = |known: &str| match target {
            PathTarget::ExpressionArguments => known == name,
            PathTarget::Arguments | PathTarget::Responses => is_same_name(known, name),
        };
        let field = known.and_then(|known| known.iter().find(|(known, _)| is_match(known)));
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
                return Err(DeadEnd {
                    depth: steps,
                    alternatives: known,
                });
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
fn visit_fields(schema: &Value, at: &str, visit: &mut dyn FnMut(&str, &str)) {
    if let Some(items) = schema.get("items") {
        visit_fields(items, at, visit);
    }
    let fields = schema.get("properties").and_then(Value::as_object);
    for (name, field) in fields.into_iter().flatten() {
        let path = if at.is_empty() {
            name.clone()
        } else {
            format!("{at}.{name}")
        };
        visit(&path, name);
        visit_fields(field, &path, visit);
    }
}
