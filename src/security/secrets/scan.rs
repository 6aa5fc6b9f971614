//! Finds keys in any text, by known patterns and by the keys that this process holds.
//!
//! This is the last line of defence. It runs over every line of the log, over errors and over
//! responses, so that a key that escaped all other checks is masked here. The patterns follow the
//! published formats of the keys' issuers.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use aho_corasick::{AhoCorasick, MatchKind, packed};
use arc_swap::{ArcSwap, Guard};
use memchr::{memchr, memmem};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regex::{Match, Regex};
use serde_json::Number;

/// Replaces a secret. The text differs from every upstream's mask, and is rejected if it is sent
/// back.
pub const MASK: &str = "[masked by portkey-mcp]";

/// Minimum length of a key that is searched for, in bytes. Shorter ones would be found everywhere.
pub(super) const MIN_KEY_BYTES: usize = 8;

/// Maximum number of passed-on secrets that are remembered, counting each spelling. The oldest are
/// forgotten first.
pub(crate) const MAX_PASSED_SECRETS: usize = 1024;
/// Maximum size of these secrets together, in bytes. The automaton that finds them takes about
/// thirty times as much.
pub(crate) const MAX_PASSED_SECRET_BYTES: usize = 512 << 10;
/// Maximum length of a secret that is searched for in all spellings, in bytes. A longer one is
/// searched for as it is and as JSON writes it.
const MAX_RESPELLED_BYTES: usize = 4096;

/// Characters that stay as they are in a query. Forms and paths encode the same characters or
/// fewer.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A pattern of a kind of key.
struct KeyPattern {
    /// Literals, one of which every match holds. Each has at least three bytes, so that many can be
    /// searched for at once.
    literals: &'static [&'static str],
    /// Regular expression of the whole key. ASCII and short counts only: each state of the compiled
    /// expression takes memory.
    regex: &'static str,
}

const fn key_pattern(signs: &'static [&'static str], whole: &'static str) -> KeyPattern {
    KeyPattern {
        literals: signs,
        regex: whole,
    }
}

/// A credential within a URL, in the characters allowed there. The `@` is put back after masking.
/// [`may_hold_address_credential`] is the filter for it.
const USERINFO: &str = r"://[!$%&()*+,.0-9;=A-Z_a-z~-]*:[!$%&()*+,.0-9:;=A-Z_a-z~-]+@";

const KEY_PATTERNS: &[KeyPattern] = &[
    // A long run without separators tells a key from words joined by hyphens.
    key_pattern(
        &["sk-", "pk-", "rk-"],
        "(?:sk|pk|rk)-[A-Za-z0-9_-]*[A-Za-z0-9]{16}[A-Za-z0-9_-]*|(?:sk|pk|rk)-[A-Za-z0-9_-]{36,}",
    ),
    key_pattern(
        &["k_live_", "k_test_"],
        "(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,}",
    ),
    // A JWT, signed or encrypted.
    key_pattern(
        &["eyJ"],
        r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}",
    ),
    key_pattern(&["AKIA", "ASIA"], "(?:AKIA|ASIA)[A-Z0-9]{16}"),
    key_pattern(
        &["earer ", "EARER "],
        r"(?:[Bb]earer|BEARER) {1,4}[A-Za-z0-9._~+/-]{16,}={0,2}",
    ),
    key_pattern(
        &["gho_", "ghp_", "ghs_", "ghr_", "ghu_"],
        "gh[opsru]_[A-Za-z0-9]{20,}",
    ),
    key_pattern(&["github_pat_"], "github_pat_[A-Za-z0-9_]{20,}"),
    key_pattern(&["glpat-"], "glpat-[A-Za-z0-9_-]{20,}"),
    key_pattern(&["xox"], "xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    key_pattern(
        &["hooks.slack.com"],
        r"hooks\.slack\.com/services/[A-Za-z0-9/_-]+",
    ),
    key_pattern(&["AIza"], "AIza[A-Za-z0-9_-]{35}"),
    key_pattern(&["hf_"], "hf_[A-Za-z0-9]{20,}"),
    key_pattern(&["gsk_"], "gsk_[A-Za-z0-9]{20,}"),
    key_pattern(&["hvs."], r"hvs\.[A-Za-z0-9_-]{20,}"),
    key_pattern(
        &["-----BEGIN "],
        r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|$)",
    ),
    key_pattern(&[], USERINFO),
];

/// Literals, one of which every match of [`NAMED_KEY_PATTERN`] holds in lower case.
const NAMED_KEY_LITERALS: &[&str] = &["api-key", "api_key", "apikey", "authorization", "password"];

/// A header or a field that holds a key, in a line of the log.
const NAMED_KEY_PATTERN: &str = r#"(?i)((?:x-portkey-api-key|api[-_]?key|authorization|password)(?:[-_]?(?:value|[0-9]{1,4}))?\\?["']?\s*[:=]\s*\\?["']?(?:bearer |basic )?)[A-Za-z0-9._~+/=-]{8,}"#;

/// A regular expression that is compiled and run only for texts with one of its literals.
///
/// Most texts have none, and many servers never see one that has. The compiled expression is most
/// of the memory that an idle server would hold.
struct PrefilteredRegex {
    /// Searches many bytes at once. `None` on a processor without the instructions.
    literals: Option<packed::Searcher>,
    /// Finds literals that are too short for the searcher.
    extra_check: fn(&str) -> bool,
    regex: LazyLock<Option<Regex>>,
}

impl PrefilteredRegex {
    fn new(
        signs: impl IntoIterator<Item = &'static str>,
        also: fn(&str) -> bool,
        whole: fn() -> Option<Regex>,
    ) -> Self {
        Self {
            literals: packed::Searcher::new(signs),
            extra_check: also,
            regex: LazyLock::new(whole),
        }
    }

    /// Returns the expression for a text that it may match in, and `None` for all other texts.
    ///
    /// # Errors
    /// Returns an error if the expression cannot be compiled, so that the caller masks the whole
    /// text.
    fn regex_for(&self, text: &str) -> Result<Option<&Regex>, PatternError> {
        match &self.literals {
            Some(signs) if signs.find(text).is_none() && !(self.extra_check)(text) => Ok(None),
            _ => self.regex.as_ref().map(Some).ok_or(PatternError),
        }
    }
}

/// A built-in regular expression could not be compiled.
struct PatternError;

static KEY_REGEX: LazyLock<PrefilteredRegex> = LazyLock::new(|| {
    let whole = || {
        Regex::new(
            &KEY_PATTERNS
                .iter()
                .map(|look| look.regex)
                .collect::<Vec<_>>()
                .join("|"),
        )
        .ok()
    };
    PrefilteredRegex::new(
        KEY_PATTERNS.iter().flat_map(|look| look.literals).copied(),
        may_hold_address_credential,
        whole,
    )
});

static NAMED_KEY_REGEX: LazyLock<PrefilteredRegex> = LazyLock::new(|| {
    PrefilteredRegex::new(
        NAMED_KEY_LITERALS.iter().copied(),
        |_| false,
        || Regex::new(NAMED_KEY_PATTERN).ok(),
    )
});

/// Returns `true` if a text may hold a URL with a credential: characters of one between `://` and
/// `@`, and a colon among them.
///
/// Lists with addresses of people and of servers would otherwise be searched by the whole expression.
fn may_hold_address_credential(text: &str) -> bool {
    let is_userinfo = |byte: u8| matches!(byte, b'!' | b'$' | b'%' | b'&' | b'('..=b'.' | b'0'..=b';' | b'=' | b'A'..=b'Z' | b'_' | b'a'..=b'z' | b'~');
    let is_credential = |start: usize| {
        let rest = text.as_bytes().get(start + 3..).unwrap_or_default();
        let end = rest.iter().position(|byte| !is_userinfo(*byte));
        end.and_then(|end| rest.split_at_checked(end))
            .is_some_and(|(userinfo, after)| after.starts_with(b"@") && userinfo.contains(&b':'))
    };
    memchr(b'@', text.as_bytes()).is_some()
        && memmem::find_iter(text.as_bytes(), "://").any(is_credential)
}

static KNOWN_SECRETS: LazyLock<ArcSwap<KnownSecrets>> =
    LazyLock::new(|| ArcSwap::from_pointee(KnownSecrets::new(Vec::new())));
/// Held while a new list is built, so that no key is lost.
static LEARN_LOCK: Mutex<()> = Mutex::new(());

/// Keys that this process holds or has passed on.
#[derive(Debug)]
struct KnownSecrets {
    keys: Vec<KnownSecret>,
    /// Automaton that finds the keys. If it cannot be built, every text is masked as a whole.
    finder: Option<AhoCorasick>,
    /// One of the keys could occur in a response as a number.
    has_numbers: bool,
}

#[derive(Clone, Debug)]
struct KnownSecret {
    key: String,
    /// The server itself uses the key.
    is_own: bool,
}

impl KnownSecrets {
    fn new(keys: Vec<KnownSecret>) -> Self {
        // One key may be a prefix of another.
        let longest = MatchKind::LeftmostLongest;
        let values = keys.iter().map(|held| held.key.as_str());
        let finder = AhoCorasick::builder()
            .match_kind(longest)
            .build(values)
            .ok();
        let has_numbers = keys.iter().any(|held| may_be_number(&held.key));
        Self {
            keys,
            finder,
            has_numbers,
        }
    }

    fn may_occur_in(&self, text: &str) -> bool {
        // With an empty list the automaton would still read the whole text.
        let found = || {
            self.finder
                .as_ref()
                .is_none_or(|finder| finder.is_match(text))
        };
        !self.keys.is_empty() && found()
    }

    fn contains(&self, key: &str) -> bool {
        self.keys.iter().any(|held| held.key == key)
    }

    /// Masks every key in a text.
    fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.may_occur_in(text) {
            return mask_patterns(text);
        }
        let Some(finder) = &self.finder else {
            return Cow::Borrowed(MASK);
        };
        let unknown = finder.replace_all(text, &vec![MASK; self.keys.len()]);
        mask_patterns(&unknown).into_owned().into()
    }
}

/// Finds keys in the texts, names and numbers of one response. It knows the keys of this process,
/// the patterns, and some more keys of the call.
pub(super) struct KeyScanner<'a> {
    known: Guard<Arc<KnownSecrets>>,
    extra_keys: &'a [&'a str],
    has_numbers: bool,
}

impl std::fmt::Debug for KeyScanner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scanner")
    }
}

impl<'a> KeyScanner<'a> {
    pub(super) fn new(also: &'a [&'a str]) -> Self {
        let known = KNOWN_SECRETS.load();
        let has_numbers = known.has_numbers || also.iter().any(|key| may_be_number(key));
        Self {
            known,
            extra_keys: also,
            has_numbers,
        }
    }

    /// Masks every key in a text. Returns the same text if it holds none.
    pub(super) fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if text.len() < MIN_KEY_BYTES {
            return Cow::Borrowed(text);
        }
        match super::mask::mask_exact(text, self.extra_keys) {
            Some(masked) => self.known.mask(&masked).into_owned().into(),
            None => self.known.mask(text),
        }
    }

    /// Returns `true` if a number is one of the keys.
    pub(super) fn is_key_number(&self, number: &Number) -> bool {
        self.has_numbers && matches!(self.mask(&number.to_string()), Cow::Owned(_))
    }
}

/// Returns `true` if a key could be written as a number.
fn may_be_number(key: &str) -> bool {
    key.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Returns other spellings of a secret: in JSON, in JSON within JSON, and in a URL. Most secrets
/// have only one spelling.
pub(super) fn spellings(secret: &str) -> Vec<String> {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    if secret.bytes().all(plain) {
        return Vec::new();
    }
    let escaped = |text: &str| {
        let quoted = serde_json::Value::from(text).to_string();
        quoted
            .get(1..quoted.len() - 1)
            .unwrap_or_default()
            .to_owned()
    };
    let once = escaped(secret);
    if secret.len() > MAX_RESPELLED_BYTES {
        return if once == secret {
            Vec::new()
        } else {
            vec![once]
        };
    }
    let encoded = utf8_percent_encode(secret, UNRESERVED).to_string();
    let mut all = vec![
        // Some writers escape `/`, and some all that is not ASCII.
        once.replace('/', "\\/"),
        escape_non_ascii(&once),
        escaped(&once),
        encoded.to_ascii_lowercase(),
        encoded.replace("%20", "+"),
        encoded,
        once,
    ];
    all.sort_unstable();
    all.dedup();
    all.retain(|spelling| spelling != secret);
    all
}

/// Escapes all non-ASCII characters in a JSON text.
fn escape_non_ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text += &format!("\\u{unit:04x}");
            }
        }
    }
    text
}

/// Returns `true` if a match is a key in its context.
fn is_likely_key(text: &str, found: &Match<'_>) -> bool {
    let key = found.as_str();
    // The match is no key at the end of a word such as `task-`. A line break before it may be
    // written as `\n`.
    let mut before = text.get(..found.start()).unwrap_or_default().chars().rev();
    let last = before.next();
    let other = before.next();
    let escaped = other == Some('\\') && matches!(last, Some('n' | 'r' | 't'));
    if last.is_some_and(|c| c.is_ascii_alphanumeric()) && !escaped && !key.starts_with(':') {
        return false;
    }
    // `bearer` is an English word, too.
    !key.starts_with(['b', 'B']) || key.len() > 48 || key.contains(|c: char| c.is_ascii_digit())
}

/// Learns a key that the server itself uses, to be masked wherever it occurs.
pub fn learn_key(key: &str) {
    remember(key, true);
}

/// Learns a secret that the server has passed on to an upstream.
pub(super) fn learn_passed_secret(secret: &str) {
    remember(secret, false);
}

fn remember(key: &str, own: bool) {
    // A key that is part of the mask would be masked in the mask.
    if key.len() < MIN_KEY_BYTES || MASK.contains(key) || KNOWN_SECRETS.load().contains(key) {
        return;
    }
    let _alone = LEARN_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let mut keys = KNOWN_SECRETS.load().keys.clone();
    let spelt = spellings(key).into_iter();
    for key in std::iter::once(key.to_owned()).chain(spelt) {
        if !own {
            forget_oldest(&mut keys, key.len());
        }
        keys.push(KnownSecret { key, is_own: own });
    }
    KNOWN_SECRETS.store(KnownSecrets::new(keys).into());
}

/// Forgets the oldest passed-on secrets until one more of `bytes` bytes fits.
fn forget_oldest(keys: &mut Vec<KnownSecret>, bytes: usize) {
    let passed = || keys.iter().filter(|held| !held.is_own);
    let mut count = passed().count();
    let mut sum = passed().map(|held| held.key.len()).sum::<usize>() + bytes;
    keys.retain(|held| {
        let goes = !held.is_own && (count >= MAX_PASSED_SECRETS || sum > MAX_PASSED_SECRET_BYTES);
        if goes {
            count -= 1;
            sum -= held.key.len();
        }
        !goes
    });
}

/// Returns `true` if a text holds a key that the server itself uses.
pub fn contains_own_key(text: &str) -> bool {
    KNOWN_SECRETS
        .load()
        .keys
        .iter()
        .any(|held| held.is_own && text.contains(&held.key))
}

/// Masks every key in a text. Returns the same text if it holds none.
pub fn mask_text(text: &str) -> Cow<'_, str> {
    KNOWN_SECRETS.load().mask(text)
}

/// Returns `true` if a text may hold a key. Nearly all texts hold none, and this check is fast for
/// them.
pub(super) fn may_have_key(text: &str) -> bool {
    KNOWN_SECRETS.load().may_occur_in(text) || !matches!(KEY_REGEX.regex_for(text), Ok(None))
}

/// Returns `true` if a text holds a key of this process, or matches a pattern of a key. Unlike
/// [`may_have_key`], this searches by the whole expression where a literal of it occurs.
pub(super) fn matches_key(text: &str) -> bool {
    let matches = || match KEY_REGEX.regex_for(text) {
        Ok(None) => false,
        Ok(Some(regex)) => regex.is_match(text),
        Err(PatternError) => true,
    };
    KNOWN_SECRETS.load().may_occur_in(text) || matches()
}

/// Masks everything in a text that matches a pattern of a key.
fn mask_patterns(text: &str) -> Cow<'_, str> {
    let look = match KEY_REGEX.regex_for(text) {
        Ok(Some(look)) => look,
        Ok(None) => return Cow::Borrowed(text),
        Err(PatternError) => return Cow::Borrowed(MASK),
    };
    let mut found = look
        .find_iter(text)
        .filter(|found| is_likely_key(text, found))
        .peekable();
    if found.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let (mut masked, mut done) = (String::with_capacity(text.len()), 0);
    for key in found {
        masked += text.get(done..key.start()).unwrap_or_default();
        let in_address = key.as_str().starts_with("://");
        masked += if in_address { "://" } else { "" };
        masked += MASK;
        masked += if in_address { "@" } else { "" };
        done = key.end();
    }
    masked += text.get(done..).unwrap_or_default();
    Cow::Owned(masked)
}

/// Masks every key in a line of the log, and every value that is named like one.
pub fn mask_line(line: &str) -> Cow<'_, str> {
    let masked = mask_text(line);
    let named = match NAMED_KEY_REGEX.regex_for(&masked.to_ascii_lowercase()) {
        Ok(Some(named)) => named,
        Ok(None) => return masked,
        Err(PatternError) => return Cow::Borrowed(MASK),
    };
    match named.replace_all(&masked, format!("${{1}}{MASK}")) {
        Cow::Borrowed(_) => masked,
        Cow::Owned(masked) => Cow::Owned(masked),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn address_filter_accepts_what_the_expression_matches(
            text in "(://|[:@/a!%~'\"\\\\ é-]){0,14}"
        ) {
            let expression = Regex::new(USERINFO).unwrap();
            prop_assert!(!expression.is_match(&text) || may_hold_address_credential(&text));
        }
    }

    #[test]
    fn addresses_without_credentials_pass_the_filter() {
        for text in [
            "mail a@b.example, see https://example.com:80/",
            "https://a@b",
            "a:b@c",
        ] {
            assert!(!may_hold_address_credential(text), "{text}");
        }
        assert!(may_hold_address_credential("postgres://a:b@c"));
    }

    fn passed_keys(keys: &[KnownSecret]) -> Vec<&str> {
        keys.iter()
            .filter(|held| !held.is_own)
            .map(|held| held.key.as_str())
            .collect()
    }

    #[test]
    fn oldest_passed_secrets_are_forgotten_first() {
        let held = |key: &str, own| KnownSecret {
            key: key.to_owned(),
            is_own: own,
        };
        let mut keys = vec![
            held("own", true),
            held("first", false),
            held("second", false),
        ];
        forget_oldest(&mut keys, 10);
        assert_eq!(passed_keys(&keys), ["first", "second"]);
        forget_oldest(&mut keys, MAX_PASSED_SECRET_BYTES - "second".len());
        assert_eq!((passed_keys(&keys), keys.len()), (vec!["second"], 2));
        let mut many: Vec<_> = (0..MAX_PASSED_SECRETS)
            .map(|i| held(&i.to_string(), false))
            .collect();
        many.insert(0, held("own", true));
        forget_oldest(&mut many, 1);
        assert_eq!(
            (many.len(), passed_keys(&many)[0]),
            (MAX_PASSED_SECRETS, "1")
        );
    }

    #[test]
    fn unreserved_keys_have_one_spelling_and_long_ones_two() {
        assert_eq!(spellings("pk-plain_key.0~1"), Vec::<String>::new());
        assert!(spellings("a/b+c").contains(&"a%2Fb%2Bc".to_owned()));
        assert_eq!(spellings(&"a\n".repeat(3_000)), ["a\\n".repeat(3_000)]);
    }
}
