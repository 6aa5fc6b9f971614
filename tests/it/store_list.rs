//! What the store has for one purpose, listed.

use std::time::Duration;

use portkey_mcp::store::{Key, MOST_LISTED, Store};

use crate::{programs::is_missing, redis::Redis};

const HOUR: Duration = Duration::from_secs(3600);

/// Those of one purpose and no other, also where there are more than Redis looks through at once.
#[tokio::test]
async fn values_of_a_purpose_are_listed() {
    let server = (!is_missing("redis-server")).then(Redis::start);
    let mut stores = vec![("memory", Store::memory())];
    if let Some(server) = &server {
        stores.push(("redis", server.store().await));
    }
    for (kind, store) in stores {
        for i in 0..1_500 {
            let (purpose, text) = if i % 500 == 0 { ("few", "few") } else { ("fewer", "other") };
            let key = Key::new(purpose, &[&i.to_string()]);
            store.put(&key, format!("{text} {i}").into(), HOUR).await.unwrap();
        }
        store.once(&Key::new("few", &["mark"]), HOUR).await.unwrap();
        let mut found = store.values("few").await.unwrap();
        found.sort();
        assert_eq!(found, ["few 0", "few 1000", "few 500"], "{kind}");
        assert!(store.values("none").await.unwrap().is_empty(), "{kind}");
        assert_eq!(store.values("fewer").await.unwrap().len(), MOST_LISTED, "{kind}");
    }
}
