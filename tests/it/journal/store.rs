//! The file of the journal: shared, limited, of one version.

use std::time::{Duration, SystemTime};

use portkey_journal::{
    ChangeCaller, ChangeDetail, ChangeFilter, ChangeHead, ChangeOutcome, ChangeResult, ChangeScope,
    Journal, JournalSettings, JournalStartError, NewChange, Retention,
};
use serde_json::json;

fn settings(file: &std::path::Path) -> JournalSettings {
    JournalSettings {
        file: file.to_owned(),
        retention: Retention {
            max_age: Duration::from_secs(3600),
            max_bytes: 64 << 20,
        },
        is_default: false,
    }
}

fn change(owner: &str, target: &str) -> NewChange {
    NewChange {
        owner: owner.to_owned(),
        head: ChangeHead {
            caller: ChangeCaller {
                principal: "ann".to_owned(),
                ..ChangeCaller::default()
            },
            operation: "update-config".to_owned(),
            target: [("slug".to_owned(), target.to_owned())].into(),
            ..ChangeHead::default()
        },
        detail: ChangeDetail {
            before: Some(json!({ "name": "Old" })),
            ..ChangeDetail::default()
        },
        undoes: None,
        is_forced: false,
    }
}

fn of(scope: ChangeScope) -> ChangeFilter {
    ChangeFilter {
        scope,
        limit: 100,
        ..ChangeFilter::default()
    }
}

#[tokio::test]
async fn two_handles_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.db");
    let one = Journal::open(&settings(&file)).unwrap();
    let other = Journal::open(&settings(&file)).unwrap();
    let pending = one.begin(change("a", "pc-1")).await.unwrap();
    let id = pending.id().to_owned();
    let read = other
        .get(&id, ChangeScope::Owner("a".to_owned()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.outcome, ChangeOutcome::Pending);
    assert_eq!(read.detail.unwrap().before, Some(json!({ "name": "Old" })));
    assert_eq!(
        other
            .get(&id, ChangeScope::Owner("b".to_owned()))
            .await
            .unwrap(),
        None
    );
    let result = ChangeResult {
        status: Some(200),
        ..ChangeResult::default()
    };
    pending
        .finish(
            ChangeOutcome::Done,
            result,
            Some(json!({ "success": true })),
        )
        .await;
    // A call that was dropped is in doubt.
    drop(other.begin(change("b", "pc-2")).await.unwrap());
    drop(other);
    let all = one.list(of(ChangeScope::Everybody)).await.unwrap();
    let outcomes: Vec<_> = all.changes.iter().map(|change| change.outcome).collect();
    assert_eq!(outcomes, [ChangeOutcome::InDoubt, ChangeOutcome::Done]);
    let filter = ChangeFilter {
        caller: Some("an".to_owned()),
        target: Some("pc-2".to_owned()),
        ..of(ChangeScope::Everybody)
    };
    assert_eq!(one.list(filter).await.unwrap().changes.len(), 1);
    assert!(
        one.list(of(ChangeScope::Nobody))
            .await
            .unwrap()
            .changes
            .is_empty()
    );
}

#[tokio::test]
async fn locked_file_denies_a_begin_and_leaves_an_end_pending() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.db");
    let journal = Journal::open(&settings(&file)).unwrap();
    let pending = journal.begin(change("a", "pc-1")).await.unwrap();
    let id = pending.id().to_owned();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let denied = journal.begin(change("a", "pc-2")).await.unwrap_err();
    let text = denied.to_string();
    assert!(text.contains("nothing was sent"), "{text}");
    assert!(text.contains("another process uses it"), "{text}");
    pending
        .finish(ChangeOutcome::Done, ChangeResult::default(), None)
        .await;
    other.execute_batch("ROLLBACK").unwrap();
    let all = journal.list(of(ChangeScope::Everybody)).await.unwrap();
    assert_eq!(all.changes.len(), 1);
    assert_eq!(all.changes[0].id, id);
    assert_eq!(all.changes[0].outcome, ChangeOutcome::Pending);
}

#[tokio::test]
async fn old_and_surplus_entries_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.db");
    let journal = Journal::open(&settings(&file)).unwrap();
    let padding = "x".repeat(20_000);
    for index in 0..200 {
        let mut change = change("a", &format!("pc-{index}"));
        change.detail.before = Some(json!({ "text": padding }));
        journal
            .begin(change)
            .await
            .unwrap()
            .finish(ChangeOutcome::Done, ChangeResult::default(), None)
            .await;
    }
    drop(journal);
    let small = JournalSettings {
        retention: Retention {
            max_bytes: 1 << 20,
            ..settings(&file).retention
        },
        ..settings(&file)
    };
    let journal = Journal::open(&small).unwrap();
    let left = journal
        .list(of(ChangeScope::Everybody))
        .await
        .unwrap()
        .changes;
    assert!((10..60).contains(&left.len()), "{}", left.len());
    assert_eq!(left[0].head.target["slug"], "pc-199");
    drop(journal);
    assert!(std::fs::metadata(&file).unwrap().len() < 2 << 20);
    let aged = JournalSettings {
        retention: Retention {
            max_age: Duration::ZERO,
            ..small.retention
        },
        ..small
    };
    let now = SystemTime::now();
    let journal = Journal::open(&aged).unwrap();
    let left = journal
        .list(of(ChangeScope::Everybody))
        .await
        .unwrap()
        .changes;
    assert!(
        left.iter().all(|change| change.time >= now),
        "{}",
        left.len()
    );
}

#[test]
fn files_of_others_are_refused_and_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    let content = "these are notes, and not a database\n".repeat(300);
    std::fs::write(&text, &content).unwrap();
    let error = Journal::open(&settings(&text)).unwrap_err();
    assert!(matches!(error, JournalStartError::NoJournal(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&text).unwrap(), content);
    let file = folder.path().join("journal.db");
    drop(Journal::open(&settings(&file)).unwrap());
    // The version is at a fixed place of the header: four bytes, the lowest last.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[63] = 9;
    std::fs::write(&file, &bytes).unwrap();
    let error = Journal::open(&settings(&file)).unwrap_err();
    assert!(
        matches!(error, JournalStartError::OtherVersion { found: 9, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("--no-journal"), "{error}");
    let folder_itself = Journal::open(&settings(folder.path())).unwrap_err();
    assert!(
        folder_itself.to_string().contains("cannot use the journal"),
        "{folder_itself}"
    );
}
