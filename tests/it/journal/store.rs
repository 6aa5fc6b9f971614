//! The stores of the journal: shared, limited, of one version. Both have the same guarantees.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use portkey_journal::{
    ChangeCaller, ChangeDetail, ChangeFilter, ChangeHead, ChangeOutcome, ChangeResult, ChangeScope,
    Journal, JournalError, JournalSettings, JournalStartError, NewChange, PendingChange, Retention,
};
use serde_json::json;
use tempfile::TempDir;

use super::file_settings;
#[cfg(all(unix, feature = "postgres"))]
use super::postgres::url_settings;
#[cfg(all(unix, feature = "postgres"))]
use crate::support::{postgres::PostgresServer, programs::is_missing};

/// A store for one test, with what has to live as long.
enum TestStore {
    File(TempDir),
    #[cfg(all(unix, feature = "postgres"))]
    Postgres(PostgresServer),
}

impl TestStore {
    fn file(folder: &TempDir) -> PathBuf {
        folder.path().join("journal.db")
    }

    fn settings(&self) -> JournalSettings {
        match self {
            Self::File(folder) => file_settings(&Self::file(folder)),
            #[cfg(all(unix, feature = "postgres"))]
            Self::Postgres(server) => url_settings(&server.url()),
        }
    }

    /// Makes the store one of a version that did not keep upstreams.
    fn forget_upstreams(&self) {
        match self {
            Self::File(folder) => {
                let older = rusqlite::Connection::open(Self::file(folder)).unwrap();
                older
                    .execute_batch(
                        "ALTER TABLE changes DROP COLUMN upstream; PRAGMA user_version = 1",
                    )
                    .unwrap();
            }
            #[cfg(all(unix, feature = "postgres"))]
            Self::Postgres(server) => {
                server.run("ALTER TABLE portkey_mcp_changes DROP COLUMN upstream");
                server.run("UPDATE portkey_mcp_journal SET version = 1");
            }
        }
    }

    async fn open(&self) -> Journal {
        Journal::open(&self.settings()).await.unwrap()
    }
}

/// Returns one store of each kind that this build and this machine have.
fn stores() -> Vec<TestStore> {
    let mut stores = vec![TestStore::File(tempfile::tempdir().unwrap())];
    #[cfg(all(unix, feature = "postgres"))]
    if !is_missing("postgres") {
        stores.push(TestStore::Postgres(PostgresServer::start()));
    }
    stores.reverse();
    stores
}

/// Upstream of the changes.
const HERE: &str = "https://portkey.example/v1";

pub(super) fn change(owner: &str, target: &str) -> NewChange {
    NewChange {
        owner: owner.to_owned(),
        upstream: HERE.to_owned(),
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

pub(super) fn of(scope: ChangeScope) -> ChangeFilter {
    ChangeFilter {
        scope,
        limit: 100,
        ..ChangeFilter::default()
    }
}

fn undo_of(id: &str, is_forced: bool) -> NewChange {
    NewChange {
        undoes: Some(id.to_owned()),
        is_forced,
        ..change("a", "pc-1")
    }
}

pub(super) async fn finish(pending: PendingChange) {
    pending
        .finish(ChangeOutcome::Done, ChangeResult::default(), None)
        .await;
}

#[tokio::test]
async fn two_handles_share_a_store() {
    for store in stores() {
        let one = store.open().await;
        let other = store.open().await;
        let pending = one.begin(change("a", "pc-1")).await.unwrap();
        let id = pending.id().to_owned();
        let of_owner = ChangeScope::Owner("a".to_owned());
        let read = other.get(&id, of_owner).await.unwrap().unwrap();
        assert_eq!(read.outcome, ChangeOutcome::Pending);
        assert_eq!(read.detail.unwrap().before, Some(json!({ "name": "Old" })));
        let of_other = ChangeScope::Owner("b".to_owned());
        assert_eq!(other.get(&id, of_other.clone()).await.unwrap(), None);
        let result = ChangeResult {
            status: Some(200),
            created: [("id".to_owned(), "new-id".to_owned())].into(),
            ..ChangeResult::default()
        };
        let answer = json!({ "success": true });
        pending
            .finish(ChangeOutcome::Done, result.clone(), Some(answer.clone()))
            .await;
        // A call that was dropped is in doubt.
        drop(other.begin(change("b", "pc-2")).await.unwrap());
        drop(other);
        let everybody = of(ChangeScope::Everybody);
        let all = one.list(everybody.clone()).await.unwrap().changes;
        let outcomes: Vec<_> = all.iter().map(|change| change.outcome).collect();
        assert_eq!(outcomes, [ChangeOutcome::InDoubt, ChangeOutcome::Done]);
        let read = one.get(&id, ChangeScope::Everybody).await.unwrap().unwrap();
        assert_eq!((read.result, read.answer), (result, Some(answer)));
        let count = async |filter: ChangeFilter| one.list(filter).await.unwrap().changes.len();
        let filter = ChangeFilter {
            caller: Some("an".to_owned()),
            target: Some("pc-2".to_owned()),
            ..everybody.clone()
        };
        assert_eq!(count(filter).await, 1);
        let created = ChangeFilter {
            target: Some("new-id".to_owned()),
            outcome: Some(ChangeOutcome::Done),
            operation: Some("update-config".to_owned()),
            since: Some(SystemTime::UNIX_EPOCH),
            until: Some(SystemTime::now() + Duration::from_secs(60)),
            ..everybody.clone()
        };
        assert_eq!(count(created).await, 1);
        let first = ChangeFilter {
            limit: 1,
            ..everybody.clone()
        };
        let page = one.list(first.clone()).await.unwrap();
        assert!(page.has_more);
        let rest = ChangeFilter {
            before: Some(page.changes[0].id.clone()),
            ..first.clone()
        };
        let page = one.list(rest).await.unwrap();
        assert_eq!(
            (page.changes[0].id.as_str(), page.has_more),
            (id.as_str(), false)
        );
        let unknown = ChangeFilter {
            before: Some("c-0".to_owned()),
            ..first
        };
        let error = one.list(unknown).await.unwrap_err();
        assert_eq!(error, JournalError::NoSuchChange);
        assert_eq!(count(of(of_other)).await, 1);
        assert_eq!(count(of(ChangeScope::Nobody)).await, 0);
    }
}

#[tokio::test]
async fn changes_of_other_upstreams_are_left_out() {
    const THERE: &str = "https://other.example/v1";
    for store in stores() {
        let journal = store.open().await;
        finish(journal.begin(change("a", "pc-1")).await.unwrap()).await;
        let there = NewChange {
            upstream: THERE.to_owned(),
            ..change("a", "pc-2")
        };
        finish(journal.begin(there).await.unwrap()).await;
        let targets = async |upstreams: Option<Vec<String>>| -> Vec<String> {
            let filter = ChangeFilter {
                upstreams,
                ..of(ChangeScope::Everybody)
            };
            let changes = journal.list(filter).await.unwrap().changes;
            let named = changes.iter().map(|change| {
                let target = &change.head.target["slug"];
                format!("{target} {}", change.upstream.as_deref().unwrap_or("-"))
            });
            named.collect()
        };
        let (one, two) = (format!("pc-1 {HERE}"), format!("pc-2 {THERE}"));
        assert_eq!(targets(Some(vec![HERE.to_owned()])).await, [one.as_str()]);
        let both = vec![HERE.to_owned(), THERE.to_owned()];
        assert_eq!(targets(Some(both)).await, [two.as_str(), &one]);
        assert_eq!(targets(Some(Vec::new())).await, [""; 0]);
        assert_eq!(targets(None).await, [two, one]);
        store.forget_upstreams();
        let journal = store.open().await;
        let filter = ChangeFilter {
            upstreams: Some(vec![HERE.to_owned()]),
            ..of(ChangeScope::Everybody)
        };
        // Those of a store without upstreams are of nobody knows which.
        let changes = journal.list(filter).await.unwrap().changes;
        let kept: Vec<_> = changes
            .iter()
            .map(|change| change.upstream.clone())
            .collect();
        assert_eq!(kept, [None, None]);
        finish(journal.begin(change("a", "pc-3")).await.unwrap()).await;
        let latest = journal.list(of(ChangeScope::Everybody)).await.unwrap();
        assert_eq!(latest.changes[0].upstream.as_deref(), Some(HERE));
    }
}

#[tokio::test]
async fn one_of_several_undos_at_once_is_stored() {
    for store in stores() {
        let one = store.open().await;
        let other = store.open().await;
        let pending = one.begin(change("a", "pc-1")).await.unwrap();
        let id = pending.id().to_owned();
        finish(pending).await;
        let undos = (0..8).map(|at| [&one, &other][at % 2].begin(undo_of(&id, false)));
        let begun = futures_util::future::join_all(undos).await;
        let (stored, refused): (Vec<_>, Vec<_>) = begun.into_iter().partition(Result::is_ok);
        assert_eq!((stored.len(), refused.len()), (1, 7));
        let stored = stored.into_iter().next().unwrap().unwrap();
        for refused in refused {
            let error = refused.unwrap_err().0;
            assert_eq!(error, JournalError::AlreadyUndone(stored.id().to_owned()));
        }
        let forced = other.begin(undo_of(&id, true)).await.unwrap();
        let read = one.get(&id, ChangeScope::Everybody).await.unwrap().unwrap();
        assert_eq!(read.undone_by.as_deref(), Some(forced.id()));
        // What was refused undoes nothing.
        for undo in [stored, forced] {
            undo.finish(ChangeOutcome::Rejected, ChangeResult::default(), None)
                .await;
        }
        finish(other.begin(undo_of(&id, false)).await.unwrap()).await;
    }
}

#[tokio::test]
async fn any_text_is_kept() {
    const TEXT: &str = "zero \0, line\nbreak, quote ' and \u{1f600}";
    for store in stores() {
        let journal = store.open().await;
        let mut odd = change("a", TEXT);
        odd.detail.before = Some(json!({ "name": TEXT }));
        odd.head.caller.client = Some(TEXT.to_owned());
        let pending = journal.begin(odd).await.unwrap();
        let id = pending.id().to_owned();
        let result = ChangeResult {
            error: Some(TEXT.to_owned()),
            created: [("id".to_owned(), TEXT.to_owned())].into(),
            ..ChangeResult::default()
        };
        pending
            .finish(ChangeOutcome::Done, result.clone(), Some(json!(TEXT)))
            .await;
        let read = journal.get(&id, ChangeScope::Everybody).await;
        let read = read.unwrap().unwrap();
        assert_eq!(read.result, result);
        assert_eq!(read.head.target["slug"], TEXT);
        assert_eq!(read.detail.unwrap().before, Some(json!({ "name": TEXT })));
        let filter = ChangeFilter {
            target: Some(TEXT.to_owned()),
            caller: Some("zero \0".to_owned()),
            ..of(ChangeScope::Everybody)
        };
        assert_eq!(journal.list(filter).await.unwrap().changes.len(), 1);
        assert_eq!(
            journal.get("\0", ChangeScope::Everybody).await.unwrap(),
            None
        );
    }
}

#[tokio::test]
async fn locked_file_denies_a_begin_and_leaves_an_end_pending() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.db");
    let journal = Journal::open(&file_settings(&file)).await.unwrap();
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
    for store in stores() {
        let settings = store.settings();
        let journal = store.open().await;
        let padding = "x".repeat(20_000);
        for index in 0..200 {
            let mut change = change("a", &format!("pc-{index}"));
            change.detail.before = Some(json!({ "text": padding }));
            finish(journal.begin(change).await.unwrap()).await;
        }
        drop(journal);
        let small = JournalSettings {
            retention: Retention {
                max_bytes: 1 << 20,
                ..settings.retention
            },
            ..settings
        };
        let everybody = of(ChangeScope::Everybody);
        let journal = Journal::open(&small).await.unwrap();
        let left = journal.list(everybody.clone()).await.unwrap().changes;
        assert!((10..60).contains(&left.len()), "{}", left.len());
        assert_eq!(left[0].head.target["slug"], "pc-199");
        drop(journal);
        match &store {
            TestStore::File(folder) => {
                let file = TestStore::file(folder);
                assert!(std::fs::metadata(file).unwrap().len() < 2 << 20);
            }
            #[cfg(feature = "postgres")]
            TestStore::Postgres(_) => {}
        }
        let aged = JournalSettings {
            retention: Retention {
                max_age: Duration::ZERO,
                ..small.retention
            },
            ..small
        };
        let now = SystemTime::now();
        let journal = Journal::open(&aged).await.unwrap();
        let left = journal.list(everybody).await.unwrap().changes;
        assert!(
            left.iter().all(|change| change.time >= now),
            "{}",
            left.len()
        );
    }
}

#[tokio::test]
async fn files_of_others_are_refused_and_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    let content = "these are notes, and not a database\n".repeat(300);
    std::fs::write(&text, &content).unwrap();
    let error = Journal::open(&file_settings(&text)).await.unwrap_err();
    assert!(matches!(error, JournalStartError::NoJournal(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&text).unwrap(), content);
    let file = folder.path().join("journal.db");
    drop(Journal::open(&file_settings(&file)).await.unwrap());
    // The version is at a fixed place of the header: four bytes, the lowest last.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[63] = 9;
    std::fs::write(&file, &bytes).unwrap();
    let error = Journal::open(&file_settings(&file)).await.unwrap_err();
    assert!(
        matches!(error, JournalStartError::OtherVersion { found: 9, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("--no-journal"), "{error}");
    let folder_itself = Journal::open(&file_settings(folder.path()))
        .await
        .unwrap_err();
    assert!(
        folder_itself.to_string().contains("cannot use the journal"),
        "{folder_itself}"
    );
}

#[cfg(not(feature = "postgres"))]
#[tokio::test]
async fn build_without_postgres_says_so() {
    let settings = JournalSettings {
        place: portkey_journal::JournalPlace::Postgres {
            address: "postgres://a:very-secret-word@localhost/b".into(),
        },
        ..file_settings("unused".as_ref())
    };
    let text = Journal::open(&settings).await.unwrap_err().to_string();
    assert!(text.contains("--features postgres"), "{text}");
    assert!(!text.contains("very-secret-word"), "{text}");
}
