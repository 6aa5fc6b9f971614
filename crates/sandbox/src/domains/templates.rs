//! Templates: texts with `{{variables}}` and `{{>partials}}`.

use serde_json::{Value, json};

use crate::store::Item;

/// Maximum nesting depth of partials, which also stops recursion.
const MAX_PARTIAL_DEPTH: usize = 8;

/// A part of a template.
enum TemplatePart<'t> {
    /// Text between double braces.
    Tag(&'t str),
    /// Text outside of braces.
    Text(&'t str),
}

/// Splits a template into its parts, in order. Unclosed braces are text.
fn split_template(template: &str) -> Vec<TemplatePart<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, tail)) = rest.split_once("{{") {
        let Some((tag, after)) = tail.split_once("}}") else {
            break;
        };
        pieces.push(TemplatePart::Text(text));
        pieces.push(TemplatePart::Tag(tag.trim()));
        rest = after;
    }
    pieces.push(TemplatePart::Text(rest));
    pieces
}

/// Values for a template: variables by name, and partials by slug.
pub(super) struct TemplateValues<'f> {
    /// Values of the variables.
    pub(super) variables: &'f Item,
    /// Returns the text of a partial, if it exists.
    pub(super) partial: &'f dyn Fn(&str) -> Option<String>,
}

impl TemplateValues<'_> {
    /// Fills a template. Missing values are empty, and sections are not evaluated.
    pub(super) fn fill(&self, template: &str) -> String {
        self.fill_within(template, MAX_PARTIAL_DEPTH)
    }

    fn fill_within(&self, template: &str, depth: usize) -> String {
        let filled = split_template(template)
            .into_iter()
            .map(|piece| match piece {
                TemplatePart::Text(text) => text.to_owned(),
                TemplatePart::Tag(tag) => match (tag.strip_prefix('>'), depth.checked_sub(1)) {
                    (Some(slug), Some(depth)) => {
                        let text = (self.partial)(slug.trim()).unwrap_or_default();
                        self.fill_within(&text, depth)
                    }
                    (Some(_), None) => String::new(),
                    (None, _) => self
                        .variables
                        .get(tag)
                        .map(value_as_text)
                        .unwrap_or_default(),
                },
            });
        filled.collect()
    }

    /// Fills all texts in a value.
    pub(super) fn fill_all(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill(text).into(),
            Value::Array(items) => items.iter().map(|item| self.fill_all(item)).collect(),
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.fill_all(value)));
                Value::Object(fields.collect())
            }
            other => other.clone(),
        }
    }
}

/// Formats a value for insertion into a text.
pub(super) fn value_as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Returns the names that a template uses, in the format of a prompt's `variable_components`.
pub(super) fn template_components(template: &str) -> Value {
    let mut variables = Vec::new();
    let mut partials = Vec::new();
    let mut sections = Vec::new();
    for piece in split_template(template) {
        let TemplatePart::Tag(tag) = piece else {
            continue;
        };
        let (list, name) = match tag.split_at_checked(1) {
            Some((">", slug)) => (&mut partials, slug.trim()),
            Some(("#" | "^", name)) => (&mut sections, name.trim()),
            Some(("/", _)) | None => continue,
            Some(_) => (&mut variables, tag),
        };
        if !list.contains(&name) {
            list.push(name);
        }
    }
    json!({
        "partials": partials,
        "sections": sections,
        "variables": variables,
        "sectionVariables": {},
        "variablePartials": [],
    })
}
