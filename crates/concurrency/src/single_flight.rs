//! Work that several callers request at once: done once, and completed even if all callers hang up.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::shrink_sparse;

type RunningFlights<K, V> = HashMap<K, watch::Receiver<Option<V>>>;

/// Work in progress by key; clones share it.
pub struct SingleFlight<K, V> {
    running: Arc<Mutex<RunningFlights<K, V>>>,
    max: usize,
}

/// A handle to work in progress.
pub struct Flight<V>(watch::Receiver<Option<V>>);

/// Removes the work from the map when it ends, even if it panics.
struct RemoveOnDrop<K: Eq + Hash, V> {
    running: Arc<Mutex<RunningFlights<K, V>>>,
    key: K,
}

impl<K, V> SingleFlight<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Creates a group that runs at most `max` pieces of work at once.
    pub fn new(max: usize) -> Self {
        Self {
            running: Arc::default(),
            max,
        }
    }

    /// Joins the work of this key, and starts it if it is not in progress. Returns `None` if too
    /// much is in progress: in total, or at least `max_alike` among the keys that are `alike`.
    pub fn join<F>(
        &self,
        key: K,
        (alike, max_alike): (impl Fn(&K) -> bool, usize),
        work: impl FnOnce() -> F,
    ) -> Option<Flight<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut running = lock(&self.running);
        if let Some(flight) = running.get(&key) {
            return Some(Flight(flight.clone()));
        }
        if running.len() >= self.max || running.keys().filter(|key| alike(key)).count() >= max_alike
        {
            return None;
        }
        let (done, flight) = watch::channel(None);
        running.insert(key.clone(), flight.clone());
        drop(running);
        let remove = RemoveOnDrop {
            running: self.running.clone(),
            key,
        };
        let work = work();
        tokio::spawn(async move {
            let value = work.await;
            done.send_replace(Some(value));
            drop(remove);
        });
        Some(Flight(flight))
    }
}

impl<V: Clone> Flight<V> {
    /// Waits for the result; `None` if the work panicked or was aborted.
    pub async fn value(mut self) -> Option<V> {
        let value = self.0.wait_for(Option::is_some).await.ok()?;
        value.clone()
    }
}

impl<K: Eq + Hash, V> Drop for RemoveOnDrop<K, V> {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        running.remove(&self.key);
        shrink_sparse(&mut running);
    }
}

impl<K, V> Clone for SingleFlight<K, V> {
    fn clone(&self) -> Self {
        Self {
            running: self.running.clone(),
            max: self.max,
        }
    }
}

impl<K, V> fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SingleFlight({} of {})",
            lock(&self.running).len(),
            self.max
        )
    }
}

fn lock<K, V>(running: &Mutex<RunningFlights<K, V>>) -> MutexGuard<'_, RunningFlights<K, V>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    const UNBOUNDED: (fn(&u8) -> bool, usize) = (|_| true, usize::MAX);

    #[tokio::test]
    async fn concurrent_callers_share_one_piece_of_work() {
        let (flights, started) = (
            SingleFlight::<u8, usize>::new(8),
            Arc::<AtomicUsize>::default(),
        );
        let release = Arc::new(Semaphore::new(0));
        let join = || {
            let started = started.clone();
            let release = release.clone();
            flights.join(1, UNBOUNDED, || async move {
                let number = started.fetch_add(1, Ordering::Relaxed);
                release.acquire().await.unwrap().forget();
                number
            })
        };
        let joined = [join().unwrap(), join().unwrap()];
        drop(join());
        release.add_permits(1);
        for flight in joined {
            assert_eq!(flight.value().await, Some(0));
        }
        release.add_permits(1);
        assert_eq!(
            join().unwrap().value().await,
            Some(1),
            "the next one begins anew"
        );
    }

    #[tokio::test]
    async fn work_beyond_limits_is_not_started() {
        let flights = SingleFlight::<u8, ()>::new(3);
        let join = |key: u8| flights.join(key, (|key: &u8| *key < 10, 2), std::future::pending);
        assert!(join(1).is_some() && join(2).is_some());
        assert!(join(3).is_none(), "two of a kind are under way");
        assert!(join(2).is_some(), "this one is under way");
        let other = |key| flights.join(key, UNBOUNDED, std::future::pending);
        assert!(other(20).is_some());
        assert!(other(21).is_none(), "three are under way");
    }

    #[tokio::test]
    async fn panicked_flight_is_removed() {
        let flights = SingleFlight::<u8, u8>::new(1);
        let broken = flights
            .join(1, UNBOUNDED, || async { panic!("as it should") })
            .unwrap();
        assert_eq!(broken.value().await, None);
        let next = flights.join(1, UNBOUNDED, || async { 7 }).unwrap();
        assert_eq!(next.value().await, Some(7));
    }
}
