//! The program: see `brotr --help`.

fn main() {}
