//! Search by tasks as people phrase them, in many languages.
//!
//! `tests/data/search_everyday.json` has the tasks. Half of them are marked `is_measured`: nothing is tuned by
//! those, so that they show what search does with what nobody foresaw. A maintainer who looks at a measured task
//! that fails takes the mark from it, and writes another.

use std::{collections::BTreeMap, fs};

use portkey_api::catalog::Catalog;
use portkey_mcp::mcp::{
    search::{SearchHit, SearchHits, SearchIndex},
    surface::{builtin_tools, find_builtin},
};
use portkey_operation::Effect;
use serde::Deserialize;

use crate::support::catalogs::default_catalog;

/// Number of results among which a task has to find its operation.
const MAX_PLACES: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    task: String,
    want: Vec<String>,
    #[serde(default = "english")]
    language: String,
    #[serde(default)]
    is_measured: bool,
}

fn english() -> String {
    "en".into()
}

fn read_tasks() -> Vec<Task> {
    serde_json::from_str(&fs::read_to_string("tests/data/search_everyday.json").unwrap()).unwrap()
}

fn index_with_tools(catalog: &Catalog) -> SearchIndex {
    SearchIndex::from_entries_and_tools(catalog.iter(), builtin_tools())
}

fn find_all(index: &SearchIndex, words: &str) -> SearchHits {
    index.search_all(words, |_| true)
}

/// Number of tasks, and of those with an expected name first and among five.
#[derive(Default)]
struct Counts {
    all: usize,
    first: usize,
    among: usize,
    /// Tasks that begin with a delete that is not expected.
    deletes: usize,
}

impl Counts {
    fn add(&mut self, place: Option<usize>) {
        self.all += 1;
        self.first += usize::from(place == Some(0));
        self.among += usize::from(place.is_some());
    }

    fn first_percent(&self) -> usize {
        self.first * 100 / self.all.max(1)
    }

    fn among_percent(&self) -> usize {
        self.among * 100 / self.all.max(1)
    }
}

/// Place of the first expected name in a list.
fn find_place(hits: &[SearchHit], want: &[String]) -> Option<usize> {
    let mut names = hits.iter().take(MAX_PLACES).map(|hit| hit.operation.name());
    names.position(|name| want.iter().any(|want| want == name))
}

/// Counts the tasks of each half and language. A task is found in the list that its expected names belong to.
fn count_tasks(tasks: &[Task]) -> BTreeMap<String, Counts> {
    let catalog = default_catalog();
    let index = index_with_tools(&catalog);
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for task in tasks {
        let is_operation = |name: &String| catalog.find(name).is_ok();
        let is_tool = |name: &String| find_builtin(name).is_some();
        let hits = find_all(&index, &task.task);
        let list = if task.want.iter().any(is_operation) {
            &hits.operations
        } else if task.want.iter().any(is_tool) {
            &hits.tools
        } else {
            continue;
        };
        let place = find_place(list, &task.want);
        let begins_with_delete = hits
            .operations
            .first()
            .is_some_and(|hit| hit.operation.effect() == Effect::Delete && place != Some(0));
        if place != Some(0) && !task.is_measured {
            let names: Vec<_> = list
                .iter()
                .take(MAX_PLACES)
                .map(|hit| hit.operation.name())
                .collect();
            eprintln!(
                "{place:?} {}\n  wanted {:?}\n  found  {names:?}",
                task.task, task.want
            );
        }
        let half = if task.is_measured {
            "measured"
        } else {
            "tuning"
        };
        let kind = if std::ptr::eq(list, &hits.tools) {
            "tools"
        } else {
            "operations"
        };
        for key in [
            format!("{half} {kind}"),
            format!("{half} language {}", task.language),
        ] {
            let of = counts.entry(key).or_default();
            of.add(place);
            of.deletes += usize::from(begins_with_delete);
        }
    }
    for (key, of) in &counts {
        eprintln!(
            "{key}: {} tasks, {} % first, {} % among five, {} begin with a wrong delete",
            of.all,
            of.first_percent(),
            of.among_percent(),
            of.deletes
        );
    }
    counts
}

#[test]
fn everyday_tasks_are_well_formed() {
    let tasks = read_tasks();
    let catalog = Catalog::full();
    for Task { task, want, .. } in &tasks {
        for name in want {
            assert!(
                catalog.find(name).is_ok() || find_builtin(name).is_some(),
                "{task}: there is no `{name}`"
            );
        }
    }
    let mut distinct: Vec<_> = tasks.iter().map(|task| task.task.to_lowercase()).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), tasks.len(), "a task stands twice");
    let measured: Vec<_> = tasks.iter().filter(|task| task.is_measured).collect();
    let foreign = measured.iter().filter(|task| task.language != "en").count();
    assert!(measured.len() >= 120, "too few to tell");
    assert!(foreign * 3 >= measured.len(), "too few in other languages");
}

#[test]
fn measured_tasks_find_the_expected_operations() {
    let counts = count_tasks(&read_tasks());
    let of = &counts["measured operations"];
    assert!(of.first_percent() >= 65, "{} of {} first", of.first, of.all);
    assert!(
        of.among_percent() >= 90,
        "{} of {} in five",
        of.among,
        of.all
    );
    assert_eq!(of.deletes, 0, "a delete that nobody asked for comes first");
    let of = &counts["measured tools"];
    assert!(
        of.first_percent() >= 65,
        "{} of {} tools first",
        of.first,
        of.all
    );
}

#[test]
fn every_language_finds_operations() {
    let counts = count_tasks(&read_tasks());
    let mut languages: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (key, of) in &counts {
        let language = key.split_once("language ").map(|(_, language)| language);
        let of_language = languages.entry(language.unwrap_or("en")).or_default();
        of_language.0 += of.among;
        of_language.1 += of.all;
    }
    for language in [
        "ar", "bn", "de", "es", "fr", "hi", "id", "ja", "pt", "ru", "zh",
    ] {
        let (among, all) = languages[language];
        assert!(
            all >= 4 && among * 100 >= all * 80,
            "{language}: {among} of {all}"
        );
    }
}

/// A question changes nothing, whatever verbs it has.
#[test]
fn question_finds_a_read_first() {
    let catalog = Catalog::full();
    let index = index_with_tools(&catalog);
    for words in [
        "who removed the fallback config",
        "which keys were revoked this week",
        "what happens if I remove the mistral integration",
        "when did somebody delete our guardrail?",
        "did anybody disable the pii check",
        "why was the prompt deleted",
        "how many users have been removed",
        "is the workspace deleted",
        "¿quién eliminó la clave?",
        "qui a supprimé le prompt ?",
        "wer hat den Schlüssel gelöscht",
        "誰がプロンプトを削除しましたか",
        "谁删除了密钥",
        "кто удалил пользователя",
        "siapa yang menghapus kunci",
    ] {
        let hits = find_all(&index, words);
        let first = hits.operations.first().map(|hit| hit.operation);
        assert!(
            first.is_some_and(|operation| operation.effect() == Effect::Read),
            "{words}: {:?}",
            first.map(|operation| operation.name())
        );
    }
}

/// Questions after the person and the time, in each language: a read comes first, whatever the object is.
#[test]
fn question_about_the_past_finds_a_read_in_every_language() {
    let index = index_with_tools(&Catalog::full());
    let mut failures = Vec::new();
    // Questions with `{}` for the object, and objects.
    let languages: [(&[&str], &[&str]); 12] = [
        (
            &[
                "who deleted {} last night",
                "when was {} removed",
                "who has changed {}",
                "did anyone disable {}",
            ],
            &[
                "the workspace",
                "this key",
                "our config",
                "the prompt",
                "a guardrail",
                "bob's account",
            ],
        ),
        (
            &[
                "wer hat {} gelöscht",
                "wann wurde {} entfernt",
                "wer hat {} deaktiviert",
            ],
            &[
                "den Arbeitsbereich",
                "den Schlüssel",
                "die Konfiguration",
                "den Prompt",
                "die Leitplanke",
            ],
        ),
        (
            &[
                "quién borró {}",
                "¿cuándo se eliminó {}?",
                "quién ha desactivado {}",
            ],
            &[
                "el espacio de trabajo",
                "la clave",
                "la configuración",
                "el prompt",
                "al usuario",
            ],
        ),
        (
            &[
                "qui a supprimé {}",
                "quand a-t-on supprimé {} ?",
                "qui a désactivé {}",
            ],
            &[
                "l'espace de travail",
                "la clé",
                "la configuration",
                "le prompt",
                "l'utilisateur",
            ],
        ),
        (
            &[
                "quem apagou {}",
                "quando foi removido {}?",
                "quem desativou {}",
            ],
            &[
                "o espaço de trabalho",
                "a chave",
                "a configuração",
                "o prompt",
                "o usuário",
            ],
        ),
        (
            &[
                "chi ha cancellato {}",
                "chi ha rimosso {}",
                "quando è stato eliminato {}?",
            ],
            &[
                "lo spazio di lavoro",
                "la chiave",
                "la configurazione",
                "il prompt",
                "l'utente",
            ],
        ),
        (
            &["кто удалил {}", "когда удалили {}?", "кто отключил {}"],
            &[
                "воркспейс",
                "ключ",
                "конфигурацию",
                "промпт",
                "гардрейл",
                "пользователя",
            ],
        ),
        (
            &[
                "誰が{}を削除した",
                "いつ{}を削除しましたか",
                "{}を無効にしたのは誰",
            ],
            &[
                "ワークスペース",
                "APIキー",
                "設定",
                "プロンプト",
                "ガードレール",
            ],
        ),
        (
            &["谁删除了{}", "{}是什么时候被删除的", "谁昨天停用了{}"],
            &["工作区", "密钥", "配置", "提示词", "护栏"],
        ),
        (
            &["누가 {}를 삭제했나요", "언제 {}를 삭제했나요"],
            &["워크스페이스", "API 키", "설정", "프롬프트", "가드레일"],
        ),
        (
            &["{} किसने हटाया", "{} कब हटाया गया"],
            &["वर्कस्पेस", "कुंजी", "कॉन्फ़िगरेशन", "प्रॉम्प्ट", "गार्डरेल"],
        ),
        (
            &["من حذف {}", "متى تم حذف {}؟"],
            &["مساحة العمل", "المفتاح", "الإعدادات", "الموجه", "المستخدم"],
        ),
    ];
    for (questions, objects) in languages {
        for (question, object) in questions
            .iter()
            .flat_map(|question| objects.iter().map(move |object| (question, object)))
        {
            let words = question.replace("{}", object);
            let hits = find_all(&index, &words);
            let first = hits.operations.first().map(|hit| hit.operation);
            if first.is_none_or(|operation| operation.effect() != Effect::Read) {
                failures.push(format!("{words}: {:?}", first.map(|first| first.name())));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Tasks of which only reads are expected, tuned or not: nothing that destroys comes first.
#[test]
fn task_for_a_read_begins_with_nothing_destructive() {
    let catalog = Catalog::full();
    let index = index_with_tools(&catalog);
    let is_read = |name: &String| match catalog.find(name) {
        Ok(entry) => entry.operation.effect() == Effect::Read,
        Err(_) => find_builtin(name).is_some_and(|tool| tool.operation.effect() == Effect::Read),
    };
    let mut count = 0;
    let mut failures = Vec::new();
    for Task { task, .. } in read_tasks()
        .iter()
        .filter(|task| task.want.iter().all(is_read))
    {
        count += 1;
        let hits = find_all(&index, task);
        let first = hits.operations.first().map(|hit| hit.operation);
        if let Some(first) = first.filter(|first| first.hints().destructive) {
            failures.push(format!("{task}: {}", first.name()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count >= 200, "too few to tell");
}

#[test]
fn questions_about_logs_find_the_workflow_that_reads_an_export() {
    let index = index_with_tools(&Catalog::full());
    for words in [
        "what is in logs",
        "log export",
        "export logs",
        "read logs of failed requests",
        "answer what the failed requests say",
    ] {
        let hits = find_all(&index, words);
        let mut tools = hits.tools.iter().map(|hit| hit.operation.name());
        assert!(tools.any(|name| name == "read-log-export"), "{words}");
    }
}

/// A question about how to do something, or a polite request, is a command.
#[test]
fn polite_command_finds_its_operation() {
    let index = index_with_tools(&Catalog::full());
    for (words, name) in [
        ("how do I delete a label", "delete-label"),
        ("can you delete this label please", "delete-label"),
        ("could you invite bob", "invite-user"),
        ("wie kann ich ein Label löschen", "delete-label"),
        ("ラベルを削除してください", "delete-label"),
    ] {
        let hits = find_all(&index, words);
        assert_eq!(hits.operations[0].operation.name(), name, "{words}");
    }
}

#[test]
fn names_of_vendors_find_what_they_offer() {
    let index = index_with_tools(&Catalog::full());
    for (words, name) in [
        ("lakera", "guardrail"),
        ("patronus", "guardrail"),
        ("acuvity", "guardrail"),
        ("ollama", "integration"),
        ("vllm", "integration"),
        ("bedrock", "integration"),
        ("openrouter", "integration"),
        ("okta", "scim"),
        ("hashicorp", "secret-reference"),
    ] {
        let hits = find_all(&index, words);
        let found = hits.operations[0].operation.name();
        assert!(found.contains(name), "{words}: {found}");
    }
}

/// Scripts without spaces have long words, and a misspelled word is compared with the vocabulary.
#[test]
fn long_query_is_bounded() {
    let index = index_with_tools(&Catalog::full());
    let words: Vec<String> = (0..2_000)
        .map(|number| format!("wrkspce{number}"))
        .collect();
    for words in [
        words.join(" "),
        "ワークスペースを削除".repeat(1_000),
        "a".repeat(10_000),
    ] {
        assert!(find_all(&index, &words).tools.len() <= 3);
    }
    let long = format!("delete label {}", "x ".repeat(5_000));
    assert_eq!(index.search(&long, 1)[0].operation.name(), "delete-label");
}
