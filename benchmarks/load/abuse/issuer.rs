//! An authorization server that accepts requests and never responds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{anyhow, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{
    Schedule,
    report::{Check, TrialResult},
    setup::{Attack, Setup},
};
use crate::{
    http::{Client, Generation, post_request},
    line::HttpConnection,
};

/// Audience of the tokens.
const RESOURCE: &str = "https://mcp.example.com/mcp";

/// Number of other callers.
const OTHER_CALLERS: usize = 8;

/// Number of connections that send unknown tokens, and the delay of each before the next.
const CONNECTIONS: usize = 16;
const REQUEST_PAUSE: Duration = Duration::from_millis(50);

/// Maximum wait of a request for the authorization server: two seconds, and the remaining work.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// Maximum time until callers are served after the authorization server responds again.
const MAX_RECOVERY: Duration = Duration::from_secs(60);

/// Signed tokens. The issuer never responds, then responds, then hangs while tokens name unknown
/// keys.
pub(super) async fn keys(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    // The server fetches the keys again for an unknown key id at the earliest 30 seconds later.
    let abuse = if schedule.is_measured {
        Duration::from_secs(30)
    } else {
        schedule.abuse
    };
    let schedule = &Schedule { abuse, ..*schedule };
    let issuer = Issuer::start()?;
    let folder = tempfile::tempdir()?;
    let settings = format!("jwks_url = \"{}/keys\"\n", issuer.url);
    let file = issuer.settings(folder.path(), &settings)?;
    let others: Vec<_> = (0..OTHER_CALLERS)
        .map(|n| issuer.token("known", &format!("c{n}")))
        .collect();
    let args = ["--auth", "oauth", "--auth-file", &file];
    let mut setup = Setup::start(&args, others.clone())?;
    issuer.hang(true);
    let mut checks = vec![check_wait_without_keys(&setup).await?];
    issuer.hang(false);
    if schedule.is_measured {
        checks.push(check_recovery(&setup).await);
    } else {
        // The server does not fetch the keys again immediately, so this could take a while.
        setup = Setup::start(&args, others)?;
    }
    let state = issuer.state.clone();
    let foreign = Issuer::start()?;
    issuer.state.max_waiting.store(0, Relaxed);
    let url = issuer.url.clone();
    let attack = move |attack: Attack| async move {
        state.hangs.store(true, Relaxed);
        let count = AtomicU64::new(0);
        let request = |_| {
            let id = format!("unknown-{}", count.fetch_add(1, Relaxed));
            post_request(attack.address, &foreign.token_of(&url, &id, "c0"), "{}")
        };
        attack.send(CONNECTIONS, REQUEST_PAUSE, request).await;
        check_wait(&attack);
    };
    let mut row = setup
        .observe("issuer", schedule, attack, async |_: Instant| Vec::new())
        .await?;
    let waiting = issuer.state.max_waiting.load(Relaxed);
    let what = format!("at most {waiting} requests for keys were under way at once");
    checks.push(Check::new(what, waiting <= 1));
    row.checks.splice(0..0, checks);
    Ok(row)
}

/// Opaque tokens. The issuer hangs while it is asked about invented tokens.
pub(super) async fn introspection(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    // Introspection results of the other callers are cached for 30 seconds.
    let alone = schedule.alone.min(Duration::from_secs(5));
    let abuse = schedule.abuse;
    let schedule = &Schedule {
        alone,
        abuse: abuse.min(Duration::from_secs(15)),
        ..*schedule
    };
    let issuer = Issuer::start()?;
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "bench")?;
    let settings = format!(
        "[introspection]\nurl = \"{}/ask\"\nclient_id = \"bench\"\nclient_secret = \"file:{}\"\n",
        issuer.url,
        secret.display()
    );
    let file = issuer.settings(folder.path(), &settings)?;
    let bearer = |text: &str| format!("authorization: Bearer {text}\r\n");
    let others = (0..OTHER_CALLERS)
        .map(|number| bearer(&format!("opaque-{number}")))
        .collect();
    let setup = Setup::start(&["--auth", "oauth", "--auth-file", &file], others)?;
    let state = issuer.state.clone();
    let attack = move |attack: Attack| async move {
        state.hangs.store(true, Relaxed);
        let count = AtomicU64::new(0);
        let request = |_| {
            let made_up = bearer(&format!("made-up-{}", count.fetch_add(1, Relaxed)));
            post_request(attack.address, &made_up, "{}")
        };
        attack.send(CONNECTIONS, REQUEST_PAUSE, request).await;
        check_wait(&attack);
    };
    // Cached results may have expired by the time of the last calls.
    let probe = async |until: Instant| {
        tokio::time::sleep_until(until.into()).await;
        issuer.hang(false);
        Vec::new()
    };
    setup
        .observe("introspection", schedule, attack, probe)
        .await
}

fn check_wait(attack: &Attack) {
    let slowest = attack.counts.slowest.load(Relaxed);
    let what = format!("a request with an unknown token waited for at most {slowest} ms");
    attack
        .counts
        .check(what, u128::from(slowest) <= MAX_WAIT.as_millis());
}

/// Measures the wait of concurrent callers while no token can be verified.
async fn check_wait_without_keys(setup: &Setup) -> anyhow::Result<Check> {
    let asked = setup.others.iter().map(async |token| {
        let mut line = HttpConnection::connect(setup.address).await?;
        let started = Instant::now();
        line.exchange(&post_request(setup.address, token, "{}"), "HTTP/1.1 503")
            .await?;
        anyhow::Ok(started.elapsed())
    });
    let waits: Vec<_> = join_all(asked)
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    let longest = waits
        .into_iter()
        .max()
        .ok_or_else(|| anyhow!("nobody asked"))?;
    let what = format!(
        "of {OTHER_CALLERS} callers at once, without keys, the last was refused after {:.1} s",
        longest.as_secs_f64()
    );
    Ok(Check::new(what, longest <= MAX_WAIT))
}

/// Measures the time until callers are served again.
async fn check_recovery(setup: &Setup) -> Check {
    let started = Instant::now();
    let token = setup.others.first().map(String::as_str).unwrap_or_default();
    let call = async || {
        Client::connect(setup.address, Generation::Modern, token)
            .await?
            .call()
            .await
    };
    let mut served = call().await;
    while served.is_err() && started.elapsed() < MAX_RECOVERY {
        sleep(Duration::from_millis(250)).await;
        served = call().await;
    }
    let seconds = started.elapsed().as_secs_f64();
    Check::new(
        format!("callers were served again after {seconds:.1} s"),
        served.is_ok(),
    )
}

/// An authorization server, on a thread of its own.
struct Issuer {
    url: String,
    pair: Ed25519KeyPair,
    state: Arc<IssuerState>,
}

/// State shared by the connections of the issuer.
#[derive(Default)]
struct IssuerState {
    hangs: AtomicBool,
    /// Requests that wait while the issuer hangs.
    waiting: AtomicU64,
    /// Maximum number of requests that waited at once.
    max_waiting: AtomicU64,
}

impl Issuer {
    fn start() -> anyhow::Result<Self> {
        let unusable = |_| anyhow!("no key can be made");
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(unusable)?;
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref());
        let pair = pair.map_err(|_| anyhow!("the key cannot be read"))?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let issuer = Self {
            url,
            pair,
            state: Arc::default(),
        };
        let keys = issuer.published();
        let about = issuer.about();
        let state = issuer.state.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || {
            runtime.block_on(accept_connections(listener, keys, about, state))
        });
        Ok(issuer)
    }

    fn hang(&self, hangs: bool) {
        self.state.hangs.store(hangs, Relaxed);
    }

    /// Returns the published key set.
    fn published(&self) -> String {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.pair.public_key());
        format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"known","alg":"EdDSA","use":"sig"}}]}}"#
        )
    }

    /// Returns the introspection claims of a token, up to the subject.
    fn about(&self) -> String {
        let expires = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        claims(&self.url, expires + 3600)
    }

    /// Writes the settings of a server that trusts this issuer; returns the path of their file.
    fn settings(&self, folder: &std::path::Path, check: &str) -> anyhow::Result<String> {
        let file = folder.join("oauth.toml");
        let key = folder.join("key");
        std::fs::write(&key, "bench")?;
        // A TOML table must come after the settings that belong to none.
        let (top, table) = if check.starts_with('[') {
            ("", check)
        } else {
            (check, "")
        };
        let settings = format!(
            "resource = \"{RESOURCE}\"\nissuer = \"{}\"\n{top}\n[[tenant]]\nclaim = \"org\"\n\
             value = \"bench\"\nportkey_key = \"file:{}\"\n{table}",
            self.url,
            key.display()
        );
        std::fs::write(&file, settings)?;
        Ok(file.display().to_string())
    }

    /// Returns the header with a token of this issuer, signed with the key of this id.
    fn token(&self, key: &str, subject: &str) -> String {
        self.token_of(&self.url, key, subject)
    }

    /// Returns the header with a token that names any issuer.
    fn token_of(&self, issuer: &str, key: &str, subject: &str) -> String {
        let head = format!(r#"{{"alg":"EdDSA","kid":"{key}","typ":"at+jwt"}}"#);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let body = format!(r#"{{{},"sub":"{subject}"}}"#, claims(issuer, now + 3600));
        let encode = |text: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(head.as_bytes()), encode(body.as_bytes()));
        let signature = encode(self.pair.sign(signed.as_bytes()).as_ref());
        format!("authorization: Bearer {signed}.{signature}\r\n")
    }
}

/// Returns the claims of a token, up to the subject.
fn claims(issuer: &str, expires: u64) -> String {
    format!(
        r#""iss":"{issuer}","aud":"{RESOURCE}","org":"bench","scope":"portkey:read","exp":{expires}"#
    )
}

/// Serves all connections.
async fn accept_connections(
    listener: std::net::TcpListener,
    keys: String,
    about: String,
    state: Arc<IssuerState>,
) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve_connection(
            stream,
            keys.clone(),
            about.clone(),
            state.clone(),
        ));
    }
}

/// Responds to the requests of a connection, or lets them wait.
async fn serve_connection(
    mut stream: TcpStream,
    keys: String,
    about: String,
    state: Arc<IssuerState>,
) -> anyhow::Result<()> {
    loop {
        let request = read_request(&mut stream).await?;
        if state.hangs.load(Relaxed) {
            let waiting = state.waiting.fetch_add(1, Relaxed) + 1;
            state.max_waiting.fetch_max(waiting, Relaxed);
            // Until the client gives up.
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            state.waiting.fetch_sub(1, Relaxed);
            return Ok(());
        }
        let body = match request.split_once("token=") {
            Some((_, token)) => {
                let subject = token.split('&').next().unwrap_or_default();
                format!(r#"{{"active":true,{about},"sub":"{subject}"}}"#)
            }
            None => keys.clone(),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Reads a complete request.
async fn read_request(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap_or("0").trim().parse()?;
            if body.len() >= length {
                return Ok(text);
            }
        }
        ensure!(
            stream.read_buf(&mut read).await? > 0,
            "the connection was closed"
        );
    }
}
