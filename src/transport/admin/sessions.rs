//! Sessions of browsers: a random cookie for each sign-in, and the tokens of its forms.
//!
//! Sessions live in memory. A restart of the process ends them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, header};
use ring::hmac::{self, HMAC_SHA256};
use sha2::{Digest, Sha256};

use crate::security::signed_state::random_bytes;

/// Maximum number of sessions. Beyond it, the oldest one ends.
const MAX_SESSIONS: usize = 64;

/// Time after which a session ends.
pub(super) const SESSION_TTL: Duration = Duration::from_secs(12 * 3600);

/// Maximum number of forms that are sent in one session.
const MAX_USED_FORMS: usize = 4_096;

/// Length of a form's number, in bytes.
const NONCE_BYTES: usize = 16;

/// The session of a browser that has signed in.
pub(super) struct Session {
    /// Name under which decisions are recorded.
    pub(super) name: String,
    key: hmac::Key,
    began: Instant,
    /// Message for the next page.
    message: Mutex<Option<String>>,
    /// Numbers of the forms that were sent.
    used: Mutex<HashSet<[u8; NONCE_BYTES]>>,
}

impl Session {
    /// Returns a token for one form, which is accepted once.
    pub(super) fn issue_form_token(&self) -> String {
        // Without randomness the token is empty, and its form is not accepted.
        random_bytes::<NONCE_BYTES>()
            .map(|nonce| format!("{}{}", hex::encode(nonce), self.sign(&nonce)))
            .unwrap_or_default()
    }

    /// Returns true if the token is one of this session, and was not used before.
    pub(super) fn use_form_token(&self, token: &str) -> bool {
        let Some((nonce, signature)) = token.split_at_checked(2 * NONCE_BYTES) else {
            return false;
        };
        let mut bytes = [0; NONCE_BYTES];
        if hex::decode_to_slice(nonce, &mut bytes).is_err() {
            return false;
        }
        let Ok(signature) = hex::decode(signature) else {
            return false;
        };
        if hmac::verify(&self.key, &bytes, &signature).is_err() {
            return false;
        }
        let mut used = lock(&self.used);
        used.len() < MAX_USED_FORMS && used.insert(bytes)
    }

    /// Sets the message for the next page.
    pub(super) fn set_message(&self, message: String) {
        *lock(&self.message) = Some(message);
    }

    /// Takes the message for this page.
    pub(super) fn take_message(&self) -> Option<String> {
        lock(&self.message).take()
    }

    fn sign(&self, nonce: &[u8]) -> String {
        hex::encode(hmac::sign(&self.key, nonce))
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() >= SESSION_TTL
    }
}

/// All sessions, by the digest of their cookie.
pub(super) struct Sessions {
    cookie_name: String,
    is_secure: bool,
    open: Mutex<HashMap<[u8; 32], Arc<Session>>>,
}

impl Sessions {
    /// Creates the sessions of a server at this port. Cookies of servers at other ports of the same
    /// host have other names. `is_secure` restricts the cookie to HTTPS.
    pub(super) fn new(port: u16, is_secure: bool) -> Self {
        let prefix = if is_secure { "__Host-" } else { "" };
        Self {
            cookie_name: format!("{prefix}portkey_mcp_console_{port}"),
            is_secure,
            open: Mutex::default(),
        }
    }

    /// Begins a session, and returns the value of `Set-Cookie`. Returns `None` if the system has no
    /// random numbers.
    pub(super) fn begin(&self, name: &str) -> Option<String> {
        let id = hex::encode(random_bytes::<32>().ok()?);
        let session = Session {
            name: name.to_owned(),
            key: hmac::Key::new(HMAC_SHA256, &random_bytes::<32>().ok()?),
            began: Instant::now(),
            message: Mutex::default(),
            used: Mutex::default(),
        };
        let mut open = lock(&self.open);
        open.retain(|_, session| !session.is_over());
        while open.len() >= MAX_SESSIONS {
            let oldest = open.iter().min_by_key(|(_, session)| session.began);
            let Some(digest) = oldest.map(|(digest, _)| *digest) else {
                break;
            };
            open.remove(&digest);
        }
        open.insert(Sha256::digest(&id).into(), Arc::new(session));
        Some(self.cookie(&id, SESSION_TTL))
    }

    /// Returns the session that the cookies of a request name.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<Arc<Session>> {
        let digest = self.digest(headers)?;
        let session = lock(&self.open).get(&digest).cloned();
        session.filter(|session| !session.is_over())
    }

    /// Ends the session of a request, and returns the value of `Set-Cookie`.
    pub(super) fn end(&self, headers: &HeaderMap) -> String {
        if let Some(digest) = self.digest(headers) {
            lock(&self.open).remove(&digest);
        }
        self.cookie("", Duration::ZERO)
    }

    fn digest(&self, headers: &HeaderMap) -> Option<[u8; 32]> {
        let cookies = headers.get_all(header::COOKIE).iter();
        let mut pairs = cookies
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split(';'));
        let id = pairs.find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.cookie_name).then_some(value)
        })?;
        Some(Sha256::digest(id).into())
    }

    fn cookie(&self, id: &str, lifetime: Duration) -> String {
        let name = &self.cookie_name;
        let secure = if self.is_secure { "; Secure" } else { "" };
        let seconds = lifetime.as_secs();
        format!("{name}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
    }
}

/// Locks a mutex. A panic in another thread leaves no half-finished change behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use http::HeaderValue;

    use super::*;

    fn headers(set_cookie: &str) -> HeaderMap {
        let pair = set_cookie.split(';').next().unwrap();
        let cookies = format!("other=1; {pair}");
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(&cookies).unwrap())])
    }

    #[test]
    fn form_token_is_accepted_once_and_in_its_session() {
        let sessions = Sessions::new(1, false);
        let cookies = ["a", "b"].map(|name| sessions.begin(name).unwrap());
        let [a, b] = cookies.map(|cookie| sessions.find(&headers(&cookie)).unwrap());
        let token = a.issue_form_token();
        assert!(!b.use_form_token(&token), "of another session");
        assert!(a.use_form_token(&token));
        assert!(!a.use_form_token(&token), "used before");
        for invalid in ["", "00", &token.replace(['0', '1'], "2"), "ä"] {
            assert!(!a.use_form_token(invalid), "{invalid}");
        }
    }

    #[test]
    fn number_of_sessions_is_bounded_and_the_oldest_ends() {
        let sessions = Sessions::new(1, false);
        let first = headers(&sessions.begin("first").unwrap());
        let cookies: Vec<_> = (0..MAX_SESSIONS)
            .map(|_| sessions.begin("other").unwrap())
            .collect();
        assert!(sessions.find(&first).is_none());
        assert!(sessions.find(&headers(&cookies[0])).is_some());
    }

    #[test]
    fn cookie_cannot_be_read_by_scripts_or_sent_by_other_sites() {
        let cookie = Sessions::new(1, false).begin("a").unwrap();
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains("Secure"), "{cookie}");
        let cookie = Sessions::new(1, true).begin("a").unwrap();
        assert!(
            cookie.starts_with("__Host-") && cookie.contains("; Secure"),
            "{cookie}"
        );
    }

    #[test]
    fn session_ends_when_it_is_signed_out() {
        let sessions = Sessions::new(1, false);
        let cookies = headers(&sessions.begin("a").unwrap());
        assert!(sessions.end(&cookies).contains("Max-Age=0"));
        assert!(sessions.find(&cookies).is_none());
    }
}
