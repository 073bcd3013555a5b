//! The kinds of jobs, one file each.

mod count;
mod discover;
mod people;
mod search;
mod tally;

use async_trait::async_trait;
use brotr_core::Event;
use brotr_keys::Signer;
use brotr_storage::{EventStore, JobStore, StorageError, View};
use nostr::{EventId, Filter, Kind, PublicKey};
use tokio::sync::watch;

use crate::request::{Input, InputType};
use crate::seal::Seal;
use crate::{Canonical, JobError, JobRequest};

/// A parameter of a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    /// The values that are allowed; empty for any.
    pub(crate) values: &'static [&'static str],
    pub(crate) about: &'static str,
}

/// One kind of job.
#[async_trait]
pub(crate) trait Work: Sync {
    /// Returns the kind of its requests.
    fn kind(&self) -> u16;
    /// Returns its parameters.
    fn params(&self) -> &'static [Param];
    /// Runs it; returns the content of the result.
    async fn run(&self, context: &JobContext<'_>, request: &JobRequest) -> Result<String, JobError>;
}

/// All kinds of jobs.
pub(crate) static JOBS: [&dyn Work; 5] =
    [&discover::Content, &people::Discovery, &search::Content, &search::People, &count::Count];

/// What a job works with.
pub(crate) struct JobContext<'a> {
    pub(crate) events: &'a dyn EventStore,
    pub(crate) jobs: &'a dyn JobStore,
    pub(crate) canonical: &'a Canonical,
    /// The customer.
    pub(crate) customer: PublicKey,
    /// Decrypts what we encrypted to them before.
    pub(crate) signer: &'a Signer,
    /// The current time and the time of the request, in unix seconds.
    pub(crate) now: i64,
    pub(crate) received_at: i64,
    /// Receives partial results, if they are wanted.
    pub(crate) partial: Option<&'a watch::Sender<String>>,
}

/// Default number of results.
const USUAL: u64 = 20;
/// Largest number of results.
const MOST: u64 = 500;
/// Seconds for which a job that another one needs as its input may be unknown,
const UNKNOWN: i64 = 5;
/// and seconds until it must have ended: somebody may have to pay for it.
const UNENDED: i64 = 600;
/// The most text of inputs that is used, in bytes.
const MAX_TEXT: usize = 4_096;

impl JobContext<'_> {
    pub(crate) fn view(&self) -> View {
        View::Client { now: self.now }
    }

    /// Returns the newest events that match a filter.
    pub(crate) async fn page(&self, filter: &Filter, limit: usize) -> Result<Vec<Event>, JobError> {
        self.events.page(filter, self.view(), None, limit).await.map_err(failed)
    }

    /// Returns the text of an input: itself, an event's content, or the result of another job, which must have ended.
    pub(crate) async fn text(&self, input: &Input) -> Result<String, JobError> {
        let id =
            || EventId::from_hex(&input.data).map_err(|_| JobError::Wrong(format!("{:?} is no event id", input.data)));
        match &input.kind {
            InputType::Text => Ok(input.data.clone()),
            InputType::Event => {
                let found = self.page(&Filter::new().id(id()?), 1).await?.pop();
                let unknown = || JobError::Wrong(format!("the event {} is not in this archive", input.data));
                Ok(found.ok_or_else(unknown)?.content)
            }
            InputType::Job => self.result_of(id()?).await,
            InputType::Url => Err(JobError::Wrong("an input of type url is not fetched here: send its text".into())),
            InputType::Other(other) => {
                Err(JobError::Wrong(format!("an input of type {other:?} is not known here: use text, event or job")))
            }
        }
    }

    /// Returns the result of another job. If it has not ended, this job is started again later.
    async fn result_of(&self, id: EventId) -> Result<String, JobError> {
        let job = self.jobs.job(id).await.map_err(failed)?;
        let waited = self.now.saturating_sub(self.received_at);
        let most = match &job {
            // Requests arrive in any order.
            None => UNKNOWN,
            Some(job) if job.is_open() => UNENDED,
            Some(_) => 0,
        };
        if waited < most {
            return Err(JobError::NotYet(id));
        }
        if most == UNENDED {
            return Err(JobError::Wrong(format!("the job {id} has not ended within {UNENDED} s: ask again later")));
        }
        let ours = self.jobs.job_answer(id).await.map_err(failed)?;
        let ours = ours.and_then(|json| Event::from_json(&json).ok());
        let theirs = Filter::new().kinds((6_000..7_000).map(Kind::from)).event(id);
        let found = match ours {
            Some(event) => Some(event),
            None => self.page(&theirs, 1).await?.pop(),
        };
        let unknown = || JobError::Wrong(format!("there is no result of the job {id} here: ask for it first"));
        let found = found.ok_or_else(unknown)?;
        if !found.tags.iter().any(|tag| tag.first().is_some_and(|name| name == "encrypted")) {
            return Ok(found.content);
        }
        // An encrypted result belongs to its customer, and is not decrypted for anybody else.
        let secret = || JobError::Wrong(format!("the result of the job {id} is encrypted to another"));
        let job = job.filter(|job| job.customer == self.customer).ok_or_else(secret)?;
        let seal = if found.content.contains("?iv=") { Seal::Nip04 } else { Seal::Nip44 };
        seal.read(self.signer, &job.customer, &found.content).await.map_err(|_| secret())
    }

    /// Returns the words of all inputs, to search for.
    pub(crate) async fn words(&self, request: &JobRequest) -> Result<String, JobError> {
        let mut words = String::new();
        for input in &request.inputs {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(&self.text(input).await?);
        }
        if words.len() > MAX_TEXT {
            return Err(JobError::Wrong(format!("too much text to search for: at most {MAX_TEXT} bytes")));
        }
        Ok(words)
    }

    /// Returns the follows of a key (kind 3), as far as they are archived.
    pub(crate) async fn follows(&self, of: PublicKey) -> Result<std::collections::HashSet<PublicKey>, JobError> {
        let list = self.page(&Filter::new().author(of).kind(Kind::ContactList), 1).await?.pop();
        let tags = list.map(|event| event.tags).unwrap_or_default();
        Ok(tags
            .iter()
            .filter(|tag| tag.len() > 1 && tag[0] == "p")
            .filter_map(|tag| PublicKey::from_hex(&tag[1]).ok())
            .collect())
    }
}

/// Logs an error of the archive, and returns the one for the customer.
pub(crate) fn failed(error: StorageError) -> JobError {
    match error {
        StorageError::NoSearch | StorageError::NoContents | StorageError::TooLong(_) => {
            JobError::Wrong(error.to_string())
        }
        error => {
            tracing::error!(%error, "failed to ask the archive for a job");
            JobError::Internal
        }
    }
}

/// The parameter that `wanted` reads.
pub(crate) const MAX_RESULTS: Param =
    Param { name: "max_results", values: &[], about: "how many, 1 to 500; 20 if not given" };

/// Returns how many results a request wants.
pub(crate) fn wanted(request: &JobRequest) -> Result<usize, JobError> {
    let number = request.number("max_results", 1, MOST)?.or(request.number("limit", 1, MOST)?);
    Ok(usize::try_from(number.unwrap_or(USUAL)).unwrap_or(usize::MAX))
}

/// Adds the span of time of the parameters `since` and `until` to a filter.
pub(crate) fn span(request: &JobRequest, filter: Filter) -> Result<Filter, JobError> {
    let second = |name| request.number(name, 0, i64::MAX as u64);
    let (since, until) = (second("since")?, second("until")?);
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(JobError::Wrong("since lies after until".into()));
    }
    let filter = since.map_or(filter.clone(), |since| filter.since(since.into()));
    Ok(until.map_or(filter.clone(), |until| filter.until(until.into())))
}

/// Returns the keys of a parameter: hexadecimal or npub, or a JSON list of `p` tags as in the registry.
pub(crate) fn keys(request: &JobRequest, name: &str) -> Result<Vec<PublicKey>, JobError> {
    let mut keys = Vec::new();
    for value in request.param(name) {
        let wrong = || JobError::Wrong(format!("the parameter {name} is no public key: {value:?}"));
        match serde_json::from_str::<Vec<serde_json::Value>>(value) {
            Ok(list) => {
                for item in list {
                    let key = item.get(1).unwrap_or(&item).as_str().ok_or_else(wrong)?;
                    keys.push(PublicKey::parse(key).map_err(|_| wrong())?);
                }
            }
            Err(_) => keys.push(PublicKey::parse(value).map_err(|_| wrong())?),
        }
    }
    if keys.len() > 1_000 {
        return Err(JobError::Wrong(format!("too many keys in {name}: at most 1000")));
    }
    Ok(keys)
}

/// Returns a list of tags as the content of a result.
pub(crate) fn tags(list: impl Iterator<Item = [String; 2]>) -> String {
    serde_json::to_string(&list.collect::<Vec<_>>()).expect("text always serializes")
}

/// Returns the tag that names an event: by its address if it is replaceable.
pub(crate) fn reference(event: &Event) -> [String; 2] {
    let d = event.tags.iter().find(|tag| tag.len() > 1 && tag[0] == "d").map(|tag| tag[1].as_str());
    match event.kind {
        30_000..=39_999 => ["a".into(), format!("{}:{}:{}", event.kind, event.pubkey.to_hex(), d.unwrap_or_default())],
        _ => ["e".into(), event.id.to_hex()],
    }
}
