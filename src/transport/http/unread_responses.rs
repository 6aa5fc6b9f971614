//! Counts the bytes of responses that clients have not read, in total and for each caller.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use portkey_concurrency::shrink_sparse;

/// Minimum size of a counted response, in bytes. The number of smaller ones is bounded by the
/// requests in flight.
pub(super) const MIN_COUNTED_BYTES: usize = 16 << 10;

/// Divisor of the total limit that gives the limit of one caller.
const MAX_CALLER_SHARE_DIVISOR: usize = 4;

/// The unread bytes of responses, with a limit.
#[derive(Debug)]
pub struct UnreadResponses {
    max_bytes: usize,
    total_bytes: AtomicUsize,
    per_caller: Mutex<HashMap<Arc<str>, usize>>,
}

/// The limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnreadLimit {
    /// The limit of one caller.
    PerCaller,
    /// The total limit.
    Total,
}

impl UnreadResponses {
    /// Creates a counter with a total limit in bytes, a quarter of it for one caller.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max_bytes: max,
            total_bytes: AtomicUsize::new(0),
            per_caller: Mutex::default(),
        })
    }

    /// Checks whether a caller may make another request before it reads. Costs one atomic load
    /// while little is unread.
    ///
    /// # Errors
    /// Returns the limit that was reached.
    pub(super) fn check(&self, caller: &Arc<str>) -> Result<(), UnreadLimit> {
        let all = self.total_bytes.load(Ordering::Relaxed);
        if all < self.max_bytes / MAX_CALLER_SHARE_DIVISOR {
            return Ok(());
        }
        if all >= self.max_bytes {
            return Err(UnreadLimit::Total);
        }
        match self.per_caller().get(caller) {
            Some(bytes) if *bytes >= self.max_bytes / MAX_CALLER_SHARE_DIVISOR => {
                Err(UnreadLimit::PerCaller)
            }
            _ => Ok(()),
        }
    }

    /// Returns `true` if the total limit is reached.
    pub(super) fn is_exceeded(&self) -> bool {
        self.total_bytes.load(Ordering::Relaxed) >= self.max_bytes
    }

    /// Counts a response of a caller until the returned value is dropped.
    pub(super) fn count(self: &Arc<Self>, caller: Arc<str>, bytes: usize) -> CountedBytes {
        let mut held = CountedBytes {
            unread: self.clone(),
            caller: Some(caller),
            bytes: 0,
        };
        held.set_bytes(bytes);
        held
    }

    /// Counts bytes of no known caller until the returned value is dropped. Starts with zero.
    pub(super) fn count_without_caller(self: &Arc<Self>) -> CountedBytes {
        CountedBytes {
            unread: self.clone(),
            caller: None,
            bytes: 0,
        }
    }

    fn per_caller(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.per_caller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unread bytes, which are counted until this is dropped.
#[derive(Debug)]
pub(super) struct CountedBytes {
    unread: Arc<UnreadResponses>,
    caller: Option<Arc<str>>,
    bytes: usize,
}

impl CountedBytes {
    /// Sets a new number of bytes.
    pub(super) fn set_bytes(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes == before {
            return;
        }
        let UnreadResponses {
            total_bytes: all, ..
        } = &*self.unread;
        match bytes > before {
            true => all.fetch_add(bytes - before, Ordering::Relaxed),
            false => all.fetch_sub(before - bytes, Ordering::Relaxed),
        };
        let Some(caller) = &self.caller else { return };
        let mut of_callers = self.unread.per_caller();
        let of_caller = of_callers.entry(caller.clone()).or_default();
        *of_caller = (*of_caller + bytes).saturating_sub(before);
        if *of_caller == 0 {
            of_callers.remove(caller);
            shrink_sparse(&mut of_callers);
        }
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        self.set_bytes(0);
    }
}

#[cfg(test)]
mod tests {
    use portkey_concurrency::MAX_UNUSED_CAPACITY;

    use super::*;

    #[test]
    fn caller_may_use_a_quarter_of_the_limit() {
        let unread = UnreadResponses::new(4000);
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let mut held = unread.count(one.clone(), 999);
        assert_eq!(unread.check(&one), Ok(()));
        held.set_bytes(1000);
        assert_eq!(unread.check(&one), Err(UnreadLimit::PerCaller));
        assert_eq!(unread.check(&other), Ok(()));
        let rest = unread.count(other.clone(), 3000);
        assert_eq!(unread.check(&"third".into()), Err(UnreadLimit::Total));
        assert!(unread.is_exceeded());
        drop(rest);
        assert!(!unread.is_exceeded());
        held.set_bytes(10);
        assert_eq!(unread.check(&one), Ok(()));
        drop(held);
        assert_eq!(unread.total_bytes.load(Ordering::Relaxed), 0);
        assert!(unread.per_caller().is_empty());
    }

    #[test]
    fn counts_of_callers_that_are_gone_use_no_memory() {
        let unread = UnreadResponses::new(usize::MAX);
        let held: Vec<_> = (0..10_000)
            .map(|caller| unread.count(caller.to_string().into(), 1))
            .collect();
        assert_eq!(unread.per_caller().len(), held.len());
        drop(held);
        assert!(unread.per_caller().capacity() <= MAX_UNUSED_CAPACITY);
    }
}
