//! Search for operations: typical tasks find the expected operations.
//!
//! `tests/data/search.json` contains tasks in everyday words, each with its expected operations.
//! Those marked `held_out` are not for tuning: they show whether the others are overfitted. A task may expect a
//! workflow, which is then looked for among the tools that a search names beside the operations.

use std::{collections::BTreeSet, fs};

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    mcp::{
        search::{SearchHit, SearchIndex},
        surface::builtin_tools,
    },
    workflows::{Listing, WORKFLOWS},
};
use serde::Deserialize;

use crate::support::catalogs::default_catalog;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    task: String,
    want: Vec<String>,
    #[serde(default)]
    held_out: bool,
    /// Language of a task for a workflow that is not English.
    language: Option<String>,
}

fn read_tasks() -> Vec<Task> {
    serde_json::from_str(&fs::read_to_string("tests/data/search.json").unwrap()).unwrap()
}

fn operation_names(hits: &[SearchHit]) -> Vec<&'static str> {
    hits.iter().map(|hit| hit.operation.name()).collect()
}

fn find_names(index: &SearchIndex, words: &str, most: usize) -> Vec<&'static str> {
    operation_names(&index.search(words, most))
}

/// Returns true if a name is that of a workflow.
fn is_workflow(name: &str) -> bool {
    let mut names = WORKFLOWS.iter().map(|workflow| workflow.operation.name());
    names.any(|workflow| workflow == name)
}

/// Returns the tasks that expect an operation.
fn operation_tasks() -> Vec<Task> {
    let mut tasks = read_tasks();
    tasks.retain(|task| !task.want.iter().any(|name| is_workflow(name)));
    tasks
}

/// Counts the tasks with an expected operation among the first five results, and as the first.
fn count_found(index: &SearchIndex, tasks: &[&Task]) -> (usize, usize) {
    count_found_by(|task| find_names(index, task, 5), tasks)
}

/// Counts the tasks with an expected name among those that are found, and as the first.
fn count_found_by(find: impl Fn(&str) -> Vec<&'static str>, tasks: &[&Task]) -> (usize, usize) {
    let mut among = 0;
    let mut first = 0;
    for Task { task, want, .. } in tasks {
        let found = find(task);
        let place = found
            .iter()
            .position(|name| want.iter().any(|want| want == name));
        among += usize::from(place.is_some());
        first += usize::from(place == Some(0));
        if place.is_none() {
            eprintln!("missed: {task}\n  wanted {want:?}\n  found  {found:?}");
        }
    }
    eprintln!("{} tasks, {among} found, {first} first", tasks.len());
    (among, first)
}

#[test]
fn search_tasks_find_the_expected_operations() {
    let full = Catalog::full();
    let default = default_catalog();
    let (full_index, default_index) = (
        SearchIndex::from_entries(full.iter()),
        SearchIndex::from_entries(default.iter()),
    );
    let tasks = operation_tasks();
    // Preview operations are off by default, and then compete with nothing.
    let wants_preview = |task: &&Task| {
        let mut wanted = task.want.iter();
        wanted.any(|name| !full.find(name).unwrap().operation.is_stable())
    };
    let (previews, stable): (Vec<_>, Vec<_>) = tasks.iter().partition(wants_preview);
    let (held_out, known): (Vec<_>, Vec<_>) = stable.into_iter().partition(|task| task.held_out);
    assert!(
        known.len() >= 160 && held_out.len() >= 40,
        "too few to tell"
    );
    for (which, index, min_first, tasks) in [
        ("known", &default_index, 80, known),
        ("held out", &default_index, 80, held_out),
        ("previews", &full_index, 60, previews),
    ] {
        let (among, first) = count_found(index, &tasks);
        assert!(
            among * 100 >= tasks.len() * 95,
            "{which}: {among} of {} in five",
            tasks.len()
        );
        assert!(
            first * 100 >= tasks.len() * min_first,
            "{which}: {first} of {} first",
            tasks.len()
        );
    }
}

/// Minimum percentage of operations that some task expects. A new operation may have no task until a maintainer
/// adds one.
const MIN_COVERED_PERCENT: usize = 95;

#[test]
fn search_tasks_cover_nearly_every_operation() {
    let catalog = Catalog::full();
    let tasks = read_tasks();
    let of_operations = operation_tasks();
    let wanted: BTreeSet<_> = of_operations
        .iter()
        .flat_map(|task| &task.want)
        .map(String::as_str)
        .collect();
    let known: BTreeSet<_> = catalog.iter().map(|entry| entry.operation.name()).collect();
    let strange: Vec<_> = wanted.difference(&known).collect();
    assert!(strange.is_empty(), "no operations: {strange:?}");
    let forgotten: Vec<_> = known.difference(&wanted).collect();
    if !forgotten.is_empty() {
        eprintln!("maintainers: tests/data/search.json has no task for {forgotten:?}");
    }
    assert!(
        forgotten.len() * 100 <= known.len() * (100 - MIN_COVERED_PERCENT),
        "too many operations are in no task of tests/data/search.json, to which maintainers add them: \
         {forgotten:?}"
    );
    let distinct: BTreeSet<_> = tasks.iter().map(|task| task.task.to_lowercase()).collect();
    assert_eq!(distinct.len(), tasks.len(), "a task stands twice");
}

#[test]
fn search_tasks_find_the_expected_workflows() {
    let catalog = default_catalog();
    let index = SearchIndex::from_entries_and_tools(catalog.iter(), builtin_tools());
    let mut tasks = read_tasks();
    tasks.retain(|task| task.want.iter().any(|name| is_workflow(name)));
    for workflow in WORKFLOWS
        .iter()
        .filter(|workflow| workflow.listing != Listing::Nowhere)
    {
        let name = workflow.operation.name();
        let of_it = tasks
            .iter()
            .filter(|task| task.want.iter().any(|want| want == name));
        assert!(of_it.count() >= 4, "{name} has fewer than four tasks");
    }
    let foreign = tasks.iter().filter(|task| task.language.is_some());
    assert!(
        foreign.count() * 3 >= tasks.len(),
        "too few in other languages"
    );
    let (held_out, known): (Vec<_>, Vec<_>) = tasks.iter().partition(|task| task.held_out);
    for (which, tasks) in [("known", known), ("held out", held_out)] {
        let find = |task: &str| operation_names(&index.search_all(task, |_| true).tools);
        let (among, first) = count_found_by(find, &tasks);
        assert!(
            among * 100 >= tasks.len() * 80,
            "{which}: {among} of {}",
            tasks.len()
        );
        assert!(
            first * 100 >= tasks.len() * 75,
            "{which}: {first} of {} first",
            tasks.len()
        );
    }
}

#[test]
fn every_operation_is_found_by_name_and_title() {
    let full = Catalog::full();
    let default = default_catalog();
    let (full_index, default_index) = (
        SearchIndex::from_entries(full.iter()),
        SearchIndex::from_entries(default.iter()),
    );
    for entry in full.iter() {
        let index = match entry.operation.is_stable() {
            true => &default_index,
            false => &full_index,
        };
        let name = entry.operation.name();
        for index in [index, &full_index] {
            assert_eq!(find_names(index, name, 1), [name]);
            let shouted = name.replace('-', "_").to_uppercase();
            assert_eq!(find_names(index, &shouted, 1), [name]);
        }
        let title = entry.compiled().title();
        let found = find_names(index, title, 3);
        assert!(
            found.contains(&name),
            "`{name}` is not among the first three for its title, `{title}`: {found:?}. Tell the titles apart: in the \
             rustdoc of the struct, or by `.with_docs(…)` where operations share one."
        );
    }
}

#[test]
fn spelling_variants_find_the_same_operation() {
    let index = SearchIndex::from_entries(Catalog::full().iter());
    let same: &[(&str, &str)] = &[
        ("delete guardrail", "DELETE, guard rail!"),
        ("delete guardrail", "delted guardrial"),
        ("löschen workspace", "loeschen workspace"),
        ("rotating api keys", "rotate api key"),
        ("prompt partial", "PromptPartial"),
        ("schlüssel", "Schlüssel"),
    ];
    for (one, other) in same {
        assert_eq!(
            find_names(&index, one, 1),
            find_names(&index, other, 1),
            "{one}, {other}"
        );
        assert!(!find_names(&index, one, 1).is_empty(), "{one}");
    }
}

/// A verb selects operations of its effect among others about the same subject.
#[test]
fn verb_selects_the_effect() {
    let catalog = Catalog::full();
    let index = SearchIndex::from_entries(catalog.iter());
    for (words, name) in [
        ("labels", "list-labels"),
        ("inspect label", "get-label"),
        ("make label", "create-label"),
        ("alter label", "update-label"),
        ("erase label", "delete-label"),
        ("Label löschen", "delete-label"),
        ("Label bearbeiten", "update-label"),
        ("Label erstellen", "create-label"),
    ] {
        // Another operation of the domain with the same effect may come before it.
        let hits = index.search(words, 3);
        let wanted = catalog.find(name).unwrap().operation;
        assert_eq!(hits[0].operation.effect(), wanted.effect(), "{words}");
        let found = operation_names(&hits);
        assert!(found.contains(&name), "{words}: {found:?}");
    }
}

#[test]
fn meaningless_query_finds_nothing() {
    let index = SearchIndex::from_entries(Catalog::full().iter());
    for words in [
        "",
        " \n",
        "?!",
        "the of and",
        "xyzzy",
        "xyzzys",
        "🦀",
        "ß",
        "\u{0}",
        "\u{301}",
    ] {
        assert!(
            find_names(&index, words, 5).is_empty(),
            "{words:?}: {:?}",
            find_names(&index, words, 5)
        );
    }
    let nobody = SearchIndex::from_entries([]);
    assert!(nobody.search("delete label", 5).is_empty());
}

/// Callers are untrusted: a page of text, or any script, is answered like other queries.
#[test]
fn long_or_foreign_query_is_answered() {
    let index = SearchIndex::from_entries(Catalog::full().iter());
    let cases = [
        "delete label ".repeat(10_000),
        "é".repeat(5_000),
        "Ünïcødé ключ 鍵 delete label".into(),
    ];
    for words in cases {
        assert!(index.search(&words, 5).len() <= 5);
    }
    let long = format!("delete label {}", "x".repeat(100_000));
    assert_eq!(find_names(&index, &long, 1), ["delete-label"]);
}

#[test]
fn search_results_are_bounded_and_deterministic() {
    let catalog = Catalog::full();
    let words = "which prompts are there";
    let index = SearchIndex::from_entries(catalog.iter());
    let all = index.search(words, usize::MAX);
    assert!(
        all.windows(2)
            .all(|two| two[0].score >= two[1].score && two[1].score > 0.0)
    );
    let same = SearchIndex::from_entries(catalog.iter().collect::<Vec<_>>().into_iter().rev());
    assert_eq!(
        operation_names(&all),
        find_names(&same, words, usize::MAX),
        "the order of entries does not matter"
    );
    assert_eq!(find_names(&index, words, 3), operation_names(&all)[..3]);
    assert!(find_names(&index, words, 0).is_empty());
}

/// A phrase that stands for one operation is no query for all reads.
#[test]
fn search_leaves_out_unrelated_operations() {
    let index = SearchIndex::from_entries(Catalog::full().iter());
    let found = find_names(&index, "turn off a model", usize::MAX);
    assert_eq!(found.first(), Some(&"bulk-update-integration-models"));
    assert!(!found.contains(&"get-api-key"), "{found:?}");
    // The score of an exact name is no measure for the others.
    let found = find_names(&index, "list-labels", usize::MAX);
    assert!(found.contains(&"get-label"), "{found:?}");
}

/// Unavailable operations are not in the index, and so cannot be found.
#[test]
fn search_finds_only_indexed_operations() {
    let catalog = Catalog::full();
    let reads = || {
        catalog
            .iter()
            .filter(|entry| entry.operation.hints().read_only)
    };
    let found = SearchIndex::from_entries(reads()).search("delete api key", usize::MAX);
    assert!(!found.is_empty() && found.iter().all(|hit| hit.operation.hints().read_only));
}
