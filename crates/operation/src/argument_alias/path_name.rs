//! Other names of the entities in a path: `prompt_slug` for `prompt_id`, `config_slug` for the
//! `slug` of a config.
//!
//! The path gives them, because each SDK has its own habit. Where an id and a slug are both accepted,
//! they name the same entity.

use super::{
    super::{Operation, is_same_name},
    ArgumentAlias, alias, slug_alias,
};

/// The other name of an argument in the path.
#[derive(Clone, Debug)]
pub(super) struct PathName {
    name: String,
    alias: ArgumentAlias,
}

impl PathName {
    /// Returns the alias that stands for the argument, if the name is meant.
    pub(super) fn find(&self, name: &str) -> Option<&ArgumentAlias> {
        is_same_name(&self.name, name).then_some(&self.alias)
    }

    /// Collects the names of an operation. `is_argument` tells whether it has an argument of a name.
    pub(super) fn collect(
        operation: &Operation,
        is_argument: impl Fn(&str) -> bool,
    ) -> Vec<PathName> {
        let mut names: Vec<PathName> = Vec::new();
        let mut segments = operation.path().split('/').peekable();
        while let Some(segment) = segments.next() {
            let Some(placeholder) = segments.peek().copied().and_then(find_placeholder) else {
                continue;
            };
            let entity = segment.strip_suffix('s').unwrap_or(segment);
            let found = match placeholder.strip_suffix("_id") {
                Some(stem) => vec![
                    format!("{stem}_slug"),
                    format!("{entity}_id"),
                    format!("{entity}_slug"),
                ],
                None if placeholder == "id" => vec![format!("{entity}_id")],
                None if placeholder == "slug" => {
                    vec![format!("{entity}_slug"), format!("{entity}_id")]
                }
                None => Vec::new(),
            };
            for name in found {
                let is_known = |known: &PathName| is_same_name(&known.name, &name);
                if !is_argument(&name) && !names.iter().any(is_known) {
                    let is_id_of_slug = placeholder == "slug" && name.ends_with("_id");
                    let alias = match is_id_of_slug {
                        true => slug_alias(""),
                        false => alias("", placeholder),
                    };
                    names.push(PathName { name, alias });
                }
            }
        }
        names
    }
}

fn find_placeholder(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}
