//! Queues: bounded per owner and in total, ordered, in memory and in Redis alike.

use std::time::Duration;

use portkey_store::{EnqueueOutcome, Queue, QueuedId, Store};

use crate::support::store::{HOUR, StorePair, store_pairs, wait_until};

const QUEUE: Queue = Queue {
    name: "test",
    max_per_owner: 4,
    max: 6,
    remember_for: HOUR,
};

async fn append(store: &Store, id: &str, owner: &str) -> EnqueueOutcome {
    store
        .enqueue(&QUEUE, id, owner, format!("value {id}").into(), HOUR)
        .await
        .unwrap()
}

/// Returns the ids of current values, and of former ones.
async fn queued_names(store: &Store, owner: Option<&str>) -> (Vec<String>, Vec<String>) {
    let names = store.queued_ids(&QUEUE, owner).await.unwrap();
    let (live, gone): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.is_live);
    let ids = |names: Vec<QueuedId>| names.into_iter().map(|name| name.id).collect();
    (ids(live), ids(gone))
}

async fn queued_values(store: &Store, ids: &[&str]) -> Vec<Option<String>> {
    let values = store.queued_values(&QUEUE, ids).await.unwrap();
    values
        .into_iter()
        .map(|value| Some(String::from_utf8(value?.to_vec()).unwrap()))
        .collect()
}

#[tokio::test]
async fn values_are_listed_in_insertion_order() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        for (id, owner) in [("c", "alice"), ("a", "bob"), ("b", "alice")] {
            assert_eq!(
                append(&one, id, owner).await,
                EnqueueOutcome::Appended,
                "{kind}"
            );
        }
        assert_eq!(
            queued_names(&other, None).await.0,
            ["c", "a", "b"],
            "{kind}"
        );
        assert_eq!(
            queued_names(&other, Some("alice")).await.0,
            ["c", "b"],
            "{kind}"
        );
        let found = queued_values(&other, &["b", "x", "c"]).await;
        assert_eq!(
            found,
            [Some("value b".into()), None, Some("value c".into())],
            "{kind}"
        );
        assert_eq!(
            one.replace_queued(&QUEUE, "a", "new".into()).await,
            Ok(true),
            "{kind}"
        );
        assert_eq!(
            queued_values(&other, &["a"]).await,
            [Some("new".into())],
            "{kind}"
        );
        one.dequeue(&QUEUE, "a").await.unwrap();
        let (live, gone) = queued_names(&other, None).await;
        assert_eq!(
            (live, gone),
            (vec!["c".into(), "b".into()], vec!["a".into()]),
            "{kind}"
        );
        assert_eq!(queued_values(&other, &["a"]).await, [None], "{kind}");
        assert_eq!(
            one.replace_queued(&QUEUE, "a", "new".into()).await,
            Ok(false),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn oldest_value_of_the_largest_owner_is_evicted() {
    for StorePair { kind, one, .. } in store_pairs().await {
        for id in ["a1", "a2", "a3", "a4"] {
            assert_eq!(
                append(&one, id, "alice").await,
                EnqueueOutcome::Appended,
                "{kind}"
            );
        }
        assert_eq!(
            append(&one, "a5", "alice").await,
            EnqueueOutcome::OwnerFull,
            "{kind}"
        );
        for (id, owner) in [
            ("b1", "bob"),
            ("b2", "bob"),
            ("c1", "carol"),
            ("c2", "carol"),
        ] {
            assert_eq!(
                append(&one, id, owner).await,
                EnqueueOutcome::Appended,
                "{kind}: {id}"
            );
        }
        // At most six: the oldest of alice's values were evicted.
        let (live, gone) = queued_names(&one, None).await;
        assert_eq!(live, ["a3", "a4", "b1", "b2", "c1", "c2"], "{kind}");
        assert_eq!(gone, ["a1", "a2"], "{kind}");
        assert_eq!(queued_values(&one, &["a1"]).await, [None], "{kind}");
        // No owner has two more than another now, and each has more than an owner without values.
        assert_eq!(
            append(&one, "b3", "bob").await,
            EnqueueOutcome::QueueFull,
            "{kind}"
        );
        assert_eq!(
            append(&one, "d1", "dave").await,
            EnqueueOutcome::Appended,
            "{kind}"
        );
        assert_eq!(queued_names(&one, None).await.0.len(), QUEUE.max, "{kind}");
    }
}

#[tokio::test]
async fn expired_value_is_removed_and_its_name_remembered() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let short = Duration::from_millis(20);
        one.enqueue(&QUEUE, "a", "alice", "value".into(), short)
            .await
            .unwrap();
        wait_until(kind, async || queued_names(&other, None).await.0.is_empty()).await;
        assert_eq!(queued_names(&other, None).await.1, ["a"], "{kind}");
        wait_until(kind, async || queued_values(&other, &["a"]).await == [None]).await;
        // The expired value uses no capacity.
        for id in ["b", "c", "d", "e"] {
            assert_eq!(
                append(&one, id, "alice").await,
                EnqueueOutcome::Appended,
                "{kind}"
            );
        }
        let brief = Queue {
            name: "brief",
            remember_for: short,
            ..QUEUE
        };
        one.enqueue(&brief, "a", "alice", "value".into(), short)
            .await
            .unwrap();
        let is_forgotten = async || other.queued_ids(&brief, None).await.unwrap().is_empty();
        wait_until(kind, is_forgotten).await;
    }
}

#[tokio::test]
async fn remembered_names_are_bounded() {
    for StorePair { kind, one, .. } in store_pairs().await {
        for at in 0..100 {
            let id = format!("n{at}");
            assert_eq!(
                append(&one, &id, "alice").await,
                EnqueueOutcome::Appended,
                "{kind}"
            );
            one.dequeue(&QUEUE, &id).await.unwrap();
        }
        let (live, gone) = queued_names(&one, None).await;
        assert_eq!((live.len(), gone.len()), (0, 24), "{kind}");
        assert_eq!(gone.last().map(String::as_str), Some("n99"), "{kind}");
    }
}
