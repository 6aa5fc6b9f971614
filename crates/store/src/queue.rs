//! Bounded lists of values in order of arrival. Each value has an owner.
//!
//! One owner cannot fill a queue for the others. Once a queue is full, the owner with the most
//! values loses its oldest to an owner with fewer. Ids of values that are gone are remembered for a
//! while, so that the prefix of an id is never mistaken for another value's.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// A queue and its limits.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// Name of the queue in Redis.
    pub name: &'static str,
    /// Maximum number of values of one owner.
    pub max_per_owner: usize,
    /// Maximum number of values.
    pub max: usize,
    /// Time for which the id of a value is remembered after the value is gone.
    pub remember_for: Duration,
}

impl Queue {
    /// Maximum number of ids, including those that are remembered.
    pub(super) const fn max_ids(&self) -> usize {
        self.max * 4
    }
}

/// Result of appending a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnqueueOutcome {
    /// The value is the last one in the queue now.
    Appended,
    /// The owner has as many values as permitted.
    OwnerFull,
    /// The queue is full, and no owner has at least two values more than this one.
    QueueFull,
}

/// The id of a value in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedId {
    /// The id itself.
    pub id: String,
    /// True if the value is still in the queue.
    pub is_live: bool,
}

/// A queue of one process, the oldest entry first.
#[derive(Debug, Default)]
pub(super) struct QueueEntries(Vec<QueueEntry>);

#[derive(Debug)]
struct QueueEntry {
    id: String,
    owner: String,
    value: Bytes,
    expires: Instant,
}

impl QueueEntry {
    fn is_live(&self, now: Instant) -> bool {
        self.expires > now
    }
}

impl QueueEntries {
    pub(super) fn append(
        &mut self,
        queue: &Queue,
        (id, owner): (&str, &str),
        value: Bytes,
        ttl: Duration,
        now: Instant,
    ) -> EnqueueOutcome {
        self.remove_forgotten(queue, now);
        let live = || self.0.iter().filter(|entry| entry.is_live(now));
        let count_of = |owner: &str| live().filter(|entry| entry.owner == owner).count();
        let own = count_of(owner);
        if own >= queue.max_per_owner {
            return EnqueueOutcome::OwnerFull;
        }
        if live().count() >= queue.max {
            let largest = live()
                .map(|entry| (count_of(&entry.owner), &entry.owner))
                .max();
            let Some((_, whose)) = largest.filter(|(count, _)| *count > own + 1) else {
                return EnqueueOutcome::QueueFull;
            };
            let whose = whose.clone();
            let oldest = self
                .0
                .iter_mut()
                .find(|entry| entry.owner == whose && entry.is_live(now));
            if let Some(entry) = oldest {
                (entry.expires, entry.value) = (now, Bytes::new());
            }
        }
        let mut surplus = (self.0.len() + 1).saturating_sub(queue.max_ids());
        self.0.retain(|entry| {
            let goes = surplus > 0 && !entry.is_live(now);
            surplus -= usize::from(goes);
            !goes
        });
        let id = id.to_owned();
        let owner = owner.to_owned();
        self.0.push(QueueEntry {
            id,
            owner,
            value,
            expires: now + ttl,
        });
        EnqueueOutcome::Appended
    }

    pub(super) fn ids(
        &mut self,
        queue: &Queue,
        owner: Option<&str>,
        now: Instant,
    ) -> Vec<QueuedId> {
        self.remove_forgotten(queue, now);
        let of_owner = |entry: &&QueueEntry| owner.is_none_or(|owner| entry.owner == owner);
        let name = |entry: &QueueEntry| QueuedId {
            id: entry.id.clone(),
            is_live: entry.is_live(now),
        };
        self.0.iter().filter(of_owner).map(name).collect()
    }

    pub(super) fn get(&self, id: &str, now: Instant) -> Option<Bytes> {
        let mut live = self.0.iter().filter(|entry| entry.is_live(now));
        live.find(|entry| entry.id == id)
            .map(|entry| entry.value.clone())
    }

    /// Replaces a value and returns false if it is gone.
    pub(super) fn replace(&mut self, id: &str, value: Bytes, now: Instant) -> bool {
        let mut live = self.0.iter_mut().filter(|entry| entry.is_live(now));
        let found = live.find(|entry| entry.id == id);
        found.map(|entry| entry.value = value).is_some()
    }

    pub(super) fn remove(&mut self, id: &str, now: Instant) {
        if let Some(entry) = self
            .0
            .iter_mut()
            .find(|entry| entry.id == id && entry.is_live(now))
        {
            (entry.expires, entry.value) = (now, Bytes::new());
        }
    }

    /// Removes expired values, and the ids whose time of remembrance is over.
    fn remove_forgotten(&mut self, queue: &Queue, now: Instant) {
        self.0
            .retain(|entry| entry.expires + queue.remember_for > now);
        self.drop_expired_values(now);
    }

    /// Drops expired values and keeps their ids.
    pub(super) fn drop_expired_values(&mut self, now: Instant) {
        for entry in self.0.iter_mut().filter(|entry| !entry.is_live(now)) {
            entry.value = Bytes::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expired_value_is_dropped_and_its_name_remembered() {
        let hour = Duration::from_secs(3600);
        let queue = Queue {
            name: "queue",
            max_per_owner: 2,
            max: 2,
            remember_for: hour,
        };
        let mut entries = QueueEntries::default();
        let now = Instant::now();
        for (id, ttl) in [("expired", Duration::ZERO), ("live", hour)] {
            let queued = entries.append(&queue, (id, "owner"), id.into(), ttl, now);
            assert_eq!(queued, EnqueueOutcome::Appended);
        }
        entries.drop_expired_values(now);
        let values: Vec<_> = entries
            .0
            .iter()
            .map(|entry| (&*entry.id, &*entry.value))
            .collect();
        assert_eq!(values, [("expired", &b""[..]), ("live", b"live")]);
    }
}
