//! Queues in Redis: an index of ids, and a value under each of them.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use redis::{Script, cmd};

use super::{RedisStore, to_millis};
use crate::{EnqueueOutcome, Queue, QueuedId, StoreError};

static ENQUEUE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../enqueue.lua")));
static DEQUEUE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../dequeue.lua")));
/// A script and not a pipeline, because the errors of a pipeline do not say what is wrong.
static VALUES: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local found = {}
         for i, key in ipairs(KEYS) do found[i] = redis.call('GET', key) end
         return found",
    )
});
/// Returns the time in milliseconds, and the index.
static INDEX: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local clock = redis.call('TIME')
         local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
         return {now, redis.call('GET', KEYS[1]) or ''}",
    )
});

impl RedisStore {
    pub(crate) async fn enqueue(
        &self,
        queue: &Queue,
        id: &str,
        owner: &str,
        value: &[u8],
        ttl: Duration,
    ) -> Result<EnqueueOutcome, StoreError> {
        let mut call = ENQUEUE.key(index_key(queue));
        call.arg(id)
            .arg(owner)
            .arg(value)
            .arg(to_millis(ttl))
            .arg(to_millis(queue.remember_for));
        call.arg(queue.max_per_owner)
            .arg(queue.max)
            .arg(queue.max_ids())
            .arg(value_key_prefix(queue));
        let call = &call;
        let work = |mut link| async move { call.invoke_async::<u8>(&mut link).await };
        match self.run(work).await? {
            0 => Ok(EnqueueOutcome::Appended),
            1 => Ok(EnqueueOutcome::OwnerFull),
            2 => Ok(EnqueueOutcome::QueueFull),
            _ => Err(self.unavailable("it answers what it was not asked".to_owned())),
        }
    }

    pub(crate) async fn queued_ids(
        &self,
        queue: &Queue,
        owner: Option<&str>,
    ) -> Result<Vec<QueuedId>, StoreError> {
        let call = INDEX.key(index_key(queue));
        let call = &call;
        let work = |mut link| async move { call.invoke_async::<(u64, String)>(&mut link).await };
        let (now, index) = self.run(work).await?;
        let remembers = to_millis(queue.remember_for);
        let name = |line: &str| {
            let mut parts = line.split(' ');
            let id = parts.next()?;
            let whose = parts.next()?;
            let ends = parts.next()?;
            let ends: u64 = ends.parse().ok()?;
            let is_wanted = owner.is_none_or(|owner| owner == whose) && ends + remembers > now;
            is_wanted.then(|| QueuedId {
                id: id.to_owned(),
                is_live: ends > now,
            })
        };
        Ok(index.lines().filter_map(name).collect())
    }

    pub(crate) async fn queued_values(
        &self,
        queue: &Queue,
        ids: &[&str],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut call = VALUES.prepare_invoke();
        for id in ids {
            call.key(format!("{}{id}", value_key_prefix(queue)));
        }
        let call = &call;
        let work =
            |mut link| async move { call.invoke_async::<Vec<Option<Vec<u8>>>>(&mut link).await };
        let found = self.run(work).await?;
        Ok(found
            .into_iter()
            .map(|value| value.map(Bytes::from))
            .collect())
    }

    pub(crate) async fn replace_queued(
        &self,
        queue: &Queue,
        id: &str,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let mut set = cmd("SET");
        set.arg(format!("{}{id}", value_key_prefix(queue)))
            .arg(value)
            .arg("XX")
            .arg("KEEPTTL");
        // Redis answers with nil if there is no value.
        Ok(self.query::<Option<String>>(&set).await?.is_some())
    }

    pub(crate) async fn dequeue(&self, queue: &Queue, id: &str) -> Result<(), StoreError> {
        let mut call = DEQUEUE.key(index_key(queue));
        call.arg(id).arg(value_key_prefix(queue));
        let call = &call;
        self.run(|mut link| async move { call.invoke_async::<()>(&mut link).await })
            .await
    }
}

fn index_key(queue: &Queue) -> String {
    format!("portkey-mcp:queue:{}", queue.name)
}

/// Returns the prefix of the keys of values.
fn value_key_prefix(queue: &Queue) -> String {
    format!("portkey-mcp:queued:{}:", queue.name)
}
