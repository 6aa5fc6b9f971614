//! Counts the bytes of responses that clients have not read, in total and for each caller.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Minimum size of a counted response, in bytes. The number of smaller ones is bounded by the
/// requests in flight.
pub(super) const MIN_COUNTED_BYTES: usize = 16 << 10;

/// Divisor of the total limit that gives the limit of one caller.
const SHARE_OF_CALLER: usize = 4;

/// The unread bytes of responses, with a limit.
#[derive(Debug)]
pub struct Unread {
    max: usize,
    all: AtomicUsize,
    of_callers: Mutex<HashMap<Arc<str>, usize>>,
}

/// The limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    /// The limit of one caller.
    OfCaller,
    /// The total limit.
    InAll,
}

impl Unread {
    /// Creates a counter with a total limit in bytes, a quarter of it for one caller.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            all: AtomicUsize::new(0),
            of_callers: Mutex::default(),
        })
    }

    /// Checks whether a caller may make another request before it reads. Costs one atomic load
    /// while little is unread.
    ///
    /// # Errors
    /// Returns the limit that was reached.
    pub(super) fn check(&self, caller: &Arc<str>) -> Result<(), Exceeded> {
        let all = self.all.load(Ordering::Relaxed);
        if all < self.max / SHARE_OF_CALLER {
            return Ok(());
        }
        if all >= self.max {
            return Err(Exceeded::InAll);
        }
        match self.of_callers().get(caller) {
            Some(bytes) if *bytes >= self.max / SHARE_OF_CALLER => Err(Exceeded::OfCaller),
            _ => Ok(()),
        }
    }

    /// Returns `true` if the total limit is reached.
    pub(super) fn is_exceeded(&self) -> bool {
        self.all.load(Ordering::Relaxed) >= self.max
    }

    /// Counts a response of a caller until the returned value is dropped.
    pub(super) fn hold(self: &Arc<Self>, caller: Arc<str>, bytes: usize) -> Held {
        let mut held = Held {
            unread: self.clone(),
            caller: Some(caller),
            bytes: 0,
        };
        held.set(bytes);
        held
    }

    /// Counts bytes of no known caller until the returned value is dropped. Starts with zero.
    pub(super) fn hold_for_nobody(self: &Arc<Self>) -> Held {
        Held {
            unread: self.clone(),
            caller: None,
            bytes: 0,
        }
    }

    fn of_callers(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.of_callers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unread bytes, which are counted until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    unread: Arc<Unread>,
    caller: Option<Arc<str>>,
    bytes: usize,
}

impl Held {
    /// Sets a new number of bytes.
    pub(super) fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes == before {
            return;
        }
        let Unread { all, .. } = &*self.unread;
        match bytes > before {
            true => all.fetch_add(bytes - before, Ordering::Relaxed),
            false => all.fetch_sub(before - bytes, Ordering::Relaxed),
        };
        let Some(caller) = &self.caller else { return };
        let mut of_callers = self.unread.of_callers();
        let of_caller = of_callers.entry(caller.clone()).or_default();
        *of_caller = (*of_caller + bytes).saturating_sub(before);
        if *of_caller == 0 {
            of_callers.remove(caller);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_has_a_quarter_and_all_have_the_whole() {
        let unread = Unread::new(4000);
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let mut held = unread.hold(one.clone(), 999);
        assert_eq!(unread.check(&one), Ok(()));
        held.set(1000);
        assert_eq!(unread.check(&one), Err(Exceeded::OfCaller));
        assert_eq!(unread.check(&other), Ok(()));
        let rest = unread.hold(other.clone(), 3000);
        assert_eq!(unread.check(&"third".into()), Err(Exceeded::InAll));
        assert!(unread.is_exceeded());
        drop(rest);
        assert!(!unread.is_exceeded());
        held.set(10);
        assert_eq!(unread.check(&one), Ok(()));
        drop(held);
        assert_eq!(unread.all.load(Ordering::Relaxed), 0);
        assert!(unread.of_callers().is_empty());
    }
}
