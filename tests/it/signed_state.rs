//! Signed state that clients store and return.

use std::{
    fs,
    time::{Duration, Instant},
};

use portkey_mcp::security::signed_state::{
    InvalidState, Keyring,
    StatePurpose::{self, RequestState, Session},
};
use portkey_store::{MAX_MEMORY_ENTRIES, Stamp, Store, StoreKey, UseOutcome};
use tokio::task::JoinSet;

use crate::support::{programs::is_missing, redis::RedisServer};

const HOUR: Duration = Duration::from_secs(3600);

/// Keys of 32 and of 31 zero bytes.
const ZERO_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const SHORT_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

fn keyring(lines: &[&str]) -> Keyring {
    Keyring::parse(&lines.join("\n")).unwrap()
}

#[test]
fn state_with_another_context_is_rejected() {
    struct Case {
        purpose: StatePurpose,
        principal: &'static str,
        binding: &'static [u8],
    }

    let keys = Keyring::random().unwrap();
    let sealed = keys.sign(Session, "alice", b"binding", b"payload \x00\xff", HOUR);
    assert_eq!(
        keys.verify(Session, "alice", b"binding", &sealed),
        Ok(b"payload \x00\xff".to_vec())
    );
    let others = [
        Case {
            purpose: RequestState,
            principal: "alice",
            binding: &b"binding"[..],
        },
        Case {
            purpose: Session,
            principal: "bob",
            binding: b"binding",
        },
        Case {
            purpose: Session,
            principal: "",
            binding: b"binding",
        },
        Case {
            purpose: Session,
            principal: "alice",
            binding: b"",
        },
        Case {
            purpose: Session,
            principal: "alice",
            binding: b"bindin",
        },
        // Adjacent fields must not be confused when characters move from one to the other.
        Case {
            purpose: Session,
            principal: "aliceb",
            binding: b"inding",
        },
        Case {
            purpose: Session,
            principal: "alic",
            binding: b"ebinding",
        },
    ];
    for Case {
        purpose,
        principal,
        binding,
    } in others
    {
        let opened = keys.verify(purpose, principal, binding, &sealed);
        assert_eq!(
            opened,
            Err(InvalidState),
            "{purpose:?} {principal} {binding:?}"
        );
    }
    let opened = Keyring::random()
        .unwrap()
        .verify(Session, "alice", b"binding", &sealed);
    assert_eq!(opened, Err(InvalidState), "another ring");
}

#[test]
fn signed_state_is_printable_and_unique() {
    let keys = Keyring::random().unwrap();
    let seal = || keys.sign(Session, "älice", b"", "ünvisible\n".as_bytes(), HOUR);
    let one = seal();
    let other = seal();
    assert!(one.bytes().all(|byte| byte.is_ascii_graphic()), "{one}");
    assert_ne!(one, other);
}

#[test]
fn modified_state_is_rejected() {
    let keys = keyring(&[&format!("k:{ZERO_KEY}")]);
    let sealed = keys.sign(RequestState, "alice", b"", b"payload", HOUR);
    for at in 0..sealed.len() {
        for other in [b'A', b'B', b'_', b'.', b'=', b' '] {
            let mut bytes = sealed.clone().into_bytes();
            if bytes[at] == other {
                continue;
            }
            bytes[at] = other;
            let text = String::from_utf8(bytes).unwrap();
            assert_eq!(
                keys.verify(RequestState, "alice", b"", &text),
                Err(InvalidState),
                "{text}"
            );
        }
        assert_eq!(
            keys.verify(RequestState, "alice", b"", &sealed[..at]),
            Err(InvalidState),
            "{at}"
        );
    }
    for more in ["A", "=", ".", " ", "\n", "é"] {
        let text = format!("{sealed}{more}");
        assert_eq!(
            keys.verify(RequestState, "alice", b"", &text),
            Err(InvalidState),
            "{text}"
        );
    }
}

#[test]
fn expired_state_is_rejected() {
    let keys = Keyring::random().unwrap();
    let sealed = keys.sign(Session, "alice", b"", b"", Duration::from_millis(20));
    let start = Instant::now();
    while keys.verify(Session, "alice", b"", &sealed).is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it never expires"
        );
    }
    let sealed = keys.sign(Session, "alice", b"", b"", Duration::MAX);
    assert_eq!(keys.verify(Session, "alice", b"", &sealed), Ok(Vec::new()));
}

#[test]
fn keys_can_be_rotated() {
    struct Case<'a> {
        keys: &'a Keyring,
        old_opens: bool,
        new_opens: bool,
    }

    let old = Keyring::generate_line("old").unwrap();
    let new = Keyring::generate_line("new").unwrap();
    let seal = |keys: &Keyring| keys.sign(Session, "alice", b"", b"id", HOUR);
    let opens = |keys: &Keyring, sealed: &str| keys.verify(Session, "alice", b"", sealed).is_ok();

    let before = keyring(&["# made for this test", "", &old]);
    let between = keyring(&[&format!("  {old}\r"), &new]);
    let after = keyring(&[&new, &old]);
    let end = keyring(&[&new]);
    let by_old = seal(&before);
    let by_new = seal(&after);
    for Case {
        keys,
        old_opens,
        new_opens,
    } in [
        Case {
            keys: &before,
            old_opens: true,
            new_opens: false,
        },
        Case {
            keys: &between,
            old_opens: true,
            new_opens: true,
        },
        Case {
            keys: &after,
            old_opens: true,
            new_opens: true,
        },
        Case {
            keys: &end,
            old_opens: false,
            new_opens: true,
        },
    ] {
        assert_eq!(
            (opens(keys, &by_old), opens(keys, &by_new)),
            (old_opens, new_opens)
        );
    }
    // The first key signs.
    assert!(opens(&before, &seal(&between)) && !opens(&before, &seal(&after)));
    // An id is only a name; a key with the same id is another key.
    let imposter = keyring(&[&Keyring::generate_line("old").unwrap()]);
    assert!(!opens(&imposter, &by_old));
}

#[test]
fn invalid_key_file_is_reported_with_its_line() {
    let good = format!("k1:{ZERO_KEY}");
    let cases = [
        (String::new(), "state-key new"),
        ("# none\n\n".to_owned(), "state-key new"),
        (format!("{good}\n\nk2"), "line 3: expected `id:key`"),
        (
            format!("{good}\nk2:not base64"),
            "line 2: the key is no base64",
        ),
        (
            format!("# old\nk1:{SHORT_KEY}"),
            "line 2: the key is shorter than 32 bytes",
        ),
        (
            format!("{good}\n{good}"),
            "line 2: this id was given before",
        ),
        (format!(":{ZERO_KEY}"), "line 1: the id"),
        (format!("k 1:{ZERO_KEY}"), "line 1: the id"),
        (format!("{}:{ZERO_KEY}", "k".repeat(33)), "line 1: the id"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    for (text, expected) in cases {
        fs::write(&file, &text).unwrap();
        let error = Keyring::read(&file).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
        assert!(
            !error.contains("AAAA") && !error.contains("not base64"),
            "{error}"
        );
    }
    fs::write(&file, good).unwrap();
    let keys = Keyring::read(&file).unwrap();
    assert!(!format!("{keys:?}").contains("0, 0, 0"), "{keys:?}");
    assert!(
        Keyring::read(&folder.path().join("none"))
            .unwrap_err()
            .to_string()
            .contains("read")
    );
    assert!(Keyring::generate_line("k:1").is_err());
}

#[tokio::test]
async fn single_use_state_is_accepted_once() {
    let server = (!is_missing("redis-server")).then(RedisServer::start);
    let mut stores = vec![(Store::in_memory(), None)];
    if let Some(server) = &server {
        stores.push((server.store().await, Some(server.store().await)));
    }
    let line = Keyring::generate_line("k").unwrap();
    for (one, other) in stores {
        let other = other.unwrap_or_else(|| one.clone());
        let issued = keyring(&[&line]);
        let once = (HOUR, one.stamp().await.unwrap());
        let sealed = issued.sign_once(RequestState, "alice", b"args", b"nonce", once);
        // Another caller's attempt does not use it up.
        let stolen = issued
            .verify_once(RequestState, "bob", b"args", &sealed, &one)
            .await;
        assert_eq!(stolen, Err(InvalidState));
        let mut tasks = JoinSet::new();
        for at in 0..100 {
            let keys = keyring(&[&line]);
            let sealed = sealed.clone();
            let store = if at % 2 == 0 {
                one.clone()
            } else {
                other.clone()
            };
            tasks.spawn(async move {
                keys.verify_once(RequestState, "alice", b"args", &sealed, &store)
                    .await
            });
        }
        let opened: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(opened, [b"nonce"]);
        // The next state differs, even with equal content.
        let next = issued.sign_once(RequestState, "alice", b"args", b"nonce", once);
        assert!(
            issued
                .verify_once(RequestState, "alice", b"args", &next, &other)
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn single_use_state_is_rejected_if_the_store_fails() {
    let keys = Keyring::random().unwrap();
    let full = Store::in_memory();
    let stamp = full.stamp().await.unwrap();
    for at in 0..MAX_MEMORY_ENTRIES {
        let key = StoreKey::new("test", &[&at.to_string()]);
        assert_eq!(
            full.use_once(&stamp, &key, HOUR).await,
            Ok(UseOutcome::First)
        );
    }
    let mut stores = vec![(full, stamp)];
    if !is_missing("redis-server") {
        let mut server = RedisServer::start();
        let store = server.store().await;
        let stamp = store.stamp().await.unwrap();
        stores.push((store, stamp));
        server.kill();
    }
    for (store, stamp) in stores {
        let sealed = keys.sign_once(RequestState, "alice", b"", b"", (HOUR, stamp));
        let opened = keys
            .verify_once(RequestState, "alice", b"", &sealed, &store)
            .await;
        assert_eq!(opened, Err(InvalidState), "{store:?}");
    }
}

#[test]
fn byte_order_mark_before_the_first_key_is_skipped() {
    let line = Keyring::generate_line("a").unwrap();
    assert!(Keyring::parse(&format!("\u{feff}{line}\n")).is_ok());
}

/// A restarted process has lost the used states, and so has an emptied Redis.
#[tokio::test]
async fn state_issued_before_data_loss_is_rejected() {
    let keys = Keyring::random().unwrap();
    let seal = |stamp: Stamp| keys.sign_once(RequestState, "alice", b"", b"x", (HOUR, stamp));
    let opens = async |sealed: &str, store: &Store| {
        keys.verify_once(RequestState, "alice", b"", sealed, store)
            .await
    };
    let before = Store::in_memory();
    let after = Store::in_memory();
    let sealed = seal(before.stamp().await.unwrap());
    assert_eq!(opens(&sealed, &after).await, Err(InvalidState));
    assert_eq!(opens(&sealed, &before).await, Ok(b"x".to_vec()));
    // State without a stamp is valid for no store.
    let unstamped = keys.sign(RequestState, "alice", b"", b"x", HOUR);
    assert_eq!(opens(&unstamped, &before).await, Err(InvalidState));
}

#[test]
fn encrypted_value_requires_its_key_and_its_place() {
    let old = Keyring::generate_line("old").unwrap();
    let new = Keyring::generate_line("new").unwrap();
    let value = "a value that nobody else reads ".repeat(99).into_bytes();
    let sealed = keyring(&[&old]).encrypt("result:alice", &value).unwrap();
    let is_within = sealed
        .windows(5)
        .any(|window| value.windows(5).any(|part| part == window));
    assert!(!is_within, "a part of the value stands in what is kept");
    struct Case<'a> {
        keys: &'a [&'a str],
        place: &'a str,
        is_read: bool,
    }
    let imposter = Keyring::generate_line("old").unwrap();
    let cases = [
        Case {
            keys: &[&old],
            place: "result:alice",
            is_read: true,
        },
        Case {
            keys: &[&new, &old],
            place: "result:alice",
            is_read: true,
        },
        Case {
            keys: &[&new],
            place: "result:alice",
            is_read: false,
        },
        Case {
            keys: &[&imposter],
            place: "result:alice",
            is_read: false,
        },
        Case {
            keys: &[&old],
            place: "result:bob",
            is_read: false,
        },
    ];
    for Case {
        keys,
        place,
        is_read,
    } in cases
    {
        let read = keyring(keys).decrypt(place, &sealed);
        assert_eq!(
            read,
            if is_read {
                Ok(value.clone())
            } else {
                Err(InvalidState)
            },
            "{place}"
        );
    }
    let keys = keyring(&[&old]);
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(
            keys.decrypt("result:alice", &changed),
            Err(InvalidState),
            "{at}"
        );
        assert_eq!(
            keys.decrypt("result:alice", &sealed[..at]),
            Err(InvalidState),
            "{at}"
        );
    }
    assert_ne!(
        keys.encrypt("a", b"same").unwrap(),
        keys.encrypt("a", b"same").unwrap()
    );
}
