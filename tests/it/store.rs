//! What replicas share, in memory and in a real Redis: the same promises.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use bytes::Bytes;
use portkey_mcp::store::{
    Budget, Key, Limit, MOST_BYTES, MOST_ENTRIES, MOST_VALUE_BYTES, Reserved, Store, StoreError,
    Taken, Window,
};
use rcgen::{CertificateParams, KeyPair};
use tokio::task::JoinSet;

use crate::redis::{Redis, connect, is_left_out};

const HOUR: Duration = Duration::from_secs(3600);
const PATIENT: Duration = Duration::from_secs(5);

/// Two replicas' handles of one store.
pub(crate) struct Pair {
    pub(crate) kind: &'static str,
    pub(crate) one: Store,
    pub(crate) other: Store,
    _server: Option<Redis>,
}

pub(crate) async fn pairs() -> Vec<Pair> {
    let memory = Store::memory();
    let mut pairs =
        vec![Pair { kind: "memory", one: memory.clone(), other: memory, _server: None }];
    if !is_left_out() {
        let server = Redis::start();
        let (one, other) = (server.store().await, server.store().await);
        pairs.push(Pair { kind: "redis", one, other, _server: Some(server) });
    }
    pairs
}

fn key(name: &str) -> Key {
    Key::new("test", &[name])
}

fn limit(burst: u32, period: Duration) -> Limit {
    Limit { burst: NonZeroU32::new(burst).unwrap(), period }
}

/// Asks until it is so, for as long as a slow machine may need.
async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: never");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_limit_holds_across_replicas() {
    for Pair { kind, one, other, .. } in pairs().await {
        let (alice, three) = (key("alice"), limit(3, HOUR));
        for store in [&one, &other, &one] {
            assert_eq!(store.take(&alice, &three).await, Ok(Taken::Yes), "{kind}");
        }
        for store in [&one, &other] {
            let Ok(Taken::RetryAfter(wait)) = store.take(&alice, &three).await else {
                panic!("{kind}: more than the limit");
            };
            // One of three comes back after a third of the hour, less what the test took.
            assert!(wait <= HOUR / 3 && wait > HOUR / 4, "{kind}: {wait:?}");
        }
        assert_eq!(other.take(&key("bob"), &three).await, Ok(Taken::Yes), "{kind}");
    }
}

#[tokio::test]
async fn a_limit_allows_again_when_it_said_it_would() {
    for Pair { kind, one, other, .. } in pairs().await {
        let (alice, two) = (key("alice"), limit(2, Duration::from_millis(400)));
        let start = Instant::now();
        let mut taken = 0;
        while taken < 4 {
            match one.take(&alice, &two).await.unwrap() {
                Taken::Yes => taken += 1,
                Taken::RetryAfter(wait) => {
                    assert!(wait <= Duration::from_millis(200), "{kind}: {wait:?}");
                    tokio::task::yield_now().await;
                }
            }
        }
        // Two at once, and two more that had to wait 200 ms each.
        assert!(start.elapsed() >= Duration::from_millis(390), "{kind}: {:?}", start.elapsed());
        // A smaller limit under the same name, as after a change of configuration.
        let small = limit(1, Duration::from_millis(10));
        if let Taken::RetryAfter(wait) = other.take(&alice, &small).await.unwrap() {
            assert!(wait <= small.period, "{kind}: {wait:?}");
        }
    }
}

#[tokio::test]
async fn limits_as_odd_as_can_be_written_are_counted() {
    let odd = [
        limit(1, Duration::ZERO),
        limit(u32::MAX, Duration::from_nanos(1)),
        limit(7, Duration::from_secs(1)),
        limit(u32::MAX, Duration::MAX),
        limit(1, Duration::MAX),
    ];
    for Pair { kind, one, .. } in pairs().await {
        for (at, odd) in odd.iter().enumerate() {
            let taken = one.take(&key(&at.to_string()), odd).await;
            assert_eq!(taken, Ok(Taken::Yes), "{kind}: {odd:?}");
        }
    }
}

#[tokio::test]
async fn exactly_as_many_as_allowed_win_a_race() {
    for Pair { kind, one, other, .. } in pairs().await {
        let mut tasks = JoinSet::new();
        for at in 0..100 {
            let store = if at % 2 == 0 { one.clone() } else { other.clone() };
            tasks.spawn(async move {
                let once = store.once(&key("state"), HOUR).await.unwrap();
                (once, store.take(&key("state"), &limit(10, HOUR)).await.unwrap())
            });
        }
        let done = tasks.join_all().await;
        assert_eq!(done.iter().filter(|(once, _)| *once).count(), 1, "{kind}");
        assert_eq!(done.iter().filter(|(_, taken)| *taken == Taken::Yes).count(), 10, "{kind}");
    }
}

#[tokio::test]
async fn values_are_kept_replaced_and_removed_everywhere() {
    for Pair { kind, one, other, .. } in pairs().await {
        let (id, odd) = (key("id"), Bytes::from_static(b"\x00\xff\r\n"));
        assert_eq!(other.get(&id).await, Ok(None), "{kind}");
        one.put(&id, "first".into(), HOUR).await.unwrap();
        one.put(&id, odd.clone(), HOUR).await.unwrap();
        assert_eq!(other.get(&id).await, Ok(Some(odd)), "{kind}");
        other.remove(&id).await.unwrap();
        other.remove(&id).await.unwrap();
        assert_eq!(one.get(&id).await, Ok(None), "{kind}");
        // The three kinds of entries do not meet under one name.
        assert_eq!(one.once(&id, HOUR).await, Ok(true), "{kind}");
        assert_eq!(one.take(&id, &limit(1, HOUR)).await, Ok(Taken::Yes), "{kind}");
        assert_eq!(one.get(&id).await, Ok(None), "{kind}");
        let large = Bytes::from(vec![0; MOST_VALUE_BYTES + 1]);
        assert_eq!(one.put(&id, large, HOUR).await, Err(StoreError::TooLarge), "{kind}");
    }
}

#[tokio::test]
async fn marks_and_values_expire() {
    let short = Duration::from_millis(20);
    for Pair { kind, one, other, .. } in pairs().await {
        let id = key("id");
        assert_eq!(one.once(&id, short).await, Ok(true), "{kind}");
        one.put(&id, "value".into(), short).await.unwrap();
        eventually(kind, async || other.once(&id, HOUR).await.unwrap()).await;
        eventually(kind, async || other.get(&id).await.unwrap().is_none()).await;
        assert_eq!(one.once(&id, HOUR).await, Ok(false), "{kind}");
        // What is refreshed stays, and what is gone does not come back.
        assert_eq!(one.refresh(&id, HOUR).await, Ok(None), "{kind}");
        one.put(&id, "value".into(), HOUR).await.unwrap();
        assert_eq!(other.refresh(&id, short).await, Ok(Some("value".into())), "{kind}");
        eventually(kind, async || one.get(&id).await.unwrap().is_none()).await;
        one.put(&id, "value".into(), Duration::from_secs(1)).await.unwrap();
        let refreshed = Instant::now();
        assert_eq!(other.refresh(&id, HOUR).await, Ok(Some("value".into())), "{kind}");
        while refreshed.elapsed() < Duration::from_millis(1100) {
            assert_eq!(one.get(&id).await, Ok(Some("value".into())), "{kind}");
        }
        for odd in [Duration::ZERO, Duration::MAX] {
            one.put(&id, "value".into(), odd).await.unwrap();
        }
        assert_eq!(one.get(&id).await, Ok(Some("value".into())), "{kind}");
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    let store = Store::memory();
    let (free, limit) = (key("free"), limit(2, HOUR));
    for at in 0..MOST_ENTRIES {
        assert_eq!(store.once(&key(&at.to_string()), HOUR).await, Ok(true));
        assert_eq!(store.take(&key(&at.to_string()), &limit).await, Ok(Taken::Yes));
    }
    // What guards refuses, and nobody is let off what is known of him.
    assert_eq!(store.once(&free, HOUR).await, Err(StoreError::Full));
    assert_eq!(store.take(&free, &limit).await, Err(StoreError::Full));
    assert_eq!(store.once(&key("0"), HOUR).await, Ok(false));
    assert_eq!(store.take(&key("0"), &limit).await, Ok(Taken::Yes));
    assert!(matches!(store.take(&key("0"), &limit).await, Ok(Taken::RetryAfter(_))));

    // What only saves work makes room.
    let value = Bytes::from(vec![0; MOST_VALUE_BYTES]);
    let fit = MOST_BYTES / MOST_VALUE_BYTES;
    for at in 0..=fit {
        let later = Duration::from_secs(at as u64);
        store.put(&key(&at.to_string()), value.clone(), HOUR + later).await.unwrap();
    }
    assert_eq!(store.get(&key("0")).await, Ok(None));
    for at in 1..=fit {
        assert!(store.get(&key(&at.to_string())).await.unwrap().is_some(), "{at}");
    }
}

#[test]
fn keys_are_short_and_never_mistaken() {
    let long = "x".repeat(100_000);
    let names = [
        Key::new("calls", &["alice", "203.0.113.7"]),
        Key::new("calls", &["alice:203.0.113.7"]),
        Key::new("calls", &["alice", ""]),
        Key::new("calls", &["alice"]),
        Key::new("calls", &["alice\n"]),
        Key::new("calls", &["älice"]),
        Key::new("calls", &["2001:db8::1", &long]),
        Key::new("calls", &["2001:db8::1", &long[1..]]),
        Key::new("calls", &[Key::new("", &["alice\n"]).to_string().trim_start_matches(':')]),
    ];
    for (at, name) in names.iter().enumerate() {
        let shown = name.to_string();
        assert!(shown.len() < 120 && shown.is_ascii(), "{shown}");
        assert!(!names[..at].contains(name), "{shown}");
    }
    assert_eq!(names[0].to_string(), "calls:alice:203.0.113.7");
}

async fn reserved_and_back(store: &Store, id: &Key) -> Result<(), StoreError> {
    let budget = Budget { key: id.clone(), window: Window::Month, most: 9, amount: 1 };
    match store.reserve(&[budget]).await? {
        Reserved::Yes(reservation) => store.roll_back(reservation).await,
        Reserved::Exhausted { .. } => panic!("what was given back is counted"),
    }
}

/// Whatever is asked of it, with what came of that.
async fn errors(store: &Store) -> Vec<Result<(), StoreError>> {
    let id = key("id");
    vec![
        store.take(&id, &limit(1, HOUR)).await.map(drop),
        store.once(&id, HOUR).await.map(drop),
        store.put(&id, "value".into(), HOUR).await,
        store.get(&id).await.map(drop),
        store.refresh(&id, HOUR).await.map(drop),
        store.values("test").await.map(drop),
        store.remove(&id).await,
        store.counted(&id, Window::Month).await.map(drop),
        reserved_and_back(store, &id).await,
    ]
}

#[tokio::test]
async fn while_redis_is_away_every_call_fails_at_once() {
    if is_left_out() {
        return;
    }
    let mut server = Redis::start();
    let store = server.store().await;
    assert!(errors(&store).await.iter().all(Result::is_ok));
    server.kill();
    for error in errors(&store).await {
        assert!(matches!(error, Err(StoreError::Away { .. })), "{error:?}");
    }
    // A replica that starts meanwhile is no worse off.
    let late = server.store().await;
    assert!(errors(&late).await.iter().all(Result::is_err));

    server.restart();
    for store in [&store, &late] {
        eventually("works again", async || store.get(&key("id")).await.is_ok()).await;
        assert!(errors(store).await.iter().all(Result::is_ok));
    }
    // A connection that was cut meanwhile is no failure at all.
    server.kill();
    server.restart();
    assert_eq!(store.once(&key("other"), HOUR).await, Ok(true));
}

#[tokio::test]
async fn a_redis_that_hangs_is_not_waited_for() {
    if is_left_out() {
        return;
    }
    let server = Redis::start();
    let timeout = Duration::from_millis(100);
    let store = connect(&server.url(), timeout).await;
    assert!(errors(&store).await.iter().all(Result::is_ok));
    server.freeze();
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        tasks.spawn(async move {
            let start = Instant::now();
            (store.get(&key("id")).await, start.elapsed())
        });
    }
    for (answer, took) in tasks.join_all().await {
        let Err(StoreError::Away { reason, .. }) = answer else { panic!("{answer:?}") };
        assert!(!reason.is_empty());
        assert!(took < PATIENT, "{took:?}");
    }
}

#[tokio::test]
async fn a_password_is_used_and_never_told() {
    if is_left_out() {
        return;
    }
    let server = Redis::with(|_| vec!["--requirepass".into(), "right/horse".into()]);
    let at = |user: &str, host: &str| format!("redis://{user}@{host}:{}", server.port());
    for user in [":right%2Fhorse", "default:right%2Fhorse"] {
        let store = connect(&at(user, "127.0.0.1"), PATIENT).await;
        assert!(errors(&store).await.iter().all(Result::is_ok), "{user}");
    }
    for user in [":wrong-horse", "nobody:wrong-horse"] {
        let store = connect(&at(user, "127.0.0.1"), PATIENT).await;
        for error in errors(&store).await {
            let told = error.unwrap_err().to_string();
            assert!(told.contains("refuses the user or the password"), "{told}");
            assert!(!told.contains("horse") && !format!("{store:?}").contains("horse"), "{told}");
        }
    }
    let store = connect(&format!("redis://127.0.0.1:{}", server.port()), PATIENT).await;
    for error in errors(&store).await {
        let told = error.unwrap_err().to_string();
        // Long commands of strangers it does not even read.
        assert!(["NOAUTH", "ERR"].iter().any(|code| told.ends_with(code)), "{told}");
    }
}

/// The rights that the documentation of `Store` asks for.
#[tokio::test]
async fn a_user_with_few_rights_will_do() {
    if is_left_out() {
        return;
    }
    let server = Redis::with(|_| {
        let rights = "--user app on >horse ~portkey-mcp:* +del +evalsha +get +getex +ping +scan +script|load \
                      +select +set +time";
        rights.split_whitespace().map(str::to_owned).collect()
    });
    let store = connect(&format!("redis://app:horse@127.0.0.1:{}/1", server.port()), PATIENT).await;
    assert_eq!(errors(&store).await, vec![Ok(()); 9]);
}

#[tokio::test]
async fn an_address_that_cannot_be_used_stops_the_start() {
    let wrong = [
        "",
        "horse",
        "http://user:horse@localhost",
        "redis://",
        "redis+unix:///horse",
        "redis://:horse@localhost/x",
        "redis://:horse@localhost:port",
        "rediss://:horse@localhost#insecure",
        "redis://:horse@0.0.0.0",
    ];
    for url in wrong {
        let error = Store::connect(Some(&url.into()), &[], PATIENT).await.unwrap_err();
        assert!(matches!(error, StoreError::Settings(_)), "{url}: {error}");
        assert!(!error.to_string().contains("horse"), "{error}");
    }
    let roots = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = Store::connect(Some(&"rediss://localhost".into()), roots, PATIENT).await;
    assert!(error.unwrap_err().to_string().contains("PEM"));
}

#[tokio::test]
async fn redis_over_tls_has_to_be_known() {
    if is_left_out() {
        return;
    }
    let server = Redis::with(|folder| {
        let pair = KeyPair::generate().unwrap();
        let name = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = name.self_signed(&pair).unwrap();
        let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
        std::fs::write(&cert, certificate.pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let (cert, key) = (cert.to_str().unwrap().to_owned(), key.to_str().unwrap().to_owned());
        let args = [
            "--port",
            "0",
            "--tls-port",
            "{port}",
            "--tls-auth-clients",
            "no",
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &cert,
        ];
        args.iter().map(|arg| (*arg).to_owned()).collect()
    });
    let url = format!("rediss://localhost:{}", server.port()).into();
    let known = std::fs::read(server.folder().path().join("cert")).unwrap();
    let store = Store::connect(Some(&url), &known, PATIENT).await.unwrap();
    assert!(errors(&store).await.iter().all(Result::is_ok));
    let stranger = Store::connect(Some(&url), &[], PATIENT).await.unwrap();
    for error in errors(&stranger).await {
        let told = error.unwrap_err().to_string();
        assert!(told.contains("certificate"), "{told}");
    }
}
