//! What an identifier can be: asked of the list it stands in, as whoever completes it, and kept for a moment.

use std::{collections::HashMap, sync::Arc, time::Duration};

use moka::sync::Cache;
use serde_json::Value;
use tracing::debug;

use crate::{
    catalog::Entry,
    dispatch::{Call, Dispatcher, Record},
    operation::JsonMap,
    principal::Principal,
    request::Arrival,
    resources::Kind,
};

/// How long what was listed is kept.
pub(crate) const KEPT: Duration = Duration::from_secs(30);
/// Bound on what is kept, in bytes of names and values.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// Bound on a page; the smallest that any list has (quirks.md §4.6).
const PAGE: usize = 100;
/// Bound on the pages that are read of a list.
const MOST_PAGES: usize = 5;
/// Bound on a value or a name, in bytes: longer ones are no identifiers (quirks.md §5.6).
const LONGEST: usize = 255;
/// What the argument for a workspace is called, in tools and in prompts.
const WORKSPACE: [&str; 3] = ["workspace_id", "workspace", "workspace_slug"];

/// Completes identifiers; cheap to clone, and clones share what they keep.
#[derive(Clone, Debug)]
pub struct Completer {
    kept: Cache<Key, Arc<[Candidate]>>,
}

/// Whose list, which, and under which policies: nobody gets to see what another may.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    caller: Arc<str>,
    list: &'static str,
    workspace: Option<String>,
    policies: String,
}

/// An identifier, and what people call what it names.
#[derive(Clone, Debug)]
struct Candidate {
    value: String,
    name: String,
}

/// Who completes something, and what is known beside it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Carries out the call of the list.
    pub dispatcher: &'a Dispatcher,
    /// Who asks.
    pub principal: &'a Principal,
    /// How the request came.
    pub arrival: &'a Arrival,
    /// The arguments that are filled in already.
    pub chosen: &'a HashMap<String, String>,
}

impl Default for Completer {
    fn default() -> Self {
        let weigh = |key: &Key, found: &Arc<[Candidate]>| {
            let workspace = key.workspace.as_ref().map_or(0, String::len);
            let bytes = found.iter().map(|one| one.value.len() + one.name.len() + 64);
            u32::try_from(bytes.sum::<usize>() + workspace + 256).unwrap_or(u32::MAX)
        };
        let kept = Cache::builder().time_to_live(KEPT).max_capacity(MAX_BYTES as u64);
        Self { kept: kept.weigher(weigh).build() }
    }
}

impl Completer {
    /// The identifiers of a domain's things that fit what is typed. Whatever goes wrong leaves none: a
    /// completion is a help and no answer.
    pub async fn things(&self, asker: Asker<'_>, domain: &str, typed: &str) -> Vec<String> {
        let catalog = asker.dispatcher.catalog();
        let kinds = Kind::all(catalog);
        let Some(list) = kinds.get(domain).and_then(|kind| kind.list(catalog)) else {
            return Vec::new();
        };
        // Before what is kept is looked at: the request may be narrower than the last one.
        if !asker.dispatcher.is_open(asker.principal, list) {
            return Vec::new();
        }
        let workspace = WORKSPACE.iter().find_map(|name| asker.chosen.get(*name));
        // No identifier is so long, and it would be kept.
        if workspace.is_some_and(|workspace| workspace.len() > LONGEST) {
            return Vec::new();
        }
        let key = Key {
            caller: asker.principal.name.clone(),
            list: list.operation.name(),
            workspace: workspace.cloned(),
            policies: asker.dispatcher.revisions(asker.principal),
        };
        // No workspace is called so, and the name would be kept.
        if key.workspace.as_ref().is_some_and(|workspace| workspace.len() > LONGEST) {
            return Vec::new();
        }
        let found = match self.kept.get(&key) {
            Some(found) => found,
            None => {
                let Some(found) = listed(asker, list, key.workspace.as_deref()).await else {
                    return Vec::new();
                };
                let found: Arc<[Candidate]> = found.into();
                self.kept.insert(key, found.clone());
                found
            }
        };
        let names = found.iter().map(|one| (one.value.as_str(), one.name.as_str()));
        matching(names, typed)
    }
}

/// Those of which value or name has what is typed, whatever its case; where one begins with it, first.
pub fn matching<'a>(
    candidates: impl Iterator<Item = (&'a str, &'a str)>,
    typed: &str,
) -> Vec<String> {
    let typed = typed.trim();
    if typed.len() > LONGEST {
        return Vec::new();
    }
    let typed = typed.to_lowercase();
    let (mut first, mut then) = (Vec::new(), Vec::new());
    for (value, name) in candidates {
        let either = [value.to_lowercase(), name.to_lowercase()];
        if either.iter().any(|text| text.starts_with(&typed)) {
            first.push(value.to_owned());
        } else if either.iter().any(|text| text.contains(&typed)) {
            then.push(value.to_owned());
        }
    }
    first.append(&mut then);
    first
}

/// What a list has, as far as it is read; none where it does not answer.
async fn listed(asker: Asker<'_>, list: &Entry, workspace: Option<&str>) -> Option<Vec<Candidate>> {
    let takes = |name: &str| {
        let fields = list.published().full_schema().get("properties");
        fields.is_some_and(|fields| fields.get(name).is_some())
    };
    let paging = [("current_page", "page_size"), ("currentPage", "pageSize")];
    let paging = paging.into_iter().find(|(page, _)| takes(page));
    let mut all = Vec::new();
    for page in 0..MOST_PAGES {
        let mut args = JsonMap::new();
        if let Some(workspace) = workspace.filter(|_| takes("workspace_id")) {
            args.insert("workspace_id".to_owned(), workspace.into());
        }
        if let Some((number, size)) = paging {
            args.insert(number.to_owned(), page.into());
            args.insert(size.to_owned(), PAGE.into());
        }
        let Asker { dispatcher, principal, arrival, .. } = asker;
        let call = Call { principal, arrival, name: list.operation.name(), args, answer: None };
        let answer = match dispatcher.recorded(call, &mut Record::default()).await {
            Ok(answer) => answer,
            Err(error) => {
                debug!(tool = list.operation.name(), why = %error, "nothing to complete from");
                return None;
            }
        };
        let items = items(&answer);
        all.extend(items.iter().filter_map(candidate));
        if paging.is_none() || items.len() < PAGE {
            break;
        }
    }
    Some(all)
}

/// The items of a list, wherever its answer has them (quirks.md §4.8).
fn items(answer: &Value) -> &[Value] {
    let all =
        std::iter::once(answer).chain(answer.as_object().into_iter().flat_map(|map| map.values()));
    all.filter_map(Value::as_array).next().map_or(&[], Vec::as_slice)
}

fn candidate(item: &Value) -> Option<Candidate> {
    let text = |names: &[&str]| {
        let texts = names.iter().filter_map(|name| item.get(*name)?.as_str());
        texts.filter(|text| (1..=LONGEST).contains(&text.len())).map(str::to_owned).next()
    };
    // A slug is what people read, and every argument that has one takes it (quirks.md §5.2).
    let value = text(&["slug", "id"])?;
    Some(Candidate { value, name: text(&["name", "email"]).unwrap_or_default() })
}
