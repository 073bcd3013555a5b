//! From YAML and environment to a typed value, with every error naming its key and line.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use serde_yaml::Spanned;

use super::ConfigError;

type Result<T, E = ConfigError> = std::result::Result<T, E>;

/// Prefix of environment variables that set a key.
const PREFIX: &str = "BROTR_";
/// Variables with this prefix that are not keys.
const NOT_KEYS: &[&str] = &["BROTR_CONFIG"];
/// Keys whose text is taken verbatim.
const SECRETS: &[&str] = &["identity.secret", "identity.passphrase"];
/// The largest file of a secret, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// Where each key was set, by its path.
#[derive(Debug)]
pub(super) struct Origins {
    /// The name of the file.
    name: String,
    places: BTreeMap<String, String>,
}

impl Origins {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), places: BTreeMap::new() }
    }

    fn insert(&mut self, path: String, line: u64) {
        self.places.insert(path, format!("{}:{line}", self.name));
    }

    /// Returns the place, such as `brotr.yaml:7`, of the innermost part of a path that was set.
    pub(super) fn place(&self, path: &str) -> Option<&str> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(place);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    fn invalid(&self, path: &str, problem: impl fmt::Display) -> ConfigError {
        let place = self.place(path).unwrap_or(&self.name).to_owned();
        ConfigError::Invalid { place, problem: format!("{path}{problem}") }
    }
}

/// A value and where its keys were set.
pub(super) struct Document<T> {
    pub(super) value: T,
    pub(super) origins: Origins,
}

/// Reads a document of type `T`.
pub(super) fn read<T: DeserializeOwned + JsonSchema>(
    text: &str,
    name: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Document<T>> {
    let environment: BTreeMap<String, String> = environment.collect();
    let schema = schemars::schema_for!(T).to_value();
    let mut origins = Origins::new(name);
    let mut value = if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        Value::Object(Map::new())
    } else {
        // Without a snippet around an error: its lines may hold a secret.
        let options = serde_yaml::options! { with_snippet: false };
        let node: Result<Node, _> = serde_yaml::from_str_with_options(text, options);
        let node = node.map_err(|error| origins.invalid("", first_line(&error)))?;
        node.into_value("", &mut origins)
    };
    expand(&mut value, "", &environment, &origins)?;
    for (variable, text) in environment.iter().filter(|(v, _)| v.starts_with(PREFIX)) {
        if !NOT_KEYS.contains(&variable.as_str()) {
            overlay(&mut value, &schema, variable, text, &environment, &mut origins)?;
        }
    }
    refuse_unknown(&value, &schema, &schema, "", &origins)?;
    match serde_path_to_error::deserialize(value) {
        Ok(value) => Ok(Document { value, origins }),
        Err(error) => {
            let path = error.path().to_string();
            Err(origins.invalid(&path, format_args!(": {}", error.into_inner())))
        }
    }
}

/// A YAML value that remembers the lines of its keys.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Node {
    fn into_value(self, path: &str, origins: &mut Origins) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(nodes) => {
                let items = nodes.into_iter().enumerate().map(|(n, node)| {
                    let path = format!("{path}[{n}]");
                    origins.insert(path.clone(), node.referenced.line());
                    node.value.into_value(&path, origins)
                });
                Value::Array(items.collect())
            }
            Self::Map(entries) => {
                let items = entries.into_iter().map(|(key, node)| {
                    let path = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
                    origins.insert(path.clone(), key.referenced.line());
                    (key.value, node.value.into_value(&path, origins))
                });
                Value::Object(items.collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nodes;
        impl<'de> Visitor<'de> for Nodes {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_str<E>(self, v: &str) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }
            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }
            fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Node, D::Error> {
                Node::deserialize(d)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = seq.next_element()? {
                    nodes.push(node);
                }
                Ok(Node::List(nodes))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Map(entries))
            }
        }
        deserializer.deserialize_any(Nodes)
    }
}

/// Applies `BROTR_SECTION__KEY`. `BROTR_SECTION__KEY_FILE` names a file with the value, unless the section has a key of that
/// name.
fn overlay(
    value: &mut Value,
    schema: &Value,
    variable: &str,
    text: &str,
    environment: &BTreeMap<String, String>,
    origins: &mut Origins,
) -> Result<()> {
    let path: Vec<String> = variable[PREFIX.len()..].to_lowercase().split("__").map(str::to_owned).collect();
    let known = |path: &[String]| {
        let mut at = schema;
        path.iter().all(|key| match properties(at, schema).and_then(|p| p.get(key)) {
            Some(next) => {
                at = next;
                true
            }
            None => false,
        })
    };
    let mut path = path;
    let parsed = if known(&path) {
        let mut parsed = match is_text(&path, schema) {
            // Verbatim: a passphrase may look like YAML.
            true => Value::String(text.to_owned()),
            false => serde_yaml::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        expand(&mut parsed, &path.join("."), environment, origins)?;
        parsed
    } else {
        let stem = path.last().and_then(|key| key.strip_suffix("_file")).map(str::to_owned);
        if let (Some(stem), Some(last)) = (stem, path.last_mut()) {
            *last = stem;
        }
        if !known(&path) || !variable.ends_with("_FILE") {
            return Err(ConfigError::UnknownVariable(variable.to_owned()));
        }
        use std::io::Read;
        let mut content = String::new();
        std::fs::File::open(text)
            .and_then(|file| file.take(MAX_SECRET).read_to_string(&mut content))
            .map_err(|error| ConfigError::Secret { variable: variable.to_owned(), path: text.into(), error })?;
        Value::String(content.trim_end_matches(['\r', '\n']).to_owned())
    };
    let mut at = value;
    for key in &path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = at.as_object_mut().expect("made so above").entry(key.clone()).or_insert(Value::Null);
    }
    *at = parsed;
    origins.places.insert(path.join("."), format!("environment variable {variable}"));
    Ok(())
}

/// Replaces `${VAR}` and `${VAR:-default}` in texts. A text that is one variable and nothing else takes the type that its value
/// has in YAML.
fn expand(value: &mut Value, path: &str, environment: &BTreeMap<String, String>, origins: &Origins) -> Result<()> {
    match value {
        Value::Array(items) => {
            for (n, item) in items.iter_mut().enumerate() {
                expand(item, &format!("{path}[{n}]"), environment, origins)?;
            }
        }
        Value::Object(items) => {
            for (key, item) in items {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                expand(item, &path, environment, origins)?;
            }
        }
        // A secret may hold any characters.
        Value::String(_) if SECRETS.contains(&path) => {}
        Value::String(text) if text.contains("${") => {
            let (mut out, mut rest) = (String::new(), text.as_str());
            while let Some((before, after)) = rest.split_once("${") {
                let Some((inside, after)) = after.split_once('}') else {
                    return Err(origins.invalid(path, ": a ${ without its }"));
                };
                let (variable, default) = match inside.split_once(":-") {
                    Some((variable, default)) => (variable, Some(default)),
                    None => (inside, None),
                };
                let found = environment.get(variable).map(String::as_str).or(default);
                let missing = || origins.invalid(path, format_args!(": the environment has no {variable}"));
                let found = found.ok_or_else(missing)?;
                out.push_str(before);
                out.push_str(found);
                rest = after;
            }
            out.push_str(rest);
            let whole = text.starts_with("${") && text.find('}') == Some(text.len() - 1);
            *value = match serde_yaml::from_str::<Value>(&out) {
                Ok(typed) if whole && !typed.is_object() && !typed.is_array() => typed,
                _ => Value::String(out),
            };
        }
        _ => {}
    }
    Ok(())
}

/// Returns the error's message without the snippet below it.
fn first_line(error: &impl fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Returns true if a key holds text or null and nothing else.
fn is_text(path: &[String], root: &Value) -> bool {
    fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
        reference.and_then(|r| root.pointer(r)).unwrap_or(schema)
    }
    let mut at = root;
    for key in path {
        match properties(at, root).and_then(|p| p.get(key)) {
            Some(next) => at = next,
            None => return false,
        }
    }
    let parts = at.get("anyOf").and_then(Value::as_array).map_or_else(|| vec![at], |parts| parts.iter().collect());
    parts.into_iter().map(|part| resolve(part, root)).all(|part| match &part["type"] {
        Value::String(one) => one == "string" || one == "null",
        Value::Array(types) => types.iter().all(|one| one == "string" || one == "null"),
        _ => false,
    })
}

/// Returns the properties of an object schema, following one reference.
fn properties<'a>(schema: &'a Value, root: &'a Value) -> Option<&'a Map<String, Value>> {
    let resolved = match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.strip_prefix('#')?)?,
        None => schema,
    };
    resolved.get("properties")?.as_object()
}

/// Refuses keys that the schema does not have, and suggests the nearest one.
fn refuse_unknown(value: &Value, schema: &Value, root: &Value, path: &str, origins: &Origins) -> Result<()> {
    match value {
        Value::Object(items) => {
            let Some(known) = properties(schema, root) else { return Ok(()) };
            for (key, item) in items {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let Some(schema) = known.get(key) else {
                    let nearest = known
                        .keys()
                        .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
                    let hint = nearest.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
                    let place = origins.place(&path).unwrap_or(&origins.name).to_owned();
                    return Err(ConfigError::Invalid { place, problem: format!("unknown key {path}{hint}") });
                };
                refuse_unknown(item, schema, root, &path, origins)?;
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (n, item) in items.iter().enumerate() {
                    refuse_unknown(item, schema, root, &format!("{path}[{n}]"), origins)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}
