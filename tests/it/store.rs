//! The store that replicas share: equal guarantees in memory and in a real Redis.

use std::time::{Duration, Instant};

use bytes::Bytes;
use portkey_store::{
    Budget, MAX_BYTES_PER_OWNER, MAX_ENTRIES_PER_OWNER, MAX_MEMORY_BYTES, MAX_MEMORY_ENTRIES,
    MAX_VALUE_BYTES, RateLimitOutcome, ReserveOutcome, Store, StoreError, StoreKey, Window,
};
use tokio::task::JoinSet;

use crate::support::store::{
    HOUR, StorePair, rate_limit, store_pairs, test_key, use_once, wait_until,
};

#[tokio::test]
async fn rate_limit_is_shared_across_replicas() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let alice = test_key("alice");
        let three = rate_limit(3, HOUR);
        for store in [&one, &other, &one] {
            assert_eq!(
                store.take(&alice, &three).await,
                Ok(RateLimitOutcome::Allowed),
                "{kind}"
            );
        }
        for store in [&one, &other] {
            let Ok(RateLimitOutcome::RetryAfter(wait)) = store.take(&alice, &three).await else {
                panic!("{kind}: more than the limit");
            };
            // One of three is available again after a third of the hour, minus the duration of the
            // test.
            assert!(wait <= HOUR / 3 && wait > HOUR / 4, "{kind}: {wait:?}");
        }
        assert_eq!(
            other.take(&test_key("bob"), &three).await,
            Ok(RateLimitOutcome::Allowed),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn rate_limit_permits_again_after_its_retry_delay() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let alice = test_key("alice");
        let two = rate_limit(2, Duration::from_millis(400));
        let start = Instant::now();
        let mut taken = 0;
        while taken < 4 {
            match one.take(&alice, &two).await.unwrap() {
                RateLimitOutcome::Allowed => taken += 1,
                RateLimitOutcome::RetryAfter(wait) => {
                    assert!(wait <= Duration::from_millis(200), "{kind}: {wait:?}");
                    tokio::task::yield_now().await;
                }
            }
        }
        // Two at once, and two more that waited 200 ms each.
        assert!(
            start.elapsed() >= Duration::from_millis(390),
            "{kind}: {:?}",
            start.elapsed()
        );
        // A smaller limit with the same key, as after a change of the configuration.
        let small = rate_limit(1, Duration::from_millis(10));
        if let RateLimitOutcome::RetryAfter(wait) = other.take(&alice, &small).await.unwrap() {
            assert!(wait <= small.period, "{kind}: {wait:?}");
        }
    }
}

#[tokio::test]
async fn extreme_rate_limits_are_accepted() {
    let odd = [
        rate_limit(1, Duration::ZERO),
        rate_limit(u32::MAX, Duration::from_nanos(1)),
        rate_limit(7, Duration::from_secs(1)),
        rate_limit(u32::MAX, Duration::MAX),
        rate_limit(1, Duration::MAX),
    ];
    for StorePair { kind, one, .. } in store_pairs().await {
        for (at, odd) in odd.iter().enumerate() {
            let taken = one.take(&test_key(&at.to_string()), odd).await;
            assert_eq!(taken, Ok(RateLimitOutcome::Allowed), "{kind}: {odd:?}");
        }
    }
}

#[tokio::test]
async fn concurrent_uses_never_exceed_the_limit() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let mut tasks = JoinSet::new();
        for at in 0..100 {
            let store = if at % 2 == 0 {
                one.clone()
            } else {
                other.clone()
            };
            tasks.spawn(async move {
                let first = use_once(&store, &test_key("state"), HOUR).await.unwrap();
                (
                    first,
                    store
                        .take(&test_key("state"), &rate_limit(10, HOUR))
                        .await
                        .unwrap(),
                )
            });
        }
        let done = tasks.join_all().await;
        assert_eq!(done.iter().filter(|(first, _)| *first).count(), 1, "{kind}");
        assert_eq!(
            done.iter()
                .filter(|(_, taken)| *taken == RateLimitOutcome::Allowed)
                .count(),
            10,
            "{kind}"
        );
    }
}

#[tokio::test]
async fn values_are_stored_replaced_and_removed() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let id = test_key("id");
        let odd = Bytes::from_static(b"\x00\xff\r\n");
        assert_eq!(other.get(&id).await, Ok(None), "{kind}");
        one.put(&id, "first".into(), HOUR).await.unwrap();
        one.put(&id, odd.clone(), HOUR).await.unwrap();
        assert_eq!(other.get(&id).await, Ok(Some(odd)), "{kind}");
        other.remove(&id).await.unwrap();
        other.remove(&id).await.unwrap();
        assert_eq!(one.get(&id).await, Ok(None), "{kind}");
        // The three kinds of entries are independent of each other.
        assert_eq!(use_once(&one, &id, HOUR).await, Ok(true), "{kind}");
        assert_eq!(
            one.take(&id, &rate_limit(1, HOUR)).await,
            Ok(RateLimitOutcome::Allowed),
            "{kind}"
        );
        assert_eq!(one.get(&id).await, Ok(None), "{kind}");
        let large = Bytes::from(vec![0; MAX_VALUE_BYTES + 1]);
        assert_eq!(
            one.put(&id, large, HOUR).await,
            Err(StoreError::TooLarge),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn marks_and_values_expire() {
    let short = Duration::from_millis(20);
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let id = test_key("id");
        assert_eq!(use_once(&one, &id, short).await, Ok(true), "{kind}");
        one.put(&id, "value".into(), short).await.unwrap();
        wait_until(kind, async || use_once(&other, &id, HOUR).await.unwrap()).await;
        wait_until(kind, async || other.get(&id).await.unwrap().is_none()).await;
        assert_eq!(use_once(&one, &id, HOUR).await, Ok(false), "{kind}");
        // A refreshed value stays, and an expired one does not return.
        assert_eq!(one.refresh(&id, HOUR).await, Ok(None), "{kind}");
        one.put(&id, "value".into(), HOUR).await.unwrap();
        assert_eq!(
            other.refresh(&id, short).await,
            Ok(Some("value".into())),
            "{kind}"
        );
        wait_until(kind, async || one.get(&id).await.unwrap().is_none()).await;
        one.put(&id, "value".into(), Duration::from_secs(1))
            .await
            .unwrap();
        let refreshed = Instant::now();
        assert_eq!(
            other.refresh(&id, HOUR).await,
            Ok(Some("value".into())),
            "{kind}"
        );
        while refreshed.elapsed() < Duration::from_millis(1100) {
            assert_eq!(one.get(&id).await, Ok(Some("value".into())), "{kind}");
        }
        for odd in [Duration::ZERO, Duration::MAX] {
            one.put(&id, "value".into(), odd).await.unwrap();
        }
        assert_eq!(one.get(&id).await, Ok(Some("value".into())), "{kind}");
    }
}

#[tokio::test]
async fn memory_store_is_bounded() {
    let store = Store::in_memory();
    let free = test_key("free");
    let limit = rate_limit(2, HOUR);
    for at in 0..MAX_MEMORY_ENTRIES {
        assert_eq!(
            use_once(&store, &test_key(&at.to_string()), HOUR).await,
            Ok(true)
        );
        assert_eq!(
            store.take(&test_key(&at.to_string()), &limit).await,
            Ok(RateLimitOutcome::Allowed)
        );
    }
    // Marks and limits are rejected when full, and existing ones stay in effect.
    assert_eq!(use_once(&store, &free, HOUR).await, Err(StoreError::Full));
    assert_eq!(store.take(&free, &limit).await, Err(StoreError::Full));
    assert_eq!(use_once(&store, &test_key("0"), HOUR).await, Ok(false));
    assert_eq!(
        store.take(&test_key("0"), &limit).await,
        Ok(RateLimitOutcome::Allowed)
    );
    assert!(matches!(
        store.take(&test_key("0"), &limit).await,
        Ok(RateLimitOutcome::RetryAfter(_))
    ));

    // Cached values are evicted.
    let value = Bytes::from(vec![0; MAX_VALUE_BYTES]);
    let fit = MAX_MEMORY_BYTES / MAX_VALUE_BYTES;
    for at in 0..=fit {
        let later = Duration::from_secs(at as u64);
        store
            .put(&test_key(&at.to_string()), value.clone(), HOUR + later)
            .await
            .unwrap();
    }
    assert_eq!(store.get(&test_key("0")).await, Ok(None));
    for at in 1..=fit {
        assert!(
            store
                .get(&test_key(&at.to_string()))
                .await
                .unwrap()
                .is_some(),
            "{at}"
        );
    }
}

/// Unknown callers, and one with many sessions, leave capacity for others.
#[tokio::test]
async fn memory_store_is_bounded_per_owner() {
    let store = Store::in_memory();
    let owned = |id: usize, owner: &str| test_key(&format!("{owner}-{id}")).owned_by(owner);
    let budget = |key| {
        [Budget {
            key,
            window: Window::Day,
            max: 10,
            amount: 1,
        }]
    };
    let limit = rate_limit(2, HOUR);
    for id in 0..MAX_ENTRIES_PER_OWNER {
        assert_eq!(use_once(&store, &owned(id, "many"), HOUR).await, Ok(true));
        assert_eq!(
            store.take(&owned(id, "many"), &limit).await,
            Ok(RateLimitOutcome::Allowed)
        );
        assert!(matches!(
            store.reserve(&budget(owned(id, "many"))).await,
            Ok(ReserveOutcome::Reserved(_))
        ));
        store
            .put(&owned(id, "many"), "value".into(), HOUR)
            .await
            .unwrap();
    }
    let more = owned(MAX_ENTRIES_PER_OWNER, "many");
    assert_eq!(
        use_once(&store, &more, HOUR).await,
        Err(StoreError::OwnerFull)
    );
    assert_eq!(store.take(&more, &limit).await, Err(StoreError::OwnerFull));
    assert_eq!(
        store.reserve(&budget(more.clone())).await,
        Err(StoreError::OwnerFull)
    );
    // Existing entries stay in effect, and cached values of the owner are evicted.
    assert_eq!(use_once(&store, &owned(0, "many"), HOUR).await, Ok(false));
    assert_eq!(
        store.take(&owned(0, "many"), &limit).await,
        Ok(RateLimitOutcome::Allowed)
    );
    store.put(&more, "value".into(), HOUR).await.unwrap();
    assert_eq!(store.get(&owned(0, "many")).await, Ok(None));
    assert_eq!(store.get(&owned(1, "many")).await, Ok(Some("value".into())));
    // Other owners keep their capacity, and a rollback releases capacity.
    assert_eq!(use_once(&store, &owned(0, "other"), HOUR).await, Ok(true));
    assert_eq!(
        store.take(&owned(0, "other"), &limit).await,
        Ok(RateLimitOutcome::Allowed)
    );
    let Ok(ReserveOutcome::Reserved(reservation)) = store.reserve(&budget(owned(1, "other"))).await
    else {
        panic!("it has room");
    };
    store.roll_back(reservation).await.unwrap();
    let large = Bytes::from(vec![0; MAX_VALUE_BYTES]);
    let fit = MAX_BYTES_PER_OWNER / MAX_VALUE_BYTES;
    for id in 0..=fit {
        let later = Duration::from_secs(id as u64);
        store
            .put(&owned(id, "large"), large.clone(), HOUR + later)
            .await
            .unwrap();
    }
    assert_eq!(store.get(&owned(0, "large")).await, Ok(None));
    assert!(store.get(&owned(1, "large")).await.unwrap().is_some());
    assert_eq!(store.get(&owned(1, "many")).await, Ok(Some("value".into())));
}

#[test]
fn store_keys_are_short_and_unambiguous() {
    let long = "x".repeat(100_000);
    let names = [
        StoreKey::new("calls", &["alice", "203.0.113.7"]),
        StoreKey::new("calls", &["alice:203.0.113.7"]),
        StoreKey::new("calls", &["alice", ""]),
        StoreKey::new("calls", &["alice"]),
        StoreKey::new("calls", &["alice\n"]),
        StoreKey::new("calls", &["älice"]),
        StoreKey::new("calls", &["2001:db8::1", &long]),
        StoreKey::new("calls", &["2001:db8::1", &long[1..]]),
        StoreKey::new(
            "calls",
            &[StoreKey::new("", &["alice\n"])
                .to_string()
                .trim_start_matches(':')],
        ),
    ];
    for (at, name) in names.iter().enumerate() {
        let shown = name.to_string();
        assert!(shown.len() < 120 && shown.is_ascii(), "{shown}");
        assert!(!names[..at].contains(name), "{shown}");
    }
    assert_eq!(names[0].to_string(), "calls:alice:203.0.113.7");
}
