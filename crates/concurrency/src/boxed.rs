//! Boxing of the futures that every call has.

use std::pin::Pin;

/// Maximum size in bytes of a future that every call boxes.
///
/// `Box::pin` copies a future as a whole, with the space of everything that it may await. From 4 KiB
/// on, the copy costs as much as a small step of the call. Rare steps are boxed apart, so that others
/// need not carry their space.
pub const MAX_FUTURE_BYTES: usize = 4 << 10;

/// Boxes a future on the path of every call. Make the future in the argument: a variable that was moved
/// keeps its space in the surrounding future. Compilation fails if it exceeds [`MAX_FUTURE_BYTES`].
pub fn box_future<F: Future>(future: F) -> Pin<Box<F>> {
    const {
        assert!(
            size_of::<F>() <= MAX_FUTURE_BYTES,
            "this future is boxed for every call: box its rare or large steps apart"
        );
    }
    Box::pin(future)
}
