//! Keeps the built list of tools for as long as clients ask for it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use rmcp::model::Tool;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

/// Time for which an unused list is kept. It takes some megabytes and milliseconds to build, and most clients ask for
/// it once.
const MAX_UNUSED: Duration = Duration::from_secs(10);

/// The list of tools, if it was used recently.
#[derive(Debug, Default)]
pub(super) struct ToolCache(Mutex<Option<CachedTools>>);

#[derive(Debug)]
struct CachedTools {
    tools: Arc<[Tool]>,
    last_use: Instant,
}

impl ToolCache {
    /// Returns the tools, and builds them if they are not cached. Outside of a runtime they stay cached.
    pub(super) fn get_or_build(self: &Arc<Self>, build: impl FnOnce() -> Vec<Tool>) -> Arc<[Tool]> {
        let mut cached = self.lock();
        if let Some(cached) = &mut *cached {
            cached.last_use = Instant::now();
            return cached.tools.clone();
        }
        let tools: Arc<[Tool]> = build().into();
        *cached = Some(CachedTools {
            tools: tools.clone(),
            last_use: Instant::now(),
        });
        drop(cached);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(drop_unused(Arc::downgrade(self)));
        }
        tools
    }

    fn lock(&self) -> MutexGuard<'_, Option<CachedTools>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the tools once they are unused.
async fn drop_unused(cache: Weak<ToolCache>) {
    loop {
        sleep(MAX_UNUSED).await;
        let Some(cache) = cache.upgrade() else {
            return;
        };
        let mut cached = cache.lock();
        if cached
            .as_ref()
            .is_none_or(|cached| cached.last_use.elapsed() >= MAX_UNUSED)
        {
            *cached = None;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn unused_tools_are_dropped_and_built_again() {
        let cache = Arc::<ToolCache>::default();
        let builds = Cell::new(0);
        let get = || {
            cache.get_or_build(|| {
                builds.set(builds.get() + 1);
                Vec::new()
            })
        };
        get();
        // Paused time advances once there is nothing else to do.
        for _ in 0..5 {
            sleep(MAX_UNUSED / 2).await;
            get();
        }
        assert_eq!(builds.get(), 1, "they were in use");
        sleep(2 * MAX_UNUSED).await;
        assert!(cache.lock().is_none());
        get();
        assert_eq!(builds.get(), 2);
        sleep(2 * MAX_UNUSED).await;
        assert!(cache.lock().is_none(), "the second list is dropped as well");
    }
}
