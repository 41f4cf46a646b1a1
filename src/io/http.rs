//! HTTP to the services the administrator configured: one way to build a client, to authorize a request, and to read
//! an answer without trusting its size. It knows nothing of Prometheus or Alertmanager.
//!
//! No redirect is followed, no proxy is taken from the environment, and a name is not followed to where no service of
//! the administrator's can be ([`super::addresses`]): credentials go to the configured host alone.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::{Timestamp, fmt::rfc2822};
use memchr::memmem;
use reqwest::{Certificate, Client, ClientBuilder, Response, Url, header, header::HeaderValue, redirect};

use super::addresses::Resolver;

/// A connection that takes longer than this will not be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest text of a remote server that is shown to anybody, characters.
const MAX_TEXT: usize = 256;

/// A service to talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its base address: http or https, a host, no credentials, no query, no slash at the end of the path.
    pub url: Url,
    /// How we show who we are.
    pub credentials: Option<Credentials>,
    /// A PEM bundle of certificate authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The longest that one request may take, from connecting to the last byte.
    pub timeout: Duration,
}

impl Endpoint {
    /// The host and port, as a person would write them: `prometheus.monitoring.svc:9090`.
    #[must_use]
    pub fn address(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The address of a path below the base address.
    #[must_use]
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
        url
    }
}

/// Where the secrets stand. They are read for every request, so a rotated one is used at once and none is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: Bearer` with the content of a file.
    Bearer {
        /// The file.
        token_file: PathBuf,
    },
    /// `Authorization: Basic` (RFC 7617).
    Basic {
        /// The user's name.
        username: String,
        /// The file with the password.
        password_file: PathBuf,
    },
}

impl Credentials {
    /// The file that holds the secret.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::Bearer { token_file: file } | Self::Basic { password_file: file, .. } => file,
        }
    }
}

/// Why a client cannot be built, a request cannot be authorized, or an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A file with a secret or with certificates cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The TLS settings do not make a client.
    #[error("no client can be built: {0}")]
    Client(String),
    /// The answer is larger than the caller reads.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The answer is compressed in a way that was not asked for.
    #[error("the answer is encoded as {0:?}, which was not asked for")]
    Encoding(String),
    /// The answer stopped before its end, or came too late.
    #[error("{}", root_cause(.0))]
    Broken(#[from] reqwest::Error),
}

/// Starts a client for this endpoint; a caller may add to it, for example the one address it must talk to.
///
/// # Errors
/// The bundle of certificate authorities cannot be read.
pub fn builder(endpoint: &Endpoint) -> Result<ClientBuilder, HttpError> {
    let builder = Client::builder()
        .user_agent(concat!("grpc-hygiene/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(endpoint.timeout)
        .redirect(redirect::Policy::none())
        .dns_resolver(Resolver::shared())
        .no_proxy();
    Ok(match &endpoint.ca_file {
        // Plain HTTP needs no roots, and must work on an image that has none.
        _ if endpoint.url.scheme() == "http" => builder.tls_certs_only([]),
        Some(path) => builder.tls_certs_merge(certificates(path)?),
        None => builder,
    })
}

/// Builds a client for this endpoint. A process-wide crypto provider must have been installed.
///
/// # Errors
/// The bundle of certificate authorities cannot be read, or the system's cannot.
pub fn client(endpoint: &Endpoint) -> Result<Client, HttpError> {
    builder(endpoint)?.build().map_err(|error| HttpError::Client(root_cause(&error)))
}

/// Reads a PEM bundle.
///
/// # Errors
/// It cannot be read, or holds no certificate.
pub fn certificates(path: &Path) -> Result<Vec<Certificate>, HttpError> {
    let wrong = |problem: String| HttpError::File { path: path.to_owned(), problem };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(wrong("holds no certificate in PEM form".to_owned())),
    }
}

/// The `Authorization` header of one request, from what the files hold now. It is marked sensitive, so that `Debug`
/// does not print it.
///
/// # Errors
/// The file cannot be read, or its content cannot stand in a header.
pub async fn authorization(endpoint: &Endpoint) -> Result<Option<HeaderValue>, HttpError> {
    let Some(credentials) = &endpoint.credentials else { return Ok(None) };
    let path = credentials.file();
    let wrong = |problem: &dyn fmt::Display| HttpError::File { path: path.to_owned(), problem: problem.to_string() };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| wrong(&error))?;
    header_value(credentials, &text).map(Some).map_err(|problem| wrong(&problem))
}

/// The header for credentials whose file holds `text`.
///
/// # Errors
/// The text is empty, or a token holds what a header may not. The sentence never shows the text.
pub fn header_value(credentials: &Credentials, text: &str) -> Result<HeaderValue, &'static str> {
    let value = match credentials {
        _ if text.trim().is_empty() => return Err("is empty"),
        Credentials::Bearer { .. } => format!("Bearer {}", text.trim()),
        // Editors end a file with a newline; anything else may belong to the password.
        Credentials::Basic { username, .. } => {
            let password = text.trim_end_matches(['\r', '\n']);
            format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
        }
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| "holds characters that no HTTP header may hold")?;
    value.set_sensitive(true);
    Ok(value)
}

/// How long a server asks to be left alone, by its header `Retry-After` (RFC 9110, section 10.2.3): so many seconds, or
/// until a date. `None`: it is neither. Whoever waits bounds it.
#[must_use]
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit()) {
        // More seconds than fit are very long all the same.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

/// Strikes out of an answer what was sent to be let in: a server may repeat it, and what it says is shown to people.
pub fn strike_out(body: &mut [u8], sent: &HeaderValue) {
    let sent = sent.to_str().unwrap_or_default();
    let (scheme, secret) = sent.split_once(' ').unwrap_or_default();
    let pair = BASE64_STANDARD.decode(secret).ok().filter(|_| scheme == "Basic").unwrap_or_default();
    let password = pair.iter().position(|it| *it == b':').map_or(&[][..], |colon| &pair[colon + 1..]);
    for secret in [secret.as_bytes(), password].into_iter().filter(|it| !it.is_empty()) {
        let found: Vec<usize> = memmem::find_iter(body, secret).collect();
        for at in found {
            body[at..at + secret.len()].fill(b'*');
        }
    }
}

/// Reads a whole body, but no more than `limit` bytes of it as they are after decompression: what is larger is
/// dropped on the way, and the connection with it.
///
/// # Errors
/// The body is larger, broke off, came too late, or is encoded in a way we did not ask for.
pub async fn read_capped(mut response: Response, limit: usize) -> Result<Vec<u8>, HttpError> {
    // What reqwest inflates for us loses this header; what still has it we cannot read.
    if let Some(encoding) = response.headers().get(header::CONTENT_ENCODING).filter(|it| *it != "identity") {
        return Err(HttpError::Encoding(printable(&String::from_utf8_lossy(encoding.as_bytes()))));
    }
    let announced = response.content_length().map_or(0, |it| usize::try_from(it).unwrap_or(usize::MAX));
    if announced > limit {
        return Err(HttpError::TooLarge(limit));
    }
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(HttpError::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A remote server's text, fit to be shown: one line of at most 256 characters, without control characters and
/// without those that change the direction of writing or cannot be seen.
#[must_use]
pub fn printable(text: &str) -> String {
    // Four times the limit is read, so that white space which is then joined does not crowd out the text.
    let spaced: String = text.chars().take(4 * MAX_TEXT).map(|c| if is_hidden(c) { ' ' } else { c }).collect();
    let line = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_TEXT {
        return line;
    }
    line.chars().take(MAX_TEXT - 1).chain(['…']).collect()
}

/// Control characters, and those of Unicode's format characters that reorder text or take no room.
fn is_hidden(c: char) -> bool {
    let invisible =
        ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}', '\u{fff9}'..='\u{fffb}'];
    c.is_control() || c == '\u{ad}' || c == '\u{feff}' || invisible.iter().any(|it| it.contains(&c))
}

/// The innermost reason of an error: `Connection refused (os error 111)` instead of `error sending request`.
#[must_use]
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    printable(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_how_long_it_wants_to_be_left_alone_in_seconds_or_by_a_date() {
        let now = "2026-11-26T05:00:00Z".parse().expect("a time");
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Thu, 26 Nov 2026 05:01:30 GMT", Some(90)),
            ("Thu, 26 Nov 2026 04:00:00 GMT", Some(0)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn secrets_that_a_server_repeats_are_struck_out() {
        let basic = Credentials::Basic { username: "me".into(), password_file: PathBuf::new() };
        let bearer = Credentials::Bearer { token_file: PathBuf::new() };
        for (credentials, said, shown) in [
            (&bearer, "no Bearer hunter2, hunter2!", "no Bearer *******, *******!"),
            (&basic, "me:hunter2 is bWU6aHVudGVyMg==", "me:******* is ****************"),
            (&bearer, "nothing", "nothing"),
        ] {
            let sent = header_value(credentials, "hunter2").expect("a header");
            let mut body = said.as_bytes().to_vec();
            strike_out(&mut body, &sent);
            assert_eq!(String::from_utf8_lossy(&body), shown);
        }
    }

    #[test]
    fn a_remote_text_is_shown_as_one_short_line_without_tricks() {
        assert_eq!(printable("a\n\u{1b}[31mred\u{202e}\u{0}  b\t"), "a [31mred b");
        assert_eq!(printable(&"x".repeat(10_000)).chars().count(), 256);
        assert!(printable(&"ä".repeat(257)).ends_with('…'));
        assert_eq!(printable(&"ä".repeat(256)), "ä".repeat(256));
    }

    #[test]
    fn credentials_become_a_header_that_debug_does_not_show() {
        let bearer = Credentials::Bearer { token_file: "/t".into() };
        let value = header_value(&bearer, "s3cret\n").expect("a token");
        assert_eq!(value.as_bytes(), b"Bearer s3cret");
        assert!(!format!("{value:?}").contains("s3cret"));
        let basic = Credentials::Basic { username: "ops".into(), password_file: "/p".into() };
        let value = header_value(&basic, " pass word \r\n").expect("a password");
        assert_eq!(value.as_bytes(), b"Basic b3BzOiBwYXNzIHdvcmQg");
    }

    #[test]
    fn a_secret_that_cannot_be_sent_is_refused_without_showing_it() {
        let bearer = Credentials::Bearer { token_file: "/t".into() };
        assert_eq!(header_value(&bearer, " \n"), Err("is empty"));
        let problem = header_value(&bearer, "two\nlines").expect_err("not a header");
        assert!(!problem.contains("two"));
    }

    #[test]
    fn a_path_is_joined_below_the_base_address() {
        for (base, joined) in
            [("http://p:9090", "http://p:9090/api/v1/query"), ("http://p/prom", "http://p/prom/api/v1/query")]
        {
            let url = Url::parse(base).expect("a URL");
            let endpoint = Endpoint { url, credentials: None, ca_file: None, timeout: Duration::ZERO };
            assert_eq!(endpoint.join("api/v1/query").as_str(), joined);
        }
    }
}
