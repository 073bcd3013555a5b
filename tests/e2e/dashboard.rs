//! The dashboard in headless Chromium, by keyboard and on a phone.

use brotr_tests::Signal;
use brotr_tests::browser::Browser;
use serde_json::{Value, json};

use super::http::{House, encoded, watched};

/// Opens a page of the dashboard.
async fn open(browser: &Browser, house: &House<'_>, path: &str) {
    browser.go(&format!("http://{}{path}", house.address)).await.expect("loaded");
}

/// The path of a relay's page.
fn relay_page(url: &str) -> String {
    format!("/relay?url={}", encoded(&format!("{}/", url.trim_end_matches('/'))))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_shows_what_there_is_and_nothing_hostile_runs() {
    let evil = "<img src=x onerror=\"window.owned=1\"><script>window.owned=1</script>";
    let document = json!({"name": evil, "description": evil, "software": "javascript:window.owned=1", "version": evil,
        "supported_nips": [1, evil], "limitation": {evil: evil, "max_limit": 5_000}});
    let (relay, place) = watched(&document).await;
    let house = House::start(&place);
    let browser = Browser::start(1_280, 1_600, false).await.expect("a browser");
    open(&browser, &house, "/").await;
    browser.wait("document.querySelector('#status').textContent.includes('all well')").await.expect("health");
    let tile = "[...document.querySelectorAll('#tiles div')].find((div) => div.textContent.startsWith('Events'))";
    browser.wait(&format!("{tile}?.querySelector('dd').textContent === '120'")).await.expect("live");
    keep(&browser, "overview").await;

    // Filters are in the address, and Back undoes them.
    browser.run("document.querySelector('nav a[href=relays]').click()").await.expect("clicked");
    browser
        .wait("document.querySelectorAll('#rows tr').length === 1 && document.querySelector('#rows bdi')")
        .await
        .expect("rows");
    browser.run("document.querySelector('[name=state]').focus()").await.expect("focused");
    browser.press(&["d", "o", "w", "n"]).await.expect("typed");
    browser.wait("location.search === '?state=down'").await.expect("in the address");
    browser.wait("document.querySelectorAll('#rows tr').length === 0").await.expect("none is down");
    browser.run("history.back()").await.expect("back");
    browser
        .wait(
            "document.querySelectorAll('#rows tr').length === 1 && document.querySelector('[name=state]').value === ''",
        )
        .await
        .expect("all");
    let port = relay.url.trim_end_matches('/').rsplit(':').next().expect("a port").to_owned();
    browser.run("document.querySelector('[name=contains]').focus()").await.expect("focused");
    let keys: Vec<String> = port.chars().map(String::from).collect();
    browser.press(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await.expect("typed");
    browser.wait(&format!("location.search === '?contains={port}'")).await.expect("in the address");
    keep(&browser, "relays").await;

    // By keyboard to the relay.
    browser.run("document.querySelector('#rows a').focus()").await.expect("focused");
    browser.press(&["\u{E007}"]).await.expect("pressed");
    let shown = browser.wait("document.querySelector('#nip11')?.textContent").await.expect("the relay");
    assert!(shown.as_str().is_some_and(|text| text.contains("<img src=x")), "{shown}");
    browser.wait("document.querySelectorAll('#coverage .proven').length").await.expect("coverage");
    browser.wait("document.querySelectorAll('#days rect.up').length === 1").await.expect("today");
    browser.wait("document.querySelector('#kinds .number')?.textContent === '30'").await.expect("kinds");
    assert_eq!(
        browser.run("return document.querySelectorAll('#says a').length").await.expect("asked"),
        0,
        "no link runs a script"
    );
    keep(&browser, "relay").await;

    // An operator with the token checks it now, pauses and adds.
    browser.run("sessionStorage.setItem('token', 'sesame-open')").await.expect("set");
    open(&browser, &house, &relay_page(&relay.url)).await;
    browser.wait("document.querySelector('#actions button')").await.expect("a button");
    browser.run("document.querySelector('#actions button').click()").await.expect("clicked");
    browser.wait("document.querySelector('#actions').textContent.includes('in a moment')").await.expect("checked");
    open(&browser, &house, "/health").await;
    browser.wait("document.querySelector('[aria-label=\"pause finder\"]')").await.expect("a button");
    browser.run("document.querySelector('[aria-label=\"pause finder\"]').click()").await.expect("clicked");
    browser.wait("document.querySelector('[aria-label=\"resume finder\"]')").await.expect("paused");
    browser.run("document.querySelector('#add').value = 'wss://new.example.com nonsense'; document.querySelector('#add-form button').click()").await.expect("clicked");
    browser.wait("document.querySelector('#done').textContent.includes('1 relay added')").await.expect("added");
    assert!(
        browser
            .run("return document.querySelector('#done').textContent")
            .await
            .expect("asked")
            .as_str()
            .is_some_and(|text| text.contains("nonsense"))
    );
    keep(&browser, "health").await;

    open(&browser, &house, "/events?kinds=7").await;
    browser.wait("document.querySelectorAll('.event').length === 30").await.expect("events");
    browser.run("document.querySelector('.event .plain-button').click()").await.expect("clicked");
    browser
        .wait("document.querySelector('.event .columns a')?.getAttribute('href').startsWith('relay?url=')")
        .await
        .expect("holders");
    let link = "return document.querySelector('.event a[href^=author]').getAttribute('href')";
    let author_page = format!("/{}", browser.run(link).await.expect("asked").as_str().expect("a link"));
    browser.run("document.querySelector('.event a[href^=author]').click()").await.expect("clicked");
    browser
        .wait("document.querySelector('#all a')?.getAttribute('href').startsWith('relay?url=')")
        .await
        .expect("where");
    browser.wait("document.querySelector('#chosen td + td')?.textContent === '100 %'").await.expect("chosen");
    browser.wait("document.querySelector('#none')?.textContent.includes('no version')").await.expect("no profile");
    browser.run("document.querySelector('#kind button:nth-child(3)').click()").await.expect("clicked");
    browser.wait("location.search.includes('kind=10002')").await.expect("in the address");
    keep(&browser, "author").await;
    open(&browser, &house, "/events?authors=npub1nonsense").await;
    browser
        .wait("document.querySelector('#notice')?.textContent.includes('NIP-19')")
        .await
        .expect("told what is wrong");
    open(&browser, &house, "/jobs").await;
    browser
        .wait("document.querySelector('#shown').textContent.includes('No job came in so far')")
        .await
        .expect("no jobs");
    assert_eq!(browser.run("return window.owned ?? null").await.expect("asked"), Value::Null);
    let mut complaints = browser.complaints().await.expect("a log");
    complaints.retain(|text| !text.contains("npub1nonsense"));
    assert!(complaints.is_empty(), "{complaints:?}");
    drop(browser);

    // On a phone, in the dark: nothing is wider than the screen.
    let phone = Browser::start(390, 844, true).await.expect("a browser");
    for (path, name) in [
        ("/", "overview"),
        ("/relays", "relays"),
        (&relay_page(&relay.url), "relay"),
        ("/health", "health"),
        (&author_page, "author"),
    ] {
        open(&phone, &house, path).await;
        phone.wait("document.querySelector('.tiles div, #rows tr, #services tr, #all tr')").await.expect("content");
        let wide =
            phone.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(wide.expect("measured"), 0, "{path}");
        let paper = phone.run("return getComputedStyle(document.body).backgroundColor").await.expect("asked");
        assert_eq!(paper, "rgb(13, 17, 23)", "dark");
        keep(&phone, &format!("{name}-phone")).await;
    }

    // When the agent goes away, the page says so.
    assert_eq!(house.daemon.end(Signal::TERM).0, Some(0));
    phone.wait("document.querySelector('#status').textContent.includes('not reached')").await.expect("told");
}

/// Keeps a picture, where `TEST_PICTURES` says.
async fn keep(browser: &Browser, name: &str) {
    let Some(dir) = std::env::var_os("TEST_PICTURES") else { return };
    let picture = browser.picture().await.expect("a picture");
    std::fs::write(std::path::Path::new(&dir).join(format!("{name}.png.base64")), picture).expect("written");
}
