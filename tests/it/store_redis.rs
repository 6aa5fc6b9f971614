//! A store in Redis: unavailable, slow, with a password, over TLS.

use std::time::{Duration, Instant};

use portkey_store::{
    Budget, Queue, REDIS_RIGHTS, ReserveOutcome, Store, StoreError, StoreKey, Window,
};
use rcgen::{CertificateParams, KeyPair};
use tokio::task::JoinSet;

use crate::support::{
    programs::is_missing,
    redis::{self, RedisServer, connect},
    store::{HOUR, LONG_TIMEOUT, rate_limit, test_key, use_once, wait_until},
};

async fn reserve_and_roll_back(store: &Store, id: &StoreKey) -> Result<(), StoreError> {
    let budget = Budget {
        key: id.clone(),
        window: Window::Month,
        max: 9,
        amount: 1,
    };
    match store.reserve(&[budget]).await? {
        ReserveOutcome::Reserved(reservation) => store.roll_back(reservation).await,
        ReserveOutcome::Exhausted { .. } => panic!("what was given back is counted"),
    }
}

/// Runs every operation of the store; returns their outcomes.
async fn run_all_operations(store: &Store) -> Vec<Result<(), StoreError>> {
    let id = test_key("id");
    let queue = Queue {
        name: "test",
        max_per_owner: 9,
        max: 9,
        remember_for: HOUR,
    };
    vec![
        store.take(&id, &rate_limit(1, HOUR)).await.map(drop),
        use_once(store, &id, HOUR).await.map(drop),
        store.put(&id, "value".into(), HOUR).await,
        store.get(&id).await.map(drop),
        store.refresh(&id, HOUR).await.map(drop),
        store
            .enqueue(&queue, "a", "alice", "value".into(), HOUR)
            .await
            .map(drop),
        store.queued_ids(&queue, None).await.map(drop),
        store.queued_values(&queue, &["a"]).await.map(drop),
        store
            .replace_queued(&queue, "a", "other".into())
            .await
            .map(drop),
        store.dequeue(&queue, "a").await,
        store.remove(&id).await,
        store.count(&id, Window::Month).await.map(drop),
        reserve_and_roll_back(store, &id).await,
    ]
}

#[tokio::test]
async fn calls_fail_immediately_while_redis_is_unavailable() {
    if is_missing("redis-server") {
        return;
    }
    let mut server = RedisServer::start();
    let store = server.store().await;
    assert!(run_all_operations(&store).await.iter().all(Result::is_ok));
    server.kill();
    for error in run_all_operations(&store).await {
        assert!(
            matches!(error, Err(StoreError::Unavailable { .. })),
            "{error:?}"
        );
    }
    // A replica that starts meanwhile behaves the same.
    let late = server.store().await;
    assert!(run_all_operations(&late).await.iter().all(Result::is_err));

    server.restart();
    for store in [&store, &late] {
        wait_until("works again", async || {
            store.get(&test_key("id")).await.is_ok()
        })
        .await;
        assert!(run_all_operations(store).await.iter().all(Result::is_ok));
    }
    // A connection that was closed meanwhile causes no failure.
    server.kill();
    server.restart();
    assert_eq!(use_once(&store, &test_key("other"), HOUR).await, Ok(true));
}

#[tokio::test]
async fn unresponsive_redis_times_out() {
    if is_missing("redis-server") {
        return;
    }
    let server = RedisServer::start();
    let timeout = Duration::from_millis(100);
    let store = connect(&server.url(), timeout).await;
    assert!(run_all_operations(&store).await.iter().all(Result::is_ok));
    server.freeze();
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        tasks.spawn(async move {
            let start = Instant::now();
            (store.get(&test_key("id")).await, start.elapsed())
        });
    }
    for (answer, took) in tasks.join_all().await {
        let Err(StoreError::Unavailable { reason, .. }) = answer else {
            panic!("{answer:?}")
        };
        assert!(!reason.is_empty());
        assert!(took < LONG_TIMEOUT, "{took:?}");
    }
}

#[tokio::test]
async fn redis_password_is_used_and_never_shown() {
    if is_missing("redis-server") {
        return;
    }
    let server = RedisServer::with(|_| vec!["--requirepass".into(), "right/horse".into()]);
    let at = |user: &str, host: &str| format!("redis://{user}@{host}:{}", server.port());
    for user in [":right%2Fhorse", "default:right%2Fhorse"] {
        let store = connect(&at(user, "127.0.0.1"), LONG_TIMEOUT).await;
        assert!(
            run_all_operations(&store).await.iter().all(Result::is_ok),
            "{user}"
        );
    }
    for user in [":wrong-horse", "nobody:wrong-horse"] {
        let store = connect(&at(user, "127.0.0.1"), LONG_TIMEOUT).await;
        for error in run_all_operations(&store).await {
            let message = error.unwrap_err().to_string();
            assert!(
                message.contains("refuses the user or the password"),
                "{message}"
            );
            assert!(
                !message.contains("horse") && !format!("{store:?}").contains("horse"),
                "{message}"
            );
        }
    }
    let store = connect(
        &format!("redis://127.0.0.1:{}", server.port()),
        LONG_TIMEOUT,
    )
    .await;
    for error in run_all_operations(&store).await {
        let message = error.unwrap_err().to_string();
        // Redis does not even read long commands of unauthenticated clients.
        assert!(
            ["NOAUTH", "ERR"].iter().any(|code| message.ends_with(code)),
            "{message}"
        );
    }
}

#[tokio::test]
async fn documented_redis_user_has_sufficient_rights() {
    if is_missing("redis-server") {
        return;
    }
    let server = RedisServer::documented();
    for database in [0, 1] {
        let store = connect(&server.documented_url(database), LONG_TIMEOUT).await;
        assert_eq!(
            run_all_operations(&store).await,
            vec![Ok(()); 13],
            "{database}"
        );
    }
}

#[test]
fn documented_redis_user_has_the_declared_rights() {
    let (_, rights) = redis::documented_rights().split_once(' ').unwrap();
    assert_eq!(
        rights.split_whitespace().collect::<Vec<_>>(),
        REDIS_RIGHTS.split_whitespace().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn missing_redis_right_is_named() {
    if is_missing("redis-server") {
        return;
    }
    struct Case {
        right: &'static str,
        message: &'static str,
    }
    let cases = [
        Case {
            right: "+getex",
            message: "run `GETEX`",
        },
        Case {
            right: "+del",
            message: "run `DEL`",
        },
        Case {
            right: "+evalsha",
            message: "run `EVALSHA`",
        },
        Case {
            right: "+script|load",
            message: "run `SCRIPT LOAD`",
        },
        Case {
            right: "+time",
            message: "`TIME`",
        },
        Case {
            right: "~portkey-mcp:*",
            message: "use the keys `portkey-mcp:*`",
        },
    ];
    for Case { right, message } in cases {
        let rights = redis::documented_rights().replacen(&format!(" {right}"), "", 1);
        let server = RedisServer::with_user(&rights);
        let store = connect(&server.documented_url(0), LONG_TIMEOUT).await;
        let failed: Vec<_> = run_all_operations(&store)
            .await
            .into_iter()
            .filter_map(Result::err)
            .collect();
        assert!(!failed.is_empty(), "{right}");
        for error in failed {
            let StoreError::NotPermitted { what, .. } = &error else {
                panic!("{right}: {error:?}")
            };
            assert!(what.contains(message), "{right}: {what}");
            let text = error.to_string();
            assert!(
                text.contains(REDIS_RIGHTS) && text.contains("docs/deployment.md"),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn invalid_redis_url_fails_the_start() {
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
        let error = Store::connect(Some(&url.into()), &[], LONG_TIMEOUT)
            .await
            .unwrap_err();
        assert!(
            matches!(error, StoreError::InvalidSettings(_)),
            "{url}: {error}"
        );
        assert!(!error.to_string().contains("horse"), "{error}");
    }
    let roots = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = Store::connect(Some(&"rediss://localhost".into()), roots, LONG_TIMEOUT).await;
    assert!(error.unwrap_err().to_string().contains("PEM"));
}

#[tokio::test]
async fn redis_certificate_is_verified() {
    if is_missing("redis-server") {
        return;
    }
    let server = RedisServer::with(|folder| {
        let pair = KeyPair::generate().unwrap();
        let name = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = name.self_signed(&pair).unwrap();
        let cert = folder.path().join("cert");
        let key = folder.path().join("key");
        std::fs::write(&cert, certificate.pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let cert = cert.to_str().unwrap().to_owned();
        let key = key.to_str().unwrap().to_owned();
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
    let store = Store::connect(Some(&url), &known, LONG_TIMEOUT)
        .await
        .unwrap();
    assert!(run_all_operations(&store).await.iter().all(Result::is_ok));
    let stranger = Store::connect(Some(&url), &[], LONG_TIMEOUT).await.unwrap();
    for error in run_all_operations(&stranger).await {
        let message = error.unwrap_err().to_string();
        assert!(message.contains("certificate"), "{message}");
    }
    let plain = format!("redis://localhost:{}", server.port()).into();
    let plain = Store::connect(Some(&plain), &[], LONG_TIMEOUT)
        .await
        .unwrap();
    for error in run_all_operations(&plain).await {
        let message = error.unwrap_err().to_string();
        assert!(message.contains("begin with rediss://"), "{message}");
    }
}

#[tokio::test]
async fn redis_without_tls_is_told_from_one_that_is_slow() {
    if is_missing("redis-server") {
        return;
    }
    let server = RedisServer::start();
    let url = server.url().replace("redis://", "rediss://").into();
    let timeout = Duration::from_millis(100);
    let store = Store::connect(Some(&url), &[], timeout).await.unwrap();
    let error = use_once(&store, &test_key("a"), HOUR).await;
    let message = error.unwrap_err().to_string();
    assert!(message.contains("begin with redis://"), "{message}");
}
