//! What a command works with that runs in the daemon for a client, instead of its own agent, terminal and input.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::agent::Agent;

/// Output that waits for a client, in bytes: one that does not read it ends its command.
const WAITING: usize = 16 << 20;

/// A line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    /// A line for stdout.
    Out(String),
    /// A line for stderr.
    Err(String),
    /// The end: the exit status.
    Status(u8),
}

tokio::task_local! {
    static REMOTE: Remote;
}

/// What a command works with that runs in the daemon for a client.
#[derive(Clone)]
pub(super) struct Remote {
    agent: Agent,
    answer: Arc<Mutex<Waiting>>,
    answered: Arc<Notify>,
    input: Arc<Mutex<Option<Box<dyn Read + Send>>>>,
    interrupted: Arc<Notify>,
}

/// What waits for the client.
#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Whether nothing follows.
    ended: bool,
}

impl Remote {
    /// Returns what a command works with for a client, which may send an input or interrupt it.
    pub(super) fn new(agent: Agent, input: Option<Box<dyn Read + Send>>, interrupted: Arc<Notify>) -> Self {
        Self {
            agent,
            answer: Arc::default(),
            answered: Arc::default(),
            input: Arc::new(Mutex::new(input)),
            interrupted,
        }
    }

    /// Runs a command with this.
    pub(super) async fn scope<F: Future>(&self, command: F) -> F::Output {
        REMOTE.scope(self.clone(), command).await
    }

    /// Returns what the current command works with; `None` if it runs in a process of its own.
    pub(super) fn current() -> Option<Self> {
        REMOTE.try_with(Clone::clone).ok()
    }

    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Takes the client's input.
    pub(super) fn input(&self) -> Box<dyn Read + Send> {
        let taken = self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| Box::new(std::io::empty()))
    }

    /// Waits until the client interrupts the command.
    pub(super) async fn interrupt(&self) {
        self.interrupted.notified().await;
    }

    pub(super) fn out(&self, text: &str) -> Result<()> {
        self.send(&Answer::Out(text.to_owned()))
    }

    pub(super) fn err(&self, text: &str) -> Result<()> {
        self.send(&Answer::Err(text.to_owned()))
    }

    /// Waits until there is something for the client; returns it, and whether it was all.
    pub(super) async fn next(&self) -> (Vec<u8>, bool) {
        self.answered.notified().await;
        let mut waiting = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut waiting.lines), waiting.ended)
    }

    /// Says that the command is over.
    pub(super) fn end(&self) {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.answered.notify_one();
    }

    pub(super) fn send(&self, answer: &Answer) -> Result<()> {
        let mut waiting = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(waiting.lines.len() < WAITING, "the client does not read what it asked for");
        serde_json::to_writer(&mut waiting.lines, answer)?;
        waiting.lines.push(b'\n');
        self.answered.notify_one();
        Ok(())
    }
}
