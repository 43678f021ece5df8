//! The binary; everything is in the library, so that tests can start the very same.

fn main() -> std::process::ExitCode {
    wherry::main()
}
