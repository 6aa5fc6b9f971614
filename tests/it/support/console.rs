//! A browser without JavaScript at the console of the approval server.

use reqwest::{Client, RequestBuilder, StatusCode, header, redirect::Policy};

use crate::support::approvals::AdminFolder;

/// A page as the browser got it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    /// Path of the page that the answer leads to.
    pub(crate) location: Option<String>,
    pub(crate) html: String,
}

impl Page {
    /// Returns the value of a hidden field, in the form that begins with this marker.
    pub(crate) fn field(&self, form: &str, name: &str) -> String {
        let start = self
            .html
            .find(form)
            .unwrap_or_else(|| panic!("no {form}: {}", self.html));
        value_of(&self.html[start..], &format!("name=\"{name}\" value=\""))
    }

    /// Returns all values of fields with this name.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        let field = format!("name=\"{name}\" value=\"");
        let parts = self.html.split(&field).skip(1);
        parts
            .map(|part| part.split('"').next().unwrap().to_owned())
            .collect()
    }

    /// Returns the title.
    pub(crate) fn title(&self) -> String {
        let rest = self.html.split("<title>").nth(1).unwrap();
        rest.split("</title>").next().unwrap().to_owned()
    }
}

fn value_of(html: &str, field: &str) -> String {
    let rest = html.split(field).nth(1);
    let rest = rest.unwrap_or_else(|| panic!("no {field}: {html}"));
    rest.split('"').next().unwrap().to_owned()
}

/// A browser, signed in or not.
pub(crate) struct Browser {
    client: Client,
    pub(crate) url: String,
    pub(crate) cookie: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl Browser {
    /// Returns a browser that has not signed in.
    pub(crate) fn new(admin: &AdminFolder) -> Self {
        let client = crate::support::requests::client_builder()
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            client,
            url: admin.url(),
            cookie: None,
            headers: Vec::new(),
        }
    }

    /// Adds a header to each request.
    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Returns a browser that has signed in with the token.
    pub(crate) async fn signed_in(admin: &AdminFolder, name: &str) -> Self {
        let mut browser = Self::new(admin);
        let page = browser.sign_in(&admin.read_field("token"), name).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{page:?}");
        browser
    }

    /// Sends the form that signs in, and keeps the cookie.
    pub(crate) async fn sign_in(&mut self, token: &str, name: &str) -> Page {
        let fields = [("token", token), ("by", name)];
        let request = self.form_request("/sign-in", &fields);
        let answer = request.send().await.unwrap();
        let cookie = answer.headers().get(header::SET_COOKIE);
        if let Some(cookie) = cookie {
            self.cookie = Some(cookie.to_str().unwrap().to_owned());
        }
        read(answer).await
    }

    /// Opens the page that signs in by a header, and keeps the cookie.
    pub(crate) async fn keep_session(&mut self) {
        let request = self.with_session(self.client.get(format!("{}/sign-in", self.url)));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        self.cookie = Some(cookie.to_owned());
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        let request = self.client.get(format!("{}{path}", self.url));
        read(self.with_session(request).send().await.unwrap()).await
    }

    /// Sends a form.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        read(self.form_request(path, fields).send().await.unwrap()).await
    }

    /// Returns the request of a form.
    pub(crate) fn form_request(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let pairs = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(pairs.collect::<Vec<_>>().join("&"));
        self.with_session(request)
    }

    /// Returns a request with the cookie.
    pub(crate) fn with_session(&self, mut request: RequestBuilder) -> RequestBuilder {
        if let Some(cookie) = &self.cookie {
            let pair = cookie.split(';').next().unwrap();
            request = request.header(header::COOKIE, pair);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request
    }

    /// Returns the request for a stream of events.
    pub(crate) fn events_request(&self) -> RequestBuilder {
        self.with_session(self.client.get(format!("{}/events", self.url)))
    }

    /// Sends the form of a call's page.
    pub(crate) async fn decide(&self, id: &str, decision: &str, more: &[(&str, &str)]) -> Page {
        let path = format!("/calls/{id}");
        let page = self.get(&path).await;
        let token = page.field("data-decide", "token");
        let digest = page.field("data-decide", "digest");
        let fields = [
            ("token", token.as_str()),
            ("digest", digest.as_str()),
            ("decision", decision),
        ];
        self.post(&path, &[&fields, more].concat()).await
    }
}

async fn read(answer: reqwest::Response) -> Page {
    let location = answer.headers().get(header::LOCATION);
    Page {
        status: answer.status(),
        location: location.map(|location| location.to_str().unwrap().to_owned()),
        html: answer.text().await.unwrap(),
    }
}
