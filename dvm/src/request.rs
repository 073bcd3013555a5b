//! Parses job requests, as NIP-90 specifies them and as clients write them.

use brotr_keys::Signer;
use brotr_storage::Job;
use nostr::{Event, JsonUtil, PublicKey, Tag};

use crate::JobError;
use crate::seal::Seal;

/// The most inputs, and the most parameters, of one request.
const MAX_ITEMS: usize = 100;

/// The type of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputType {
    /// Text; also an input without a type.
    Text,
    /// A URL to fetch.
    Url,
    /// An event's id.
    Event,
    /// The id of an earlier job.
    Job,
    /// A type that NIP-90 does not define.
    Other(String),
}

/// One `i` tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The data.
    pub data: String,
    /// Its type.
    pub kind: InputType,
}

/// A stored job whose request was parsed, and decrypted if necessary: once, for everything that is done with it.
#[derive(Debug, Clone)]
pub struct PreparedJob {
    /// The job as it is stored.
    pub job: Job,
    /// How its request was encrypted, which holds for its answers too.
    pub(crate) seal: Option<Seal>,
    /// The request, or what is wrong with it.
    pub(crate) request: Result<JobRequest, JobError>,
}

impl PreparedJob {
    pub(crate) async fn new(job: Job, signer: &Signer) -> Self {
        match Event::from_json(&job.request) {
            Ok(event) => {
                let request = JobRequest::read(&event, signer).await;
                Self { job, seal: Seal::of(&event), request }
            }
            Err(error) => {
                tracing::error!(%error, job = %job.id, "failed to parse a stored job request");
                Self { job, seal: None, request: Err(JobError::Internal) }
            }
        }
    }
}

/// A parsed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRequest {
    /// The customer.
    pub customer: PublicKey,
    /// The inputs, in order.
    pub inputs: Vec<Input>,
    /// Parameters: a name and its values.
    pub params: Vec<(String, Vec<String>)>,
    /// The most that the customer pays, in millisats.
    pub bid: Option<u64>,
    /// The relays for the answers, as written.
    pub relays: Vec<String>,
    /// The content; empty if it was encrypted.
    pub content: String,
    /// The `i` tags as received, to be repeated in the result.
    pub input_tags: Vec<Tag>,
    /// How it was encrypted.
    pub seal: Option<Seal>,
}

impl JobRequest {
    /// Parses a request event, and decrypts it if necessary.
    ///
    /// # Errors
    /// Fails if it cannot be decrypted, or exceeds the limits.
    pub async fn read(event: &Event, signer: &Signer) -> Result<Self, JobError> {
        match Seal::of(event) {
            None => Self::parse(event.pubkey, event.tags.iter(), event.content.clone(), None),
            Some(seal) => {
                let hidden = seal.open(signer, event).await?;
                // Plain tags count too: some clients leave `relays` there.
                let tags = event.tags.iter().filter(|tag| tag.as_slice()[0] == "relays").chain(&hidden);
                Self::parse(event.pubkey, tags, String::new(), Some(seal))
            }
        }
    }

    fn parse<'a>(
        customer: PublicKey,
        tags: impl Iterator<Item = &'a Tag>,
        content: String,
        seal: Option<Seal>,
    ) -> Result<Self, JobError> {
        let mut request = Self {
            customer,
            inputs: vec![],
            params: vec![],
            bid: None,
            relays: vec![],
            content,
            input_tags: vec![],
            seal,
        };
        for tag in tags {
            let values = tag.as_slice();
            match (values[0].as_str(), &values[1..]) {
                ("i", [data, rest @ ..]) => {
                    let kind = match rest.first().map(String::as_str) {
                        None | Some("" | "text" | "prompt") => InputType::Text,
                        Some("url") => InputType::Url,
                        Some("event") => InputType::Event,
                        Some("job") => InputType::Job,
                        Some(other) => InputType::Other(other.to_owned()),
                    };
                    request.inputs.push(Input { data: data.clone(), kind });
                    request.input_tags.push(tag.clone());
                }
                ("param", [name, values @ ..]) => request.params.push((name.clone(), values.to_vec())),
                ("bid", [msat, ..]) => {
                    let wrong = || JobError::Wrong(format!("the bid is {msat:?}: give a number of millisats"));
                    request.bid = Some(msat.trim().parse().map_err(|_| wrong())?);
                }
                ("relays", urls) => request.relays.extend(urls.iter().cloned()),
                _ => {}
            }
        }
        if request.inputs.len() > MAX_ITEMS || request.params.len() > MAX_ITEMS {
            return Err(JobError::Wrong("too many inputs or parameters: at most 100 of each".into()));
        }
        Ok(request)
    }

    /// Returns all values of a parameter, over all its tags.
    pub fn param<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.params.iter().filter(move |(key, _)| key == name).flat_map(|(_, values)| values).map(String::as_str)
    }

    /// Returns the one value of a parameter as a number within bounds; `None` if it is not given.
    ///
    /// # Errors
    /// Fails if it is not a number, or out of bounds.
    pub fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, JobError> {
        let Some(text) = self.param(name).next() else { return Ok(None) };
        let number = text.trim().parse().ok().filter(|n| (least..=most).contains(n));
        number.map(Some).ok_or_else(|| {
            JobError::Wrong(format!("the parameter {name} is {text:?}: give a number from {least} to {most}"))
        })
    }
}
