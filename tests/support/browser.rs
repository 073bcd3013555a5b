//! A headless Chromium, driven by ChromeDriver (WebDriver), which lets it reach loopback and nothing else.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser it started, if it is told to end.
        let _ = crate::signal(&self.driver, crate::Signal::TERM);
        let _ = self.driver.wait();
    }
}

/// An HTTP response: status, head and body.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head, as received.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Parses the body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{:?} is no JSON: {error}", self.body))
    }

    /// Returns the value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let is = |line: &&str| line.split(':').next().is_some_and(|one| one.eq_ignore_ascii_case(name));
        self.head.lines().find(is).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

/// Sends one request on a connection of its own.
///
/// # Errors
/// Fails if there is no response.
pub async fn http(method: &str, address: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = async {
        // Some do not hang up, though they were asked to.
        while !is_whole(&answer) && stream.read_buf(&mut answer).await? > 0 {}
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), read).await??;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Ok(Answer { status, head: head.to_owned(), body })
}

/// Returns true if the response is complete, by its head.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= end + 4 + length)
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or_default();
        if size == 0 || size > after.len() {
            break;
        }
        body.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    body
}

impl Browser {
    /// Starts a browser with a window of this size, in light or dark mode.
    ///
    /// # Errors
    /// Fails if `chromedriver` or `chromium` is not installed, or does not start within half a minute.
    pub async fn start(width: u32, height: u32, dark: bool) -> Result<Self> {
        let port = crate::port::free_one()?;
        let profile = tempfile::tempdir()?;
        let driver = Command::new("chromedriver")
            .args([&format!("--port={port}"), "--silent"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start chromedriver: tests/run installs it")?;
        let mut this = Self { driver, address: format!("127.0.0.1:{port}"), session: String::new(), _profile: profile };
        let args = [
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--disable-dev-shm-usage".into(),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1".into(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", this._profile.path().display()),
            format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": args}, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            match http("POST", &this.address, "/session", &[], &wanted.to_string()).await {
                Ok(answer) => {
                    let session = answer.json();
                    let id =
                        session["value"]["sessionId"].as_str().with_context(|| format!("no session: {session}"))?;
                    id.clone_into(&mut this.session);
                    return Ok(this);
                }
                Err(error) if Instant::now() > end => return Err(error.context("chromedriver does not answer")),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let path = format!("/session/{}/{path}", self.session);
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let answer = http(method, &self.address, &path, &[], &body).await?;
        ensure!(answer.status == 200, "{path}: {}", answer.body);
        Ok(answer.json()["value"].take())
    }

    /// Opens a page.
    ///
    /// # Errors
    /// Fails if it cannot be loaded.
    pub async fn go(&self, url: &str) -> Result<()> {
        self.command("POST", "url", &json!({"url": url})).await.map(drop)
    }

    /// Runs a script in the page and returns its result.
    ///
    /// # Errors
    /// Fails if it throws.
    pub async fn run(&self, script: &str) -> Result<Value> {
        self.command("POST", "execute/sync", &json!({"script": script, "args": []})).await
    }

    /// Waits until a script returns something true.
    ///
    /// # Errors
    /// Fails if it does not within 80 seconds.
    pub async fn wait(&self, script: &str) -> Result<Value> {
        let end = Instant::now() + Duration::from_secs(80);
        loop {
            let value = self.run(&format!("return {script}")).await?;
            if value.as_bool() != Some(false) && !value.is_null() && value != 0 && value != "" {
                return Ok(value);
            }
            if Instant::now() > end {
                bail!(
                    "{script} is {value} still; the page says: {}",
                    self.run("return document.body.innerText").await?
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Presses keys in the focused element.
    ///
    /// # Errors
    /// Fails if the driver cannot.
    pub async fn press(&self, keys: &[&str]) -> Result<()> {
        let press = |key: &&str| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let actions: Vec<Value> = keys.iter().flat_map(press).collect();
        let keyboard = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.command("POST", "actions", &keyboard).await.map(drop)
    }

    /// Returns the page's errors and warnings.
    ///
    /// # Errors
    /// Fails if the driver does not return them.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let log = self.command("POST", "se/log", &json!({"type": "browser"})).await?;
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        Ok(log.as_array().map(|log| log.iter().map(text).collect()).unwrap_or_default())
    }

    /// Returns a screenshot, as PNG in base64.
    ///
    /// # Errors
    /// Fails if it cannot be taken.
    pub async fn picture(&self) -> Result<String> {
        let picture = self.command("GET", "screenshot", &Value::Null).await?;
        Ok(picture.as_str().context("no picture")?.to_owned())
    }
}
