//! The program as people run it: real sockets, real databases, a real relay, and relays that misbehave.

#![expect(clippy::disallowed_methods, reason = "the tests are the other side of the connection")]

mod clock;
mod commands;
mod connections;
mod control;
mod counts;
mod dashboard;
mod examples;
mod faults;
mod finder;
mod flood;
mod guard;
mod habits;
mod hosts;
mod http;
mod live;
mod main_job;
mod manners;
mod memory;
mod monitor;
mod negentropy;
mod networks;
mod outage;
mod passes;
mod payment;
mod presence;
mod program;
mod push;
mod recall;
mod relay_limits;
mod relay_server;
mod rescue;
mod retention;
mod scheduler;
mod schema;
mod several;
mod simulator;
mod soak;
mod terminal;
