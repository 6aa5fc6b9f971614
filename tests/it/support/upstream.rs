//! A scripted upstream with byte-exact responses that records its requests.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    auth::principal::{Credentials, KeySource, MissingKey, Principal, UpstreamKey},
    pipeline::Dispatcher,
    upstream::{Addresses, RetrySettings, UpstreamClient, UpstreamSettings},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// A request as received.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl ReceivedRequest {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
    }
}

/// Action on a connection after a request.
pub(crate) enum ResponseAction {
    /// Writes these bytes and closes the connection.
    Write(Vec<u8>),
    /// Writes these bytes and this many megabytes of zeros, then closes the connection.
    Flood(Vec<u8>, usize),
    /// Responds with success and this body, once a permit is available.
    Later(Arc<Semaphore>, &'static str),
    /// Forwards the request to this server, and its response back.
    Forward(SocketAddr),
    /// Keeps the connection open without a response.
    Hang,
    /// Closes the connection without a response.
    Drop,
}

/// A scripted server.
pub(crate) struct MockUpstream {
    pub(crate) base_url: String,
    seen: Arc<Mutex<Vec<ReceivedRequest>>>,
    /// One permit per client that disconnected while it waited.
    pub(crate) disconnects: Arc<Semaphore>,
}

impl MockUpstream {
    /// Starts a server; `script` decides on each request by the number of previous requests.
    pub(crate) async fn start(
        script: impl Fn(usize) -> ResponseAction + Send + Sync + 'static,
    ) -> Self {
        Self::start_by(move |_, before| script(before)).await
    }

    /// Starts a server; `script` decides on each request by the request and the number of previous
    /// ones.
    pub(crate) async fn start_by(
        script: impl Fn(&ReceivedRequest, usize) -> ResponseAction + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<ReceivedRequest>>>::default();
        let disconnects = Arc::new(Semaphore::new(0));
        let script = Arc::new(script);
        let log = seen.clone();
        let waited = disconnects.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), log.clone(), waited.clone()));
            }
        });
        Self {
            base_url,
            seen,
            disconnects,
        }
    }

    /// Waits until this number of requests was received.
    pub(crate) async fn wait_for_requests(&self, times: usize) {
        while self.count() < times {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        self.requests_after(0)
    }

    /// Returns the requests after the first `count`.
    pub(crate) fn requests_after(&self, count: usize) -> Vec<ReceivedRequest> {
        self.seen.lock().unwrap()[count..].to_vec()
    }

    /// Returns the number of received requests.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<impl Fn(&ReceivedRequest, usize) -> ResponseAction>,
    log: Arc<Mutex<Vec<ReceivedRequest>>>,
    disconnects: Arc<Semaphore>,
) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.len() - 1
    };
    // The client may disconnect at any time.
    match script(&request, before) {
        ResponseAction::Write(bytes) => _ = stream.write_all(&bytes).await,
        ResponseAction::Flood(bytes, megabytes) => {
            _ = stream.write_all(&bytes).await;
            let zeros = vec![b'0'; 1 << 20];
            for _ in 0..megabytes {
                if stream.write_all(&zeros).await.is_err() {
                    return;
                }
            }
        }
        ResponseAction::Later(permits, body) => {
            permits.acquire().await.unwrap().forget();
            if let ResponseAction::Write(bytes) = json_response(body) {
                _ = stream.write_all(&bytes).await;
            }
        }
        ResponseAction::Forward(server) => {
            let mut onward = TcpStream::connect(server).await.unwrap();
            let head = format!("{}\r\nconnection: close\r\n\r\n", request.head);
            onward.write_all(head.as_bytes()).await.unwrap();
            onward.write_all(&request.body).await.unwrap();
            _ = tokio::io::copy(&mut onward, &mut stream).await;
        }
        ResponseAction::Hang => {
            _ = stream.read(&mut [0]).await;
            disconnects.add_permits(1);
        }
        ResponseAction::Drop => {}
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<ReceivedRequest> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split(' ');
    let method = words.next()?.to_owned();
    let target = words.next()?.to_owned();
    Some(ReceivedRequest {
        method,
        target,
        head,
        body,
    })
}

/// Returns a complete response.
pub(crate) fn http_response(status: &str, headers: &str, body: &str) -> ResponseAction {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
    );
    ResponseAction::Write((head + body).into_bytes())
}

/// Returns a successful JSON response.
pub(crate) fn json_response(body: &str) -> ResponseAction {
    http_response("200 OK", "content-type: application/json\r\n", body)
}

pub(crate) const KEY: &str = "pk-planted-secret-0123456789";
pub(crate) const ENKRYPT_KEY: &str = "ek-planted-secret-9876543210";

/// Returns the local operator, with a key for each upstream.
pub(crate) fn operator() -> Principal {
    let key = |text: &str| Some(UpstreamKey::new(KeySource::Option, &text.into()).unwrap());
    Principal::local(Credentials {
        portkey: key(KEY),
        enkrypt: key(ENKRYPT_KEY),
        missing_key: MissingKey::Server,
    })
}

/// Returns settings with short timeouts, for a server at this URL.
pub(crate) fn settings(base_url: &str) -> UpstreamSettings {
    use std::time::Duration;
    UpstreamSettings {
        addresses: Addresses::from_single_host(&base_url.parse().unwrap()),
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(20),
        max_response_bytes: 10 << 20,
        retries: RetrySettings {
            max_retries: 3,
            initial_delay: Duration::from_millis(1),
            max_delay: Duration::from_secs(2),
        },
        extra_roots: Vec::new(),
        proxies: false,
    }
}

/// Returns a dispatcher for this server.
pub(crate) fn dispatcher(upstream: &MockUpstream) -> Dispatcher {
    Dispatcher::new(
        Catalog::full(),
        UpstreamClient::new(settings(&upstream.base_url)),
    )
}

/// Returns a caller with another name, and with the keys of the local operator.
pub(crate) fn principal_named(name: &str) -> Principal {
    Principal {
        name: name.into(),
        ..operator()
    }
}
