//! The program as people run it: real sockets, real databases, a real relay, and relays that misbehave.

mod commands;
mod faults;
mod main_job;
mod program;
