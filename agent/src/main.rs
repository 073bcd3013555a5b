//! The program: see `brotr --help`.

fn main() -> std::process::ExitCode {
    brotr::cli::main()
}
