//! Counts name comparisons, so that a test can bound their cost without a clock.

/// Adds to the comparisons of this thread if debug assertions are on.
#[inline]
pub(super) fn record(letters: usize) {
    #[cfg(debug_assertions)]
    COMPARED.with(|compared| compared.set(compared.get() + letters));
    #[cfg(not(debug_assertions))]
    let _ = letters;
}

/// Returns the comparisons of this thread so far: names, and single letters where a comparison has
/// to look at all of them.
#[cfg(debug_assertions)]
pub fn total() -> usize {
    COMPARED.get()
}

#[cfg(debug_assertions)]
thread_local! {
    static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
