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
    answer: Arc<Mutex<Vec<u8>>>,
    answered: Arc<Notify>,
    input: Arc<Mutex<Option<Box<dyn Read + Send>>>>,
    interrupted: Arc<Notify>,
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

    /// Waits until there is something for the client.
    pub(super) async fn answered(&self) {
        self.answered.notified().await;
    }

    /// Takes what there is for the client.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.answer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn send(&self, answer: &Answer) -> Result<()> {
        let mut waiting = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(waiting.len() < WAITING, "the client does not read what it asked for");
        serde_json::to_writer(&mut *waiting, answer)?;
        waiting.push(b'\n');
        self.answered.notify_one();
        Ok(())
    }
}
