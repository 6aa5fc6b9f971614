//! Releases the capacity of maps that many entries have left.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
};

/// Capacity up to which nothing is released.
pub const MAX_UNUSED_CAPACITY: usize = 256;

/// Returns `true` if less than a quarter of a large capacity is in use.
pub fn is_sparse(capacity: usize, len: usize) -> bool {
    capacity > MAX_UNUSED_CAPACITY.max(len.saturating_mul(4))
}

/// Releases capacity if most of it is unused; to be called after entries were removed.
///
/// Half of the remaining capacity stays free, so that entries that come and go do not move the others each time.
pub fn shrink_sparse<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if is_sparse(map.capacity(), map.len()) {
        map.shrink_to(map.len().saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_of_removed_entries_is_released() {
        let mut map: HashMap<_, _> = (0..10_000).map(|number| (number, ())).collect();
        map.retain(|number, ()| *number < 4_000);
        let full = map.capacity();
        shrink_sparse(&mut map);
        assert_eq!(map.capacity(), full, "more than a quarter is in use");
        map.retain(|number, ()| *number < 1_000);
        shrink_sparse(&mut map);
        assert!(
            (2_000..4_000).contains(&map.capacity()),
            "{}",
            map.capacity()
        );
        map.clear();
        shrink_sparse(&mut map);
        assert_eq!(map.capacity(), 0);
    }
}
