//! Templates: texts with `{{variables}}` in them, and with `{{>partials}}`.

use serde_json::{Value, json};

use crate::store::Item;

/// How deep partials may stand inside each other; a partial that includes itself ends here.
const DEEPEST: usize = 8;

/// A part of a template.
enum Piece<'t> {
    /// What stands between the braces.
    Tag(&'t str),
    /// What stands outside.
    Text(&'t str),
}

/// The parts of a template, in order. Braces that are never closed are text.
fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, tail)) = rest.split_once("{{") {
        let Some((tag, after)) = tail.split_once("}}") else {
            break;
        };
        pieces.push(Piece::Text(text));
        pieces.push(Piece::Tag(tag.trim()));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// What fills a template: values by name, and texts by the slug of their partial.
pub(super) struct Filling<'f> {
    /// The values.
    pub(super) variables: &'f Item,
    /// The text of a partial, if there is one.
    pub(super) partial: &'f dyn Fn(&str) -> Option<String>,
}

impl Filling<'_> {
    /// A template filled. What has no value is left empty; blocks are not carried out.
    pub(super) fn fill(&self, template: &str) -> String {
        self.fill_within(template, DEEPEST)
    }

    fn fill_within(&self, template: &str, depth: usize) -> String {
        let filled = pieces(template).into_iter().map(|piece| match piece {
            Piece::Text(text) => text.to_owned(),
            Piece::Tag(tag) => match (tag.strip_prefix('>'), depth.checked_sub(1)) {
                (Some(slug), Some(depth)) => {
                    let text = (self.partial)(slug.trim()).unwrap_or_default();
                    self.fill_within(&text, depth)
                }
                (Some(_), None) => String::new(),
                (None, _) => self.variables.get(tag).map(plain).unwrap_or_default(),
            },
        });
        filled.collect()
    }

    /// Every text in a value filled.
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

/// A value as it stands in a text.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The names a template uses, as prompts are read with them.
pub(super) fn components(template: &str) -> Value {
    let (mut variables, mut partials, mut sections) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces(template) {
        let Piece::Tag(tag) = piece else { continue };
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
