//! The last line: keys in any text, found by how they look and by what keys this process holds.
//!
//! It runs over every line of the log, over errors and over answers, so that a key that got past all
//! else is masked there. How keys look is secrets.md §7.3, and what their issuers publish.

use std::{
    borrow::Cow,
    sync::{LazyLock, Mutex, PoisonError},
};

use aho_corasick::{AhoCorasick, MatchKind};
use arc_swap::ArcSwap;
use regex::{Match, Regex};

/// Stands where a secret was. It is told apart from every mask of an upstream's, and refused wherever it
/// is sent back.
pub const MASK: &str = "[masked by portkey-mcp]";

/// Keys shorter than this, in bytes, are not looked for: they would be found everywhere.
pub(super) const SHORTEST: usize = 8;

/// How many secrets that were passed on are remembered: the oldest are forgotten.
const MOST_PASSED: usize = 1024;

/// A credential within an address, in the characters that one may have. Its `@` is put back.
const USERINFO: &str = r"://[!$%&()*+,.0-9;=A-Z_a-z~-]*:[!$%&()*+,.0-9:;=A-Z_a-z~-]+@";

/// How keys look: in ASCII and with short counts, because each state of what this becomes is memory of an
/// idle server.
const LOOKS: &[&str] = &[
    // A long run in it tells a key from words joined by hyphens.
    "(?:sk|pk|rk)-[A-Za-z0-9_-]*[A-Za-z0-9]{16}[A-Za-z0-9_-]*",
    "(?:sk|pk|rk)-[A-Za-z0-9_-]{36,}",
    "(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,}",
    // A JWT, signed or encrypted.
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}",
    "(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"(?:[Bb]earer|BEARER) {1,4}[A-Za-z0-9._~+/-]{16,}={0,2}",
    "gh[opsru]_[A-Za-z0-9]{20,}",
    "github_pat_[A-Za-z0-9_]{20,}",
    "glpat-[A-Za-z0-9_-]{20,}",
    "xox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"hooks\.slack\.com/services/[A-Za-z0-9/_-]+",
    "AIza[A-Za-z0-9_-]{35}",
    "hf_[A-Za-z0-9]{20,}",
    "gsk_[A-Za-z0-9]{20,}",
    r"hvs\.[A-Za-z0-9_-]{20,}",
    r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|$)",
    USERINFO,
];

/// A header or a field of a key, in a line of the log.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let named = r#"(?i)((?:x-portkey-api-key|api[-_]?key|authorization|password)\\?["']?\s*[:=]\s*\\?["']?(?:bearer |basic )?)[A-Za-z0-9._~+/=-]{8,}"#;
    Regex::new(named).ok()
});

/// Everything of [`LOOKS`]. Nothing is let through where it cannot be made.
static LOOK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&LOOKS.join("|")).ok());

static KNOWN: LazyLock<ArcSwap<Known>> =
    LazyLock::new(|| ArcSwap::from_pointee(Known::of(Vec::new())));
/// Held while another list is made, so that no key is forgotten.
static LEARNING: Mutex<()> = Mutex::new(());

/// Keys that this process holds or has passed on.
#[derive(Debug)]
struct Known {
    keys: Vec<Held>,
    /// Finds them. Nothing is let through where it cannot be made.
    finder: Option<AhoCorasick>,
}

#[derive(Clone, Debug)]
struct Held {
    key: String,
    /// Whether the server itself acts with it.
    own: bool,
}

impl Known {
    fn of(keys: Vec<Held>) -> Self {
        // One may begin another.
        let longest = MatchKind::LeftmostLongest;
        let values = keys.iter().map(|held| held.key.as_str());
        let finder = AhoCorasick::builder().match_kind(longest).build(values).ok();
        Self { keys, finder }
    }

    fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|held| held.key == key)
    }
}

/// Whether what was found is a key, in the place where it was.
fn is_key(text: &str, found: &Match<'_>) -> bool {
    let key = found.as_str();
    // The end of a word such as `task-`; a line break may be written as `\n` before it.
    let mut before = text.get(..found.start()).unwrap_or_default().chars().rev();
    let (last, other) = (before.next(), before.next());
    let escaped = other == Some('\\') && matches!(last, Some('n' | 'r' | 't'));
    if last.is_some_and(|c| c.is_ascii_alphanumeric()) && !escaped && !key.starts_with(':') {
        return false;
    }
    // `bearer` is a word, too.
    !key.starts_with(['b', 'B']) || key.len() > 48 || key.contains(|c: char| c.is_ascii_digit())
}

/// Learns a key that the server acts with, to be masked wherever it shows up.
pub fn learn(key: &str) {
    remember(key, true);
}

/// Learns a secret that the server has passed on.
pub(super) fn learn_passed(secret: &str) {
    remember(secret, false);
}

fn remember(key: &str, own: bool) {
    // What is in the mask would be masked in it.
    if key.len() < SHORTEST || MASK.contains(key) || KNOWN.load().has(key) {
        return;
    }
    let _alone = LEARNING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut keys = KNOWN.load().keys.clone();
    let passed = keys.iter().filter(|held| !held.own).count();
    if !own
        && passed >= MOST_PASSED
        && let Some(oldest) = keys.iter().position(|held| !held.own)
    {
        keys.remove(oldest);
    }
    keys.push(Held { key: key.to_owned(), own });
    KNOWN.store(Known::of(keys).into());
}

/// Whether a text has in it a key that the server acts with.
pub fn has_own(text: &str) -> bool {
    KNOWN.load().keys.iter().any(|held| held.own && text.contains(&held.key))
}

/// A text with every key in it masked; the same text where there is none.
pub fn mask(text: &str) -> Cow<'_, str> {
    let known = KNOWN.load();
    let (Some(finder), Some(look)) = (&known.finder, &*LOOK) else { return Cow::Borrowed(MASK) };
    if !finder.is_match(text) {
        return mask_looks(look, text);
    }
    let unknown = finder.replace_all(text, &vec![MASK; known.keys.len()]);
    mask_looks(look, &unknown).into_owned().into()
}

/// A text with everything masked that looks like a key.
fn mask_looks<'a>(look: &Regex, text: &'a str) -> Cow<'a, str> {
    let mut found = look.find_iter(text).filter(|found| is_key(text, found)).peekable();
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

/// A line of a log with every key in it masked, and whatever is named as one.
pub fn mask_line(line: &str) -> Cow<'_, str> {
    let masked = mask(line);
    let Some(named) = &*NAMED else { return masked };
    match named.replace_all(&masked, format!("${{1}}{MASK}")) {
        Cow::Borrowed(_) => masked,
        Cow::Owned(masked) => Cow::Owned(masked),
    }
}
