//! A job request as NIP-90 writes it, and as clients do.

use nostr::Event;

use crate::JobError;

/// The most inputs, and the most parameters, of one request.
const MAX_ITEMS: usize = 100;

/// What an input is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputType {
    /// The data itself; also what is written without a type.
    Text,
    /// A URL to fetch.
    Url,
    /// An event's id.
    Event,
    /// The id of an earlier job.
    Job,
    /// A type that NIP-90 does not know.
    Other(String),
}

/// One `i` tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The data.
    pub data: String,
    /// What it is.
    pub kind: InputType,
}

/// A parsed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRequest {
    /// The inputs, in order.
    pub inputs: Vec<Input>,
    /// Parameters: a name and its values.
    pub params: Vec<(String, Vec<String>)>,
    /// Where the customer wants the answers, as written.
    pub relays: Vec<String>,
    /// The content.
    pub content: String,
    /// The `i` tags as they came, to be repeated in the result.
    pub input_tags: Vec<nostr::Tag>,
}

impl JobRequest {
    /// Parses a request event.
    ///
    /// # Errors
    /// When it is encrypted, or holds more than is looked at.
    pub fn parse(event: &Event) -> Result<Self, JobError> {
        let wrong = |text: &str| JobError::Wrong(text.to_owned());
        let mut request =
            Self { inputs: vec![], params: vec![], relays: vec![], content: event.content.clone(), input_tags: vec![] };
        for tag in event.tags.iter() {
            let values = tag.as_slice();
            match (values[0].as_str(), &values[1..]) {
                ("encrypted", _) => {
                    return Err(wrong("encrypted requests are not answered here yet: send it in clear"));
                }
                ("i", [data, rest @ ..]) => {
                    let kind = match rest.first().map(String::as_str) {
                        None | Some("" | "text") => InputType::Text,
                        Some("url") => InputType::Url,
                        Some("event") => InputType::Event,
                        Some("job") => InputType::Job,
                        Some(other) => InputType::Other(other.to_owned()),
                    };
                    request.inputs.push(Input { data: data.clone(), kind });
                    request.input_tags.push(tag.clone());
                }
                ("param", [name, values @ ..]) => request.params.push((name.clone(), values.to_vec())),
                ("relays", urls) => request.relays.extend(urls.iter().cloned()),
                _ => {}
            }
        }
        if request.inputs.len() > MAX_ITEMS || request.params.len() > MAX_ITEMS {
            return Err(wrong("too many inputs or parameters: at most 100 of each"));
        }
        Ok(request)
    }

    /// All values of a parameter, over all tags that name it.
    pub fn param<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.params.iter().filter(move |(key, _)| key == name).flat_map(|(_, values)| values).map(String::as_str)
    }
}
