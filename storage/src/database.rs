//! What both databases do alike: statements with values, rows of values, transactions.
//!
//! Hot paths use each database directly; everything else is written once over this.

use async_trait::async_trait;

use crate::StorageError;
use crate::query::Query;

type Result<T> = std::result::Result<T, StorageError>;

/// A value to bind, or that was read. Nulls are typed too, since PostgreSQL requires it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    /// A list: an array on PostgreSQL, JSON on SQLite.
    Texts(Vec<String>),
    /// A list of numbers, in the same form.
    Ints(Vec<i64>),
}

macro_rules! value_from {
    ($($type:ty => $variant:ident($value:ident) $made:expr),+ $(,)?) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self { Self::$variant($made) }
        })+
    };
}
value_from! {
    i64 => Int(n) Some(n),
    Option<i64> => Int(n) n,
    &str => Text(text) Some(text.to_owned()),
    String => Text(text) Some(text),
    &String => Text(text) Some(text.clone()),
    Option<String> => Text(text) text,
    Option<&str> => Text(text) text.map(str::to_owned),
    Vec<u8> => Bytes(bytes) Some(bytes),
    &[u8] => Bytes(bytes) Some(bytes.to_vec()),
    Vec<String> => Texts(list) list,
    Vec<i64> => Ints(list) list,
}

/// The values of a statement, in the order of `$1`, `$2`, ...
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::database::Value::from($value)),*] };
}
pub(crate) use args;

/// A row that was read.
#[derive(Debug)]
pub(crate) struct Row(pub(crate) Vec<Value>);

impl Row {
    fn wrong(&self, place: usize) -> StorageError {
        StorageError::Damaged { what: "row", detail: format!("column {place} holds {:?}", self.0.get(place)) }
    }

    pub(crate) fn opt_int(&self, place: usize) -> Result<Option<i64>> {
        match self.0.get(place) {
            Some(Value::Int(n)) => Ok(*n),
            // A null read from SQLite has no type.
            Some(Value::Text(None) | Value::Bytes(None)) => Ok(None),
            _ => Err(self.wrong(place)),
        }
    }

    pub(crate) fn opt_text(&self, place: usize) -> Result<Option<String>> {
        match self.0.get(place) {
            Some(Value::Text(text)) => Ok(text.clone()),
            Some(Value::Int(None) | Value::Bytes(None)) => Ok(None),
            _ => Err(self.wrong(place)),
        }
    }

    pub(crate) fn opt_bytes(&self, place: usize) -> Result<Option<Vec<u8>>> {
        match self.0.get(place) {
            Some(Value::Bytes(bytes)) => Ok(bytes.clone()),
            Some(Value::Int(None) | Value::Text(None)) => Ok(None),
            _ => Err(self.wrong(place)),
        }
    }

    pub(crate) fn int(&self, place: usize) -> Result<i64> {
        self.opt_int(place)?.ok_or_else(|| self.wrong(place))
    }

    pub(crate) fn text(&self, place: usize) -> Result<String> {
        self.opt_text(place)?.ok_or_else(|| self.wrong(place))
    }

    pub(crate) fn bytes(&self, place: usize) -> Result<Vec<u8>> {
        match self.0.get(place) {
            Some(Value::Bytes(Some(bytes))) => Ok(bytes.clone()),
            _ => Err(self.wrong(place)),
        }
    }
}

/// An open transaction. Dropped without a commit, it is rolled back.
#[async_trait]
pub(crate) trait Transaction: Send {
    /// Runs a statement; returns the number of changed rows.
    async fn execute(&mut self, query: Query, args: Vec<Value>) -> Result<u64>;
    /// Runs a statement and returns its rows.
    async fn rows(&mut self, query: Query, args: Vec<Value>) -> Result<Vec<Row>>;
    /// Commits.
    async fn commit(self: Box<Self>) -> Result<()>;
}

/// A database with concurrent reads and one write transaction at a time.
#[async_trait]
pub(crate) trait Database: std::fmt::Debug + Send + Sync {
    /// Reads rows outside of a transaction.
    async fn rows(&self, query: Query, args: Vec<Value>) -> Result<Vec<Row>>;
    /// Begins a transaction that may write.
    async fn begin(&self) -> Result<Box<dyn Transaction>>;
    /// Waits for open transactions and closes.
    async fn shut(&self);
}
