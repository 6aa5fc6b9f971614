//! Single use, and a store that lost its used marks.

use std::time::Duration;

use portkey_store::{Stamp, Store, UseOutcome};

use crate::support::{
    programs::is_missing,
    redis::RedisServer,
    store::{HOUR, StorePair, store_pairs, test_key, wait_until},
};

/// Epoch record in Redis: its name, the number of marked uses, and the monotonic time.
struct EpochRecord {
    epoch: String,
    uses: u64,
    time: u64,
}

impl EpochRecord {
    fn read(redis: &RedisServer) -> Self {
        let text = redis.run(&["GET", "portkey-mcp:epoch"]);
        let parts: Vec<_> = text.split(' ').collect();
        let number = |at: usize| parts[at].parse().unwrap();
        Self {
            epoch: parts[0].to_owned(),
            uses: number(1),
            time: number(2),
        }
    }

    fn write(&self, redis: &RedisServer) {
        let Self { epoch, uses, time } = self;
        let text = format!("{epoch} {uses} {time}");
        assert_eq!(redis.run(&["SET", "portkey-mcp:epoch", &text]), "OK");
    }
}

#[tokio::test]
async fn single_use_is_accepted_once_and_in_time() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let stamp = one.stamp().await.unwrap();
        assert_eq!(Stamp::from_bytes(stamp.to_bytes()), stamp);
        assert_eq!(
            other.use_once(&stamp, &test_key("a"), HOUR).await,
            Ok(UseOutcome::First),
            "{kind}"
        );
        assert_eq!(
            one.use_once(&stamp, &test_key("a"), HOUR).await,
            Ok(UseOutcome::AlreadyUsed),
            "{kind}"
        );
        assert_eq!(
            one.use_once(&stamp, &test_key("b"), HOUR).await,
            Ok(UseOutcome::First),
            "{kind}"
        );
        let short = Duration::from_millis(20);
        let is_old =
            async || one.use_once(&stamp, &test_key("c"), short).await == Ok(UseOutcome::Expired);
        wait_until(kind, is_old).await;
        assert_eq!(one.data_loss_age(), None, "{kind}");
    }
}

#[tokio::test]
async fn stamps_from_before_a_restart_are_rejected() {
    let before = Store::in_memory();
    let after = Store::in_memory();
    let stamp = before.stamp().await.unwrap();
    assert_eq!(
        after.use_once(&stamp, &test_key("a"), HOUR).await,
        Ok(UseOutcome::DataLost)
    );
}

#[tokio::test]
async fn stamps_from_before_redis_was_emptied_are_rejected() {
    if is_missing("redis-server") {
        return;
    }
    for restarts in [false, true] {
        let mut redis = RedisServer::start();
        let one = redis.store().await;
        let other = redis.store().await;
        let stamp = one.stamp().await.unwrap();
        assert_eq!(
            one.use_once(&stamp, &test_key("a"), HOUR).await,
            Ok(UseOutcome::First)
        );
        if restarts {
            redis.kill();
            redis.restart();
        } else {
            assert_eq!(redis.run(&["FLUSHALL"]), "OK");
        }
        let used = one.use_once(&stamp, &test_key("a"), HOUR).await;
        assert_eq!(used, Ok(UseOutcome::DataLost), "restarts: {restarts}");
        assert!(
            one.data_loss_age().is_some_and(|ago| ago < HOUR),
            "restarts: {restarts}"
        );
        // The other replica notices it at its next use.
        assert_eq!(
            other.use_once(&stamp, &test_key("a"), HOUR).await,
            Ok(UseOutcome::DataLost)
        );
        assert!(other.data_loss_age().is_some());
        // Stamps issued afterwards are valid at both.
        let stamp = other.stamp().await.unwrap();
        assert_eq!(
            one.use_once(&stamp, &test_key("a"), HOUR).await,
            Ok(UseOutcome::First)
        );
        assert_eq!(
            other.use_once(&stamp, &test_key("a"), HOUR).await,
            Ok(UseOutcome::AlreadyUsed)
        );
        // A replica that starts now has seen no data loss.
        assert_eq!(redis.store().await.data_loss_age(), None);
    }
}

#[tokio::test]
async fn stamps_from_before_a_redis_rollback_are_rejected() {
    if is_missing("redis-server") {
        return;
    }
    let redis = RedisServer::start();
    let store = redis.store().await;
    let stamp = store.stamp().await.unwrap();
    let earlier = EpochRecord::read(&redis);
    assert_eq!(
        store.use_once(&stamp, &test_key("a"), HOUR).await,
        Ok(UseOutcome::First)
    );
    // As in a snapshot from before the use.
    earlier.write(&redis);
    redis.run(&["DEL", "portkey-mcp:once:test:a"]);
    assert_eq!(
        store.use_once(&stamp, &test_key("a"), HOUR).await,
        Ok(UseOutcome::DataLost)
    );
    assert!(store.data_loss_age().is_some());
    assert_ne!(EpochRecord::read(&redis).epoch, earlier.epoch);
}

/// The clock of Redis is set back by an hour. The test sets the recorded time an hour ahead
/// instead, which is equivalent.
#[tokio::test]
async fn used_mark_outlives_its_stamp_when_the_clock_is_set_back() {
    if is_missing("redis-server") {
        return;
    }
    let redis = RedisServer::start();
    let store = redis.store().await;
    store.stamp().await.unwrap();
    let kept = EpochRecord::read(&redis);
    EpochRecord {
        time: kept.time + 3_600_000,
        ..kept
    }
    .write(&redis);
    let stamp = store.stamp().await.unwrap();
    let minute = Duration::from_secs(60);
    assert_eq!(
        store.use_once(&stamp, &test_key("a"), minute).await,
        Ok(UseOutcome::First)
    );
    let lasts: u64 = redis
        .run(&["PTTL", "portkey-mcp:once:test:a"])
        .parse()
        .unwrap();
    // The stamp is valid until its clock has advanced by the hour and the minute.
    assert!((3_600_000..=3_660_000).contains(&lasts), "{lasts}");
    assert_eq!(
        store.use_once(&stamp, &test_key("a"), minute).await,
        Ok(UseOutcome::AlreadyUsed)
    );
}
