//! Counters of time windows, in memory and in Redis: reservations are atomic, can be rolled back
//! and never exceed the budget.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::DateTime;
use portkey_store::{
    Budget, MAX_MEMORY_ENTRIES, Reservation, ReserveOutcome, Store, StoreError, StoreKey, Window,
};
use proptest::prelude::*;
use tokio::task::JoinSet;

use crate::support::{
    programs::is_missing,
    redis::RedisServer,
    store::{StorePair, store_pairs},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Returns a store in memory, and its clock in microseconds.
fn store_with_manual_clock(start: u64) -> (Store, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(start));
    let clock = {
        let now = now.clone();
        Arc::new(move || UNIX_EPOCH + Duration::from_micros(now.load(Ordering::Relaxed)))
    };
    (Store::in_memory_with_clock(clock), now)
}

fn micros(text: &str) -> u64 {
    DateTime::parse_from_rfc3339(text)
        .unwrap()
        .timestamp_micros()
        .try_into()
        .unwrap()
}

fn budget(name: &str, window: Window, most: u64, amount: u64) -> Budget {
    Budget {
        key: StoreKey::new("test", &[name]),
        window,
        max: most,
        amount,
    }
}

async fn reserve(store: &Store, budgets: &[Budget]) -> Reservation {
    match store.reserve(budgets).await.unwrap() {
        ReserveOutcome::Reserved(reservation) => reservation,
        ReserveOutcome::Exhausted { .. } => panic!("{budgets:?} are exhausted"),
    }
}

/// A rejected reservation: the position of the exhausted budget, its count, and the wait.
struct Exhaustion {
    index: usize,
    counted: u64,
    retry_after: Option<Duration>,
}

async fn expect_exhausted(store: &Store, budgets: &[Budget]) -> Exhaustion {
    match store.reserve(budgets).await.unwrap() {
        ReserveOutcome::Reserved(_) => panic!("{budgets:?} are granted"),
        ReserveOutcome::Exhausted {
            index,
            counted,
            retry_after,
        } => Exhaustion {
            index,
            counted,
            retry_after,
        },
    }
}

#[tokio::test]
async fn calendar_windows_end_at_calendar_boundaries() {
    struct Case {
        window: Window,
        start: &'static str,
        end: &'static str,
    }

    let table = [
        Case {
            window: Window::Minute,
            start: "2026-11-21T09:00:30Z",
            end: "2026-11-21T09:01:00Z",
        },
        Case {
            window: Window::Minute,
            start: "2026-11-21T09:00:00Z",
            end: "2026-11-21T09:01:00Z",
        },
        Case {
            window: Window::Hour,
            start: "2026-12-31T23:15:00Z",
            end: "2027-01-01T00:00:00Z",
        },
        Case {
            window: Window::Day,
            start: "2028-02-28T12:00:00Z",
            end: "2028-02-29T00:00:00Z",
        },
        // 2026-11-23 is a Monday.
        Case {
            window: Window::Week,
            start: "2026-11-22T12:00:00Z",
            end: "2026-11-23T00:00:00Z",
        },
        Case {
            window: Window::Week,
            start: "2026-11-23T00:00:00Z",
            end: "2026-11-30T00:00:00Z",
        },
        Case {
            window: Window::Month,
            start: "2026-02-01T00:00:00Z",
            end: "2026-03-01T00:00:00Z",
        },
        Case {
            window: Window::Month,
            start: "2028-02-29T12:00:00Z",
            end: "2028-03-01T00:00:00Z",
        },
        Case {
            window: Window::Month,
            start: "2026-12-31T12:00:00Z",
            end: "2027-01-01T00:00:00Z",
        },
        Case {
            window: Window::Month,
            start: "2026-01-31T00:00:00Z",
            end: "2026-02-01T00:00:00Z",
        },
    ];
    for Case { window, start, end } in table {
        let (store, now) = store_with_manual_clock(micros(start));
        let two = [budget("a", window, 2, 2)];
        let end = micros(end);
        let early = reserve(&store, &two).await;
        let Exhaustion {
            counted,
            retry_after: wait,
            ..
        } = expect_exhausted(&store, &two).await;
        let rest = Duration::from_micros(end - micros(start));
        assert_eq!((counted, wait), (2, Some(rest)), "{window:?}");
        now.store(end - 1, Ordering::Relaxed);
        let last = Some(Duration::from_micros(1));
        assert_eq!(
            expect_exhausted(&store, &two).await.retry_after,
            last,
            "{window:?}"
        );
        now.store(end, Ordering::Relaxed);
        assert_eq!(store.count(&two[0].key, window).await, Ok(0), "{window:?}");
        drop(reserve(&store, &two).await);
        // The amount that was rolled back belongs to an earlier window.
        store.roll_back(early).await.unwrap();
        assert_eq!(store.count(&two[0].key, window).await, Ok(2), "{window:?}");
        // A clock that goes backwards frees nothing.
        now.store(end - 1, Ordering::Relaxed);
        expect_exhausted(&store, &two).await;
    }
}

#[tokio::test]
async fn redis_uses_the_same_calendar_windows() {
    if is_missing("redis-server") {
        return;
    }
    let server = RedisServer::start();
    let store = server.store().await;
    for window in [
        Window::Minute,
        Window::Hour,
        Window::Day,
        Window::Week,
        Window::Month,
    ] {
        // Tries again if the window ended in between.
        loop {
            let one = [budget("a", window, 1, 1)];
            _ = store.reserve(&one).await.unwrap();
            let before = window_end(window);
            let ReserveOutcome::Exhausted {
                retry_after: Some(retry_after),
                ..
            } = store.reserve(&one).await.unwrap()
            else {
                continue;
            };
            let (end, rest) = window_end(window);
            if end == before.0 {
                assert!(rest <= retry_after && retry_after <= before.1, "{window:?}");
                break;
            }
        }
    }
}

/// Returns the end of the current window by the store in memory, and the time until then.
fn window_end(window: Window) -> (SystemTime, Duration) {
    let now = SystemTime::now();
    let (store, _) =
        store_with_manual_clock(now.duration_since(UNIX_EPOCH).unwrap().as_micros() as u64);
    let one = [budget("a", window, 1, 1)];
    let asked = async {
        _ = reserve(&store, &one).await;
        expect_exhausted(&store, &one).await.retry_after.unwrap()
    };
    let wait = futures_util::FutureExt::now_or_never(asked).unwrap();
    let end = now.duration_since(UNIX_EPOCH).unwrap() + wait;
    (
        UNIX_EPOCH + Duration::from_millis(end.as_millis() as u64),
        wait,
    )
}

#[tokio::test]
async fn budgets_are_reserved_together_or_not_at_all() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        for window in [Window::Month, Window::Sliding(HOUR), Window::Bucket(HOUR)] {
            let what = format!("{kind}, {window:?}");
            let both = [budget("wide", window, 5, 1), budget("narrow", window, 2, 1)];
            let first = reserve(&one, &both).await;
            _ = reserve(&other, &both).await;
            let Exhaustion {
                index,
                counted,
                retry_after: wait,
            } = expect_exhausted(&one, &both).await;
            assert_eq!((index, counted), (1, 2), "{what}");
            let wait = wait.unwrap();
            assert!(
                wait > Duration::ZERO && wait < 32 * 24 * HOUR,
                "{what}: {wait:?}"
            );
            // The first budget does not count a reservation that the second one rejected.
            assert_eq!(other.count(&both[0].key, window).await, Ok(2), "{what}");
            one.roll_back(first).await.unwrap();
            assert_eq!(other.count(&both[1].key, window).await, Ok(1), "{what}");
            _ = reserve(&other, &both).await;
            expect_exhausted(&other, &both).await;
            // Two budgets of one counter include each other.
            let again = budget("wide", window, 5, 2);
            assert_eq!(
                expect_exhausted(&one, &[again.clone(), again.clone()])
                    .await
                    .index,
                1,
                "{what}"
            );
            let twice = reserve(&one, &[again, budget("wide", window, 5, 1)]).await;
            assert_eq!(one.count(&both[0].key, window).await, Ok(5), "{what}");
            one.roll_back(twice).await.unwrap();
            assert_eq!(one.count(&both[0].key, window).await, Ok(2), "{what}");
            // An amount above the budget, an amount of zero, and an empty list of budgets.
            let Exhaustion {
                counted,
                retry_after: wait,
                ..
            } = expect_exhausted(&one, &[budget("wide", window, 5, 6)]).await;
            assert_eq!((counted, wait), (2, None), "{what}");
            expect_exhausted(&one, &[budget("wide", window, u64::MAX, u64::MAX)]).await;
            let none = reserve(&one, &[]).await;
            one.roll_back(none).await.unwrap();
            _ = reserve(&one, &[budget("wide", window, 2, 0)]).await;
            if window != Window::Bucket(HOUR) {
                expect_exhausted(&one, &[budget("wide", window, 1, 0)]).await;
            }
            assert_eq!(other.count(&both[0].key, window).await, Ok(2), "{what}");
            // Different windows of one key have separate counters.
            assert_eq!(
                one.count(&both[0].key, Window::Sliding(HOUR / 7)).await,
                Ok(0),
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn amount_that_leaves_a_window_is_free_again() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let short = Duration::from_millis(300);
        for window in [Window::Sliding(short), Window::Bucket(short)] {
            let three = [budget("a", window, 3, 3)];
            let old = reserve(&one, &three).await;
            let start = std::time::Instant::now();
            while let ReserveOutcome::Exhausted { retry_after, .. } =
                other.reserve(&three).await.unwrap()
            {
                let retry_after = retry_after.unwrap();
                assert!(
                    retry_after <= short + short / 20,
                    "{kind}, {window:?}: {retry_after:?}"
                );
                tokio::task::yield_now().await;
            }
            let took = start.elapsed();
            assert!(took > short * 9 / 10, "{kind}, {window:?}: {took:?}");
            // The amount was freed by the window, and the rollback does not free it twice.
            one.roll_back(old).await.unwrap();
            let Exhaustion { counted, .. } = expect_exhausted(&one, &three).await;
            assert!(counted > 0, "{kind}, {window:?}");
        }
    }
}

#[tokio::test]
async fn concurrent_reservations_never_exceed_the_budget() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        for window in [
            Window::Month,
            Window::Sliding(HOUR),
            Window::Bucket(1000 * HOUR),
        ] {
            let mut tasks = JoinSet::new();
            for at in 0..120_u64 {
                let store = [&one, &other][at as usize % 2].clone();
                tasks.spawn(async move {
                    let amount = 1 + at % 3;
                    let asked = [
                        budget("all", window, 40, amount),
                        budget(&(at % 4).to_string(), window, 15, 1),
                    ];
                    match store.reserve(&asked).await.unwrap() {
                        ReserveOutcome::Reserved(reservation) if at % 5 == 0 => {
                            store.roll_back(reservation).await.unwrap();
                            0
                        }
                        ReserveOutcome::Reserved(_) => amount,
                        ReserveOutcome::Exhausted { .. } => 0,
                    }
                });
            }
            let kept: u64 = tasks.join_all().await.into_iter().sum();
            let key = &budget("all", window, 0, 0).key;
            assert!((30..=40).contains(&kept), "{kind}, {window:?}: {kept}");
            assert_eq!(one.count(key, window).await, Ok(kept), "{kind}, {window:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Holds for every interval of a sliding window's length, and for every rate of use of a
    /// bucket.
    #[test]
    fn no_interval_exceeds_its_budget(
        steps in prop::collection::vec((0_u64..400, 0_u64..4, any::<bool>()), 1..80),
        most in 1_u64..10,
    ) {
        let length = Duration::from_millis(1000);
        for window in [Window::Sliding(length), Window::Bucket(length)] {
            let (store, now) = store_with_manual_clock(micros("2026-11-21T09:00:00Z"));
            let mut kept: Vec<(u64, u64)> = Vec::new();
            for (step, amount, is_kept) in &steps {
                let time = now.fetch_add(step * 1000, Ordering::Relaxed) + step * 1000;
                let asked = [budget("a", window, most, *amount)];
                let ask = store.reserve(&asked);
                let asked = futures_util::FutureExt::now_or_never(ask).unwrap().unwrap();
                match asked {
                    ReserveOutcome::Reserved(_) if *is_kept => kept.push((time, *amount)),
                    ReserveOutcome::Reserved(reservation) => {
                        let back = store.roll_back(reservation);
                        futures_util::FutureExt::now_or_never(back).unwrap().unwrap();
                    }
                    ReserveOutcome::Exhausted { .. } => {}
                }
            }
            for (start, _) in &kept {
                for (end, _) in &kept {
                    let within = kept.iter().filter(|(time, _)| start <= time && time <= end);
                    let sum: u64 = within.map(|(_, amount)| amount).sum();
                    let span = end.saturating_sub(*start);
                    let bound = match window {
                        Window::Bucket(_) => most + span * most / 1_000_000,
                        _ if span < 1_000_000 => most,
                        _ => u64::MAX,
                    };
                    prop_assert!(sum <= bound, "{window:?}: {sum} in {span} µs");
                }
            }
        }
    }
}

#[tokio::test]
async fn full_memory_store_rejects_new_counters() {
    let store = Store::in_memory();
    for at in 0..MAX_MEMORY_ENTRIES {
        _ = reserve(
            &store,
            &[budget(&at.to_string(), Window::Sliding(HOUR), 2, 1)],
        )
        .await;
    }
    let (known, new) = (
        budget("0", Window::Sliding(HOUR), 2, 1),
        budget("new", Window::Month, 2, 1),
    );
    let both = store.reserve(&[known.clone(), new.clone()]).await;
    assert_eq!(both, Err(StoreError::Full));
    // The known counter still works, and the rejected reservation did not change it.
    assert_eq!(store.count(&known.key, known.window).await, Ok(1));
    _ = reserve(&store, std::slice::from_ref(&known)).await;
    expect_exhausted(&store, std::slice::from_ref(&known)).await;
    assert_eq!(store.count(&new.key, new.window).await, Ok(0));
}

#[tokio::test]
async fn redis_counters_expire_with_their_window() {
    if is_missing("redis-server") {
        return;
    }
    let server = RedisServer::start();
    let store = server.store().await;
    let windows = [
        (Window::Minute, Duration::from_secs(60)),
        (Window::Month, 31 * 24 * HOUR),
        (Window::Sliding(HOUR), HOUR + HOUR / 20),
        (Window::Bucket(HOUR), HOUR),
    ];
    let client = redis::Client::open(server.url()).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    for (window, longest) in windows {
        let budgets = [budget("a", window, 3, 2)];
        let reservation = reserve(&store, &budgets).await;
        _ = reserve(&store, &[budget("a", window, 3, 1)]).await;
        store.roll_back(reservation).await.unwrap();
        let names: Vec<String> = redis::cmd("KEYS")
            .arg("portkey-mcp:count:*")
            .query_async(&mut link)
            .await
            .unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
        let left: i64 = redis::cmd("PTTL")
            .arg(&names)
            .query_async(&mut link)
            .await
            .unwrap();
        assert!(
            0 < left && left as u128 <= longest.as_millis(),
            "{window:?}: {left}"
        );
        () = redis::cmd("FLUSHDB").query_async(&mut link).await.unwrap();
    }
}
