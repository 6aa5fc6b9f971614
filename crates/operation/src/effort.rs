//! What it costs to find out which names are meant, so that a test can bound it without a clock.

/// Adds to what this thread has compared, where debug assertions are on.
#[inline]
pub(super) fn add(letters: usize) {
    #[cfg(debug_assertions)]
    COMPARED.with(|compared| compared.set(compared.get() + letters));
    #[cfg(not(debug_assertions))]
    let _ = letters;
}

/// How many names, and letters of names where all have to be looked at, this thread has compared so far.
#[cfg(debug_assertions)]
pub fn total() -> usize {
    COMPARED.get()
}

#[cfg(debug_assertions)]
thread_local! {
    static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
